"""The command-line application; what needs torch is imported inside the commands."""

from __future__ import annotations

import errno
import gc
import importlib.util
import io
import os
import sys
import warnings
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Annotated, Any

import typer

from keepers.cli import (
    active,
    advise,
    compare,
    coreset,
    il,
    listing,
    simulate,
    train,
)
from keepers.errors import KeepersError, KeepersWarning

INTERRUPTED = 130
"""The exit status of a command that was stopped with Ctrl-C."""

UNREAD = 1
"""The exit status of a command whose output nobody reads any more."""

app = typer.Typer(
    name="keepers",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"keepers {version('keepers')}\n")
        raise typer.Exit


@app.callback()
def keepers(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Which of my data is worth training on, worth labelling, worth a gradient step?"""


app.command("advise")(advise.advise)
app.command("coreset")(coreset.coreset)
app.command("score")(coreset.score)
app.command("compare")(compare.compare)
app.command("train")(train.train)
app.command("il")(il.il)
active.app.command("simulate")(simulate.simulate)
app.add_typer(active.app, name="active")
app.command("demo")(compare.demo)
app.command("methods")(listing.methods)
app.command("models")(listing.models)


def main() -> None:
    """Run the application; what goes wrong is one sentence on stderr and an exit status."""
    _open_streams()
    _say_warnings()
    if "torch" not in sys.modules and gc.isenabled():
        sys.meta_path.insert(0, _Uncollected())
    try:
        _run()
    except BrokenPipeError:  # nobody reads any more
        sys.exit(UNREAD)
    finally:
        _flush()


class _Uncollected(MetaPathFinder):
    """Has torch, whoever imports it first, imported without a search for garbage on the way.

    Importing it makes 165,000 objects that hold others, none of them garbage; searching them again
    and again is a tenth of a small command. They are left out of later searches, too.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Where torch is; None for any other module."""
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            gc.disable()
            try:
                run(module)
            finally:
                gc.freeze()
                gc.enable()

        spec.loader.exec_module = exec_module
        return spec


def _flush() -> None:
    """Write what is left; what cannot be written, Python would complain of as it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> None:
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by the caller: no file that is opened later may get its number
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show × shows ?
            stream.reconfigure(errors="replace")


def _say_warnings() -> None:
    """What keepers warns of is a sentence for a person; the line of code is of no use to them."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *others: Any, **more: Any) -> None:
        if issubclass(category, KeepersWarning):
            sys.stderr.write(f"Note: {message}\n")
        else:
            shown(message, category, *others, **more)

    warnings.showwarning = show
    warnings.simplefilter("always", KeepersWarning)


@cache
def _command() -> Any:
    """What the application's functions and their options come to, made once."""
    return typer.main.get_command(app)


def _run() -> None:
    status: int | None = None
    try:
        status = _command()(standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as stop:
        status = stop.exit_code
    except KeepersError as error:
        _stop(f"Error: {error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        what = error.strerror or str(error)
        if error.filename:
            what += f": {error.filename}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and "Make room" not in what:
            what += ". Free some space and run the same command again: finished work is kept"
        _stop(f"Error: {what}", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own usage errors
            raise
        _usage(error)
    if status == INTERRUPTED:  # Typer, by its version, raises it or returns it
        _stop("Interrupted. Nothing is lost: run the same command again to continue", status)
    if status:
        sys.exit(status)


def _usage(error: Exception) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help itself
        _stop(error.format_message(), 2)  # pyright: ignore[reportAttributeAccessIssue]
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"{context.get_usage()}\n")
    _stop(f"Error: {error.format_message()}", getattr(error, "exit_code", 2))  # pyright: ignore[reportAttributeAccessIssue]


def _stop(sentence: str, status: int) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(status)

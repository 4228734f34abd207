"""The command-line application; what needs torch is imported inside the commands."""

from __future__ import annotations

import errno
import io
import sys

import typer

from keepers.cli import compare, coreset, listing
from keepers.errors import KeepersError

INTERRUPTED = 130
"""The exit status of a command that was stopped with Ctrl-C."""

app = typer.Typer(
    name="keepers",
    help="Which of my data is worth training on, worth labelling, worth a gradient step?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("coreset")(coreset.coreset)
app.command("score")(coreset.score)
app.command("compare")(compare.compare)
app.command("demo")(compare.demo)
app.command("methods")(listing.methods)
app.command("models")(listing.models)


def main() -> None:
    """Run the application; what goes wrong is one sentence on stderr and an exit status."""
    status: int | None = None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show × shows ?
            stream.reconfigure(errors="replace")
    try:
        status = app(standalone_mode=False)
    except typer.Exit as stop:
        status = stop.exit_code
    except KeepersError as error:
        _stop(f"Error: {error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        _stop(f"Error: {what}. Nothing was replaced", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own usage errors
            raise
        _usage(error)
    if status == INTERRUPTED:  # Typer, by its version, raises it or returns it
        _stop("Interrupted. Nothing is lost: the same command continues where it was", status)
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

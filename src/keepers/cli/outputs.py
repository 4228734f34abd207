"""What every command does around its work: check where it writes, and say what it wrote."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Generator, Mapping
from html import unescape
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from keepers import processes
from keepers.cli.commands import Request
from keepers.cli.progress import TerminalProgress
from keepers.cli.settings import echo
from keepers.configuration import validated
from keepers.errors import ExistsError
from keepers.files import plain
from keepers.options import Options
from keepers.reports.terminal import WIDTH
from keepers.workflows.opening import check_outputs
from keepers.workflows.options.shared import Shared

O = TypeVar("O", bound=Options)  # noqa: E741

READ = ("test", "holdout", "il")
"""Options that name data, which no output may harm."""


@contextlib.contextmanager
def listening() -> Generator[dict[str, Any]]:
    """What hears of the work: stderr, and a progress bar, which leaves when the work ends."""
    progress = TerminalProgress() if processes.rank() == 0 else None
    try:
        yield {"progress": progress, "say": echo}
    finally:
        if progress is not None:
            progress.finish()


@contextlib.contextmanager
def work(request: Request[O]) -> Generator[O]:
    """The options that were given, checked also beside the data that are read, and listeners.

    Where an output of the work exists already, the error has the command that replaces it.
    """
    try:
        with listening() as listeners:
            options = validated(request.kind, {**request.given, **listeners})
            if isinstance(options, Shared):
                for data in (request.data, *(getattr(options, name, None) for name in READ)):
                    check_outputs(data, options)
            yield options
    except ExistsError as error:
        if not issubclass(request.kind, Shared):
            raise
        again = shlex.join(["keepers", *sys.argv[1:], "--overwrite"])
        raise ExistsError(f"{error}: {again}") from None


def reported(run: Path, write: Callable[[Path], Path]) -> Path:
    """Write the report of a run directory; say so where it takes the place of another one."""
    path = run / "report.html"
    before = _title(path)
    write(path)
    if before is not None and before != _title(path):
        echo(f"{path} had another report ({before}); it is replaced")
    return path


def _title(page: Path) -> str | None:
    """The title of a page, None where there is none."""
    try:
        found = re.search(r"<title>(.*?)</title>", page.read_text(encoding="utf-8"), re.DOTALL)
    except (OSError, ValueError):
        return None
    return None if found is None else unescape(found[1]).strip()


def console() -> Console:
    """stdout, as wide as the terminal or as a page."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else WIDTH, highlight=False, soft_wrap=False)


def say_written(written: Mapping[str, Path]) -> None:
    """Where the files are, a line for each."""
    for name, path in written.items():
        sys.stdout.write(f"{name}: {path}\n")


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")

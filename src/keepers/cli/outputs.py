"""What every command does around its work: check where it writes, and say what it wrote."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from keepers import processes
from keepers.cli.progress import TerminalProgress
from keepers.cli.settings import echo
from keepers.data import check_apart, check_destination, check_own, check_run, is_within
from keepers.errors import RunError
from keepers.files import check_output, plain
from keepers.reports.terminal import WIDTH


@contextlib.contextmanager
def working(values: dict[str, Any]) -> Generator[dict[str, Any]]:
    """The arguments of a workflow: plain strings for enumerations, and where to report.

    However the work ends, its progress bar is taken off the terminal.
    """
    plain_values = {
        name: str(value) if hasattr(value, "value") else value for name, value in values.items()
    }
    progress = TerminalProgress() if processes.rank() == 0 else None
    try:
        yield {**plain_values, "progress": progress, "say": echo}
    finally:
        if progress is not None:
            progress.finish()


def check_outputs(data: Any, outputs: Mapping[str, Any]) -> None:
    """Refuse, before anything is trained, outputs that cannot be written or would harm the data."""
    overwrite, export = outputs["overwrite"], outputs.get("export")
    check_run(data, outputs["run"])
    own = {"run": outputs["run"], "config": outputs.get("config")}
    if outputs["out"] is not None:
        check_own(outputs["out"], "out", **own)
        check_apart(data, outputs["out"], "out")
        check_output(Path(outputs["out"]), overwrite=overwrite)
    if export is None:
        return
    check_destination(data, export, overwrite)
    for name in ("out", "run"):
        if outputs[name] is not None and is_within(Path(outputs[name]), Path(export)):
            raise RunError(
                f"{name}: {outputs[name]} lies in {export}, which --export writes as a whole. "
                f"Name another with --{name}"
            )
    check_own(export, "export", **own)


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

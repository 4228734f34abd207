"""The command line of benchmarks that run draw by draw, in any order, and are summed up later."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path


def run_or_summary(
    about: str | None, names: Iterable[str] = (), folder: str = "--out"
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """`run NAME... --out FOLDER`, or `summary FOLDER --out FILE`: the parser, and that of `run`.

    Without `names`, `run` takes none.
    """
    parser = argparse.ArgumentParser(description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    if choices := [*names]:
        running.add_argument("names", nargs="+", choices=choices)
    running.add_argument(folder, type=Path, required=True)
    telling = commands.add_parser("summary")
    telling.add_argument("folder", type=Path)
    telling.add_argument("--out", type=Path, required=True)
    return parser, running

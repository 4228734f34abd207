"""What a command of keepers leaves, run in the process of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType

from keepers.reports.terminal import WIDTH


@dataclass(frozen=True)
class Said:
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON value on stdout."""
        assert self.status == 0, self.err
        return json.loads(self.out)


Keepers = Callable[..., Said]


def plain_lines(renderable: RenderableType) -> list[str]:
    """What a console of 100 columns shows, without colours."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]

"""What a command of keepers leaves, run in the process of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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

"""`Outcome`: what advice and experiments give back and leave in the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from keepers import processes
from keepers.files import plain, write_json
from keepers.workflows.options.shared import Shared
from keepers.workflows.workplace import Workplace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A result as plain JSON values, and the run directory whose `file` holds it."""

    file: ClassVar[str]

    result: dict[str, Any]
    run: Path

    @classmethod
    def left(cls, result: Mapping[str, Any], place: Workplace, options: Shared) -> Self:
        """The outcome, left in its run directory and, where it is named, in `out`."""
        outcome = cls(result=plain(result), run=place.run.path)
        if processes.rank() == 0:
            place.run.leave(cls.file, outcome.result, place.say)
            if options.out is not None:
                write_json(Path(options.out), outcome.result, overwrite=options.overwrite)
        return outcome

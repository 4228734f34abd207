"""Options that every workflow has: where it runs, how data are read, what is written where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from keepers.choices import TASKS, Header, OnBadRow, Precision, TaskName
from keepers.errors import ParameterError
from keepers.options import Option, Options, at_least

if TYPE_CHECKING:
    from keepers.roles import Role
    from keepers.training import Hardware
    from keepers.types import Progress

    ModelLike = str | Role | Mapping[str, Any] | None
    """A model by its name, as a role, or as the fields of one; None is one for the data."""
else:
    ModelLike = Annotated[Any, lambda name, value: check_model(name, value)]

AUTO = "auto"
"""What a pilot settles: a method, or whether to select at all."""

Say = Callable[[str], None]


def check_model(name: str, given: Any) -> None:
    """Refuse an unknown model, or an unknown field of a role, before data are read."""
    from keepers.roles import Role

    if not isinstance(given, str | Mapping | Role):
        raise ParameterError(name, f"got {given!r}", "Give the name of a model, or a keepers.Role")
    Role.check(name, given)


class Seeded(Options):
    """What all randomness is derived from."""

    seed: Annotated[int, Option("Same data, same seed, same selection")] = 0


class HardwareOptions(Options):
    """Where models are trained and run.

    Raises:
        ParameterError: as `keepers.training.Hardware`.
    """

    device: Annotated[str, Option("auto, cpu, cuda, cuda:N or mps")] = "auto"
    precision: Annotated[Precision, Option("Number format; auto: bf16 if it is faster")] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.hardware

    @property
    def hardware(self) -> Hardware:
        """The hardware that is meant."""
        from keepers.training import Hardware

        return Hardware(device=self.device, precision=self.precision)


def known_task(name: str, value: str) -> None:
    """Check that a task is a built-in one, or one of an installed package."""
    if value in TASKS:
        return
    from keepers.data import check_task

    check_task(value, name)


SHOWN_TASKS = f"[{'|'.join(TASKS)}]"
"""How the command line shows what a task may be; packages add others."""


class Rows(Options):
    """How rows are read."""

    input: Annotated[
        str | Sequence[str] | None,
        Option(
            "Column with the picture, text or vector", "Several, separated by commas, are joined"
        ),
    ] = None
    label: Annotated[
        str | None,
        Option(
            "Column with the label",
            "Several, separated by commas: columns of 0 and 1, or of numbers",
        ),
    ] = None
    id: Annotated[str | None, Option("Column with a unique key (default: input hash)")] = None
    split: Annotated[str | None, Option("Split of a folder, file or hub data set to read")] = None
    header: Annotated[
        Header, Option("Whether the first line of CSV and TSV files names the columns")
    ] = "auto"
    on_bad_row: Annotated[OnBadRow, Option("Stop at rows that cannot be read, or skip them")] = (
        "error"
    )


class Reading(Rows):
    """How the data are read."""

    task: Annotated[
        TaskName,
        known_task,
        Option(
            "Kind of labels: one class each, several labels, or a number (default: by values)",
            after="label",
            metavar=SHOWN_TASKS,
        ),
    ] = "auto"


class Listening(Options):
    """What hears of the work, in Python alone."""

    progress: Annotated[Progress | None, Option(more="Gets the progress of long phases")] = None
    say: Annotated[
        Say | None,
        Option(more="Gets messages for people: what was found, how long it takes, warnings"),
    ] = None


class Proxied(Options):
    """The model that selects."""

    proxy: Annotated[
        ModelLike, Option("Model that selects; see 'keepers models' (default: by data)")
    ] = None
    epochs: Annotated[
        int | None, at_least(1), Option("Epochs of the proxy (default: the model's own)")
    ] = None
    resolution: Annotated[
        int | None, Option("Side in pixels to which pictures are scaled for the proxy")
    ] = None
    ensemble: Annotated[
        int | None,
        at_least(1),
        Option("Number of proxies, combined by mean rank (default: the method's own)"),
    ] = None


class Shared(HardwareOptions, Reading, Listening):
    """The options of a workflow that works in a run directory."""

    reads_conversations: ClassVar[bool] = False
    """Whether it takes what language models are tuned on."""
    leaves_folder: ClassVar[bool] = False
    """Whether `out` is a folder for some data."""

    limit: Annotated[int | None, Option("Use only a random part of N rows", after="header")] = None
    out: Annotated[str | Path | None, Option("JSON file for the result", after="on_bad_row")] = None
    overwrite: Annotated[bool, Option("Replace outputs that exist")] = False
    run: Annotated[
        str | Path | None,
        Option("Run directory (default: in keepers-runs/, by the name of the data)"),
    ] = None
    resume: Annotated[bool, Option("Reuse and continue the stages in the run directory")] = True

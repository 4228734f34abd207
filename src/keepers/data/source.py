"""`Source`: labelled (or unlabelled) examples in canonical order, as they were given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from keepers.choices import Header
from keepers.data.conversations import readable
from keepers.data.examples import Examples
from keepers.data.ids import units
from keepers.data.inputs import RawInputs, stored
from keepers.data.pictures import png
from keepers.data.where import Where
from keepers.tasks import Classes, Tags, Targets, Task, labels_at
from keepers.types import DataInfo, Kind


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that were taken; `input` holds several where a vector is made of columns.

    `label_named` says that the user named the label, rather than that it was found; `header`
    whether CSV files were said to have one; `chat` that the inputs are conversations.
    """

    input: tuple[str, ...] = ()
    label: str | None = None
    label_named: bool = False
    id: str | None = None
    group: str | None = None
    features: str | None = None
    split: str | None = None
    header: Header = "auto"
    chat: bool = False


@dataclass(frozen=True, kw_only=True)
class SkippedRow:
    """A row that could not be used, and why; one without a key has no id."""

    row: int
    id: int | str | None
    problem: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Examples in sorted-id order: position i is the i-th id.

    `labels` (n,) are the class numbers, -1 where unknown, None where there are none; those of
    another `task` are `Tags` or numbers (n, d), and there are no class names. `groups` (n,)
    strings. `shape` is (channels, height, width), (features,) or (). `features` (n, d) are those
    that somebody brought, `quality` (n,) scores alike. `where` leads from rows back to files.
    `num_rows` counts the rows of the user's data, also those left out; `found` says in sentences
    what was taken.
    """

    name: str
    kind: Kind
    examples: Examples
    labels: Any
    class_names: tuple[str, ...]
    groups: npt.NDArray[Any] | None
    shape: tuple[int, ...]
    num_rows: int
    features: npt.NDArray[np.float32] | None = None
    quality: npt.NDArray[np.float64] | None = None
    columns: Columns = Columns()
    where: Where = field(default_factory=Where)
    found: tuple[str, ...] = ()
    skipped: tuple[SkippedRow, ...] = ()
    other_task: Task | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        return (
            f"Source({self.name!r}, {self.kind}, {len(self)} examples, "
            f"{self.task.num_outputs} {self.task.plural})"
        )

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Integers or strings (n,)."""
        return self.examples.ids

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The row numbers (n,) in the user's data."""
        return self.examples.rows

    @property
    def inputs(self) -> RawInputs:
        """The raw inputs (n,)."""
        return self.examples.inputs

    @property
    def digests(self) -> npt.NDArray[np.bytes_]:
        """Hashes (n,) of the raw inputs."""
        return self.examples.digests

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over ids, inputs, labels and class names, whatever the row order.

        >>> from keepers.data import open_source
        >>> source = open_source("digits")
        >>> source.fingerprint == source.take(np.arange(len(source))).fingerprint
        True
        """
        state = hashlib.blake2b(digest_size=16)
        for part in (self.kind, *self.class_names):
            state.update(part.encode() + b"\x1f")
        state.update("\n".join(map(str, self.ids.tolist())).encode())
        state.update(self.digests.tobytes())
        if isinstance(self.inputs, np.ndarray):  # equal bytes may be other numbers
            state.update(f"{self.inputs.dtype.name} {self.inputs.shape[1:]}".encode())
        if self.labels is not None:
            whole: Any = self.labels.numpy() if isinstance(self.labels, Tags) else self.labels
            kind = "<f4" if whole.dtype.kind == "f" else "<i8"
            state.update(whole.astype(kind).tobytes())
        if self.other_task is not None:
            state.update(json.dumps(self.other_task.facts()).encode())
        return state.hexdigest()

    @property
    def identity(self) -> str:
        """32 hexadecimal digits over ids and inputs."""
        return self.examples.identity

    @cached_property
    def content(self) -> str:
        """32 hexadecimal digits over the inputs in their order, whatever their ids and labels."""
        shape = f"{self.kind} {getattr(self.inputs, 'dtype', '')} {self.shape}".encode()
        return hashlib.blake2b(shape + self.digests.tobytes(), digest_size=16).hexdigest()

    @cached_property
    def units(self) -> npt.NDArray[np.int64]:
        """The first position (n,) of the copies of each input, and of its group.

        Whatever holds examples out of a training, or pays for their labels, takes whole units.
        """
        return self.examples.units if self.groups is None else units(self.digests, self.groups)

    def take(self, positions: npt.ArrayLike) -> Source:
        """The examples at `positions`, brought into canonical order."""
        chosen = np.sort(np.asarray(positions, dtype=np.int64))
        return replace(
            self,
            examples=self.examples.take(chosen),
            labels=None if self.labels is None else labels_at(self.labels, chosen),
            groups=None if self.groups is None else self.groups[chosen],
            features=None if self.features is None else self.features[chosen],
            quality=None if self.quality is None else self.quality[chosen],
        )

    def info(self, resolution: int | None = None) -> DataInfo:
        """What a model factory is told; pictures at `resolution` × `resolution` where given."""
        shape, task = self.shape, self.task
        if resolution is not None and self.kind == "image":
            shape = (shape[0], resolution, resolution)
        return DataInfo(kind=self.kind, shape=shape, num_classes=task.num_outputs, task=task.name)

    @property
    def task(self) -> Task:
        """What the labels mean."""
        return Classes(self.class_names) if self.other_task is None else self.other_task

    @property
    def targets(self) -> Targets | None:
        """The labels as a training takes them; None where there are none."""
        labels = self.labels
        return torch.from_numpy(labels) if isinstance(labels, np.ndarray) else labels

    @cached_property
    def strata(self) -> npt.NDArray[np.int64] | None:
        """What floors and balance are over (n,): the classes, or the strata of the task."""
        if self.other_task is None or self.targets is None:
            return self.labels
        return self.other_task.strata(self.targets).numpy()

    @property
    def proportions(self) -> Targets:
        """What splits and folds keep in proportion: the strata (n,), or all labels of each example.

        Of data without labels, one stratum.
        """
        if self.targets is None:
            return torch.zeros(len(self), dtype=torch.int64)
        return self.task.proportions(self.targets)

    @property
    def strata_names(self) -> tuple[str, ...]:
        """What the strata are called."""
        return self.task.strata_names

    def shown_labels(self, positions: Sequence[int] | None = None) -> list[str | None]:
        """The labels of the examples at `positions`, or of all, in words."""
        at = range(len(self)) if positions is None else positions
        return [None] * len(at) if self.targets is None else self.task.show(self.targets, at)

    def preview(self, position: int) -> str | bytes:
        """What a person is shown of one example: its text, or a PNG of its picture.

        >>> from keepers.data import open_source
        >>> open_source("digits").preview(0)[1:4]
        b'PNG'
        """
        if self.kind == "image":
            value = (
                self.inputs[position]
                if isinstance(self.inputs, np.ndarray)
                else stored(self.inputs, position)
            )
            return png(value)
        if self.kind == "chat":
            return readable(json.loads(stored(self.inputs, position) or b"{}"))
        if self.kind == "text":
            return (stored(self.inputs, position) or b"").decode()
        values: npt.NDArray[np.float32] = np.asarray(self.inputs[position])  # pyright: ignore[reportIndexIssue]
        names = self.columns.input if len(self.columns.input) == len(values) else ()
        shown = [f"{value:.4g}" for value in values[:12].tolist()]
        if names:
            shown = [f"{name}={value}" for name, value in zip(names, shown, strict=False)]
        return ", ".join(shown) + (", …" if len(values) > 12 else "")

"""What a campaign stands on: its pool, what was labelled before, and its test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.campaign import control
from keepers.choices import Header, OnBadRow
from keepers.data import Source, doubtful_classes, joined, open_source, readable
from keepers.data.opening import SEVERAL_LABELS
from keepers.errors import DataError, KeepersError, ParameterError, about
from keepers.types import Progress
from keepers.words import counted, remedy
from keepers.workflows.active.config import BUILT_IN, check_classes
from keepers.workflows.opening import say_skipped


@dataclass(frozen=True, kw_only=True)
class PoolReading:
    """How the pool, and data like it, are read; the CLI has the same names.

    `label` names a column of the pool that holds labels already; without it none is read.
    """

    input: str | Sequence[str] | None = None
    label: str | None = None
    id: str | None = None
    split: str | None = None
    header: Header = "auto"
    on_bad_row: OnBadRow = "error"


@dataclass(frozen=True, kw_only=True, eq=False)
class Holdings:
    """The examples of a campaign in canonical order, without labels.

    `source` holds the pool and what was labelled elsewhere; `in_pool` (n,) marks the first.
    `tested` (n,) marks what also stands in the test set. `brought` are labels that came with the
    data, by id. `features` (n, d) are those of the column that was named, if one was. `memory` is
    a folder in which is kept what follows from all these.
    """

    source: Source
    in_pool: npt.NDArray[np.bool_]
    tested: npt.NDArray[np.bool_]
    test: Source | None
    brought: Mapping[int | str, str]
    features: npt.NDArray[np.float32] | None = None
    memory: Path | None = None

    @cached_property
    def position(self) -> Callable[[int | str], int | None]:
        """The position of an id, None where the data do not hold it."""
        return cache(self.source.examples.position)

    def numbers(self, seed: int) -> npt.NDArray[np.float64]:
        """The number u (n,) of each example that decides on the control reserve."""
        memory = None if self.memory is None else self.memory / "control.safetensors"
        return control.remembered(self.source.examples, seed, memory)

    def take(self, places: npt.NDArray[np.int64]) -> Holdings:
        """Those at some sorted positions."""
        return replace(
            self,
            source=self.source.take(places),
            in_pool=self.in_pool[places],
            tested=self.tested[places],
            features=None if self.features is None else self.features[places],
            memory=None,
        )

    def readable(self) -> Holdings:
        """The same without the pictures that cannot be decoded."""
        source = readable(self.source, on_bad_row="skip")
        if len(source) == len(self.source):
            return self
        stay = np.isin(self.source.ids, source.ids)
        return replace(
            self,
            source=source,
            in_pool=self.in_pool[stay],
            tested=self.tested[stay],
            features=None if self.features is None else self.features[stay],
            memory=None,
        )

    def with_classes(self, classes: Sequence[str]) -> Holdings:
        """The same under other class names (a newer schema)."""
        return replace(self, source=replace(self.source, class_names=tuple(classes)))


def open_holdings(
    pool: Any,
    *,
    reading: PoolReading,
    classes: Sequence[str] | None,
    labelled: Any = None,
    test: Any = None,
    features: str = BUILT_IN,
    memory: Path | None = None,
    progress: Progress | None = None,
) -> Holdings:
    """Open everything a campaign stands on; `memory` is a folder in which it is kept.

    Raises:
        DataError: data that cannot be read, or that is not alike.
        ParameterError: no classes are known.
    """
    read = {name: value for name, value in vars(reading).items() if name not in ("label", "split")}
    with about("pool"):
        first = open_source(
            pool,
            label=reading.label,
            split=reading.split,
            task="class",
            require_labels=False,
            memory=_memory(memory, "pool"),
            progress=progress,
            **read,
        )
    other = None
    if labelled is not None:
        with about("labelled"):
            other = open_source(
                labelled,
                task="class",
                like=_known(first, classes, reading),
                on_bad_row=reading.on_bad_row,
                memory=_memory(memory, "labelled"),
            )
    class_names = _classes(classes, first if reading.label else None, other, test, first, reading)
    brought: dict[int | str, str] = {}
    if reading.label is not None:
        brought |= _labels_of(first, class_names, "pool")
    source = replace(_known(first, class_names, reading), groups=None, found=_told(first, reading))
    if other is not None:
        theirs = _labels_of(other, class_names, "labelled")
        _check_agree(brought, theirs)
        brought |= theirs
        with about("labelled"):
            source = joined(source, other)
        more = (*doubtful_classes(other.class_names), *_left_out(other, "labelled"))
        source = replace(source, found=(*source.found, *more))
    tested = np.zeros(len(source), dtype=bool)
    test_source = None
    if test is not None:
        with about("test"):
            test_source = open_source(
                test,
                task="class",
                like=source,
                on_bad_row=reading.on_bad_row,
                memory=_memory(memory, "test"),
            )
        if test_source.labels is None:
            raise ParameterError("test", f"{test_source.name} has no labels", "Give labelled data")
        source = replace(source, found=(*source.found, *_left_out(test_source, "test")))
        tested = np.isin(source.digests, test_source.digests)
        if tested.any():
            stand = counted(int(tested.sum()), "example stands", "examples stand")
            told = f"{stand} in the test data, too: neither asked for nor trained on"
            source = replace(source, found=(*source.found, told))
    return Holdings(
        source=source,
        in_pool=np.ones(len(source), bool) if other is None else _among(source.ids, first.ids),
        tested=tested,
        test=test_source,
        brought=brought,
        features=feature_column(features, source, (first, pool), (other, labelled)),
        memory=memory,
    )


def _memory(folder: Path | None, what: str) -> Path | None:
    return None if folder is None else folder / f"hashed-{what}.safetensors"


def _left_out(source: Source, what: str) -> list[str]:
    """Which rows of labelled or test data are left out, in a sentence."""
    said: list[str] = []
    say_skipped(source, lambda sentence: said.append(f"{what}: {sentence}"))
    return said


def _told(first: Source, reading: PoolReading) -> tuple[str, ...]:
    """What was taken, without the labels that were not asked for."""
    name = first.columns.label
    if reading.label is not None or name is None:
        return first.found
    of_labels = (*doubtful_classes(first.class_names),)
    kept = (
        sentence
        for sentence in first.found
        if f" classes from '{name}': " not in sentence
        and SEVERAL_LABELS not in sentence
        and sentence not in of_labels
    )
    return (*kept, f"'{name}' is not read: --label {name} brings the labels in it")


def _known(first: Source, classes: Sequence[str] | None, reading: PoolReading) -> Source:
    """What other files are opened like: a label that was found in the pool is none for them."""
    columns = replace(first.columns, label=reading.label, label_named=False)
    return replace(first, labels=None, class_names=tuple(classes or ()), columns=columns)


def _classes(
    given: Sequence[str] | None,
    pool: Source | None,
    labelled: Source | None,
    test: Any,
    like: Source,
    reading: PoolReading,
) -> tuple[str, ...]:
    if given is not None:
        return tuple(check_classes(given))
    for source in (pool, labelled):
        if source is not None and source.class_names:
            return tuple(check_classes(source.class_names))
    if test is not None:
        with about("test"):
            opened = open_source(
                test,
                task="class",
                like=_known(like, None, reading),
                on_bad_row=reading.on_bad_row,
            )
        if opened.class_names:
            return tuple(check_classes(opened.class_names))
    raise no_classes()


def no_classes() -> ParameterError:
    """The error where nothing says which classes there are."""
    return ParameterError(
        "classes",
        "got none, and no labelled or test data that tell them",
        "Give --classes neg,pos (classes=['neg', 'pos'])",
    )


def _labels_of(source: Source, classes: Sequence[str], what: str) -> dict[int | str, str]:
    if source.labels is None:
        raise ParameterError(what, f"{source.name} has no labels", "Name the column with --label")
    unknown = sorted(
        {source.class_names[n] for n in np.unique(source.labels).tolist() if n >= 0} - set(classes)
    )
    if unknown:
        raise DataError(
            f"{what}: {source.name} holds the class '{unknown[0]}', which is none of "
            f"--classes. {remedy(unknown[0], classes, 'They are')}. Correct the label, or add it "
            "to them"
        )
    return {
        source.examples.id(place): source.class_names[source.labels[place]]
        for place in np.flatnonzero(source.labels >= 0).tolist()
    }


def _check_agree(first: Mapping[int | str, str], second: Mapping[int | str, str]) -> None:
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            raise DataError(
                f"labelled: '{name}' is '{second[name]}' there and '{first[name]}' in the pool. "
                "Correct one of them"
            )


def _among(ids: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    there = set(others.tolist())
    return np.fromiter((name in there for name in ids.tolist()), dtype=bool, count=len(ids))


def feature_column(
    features: str, source: Source, *files: tuple[Source | None, Any]
) -> npt.NDArray[np.float32] | None:
    """The features of a column: None where `features` names a model or the built-in ones."""
    if features == BUILT_IN:
        return None
    found: npt.NDArray[np.float32] | None = None
    place = {name: position for position, name in enumerate(source.ids.tolist())}
    for opened, data in files:
        if opened is None:
            continue
        try:
            column = open_source(
                data,
                input=features,
                id=opened.columns.id,
                split=opened.columns.split,
                header=opened.columns.header,
                task="class",
                require_labels=False,
            )
        except ParameterError as error:
            if error.parameter == "input" and ":" in features and found is None:
                return None  # a model's name
            _, _, problem = str(error).partition(": ")
            raise ParameterError("features", f"in {opened.name} {problem}") from None
        except KeepersError as error:
            raise DataError(f"features: {error}") from None
        if column.kind != "vector" or column.num_rows != opened.num_rows:
            raise ParameterError(
                "features",
                f"column '{features}' of {opened.name} holds {column.num_rows:,} {column.kind}s",
                f"Name one of {opened.num_rows:,} vectors",
            )
        values = np.asarray(column.inputs, dtype=np.float32)
        if found is None:
            found = np.full((len(source), values.shape[1]), np.nan, dtype=np.float32)
        elif found.shape[1] != values.shape[1]:
            raise DataError(
                f"features: column '{features}' holds vectors of {values.shape[1]} numbers in "
                f"{opened.name}, and of {found.shape[1]} in the pool. Give alike"
            )
        by_row = dict(zip(column.rows.tolist(), range(len(values)), strict=True))
        rows = [by_row[row] for row in opened.rows.tolist()]
        found[[place[name] for name in opened.ids.tolist()]] = values[rows]
    return found


def location(data: Any, parameter: str) -> str | None:
    """What to write down of data, so that a later command finds them again.

    Raises:
        ParameterError: data in memory, which a later command could not open.
    """
    if data is None:
        return None
    if not isinstance(data, str | Path):
        raise ParameterError(
            parameter, f"got {type(data).__name__}", "A campaign outlives the process: give a path"
        )
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else str(data)

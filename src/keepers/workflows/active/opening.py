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
from keepers.data import Source, doubtful_classes, joined, open_source, readable
from keepers.data.sentences import SEVERAL_LABELS
from keepers.errors import DataError, KeepersError, ParameterError, about
from keepers.tasks import CLASSES, kind_of, question_of
from keepers.tasks.question import Answer, Question
from keepers.types import Progress
from keepers.words import counted, remedy
from keepers.workflows.active.brought import feature_column
from keepers.workflows.active.unlabelled import with_names
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.active import BUILT_IN, check_names
from keepers.workflows.options.shared import Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Holdings:
    """The examples of a campaign in canonical order, without labels; its task knows the names.

    `source` holds the pool and what was labelled elsewhere; `in_pool` (n,) marks the first.
    `tested` (n,) marks what also stands in the test set. `brought` are labels that came with the
    data, by id. `features` (n, d) are those of the column that was named, if one was. `memory` is
    a folder in which is kept what follows from all these.
    """

    source: Source
    in_pool: npt.NDArray[np.bool_]
    tested: npt.NDArray[np.bool_]
    test: Source | None
    brought: Mapping[int | str, Answer]
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

    def with_names(self, names: Sequence[str]) -> Holdings:
        """The same under other names (a newer schema)."""
        return replace(self, source=with_names(self.source, names))


def open_holdings(
    pool: Any,
    *,
    reading: Rows,
    names: Sequence[str] | None,
    task: str = CLASSES.name,
    labelled: Any = None,
    test: Any = None,
    features: str = BUILT_IN,
    memory: Path | None = None,
    progress: Progress | None = None,
) -> Holdings:
    """Open everything a campaign stands on; `memory` is a folder in which it is kept.

    Raises:
        DataError: data that cannot be read, or that is not alike.
        ParameterError: no names are known.
    """
    read = {name: value for name, value in vars(reading).items() if name not in ("label", "split")}
    with about("pool"):
        try:
            first = open_source(
                pool,
                label=reading.label,
                split=reading.split,
                task=task if reading.label else "class",
                require_labels=False,
                memory=_memory(memory, "pool"),
                progress=progress,
                **read,
            )
        except ParameterError as error:
            if error.parameter == "input":
                refuse_conversations(pool, reading)
            raise
    other = None
    if labelled is not None:
        with about("labelled"):
            other = open_source(
                labelled,
                task=task,
                like=_known(first, names, reading, task),
                on_bad_row=reading.on_bad_row,
                memory=_memory(memory, "labelled"),
            )
    names = _names(names, task, first if reading.label else None, other, test, first, reading)
    question = question_of(task, names)
    brought: dict[int | str, Answer] = {}
    if reading.label is not None:
        brought |= _labels_of(first, question, "pool")
    known = _known(first, names, reading, task)
    source = replace(known, groups=None, found=_told(first, reading))
    if other is not None:
        theirs = _labels_of(other, question, "labelled")
        _check_agree(brought, theirs, question)
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
                task=task,
                like=source,
                on_bad_row=reading.on_bad_row,
                memory=_memory(memory, "test"),
            )
        if test_source.targets is None:
            raise ParameterError("test", f"{test_source.name} has no labels", "Give labelled data")
        source = replace(source, found=(*source.found, *_left_out(test_source, "test")))
        tested = np.isin(source.digests, test_source.digests)
        if tested.any():
            stand = counted(int(tested.sum()), "example stands", "examples stand")
            told = f"{stand} in the test data, too: they are neither selected nor trained on"
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


def _told(first: Source, reading: Rows) -> tuple[str, ...]:
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
    return (*kept, f"'{name}' is not read; --label {name} reads the labels in it")


def _known(first: Source, names: Sequence[str] | None, reading: Rows, task: str) -> Source:
    """What other files are opened like: a label that was found in the pool is none for them."""
    named = ",".join(names or ()) if task != CLASSES.name else None  # columns of their names
    columns = replace(first.columns, label=reading.label or named, label_named=False)
    known = replace(first, labels=None, class_names=(), other_task=None, columns=columns)
    if names is None:
        return known
    kind = kind_of(task)
    blank = kind.fitted(tuple(names), kind.told(tuple(names), 0, (), ()))
    return with_names(replace(known, other_task=None if blank.is_share else blank), names)


def _names(
    given: Sequence[str] | None,
    task: str,
    pool: Source | None,
    labelled: Source | None,
    test: Any,
    like: Source,
    reading: Rows,
) -> tuple[str, ...]:
    question = question_of(task, given or ())
    if given is not None:
        return tuple(check_names(given, question))
    for source in (pool, labelled):
        if source is not None and source.task.names:
            return tuple(check_names(source.task.names, question))
    if test is not None:
        with about("test"):
            opened = open_source(
                test,
                task=task,
                like=_known(like, None, reading, task),
                on_bad_row=reading.on_bad_row,
            )
        if opened.task.names:
            return tuple(check_names(opened.task.names, question))
    raise no_names(task)


def refuse_conversations(pool: Any, reading: Rows) -> None:
    """Say so where a pool that cannot be asked about holds conversations.

    Raises:
        ParameterError: it does.
    """
    try:
        found = open_source(
            pool,
            input=reading.input,
            split=reading.split,
            require_labels=False,
            on_bad_row="skip",
        )
    except KeepersError:
        return
    if found.kind == "chat":
        raise ParameterError(
            "pool",
            f"{found.name} holds conversations ({found.found[0]}), but campaigns do not work "
            "with them",
            "keepers coreset selects conversations. To label texts, name a column of texts with "
            "--input and the classes with --classes",
        )


def no_names(task: str) -> ParameterError:
    """The error where nothing says which classes, labels or numbers there are."""
    option = question_of(task, ()).option
    return ParameterError(
        option,
        "got none, but there are no labelled or test data to read them from",
        f"Give --{option} {','.join(EXAMPLES[option])} ({option}={EXAMPLES[option]})",
    )


EXAMPLES = {"classes": ["neg", "pos"], "labels": ["joy", "anger"], "numbers": ["price"]}


def _labels_of(source: Source, question: Question, what: str) -> dict[int | str, Answer]:
    if source.targets is None:
        raise ParameterError(what, f"{source.name} has no labels", "Name the column with --label")
    answers = source.task.answers(source.targets, range(len(source)))
    there = {name for answer in answers if answer is not None for name in question.names_in(answer)}
    unknown = sorted(there - set(question.names))
    if unknown:
        raise DataError(
            f"{what}: {source.name} holds the {question.one} '{unknown[0]}', which is not in "
            f"--{question.option}. {remedy(unknown[0], question.names, 'They are')}. Correct the "
            "label, or add it to the option"
        )
    return {
        source.examples.id(place): answer
        for place, answer in enumerate(answers)
        if answer is not None
    }


def _check_agree(
    first: Mapping[int | str, Answer], second: Mapping[int | str, Answer], question: Question
) -> None:
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            here, there = question.in_words(first[name]), question.in_words(second[name])
            raise DataError(
                f"labelled: '{name}' is '{there}' there, but '{here}' in the pool. Correct one "
                "of them"
            )


def _among(ids: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    there = set(others.tolist())
    return np.fromiter((name in there for name in ids.tolist()), dtype=bool, count=len(ids))


def location(data: Any, parameter: str) -> str | None:
    """What to write down of data, so that a later command finds them again.

    Raises:
        ParameterError: data in memory, which a later command could not open.
    """
    if data is None:
        return None
    if not isinstance(data, str | Path):
        raise ParameterError(
            parameter,
            f"got {type(data).__name__}",
            "A campaign needs data that it can read again: give a path",
        )
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else str(data)

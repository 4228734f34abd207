"""`open_source`: anything that holds examples, in canonical order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.choices import Header, OnBadRow, TaskName
from keepers.data import extract, folders
from keepers.data.arrow import ArrowColumn, floats
from keepers.data.arrow import compute as pc
from keepers.data.columns import find_columns, told
from keepers.data.conversation_formats import conversations_in, recognised
from keepers.data.csv_files import HEADERS
from keepers.data.examples import Examples
from keepers.data.features import is_npy, read_features
from keepers.data.frames import check_names
from keepers.data.guesses import is_number
from keepers.data.hashing import hashed, num_repeats
from keepers.data.inputs import PictureFiles, RawInputs, take_inputs
from keepers.data.labels import Missing, unlabelled
from keepers.data.looks import turned_down
from keepers.data.material import Material
from keepers.data.reading import is_read_as_path, read_material
from keepers.data.remembered import Memory
from keepers.data.sentences import repeats_in_words, taken_in_words
from keepers.data.source import Columns, SkippedRow, Source
from keepers.data.targets import Read, check_task, label_columns, read_targets
from keepers.data.values import SKIPPING, check_text
from keepers.data.where import Where
from keepers.errors import AmbiguousError, DataError, ParameterError, about, first_few
from keepers.random import generator
from keepers.tasks import CLASSES, labels_at, task_of
from keepers.types import Kind, Progress
from keepers.words import counted


def open_source(
    data: Any,
    *,
    input: str | Sequence[str] | None = None,
    label: str | None = None,
    id: str | None = None,
    group: str | None = None,
    features: Any = None,
    quality: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    like: Source | None = None,
    limit: int | None = None,
    task: TaskName = "auto",
    seed: int = 0,
    require_labels: bool = True,
    keep_unlabelled: bool = False,
    on_bad_row: OnBadRow = "error",
    memory: Path | None = None,
    progress: Progress | None = None,
) -> Source:
    """Open labelled examples and bring them into canonical order, that of their sorted ids.

    `data` is a Parquet, CSV, TSV, JSONL, JSON or `.npy` file, a folder of such files, a folder of
    pictures with one sub-folder for each class, `digits`, an Arrow table, a pandas or polars
    frame, a Hugging Face data set or the hub name of one, (X, y) arrays, or a map-style PyTorch
    data set of (x, y). `input`, `label`, `id` and `group` name columns; `input` may name several,
    separated by commas. `split` names a part of a folder, of a hub data set or of a JSON file, by
    default `train`. `header` (`yes`, `no` or `auto`) says whether the first line of CSV and TSV
    files names the columns; `auto` judges it by the lines below. A test set
    is opened `like` the training source: the same columns and classes. `features` are vectors that
    somebody brings: a column, a `.npy` file or an array with one row for each of the data;
    `quality` names a column of scores that somebody brings. `limit`
    takes a random part, drawn over the ids with `seed`. `task` says what the labels are: a `class`
    each, several `labels` (lists, columns of 0 and 1, or texts that a separator divides), or a
    `number` (or several); `auto` judges it by the values.

    An id is the key in column `id`, or the BLAKE2b-128 hash of the raw input. Rows without a
    text, with numbers that are missing, NaN or infinite, whose picture file cannot be read, or
    without a label where one is needed, are an error, or are left out and listed in `skipped`;
    with `keep_unlabelled` rows without a label stay among those that have one.
    `memory` is a file in which all this is
    kept: files that did not change are not read again before an input is asked for.
    `progress` is told how many files are read.

    >>> source = open_source("digits")
    >>> source.kind, len(source), source.shape, len(source.class_names)
    ('image', 1797, (1, 8, 8), 10)

    Raises:
        DataError: a missing or damaged file, missing labels, one class only, targets that are not
            of the task, NaN features, or keys that are not unique.
        ParameterError: a column that is not there, or several that could be meant.

        Those on a test set begin with `test`.
    """
    with nullcontext() if like is None else about("test"):
        usual = folders.TRAINING if like is None else folders.TESTING
        if header not in HEADERS:
            raise ParameterError("header", f"got {header!r}", f"Give {', '.join(HEADERS)}")
        check_task(task)
        if like is not None and header == "auto":
            header = like.columns.header
        kept, before = None, (0, None)
        alone = features is None and group is None and quality is None
        if memory is not None and alone and is_read_as_path(data):
            known = like and (like.kind, like.shape, like.columns, like.class_names)
            asked = (input, label, id, header, known, limit, seed, require_labels, on_bad_row)
            asked = (*asked, "unlabelled") if keep_unlabelled else asked
            asked = (*asked, task) if task != "auto" else asked
            path = Path(data).expanduser()
            kept = Memory(file=memory, data=path, split=split, usual=usual, asked=asked)

            def again(columns: Columns, kind: Kind) -> RawInputs:
                return extract.raw_inputs(
                    read_material(data, split, usual, None, header).plain(), columns.input, kind
                )

            if (recalled := kept.recall(again)) is not None:
                return recalled
            before = kept.before()
        material = read_material(data, split, usual, progress, header, on_bad_row).plain()
        if not material.table.num_rows:
            raise DataError(f"data: {material.name} has no rows. Give data with rows")
        check_names(material.table.column_names, material.name)
        check_text(material.table, f"data: {material.name}")
        if limit is not None and limit < 1:
            raise ParameterError("limit", f"got {limit}", "Give a number of rows, 1 or more")
        if like is not None:
            input = input or _known_inputs(like, material)  # noqa: A001
            label = label or _known_label(like, material)
            there = like.columns.id in material.table.column_names
            id = id or (like.columns.id if there else None)  # noqa: A001
        talk = conversations_in(material, input, label, task, like)
        if talk is not None:
            material = replace(material, table=talk.table, kind="chat", input_name=talk.name)
            input, require_labels = None, False  # noqa: A001
            if label is not None and label in talk.format.columns:
                raise ParameterError(
                    "label",
                    f"got '{label}', which is part of the conversations",
                    "Name another column, such as that of the source, or leave it out",
                )
        brought = None if features is None else read_features(features, material)
        column = features if isinstance(features, str) and not is_npy(features) else None
        said = told(
            material.table,
            input,
            label,
            id=id,
            group=group,
            features=column,
            quality=quality,
            brought=brought is not None,
        )
        try:
            columns, kind = find_columns(material, said, require_labels=require_labels)
        except AmbiguousError as error:
            if like is None:
                found = recognised(material.table) if material.kind is None else None
                if found is None or error.parameter != "input":
                    raise
                remedy = f"Name one with --input (input=...), or add --task tokens for {found.name}"
                raise ParameterError(error.parameter, error.problem, remedy) from None
            names = {"input": like.columns.input[0], "label": like.columns.label or "label"}
            remedy = f"Name the right one '{names[error.parameter]}' in {material.name}"
            raise ParameterError(error.parameter, error.problem, remedy) from None
        if like is not None and kind != like.kind:
            raise ParameterError(
                "test",
                f"{material.name} holds {kind}s, but the training data hold {like.kind}s",
                f"Give test data that hold {like.kind}s",
            )
        inputs = extract.raw_inputs(material, columns.input, kind)
        targets = task if talk is None else CLASSES.name
        known_as = like if talk is None else None  # held-out conversations may have other sources
        skip = on_bad_row == "skip"
        missing = Missing(required=require_labels, leave_out=skip, kept=keep_unlabelled)
        labels, class_names, other_task = _labels(
            material, columns, known_as, missing, said.label, targets
        )
        bad = extract.bad_rows(inputs, columns.input)
        shown = columns.input if material.kind is None else ()
        if talk is not None:
            other_task = task_of({"task": "tokens", "names": class_names})
            class_names = ()
            shown = talk.format.columns
            bad |= talk.bad
        bad |= material.bad
        of_inputs = len(bad)
        bad = dict.fromkeys(missing.rows, f"no label in '{columns.label}'") | bad
        bad |= turned_down(material.table, columns.label)
        if brought is not None:
            bad |= extract.unusable_numbers(brought, lambda place: f"features[{place}]")
        rated = None if quality is None else _numbers(material.table[quality], quality)
        if rated is not None:
            bad |= extract.unusable_numbers(rated, lambda _: f"column '{quality}'")
        _check_bad(bad, of_inputs, material, columns, on_bad_row)
        keyless: dict[int, str] = {}
        found = hashed(material, inputs, columns, progress, keyless if skip else None)
        bad |= found.unread | {row: bad.get(row, why) for row, why in keyless.items()}
        _check_bad(bad, of_inputs + len(found.unread), material, columns, on_bad_row)
        whole, repeats = found, found.repeats
        if bad:
            found = found.take(np.flatnonzero(~np.isin(found.rows, list(bad))))
            repeats = num_repeats(found.digests)
        if limit is not None:
            found = found.take(_part(len(found.rows), limit, seed))
        order = found.rows
        groups = None if group is None else _strings(material.table[group])[order]
        taken: RawInputs = take_inputs(inputs, order)
        if brought is not None:
            own = features is data or columns.input == (column,)
            brought = (
                taken
                if own and isinstance(taken, np.ndarray)
                else brought[order].astype(np.float32, copy=False)
            )
        classes = labels if other_task is None else None
        copies = unlabelled(classes, order)
        copies += () if not repeats else repeats_in_words(repeats, found.digests, classes, order)
        if kind == "text":
            copies += extract.empty_texts(taken)
        shape, sizes = extract.input_shape(taken, kind)
        if like is not None:
            extract.check_same_shape(shape, like.shape, material.name)
            shape = like.shape
        source = Source(
            name=material.name,
            kind=kind,
            examples=Examples(
                rows=order,
                names=found.ids,
                read_digests=lambda: found.digests,
                read_inputs=lambda: taken,  # pyright: ignore[reportUnknownLambdaType]
            ),
            labels=None if labels is None else labels_at(labels, order),
            class_names=class_names,
            groups=groups,
            shape=shape,
            num_rows=material.table.num_rows,
            features=brought,
            quality=None if rated is None else rated[order],
            columns=replace(
                columns,
                input=columns.input if talk is None else talk.format.columns,
                chat=talk is not None,
                label_named=said.label is not None,
                split=split,
                header=header,
            ),
            where=Where(paths=_paths(material, inputs, columns), parts=material.parts),
            found=taken_in_words(
                material,
                columns,
                extract.describe(
                    kind, len(order), shown, sizes if talk is None else f"as {talk.format.name}"
                ),
                labels,
                class_names if other_task is None else other_task,
                copies,
                brought,
            ),
            other_task=other_task,
            skipped=tuple(
                SkippedRow(row=row, id=None if row in keyless else name, problem=bad[row])
                for row, name in zip(bad, whole.ids[whole.places(bad)].tolist(), strict=True)
            ),
        )
        if kept is not None and not whole.unread and other_task is None and talk is None:
            kept.keep(source, material, inputs, before)
        return source


def _known_inputs(like: Source, material: Material) -> tuple[str, ...] | None:
    names = like.columns.input
    if material.kind is not None:
        return None
    there = all(name in material.table.column_names for name in names)
    return names if there or len(names) > 1 else None


def _known_label(like: Source, material: Material) -> str | None:
    """The label of `like`, where it is there or the user named it; else it is sought anew."""
    name = like.columns.label
    columns = material.table.column_names
    there = name is not None and all(
        each in columns for each in label_columns(name, material.table)
    )
    named = like.columns.label_named and like.kind != "chat"
    if there or (named and material.kind is None):
        return name
    return None


def _labels(
    material: Material,
    columns: Columns,
    like: Source | None,
    missing: Missing,
    named: str | None,
    task: TaskName,
) -> Read:
    known = like.class_names if like is not None and like.class_names else None
    other = None if like is None else like.other_task
    if columns.label is None:
        return None, known or (), other
    feature = material.features.get(columns.label, {})
    inner: Any = feature.get("feature", feature)
    inner = inner if isinstance(inner, dict) else feature
    declared = inner.get("names") if inner.get("_type") == "ClassLabel" else None
    try:
        return read_targets(
            material.table,
            columns.label,
            task=task,
            declared=declared,
            known=known,
            like=other,
            missing=missing,
        )
    except DataError:
        if missing.required or named is not None:
            raise
        return None, known or (), other  # nobody said that these are labels


def _paths(material: Material, inputs: RawInputs, columns: Columns) -> Sequence[str | None]:
    """The paths of pictures (n,), none where they have none."""
    if isinstance(inputs, PictureFiles):
        part = inputs.root.relative_to(material.root or inputs.root).as_posix()
        start = "" if part == "." else f"{part}/"
        return [start + name if name else None for name in inputs.names.tolist()]
    first = material.table[columns.input[0]] if material.inputs is None else None
    if first is None or not pa.types.is_struct(first.type):
        return ()
    named = first.type.get_field_index("path") >= 0
    paths = pc.struct_field(first, "path").to_pylist() if named else []
    return paths if any(paths) else ()


def _part(count: int, limit: int, seed: int) -> npt.NDArray[np.int64]:
    return np.sort(torch.randperm(count, generator=generator(seed, "limit"))[:limit].numpy())


def _numbers(column: ArrowColumn, name: str) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where it holds nothing.

    Raises:
        ParameterError: it holds something else.
    """
    if not is_number(column.type):
        raise ParameterError(
            "quality", f"column '{name}' holds {column.type}", "Name one of numbers"
        )
    return floats(column).fill_null(float("nan")).to_numpy()


def _strings(column: ArrowColumn) -> npt.NDArray[np.object_]:
    texts = pc.fill_null(column.cast(pa.large_string()), "")
    return np.array(texts.to_pylist(), dtype=object)


def _check_bad(
    bad: dict[int, str], of_inputs: int, material: Material, columns: Columns, on_bad_row: str
) -> None:
    """Refuse bad rows, of `of_inputs` of which it is the input that is bad; all bad ones always."""
    num_rows = material.table.num_rows
    if not bad or (on_bad_row == "skip" and len(bad) < num_rows):
        return
    instead = f"or {SKIPPING} and list them"
    if len(bad) == num_rows:
        instead = "or give other data"
        if of_inputs == num_rows and material.kind is None:
            instead = f"or name another column than '{columns.input[0]}' with --input (input=...)"
    shown = first_few([f"row {row}: {why}" for row, why in bad.items()])
    raise DataError(
        f"data: {counted(len(bad), 'row')} of {material.name} cannot be used ({shown}). Correct "
        f"them, {instead}"
    )

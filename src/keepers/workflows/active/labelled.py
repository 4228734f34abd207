"""The labelled examples of a campaign as a table, with where each label comes from."""

from __future__ import annotations

import difflib
import functools
import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from keepers.campaign import Id, Item, State, id_readings
from keepers.campaign.records import IMPORTED
from keepers.data import Source, check_apart, where
from keepers.data.inputs import digest
from keepers.data.looks import MEASURED
from keepers.errors import RunError
from keepers.files import atomic_path, check_output
from keepers.tasks.question import Answer
from keepers.workflows.active.opening import Holdings

SUFFIXES = (".parquet", ".csv", ".jsonl")
NAMES = {"text": "text", "image": "image", "vector": "features"}


SHORT = 30
"""Letters and digits under which texts are compared as a whole, else by their runs of three."""

TAKEN = (
    *("id", "row", "label", "copy_of", "part", "method", "annotators", "time"),
    *(*MEASURED, *where.COLUMNS),
)
"""Columns that are written beside the input."""


def labelled_table(state: State, holdings: Holdings, *, flat: bool = False) -> Any:
    """One row for each labelled example that the pool holds, in the order of `state.labels`.

    After it come the copies of its input that have no label of their own (`copy_of` has its id);
    none where the labels of such copies differ. `flat`: for a format that holds no lists.
    """
    source = holdings.source
    rows = list(_rows(state, holdings))
    items = [item for item, _ in rows]
    places = [place for _, place in rows]
    own = [place == holdings.position(item.id) for item, place in rows]
    methods = {each.round: each.method for each in state.rounds}
    columns: dict[str, Any] = {
        "id": id_column(source, source.ids[places].tolist()),
        "row": pa.array([int(source.rows[p]) for p in places], pa.int64()),
        **input_columns(source, places, state.question.names if flat else None),
        **label_columns(state, [item.label for item in items], flat=flat),
        "copy_of": id_column(
            source, [None if mine else item.id for item, mine in zip(items, own, strict=True)]
        ),
        "round": pa.array([item.round for item in items], pa.int64()),
        "part": pa.array([item.part or "brought" for item in items], pa.string()),
        "method": pa.array([methods.get(item.round or 0) for item in items], pa.string()),
        "score": pa.array([item.score for item in items], pa.float64()),
        "rank": pa.array([item.rank for item in items], pa.int64()),
        "annotators": pa.array(
            [", ".join(sorted(vote.annotator for vote in item.current)) for item in items],
            pa.string(),
        ),
        "votes": pa.array(
            [len(item.current) * mine for item, mine in zip(items, own, strict=True)], pa.int64()
        ),
        "seconds": pa.array(
            [
                math.fsum(vote.seconds or 0.0 for vote in item.current if mine)
                for item, mine in zip(items, own, strict=True)
            ],
            pa.float64(),
        ),
        "time": pa.array(
            [max((vote.time or "" for vote in item.current), default="") for item in items],
            pa.string(),
        ),
        **source.where.columns(source.rows[places]),
    }
    return pa.table(columns)


def _rows(state: State, holdings: Holdings) -> Iterator[tuple[Item, int]]:
    """Each labelled item with its position, then with those of copies that have its label."""
    source = holdings.source
    placed = {name: holdings.position(name) for name in state.labels}
    labelled = [name for name, place in placed.items() if place is not None]
    own = np.array([placed[name] for name in labelled], dtype=np.int64)
    units = source.units
    free = holdings.in_pool & ~holdings.tested
    free[own] = False
    copies: dict[int, list[int]] = {}
    for place in np.flatnonzero(free & np.isin(units, units[own])).tolist():
        copies.setdefault(int(units[place]), []).append(place)
    said: dict[int, set[Answer]] = {}
    for name, unit in zip(labelled, units[own].tolist(), strict=True):
        said.setdefault(unit, set()).add(state.labels[name])
    for name, place, unit in zip(labelled, own.tolist(), units[own].tolist(), strict=True):
        yield state.item(name), place
        if len(said[unit]) == 1:
            for copy in copies.pop(unit, ()):
                yield state.item(name), copy


_ARROW = {
    "text": pa.string(),
    "texts": pa.list_(pa.string()),
    "number": pa.float64(),
    "numbers": pa.list_(pa.float64()),
}


def label_columns(state: State, labels: Sequence[Answer | None], *, flat: bool) -> dict[str, Any]:
    """Labels as Arrow arrays; None where there is none. `flat`: without lists."""
    found = state.question.columns(labels, flat=flat)
    return {name: pa.array(cells, _ARROW[kind]) for name, (kind, cells) in found.items()}


def id_column(source: Source, ids: Sequence[int | str | None]) -> Any:
    """Ids as an Arrow array of the type that the source has."""
    return pa.array(ids, pa.string() if source.ids.dtype == object else pa.int64())


def row_check(source: Source) -> Callable[[Id, Mapping[str, Any]], str | None]:
    """Tells of a row of a file that came back whether the text in it is not its example's.

    A file whose ids were sorted or filled without the other columns puts labels on the wrong
    examples. A text that was cut, corrected or written in other letters is let pass.
    """
    name = _input_name(source)

    @functools.cache
    def held() -> set[bytes]:
        return set(source.digests.tolist())

    def check(id: Id, row: Mapping[str, Any]) -> str | None:
        text = row.get(name, row.get(name.strip().lower()))  # as the names of tables are read
        places = [p for p in map(source.examples.position, id_readings(id)) if p is not None]
        known = source.kind == "text" and places and isinstance(text, str)
        if not known or not text.strip():
            return None
        found = digest(text.encode(errors="surrogatepass")).encode()
        if found == source.digests[places[0]]:
            return None
        if found not in held() and _is_alike(text, str(source.preview(places[0]))):
            return None
        return (
            f"the {name} of the id {id!r} is not that example's. Put ids, texts and labels back "
            f"into the same rows, or leave the column '{name}' out"
        )

    return check


def _is_alike(given: str, own: str) -> bool:
    """Whether a text may be another one that a person or a spreadsheet changed."""
    given, own = (
        "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
        for text in (given, own)
    )
    if own.startswith(given):  # cut, or nothing but marks
        return True
    if min(len(given), len(own)) < SHORT:
        return difflib.SequenceMatcher(None, given, own, autojunk=False).ratio() >= 0.5
    first, second = ({text[i : i + 3] for i in range(len(text) - 2)} for text in (given, own))
    return len(first & second) >= 0.5 * len(first | second)


def input_columns(
    source: Source, places: list[int], flat: Sequence[str] | None = None
) -> dict[str, Any]:
    """The inputs at some positions, in one column.

    For a format that holds no lists (`flat`: the names that people are asked about), numbers stand
    in the columns that they came from; one whose name is taken is `input.NAME`.
    """
    name = _input_name(source)
    if source.kind == "vector":
        values = np.asarray(source.inputs)[places].astype(np.float32)
        if flat is not None:
            taken = {*TAKEN, *IMPORTED, *flat}
            names = [f"input.{n}" if n.lower() in taken else n for n in _columns_of(source)]
            return {each: pa.array(values[:, at]) for at, each in enumerate(names)}
        return {name: pa.array(list(values), pa.list_(pa.float32()))}
    kind = pa.string() if source.kind == "text" else pa.binary()
    return {name: pa.array([source.preview(place) for place in places], kind)}


def _columns_of(source: Source) -> tuple[str, ...]:
    """The columns of numbers that vectors were made of; none where they came as they are."""
    names = source.columns.input
    return names if source.kind == "vector" and (len(names),) == source.shape else ()


def _input_name(source: Source) -> str:
    names = source.columns.input
    return names[0] if len(names) == 1 and names[0] not in TAKEN else NAMES[source.kind]


def write_labelled(state: State, holdings: Holdings, out: Path, *, overwrite: bool) -> Path:
    """Write the table in the format that the suffix of `out` names, atomically."""
    check_table(out, holdings.source, overwrite=overwrite)
    check_no_data(state, out)
    return write_as_suffix_says(
        labelled_table(state, holdings, flat=out.suffix.lower() == ".csv"),
        holdings.source,
        out,
        overwrite=overwrite,
    )


def write_as_suffix_says(table: Any, source: Source, out: Path, *, overwrite: bool) -> Path:
    """Write a table of examples of a source as Parquet, CSV or JSON lines, atomically."""
    suffix = check_table(out, source, overwrite=overwrite)
    with atomic_path(out, overwrite=overwrite) as partial:
        if suffix == ".parquet":
            pq.write_table(table, partial, compression="zstd")
        elif suffix == ".csv":
            pyarrow.csv.write_csv(table, partial)
        else:
            rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
            partial.write_text("".join(rows), encoding="utf-8")
    return out


def check_table(out: Path, source: Source, *, overwrite: bool) -> str:
    """The suffix of a file that examples of a source can be written to.

    Raises:
        RunError: another suffix, one whose format does not hold them, or a file that exists.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise RunError(
            f"out: got {out}, whose format is not known. Give a file that ends in "
            f"{', '.join(SUFFIXES)}"
        )
    kind, whole = source.kind, not _columns_of(source)
    if (kind == "image" and suffix != ".parquet") or (
        kind == "vector" and whole and suffix == ".csv"
    ):
        others = ".jsonl or .parquet" if kind == "vector" else ".parquet"
        raise RunError(f"out: {suffix} files hold no {kind}s. Give a file that ends in {others}")
    check_output(out, overwrite=overwrite)
    return suffix


def check_no_data(state: State, out: Path) -> None:
    """Refuse to write over the data of a campaign, or a file among them.

    Raises:
        RunError: it is.
    """
    for name in ("pool", "labelled", "test"):
        check_apart(state.settings.get(name), out, "out")

"""Returns: files of labels that come back, to votes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from keepers.campaign.events import Id, Vote
from keepers.campaign.label_studio import ANY_CLASS, Returned, is_task, label_studio_votes
from keepers.campaign.records import SUFFIXES, Located, MalformedError, read_records
from keepers.data.folders import missing, suffix_of
from keepers.data.values import first_line
from keepers.errors import DataError, KeepersError, about, first_few
from keepers.tasks.question import Answer, Question
from keepers.words import counted

_TRUE = ("1", "true", "yes", "y")
_FALSE = ("", "0", "false", "no", "n")


Check = Callable[[Id, Mapping[str, Any]], str | None]
"""What is wrong with a row of an id, in a sentence, None where nothing is."""


def read_votes(
    path: str | Path,
    *,
    annotator: str,
    check: Check | None = None,
    question: Question = ANY_CLASS,
    key: str | None = None,
) -> list[tuple[str, Vote]]:
    """The votes of a file, each with where it stood; a malformed file gives none.

    Raises:
        DataError: as `read_returned`, and for every malformed line (the first 5 are named).
    """
    returned = read_returned(path, annotator=annotator, check=check, question=question, key=key)
    problems = returned.malformed
    if problems:
        raise DataError(
            f"labels: {counted(len(problems), 'line')} cannot be imported, so none was: "
            f"{first_few(problems)}. Correct the file, or pass --partial (partial=True) to "
            "import the others"
        )
    return list(returned.votes)


def read_returned(
    path: str | Path,
    *,
    annotator: str,
    check: Check | None = None,
    question: Question = ANY_CLASS,
    key: str | None = None,
) -> Returned:
    """The votes of a file of labels, and what of it is malformed, by line.

    CSV, TSV, JSONL, JSON and Parquet have the columns `id` and `label`, and may have
    `annotator`, `time` (ISO 8601), `seconds` (spent) and `skipped`; other columns are not read.
    A row with neither a label nor a mark that it was skipped is not answered yet, and no vote.
    Label Studio's full JSON export is read by `label_studio_votes`. Votes that name no annotator
    are those of `annotator`; votes without a time get that of their recording. A row in which
    `check` finds a fault counts as malformed. `question` is what was asked: for labels and numbers
    the columns may be those of its names, in place of `label`. `key` is the column that ids came
    from, which may stand in place of `id`.

    Raises:
        DataError: a file that is missing, of no known format, damaged as a whole, or without the
            columns.
    """
    path = Path(path).expanduser()
    with about("labels"):
        if not path.exists():
            raise missing(path)
        if path.is_dir() or suffix_of(path) not in SUFFIXES:
            raise DataError(
                f"data: {path} is not a file of labels. Give CSV, TSV, JSONL, Parquet, or Label "
                "Studio's JSON export"
            )
        try:
            records = read_records(path, question.names, key)
            return _returned(records, path, annotator, check, question)
        except OSError as error:
            raise DataError(
                f"data: {path} cannot be read ({error.strerror or first_line(error)})"
            ) from None


def _returned(
    records: Located, path: Path, annotator: str, check: Check | None, question: Question
) -> Returned:
    votes: list[tuple[str, Vote]] = []
    malformed: list[str] = []
    for where, record in records:
        try:
            if isinstance(record, Exception):
                raise record
            if is_task(record):
                task = label_studio_votes(
                    [record], where=path.name, annotator=annotator, question=question
                )
                votes += task.votes
                malformed += task.malformed
                continue
            vote = _vote(record, path, annotator, question)
            problem = vote and check and check(vote.item, record)
            if problem:
                raise MalformedError(problem)
        except (KeepersError, MalformedError) as error:
            malformed.append(f"{where}: {error}")
        else:
            votes += [] if vote is None else [(where, vote)]
    return Returned(votes=tuple(votes), malformed=tuple(malformed))


def _vote(record: Mapping[str, Any], path: Path, annotator: str, question: Question) -> Vote | None:
    label, skipped = _label(record, question), _flag(record.get("skipped"))
    if label is None and not skipped:
        return None
    if label is not None and skipped:
        raise MalformedError(f"it is skipped and has the label {label!r}. Leave one of them out")
    item = record.get("id")
    if isinstance(item, bool) or not isinstance(item, int | str) or item == "":
        raise MalformedError(f"the id is {item!r}. Give the id that keepers wrote")
    return Vote(
        item=item,
        annotator=_text(record, "annotator") or annotator,
        kind="skip" if skipped else "label",
        label=label,
        time=_time(record.get("time")),
        seconds=_seconds(record.get("seconds")),
        source=path.name,
    )


def _label(record: Mapping[str, Any], question: Question) -> Answer | None:
    try:
        return question.read(record)
    except ValueError as error:
        raise MalformedError(str(error)) from None


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedError(f"the {name} is {value!r}, which is not a text")
    return str(value)


def _flag(value: Any) -> bool:
    word = str(value or "").strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise MalformedError(f"skipped is {value!r}. Give true or false")
    return word in _TRUE


def _time(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        raise MalformedError(f"the time is {value!r}. Give ISO 8601 such as 2026-03-01T12:00:00Z")
    return value.strip()


def _seconds(value: Any) -> float | None:
    if value is None or value == "" or value != value:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise MalformedError(f"seconds are {value!r}. Give a number")
    return seconds

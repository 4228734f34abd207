"""Events: all that ever happens to a campaign, as plain values that a journal keeps in order."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, cast

from keepers.errors import ParameterError
from keepers.files import fingerprint, hash_bytes, plain
from keepers.tasks.question import Answer
from keepers.words import remedy

Id = int | str
"""An example's stable id, of the type that the pool's key column has."""

External = int | str
"""What a labelling server calls an item: the id of its task."""

Part = Literal["selected", "control"]

BROUGHT = "labelled"
"""The `source` of votes that came with the labels a campaign started from."""

LABEL_STUDIO = "label-studio"
"""The `source` of votes that Label Studio gave, through its server or in a file it exported."""


def utc(time: str | datetime) -> str:
    """A moment as UTC ISO 8601 with microseconds, so that texts sort as the moments do.

    A time without an offset is UTC.

    >>> utc("2026-03-01T12:00:00.5+02:00")
    '2026-03-01T10:00:00.500000Z'

    Raises:
        ParameterError: no ISO 8601 time.
    """
    try:
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterError(
            "time", f"got {time!r}", "Give ISO 8601 such as 2026-03-01T12:00:00Z"
        ) from None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def just_after(time: str) -> str:
    """The moment after another: the earliest that a later word can have."""
    return utc(datetime.fromisoformat(time) + timedelta(microseconds=1))


def now() -> str:
    """This moment, as `utc` writes it."""
    return utc(datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Started:
    """A campaign began: `settings` are all that it was told (JSON), `campaign` names it for good.

    `settings["votes"]`, by default 1, is how many annotators have to label an item.
    """

    settings: Mapping[str, Any]
    campaign: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", plain(dict(self.settings)))

    @property
    def key(self) -> str:
        """There is one in a campaign."""
        return "started"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A version of the classes, counted from 1; `renamed` maps a class of the version before.

    Several classes may be renamed to one. A class that is left out is quarantined with its votes.

    Raises:
        ParameterError: a class twice or without a name, or renamed to one that is not there.
    """

    version: int
    classes: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "renamed", dict(self.renamed))
        if self.version < 1:
            raise ParameterError("version", f"got {self.version}", "Count versions from 1")
        if not self.classes or "" in self.classes:
            raise ParameterError("classes", f"got {list(self.classes)}", "Give every class a name")
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ParameterError("classes", f"'{twice[0]}' is there twice", "Name it once")
        for old, new in self.renamed.items():
            if new not in self.classes:
                raise ParameterError(
                    "renamed",
                    f"'{old}' becomes '{new}', which is not a class",
                    remedy(new, self.classes, "The classes are"),
                )

    @property
    def key(self) -> str:
        """One event for each version."""
        return f"schema-{self.version}"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The pool as it was found for the `number`-th time, counted from 0.

    `fingerprint` is that of its source, `snapshot` names what is kept of it; `added` and `gone`
    count rows against the time before. `removed` are all ids planned or voted on that this pool
    does not hold: the last pool alone decides who is removed.
    """

    number: int
    fingerprint: str
    snapshot: str = ""
    added: int = 0
    gone: int = 0
    removed: tuple[Id, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "removed", tuple(_whole(item) for item in self.removed))

    @property
    def key(self) -> str:
        """One event for each time: two processes that find the same change book it once."""
        return f"pool-{self.number}"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The test set as it was found for the `number`-th time, counted from 0.

    `fingerprint` is over its ids, inputs and the names of its classes: accuracies on two of them
    are not of the same examples.
    """

    number: int
    fingerprint: str

    @property
    def key(self) -> str:
        """One event for each time, as of a pool."""
        return f"measure-{self.number}"


@dataclass(frozen=True, kw_only=True)
class PlannedItem:
    """One item of a batch: `rank` counts from 0 in the order to label; `score` higher first."""

    item: Id
    rank: int
    score: float | None = None
    part: Part = "selected"
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", _whole(self.item))
        object.__setattr__(self, "score", plain(self.score))


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A batch was planned: `asked` items were asked for when `labels_seen` were labelled."""

    round: int
    asked: int
    labels_seen: int
    method: str
    items: tuple[PlannedItem, ...]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    costs: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        object.__setattr__(self, "facts", plain(dict(self.facts)))
        object.__setattr__(self, "costs", tuple(plain(dict(cost)) for cost in self.costs))

    @property
    def key(self) -> str:
        """One event for each round."""
        return f"round-{self.round}"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Items went to a labelling front: `tasks` says what `channel` calls each of them."""

    round: int
    channel: str
    tasks: Mapping[Id, External]

    def __post_init__(self) -> None:
        tasks = {_whole(item): external for item, external in self.tasks.items()}
        object.__setattr__(self, "tasks", tasks)

    @property
    def key(self) -> str:
        """One event for the same items on the same channel."""
        items = sorted(self.tasks, key=lambda item: (isinstance(item, str), str(item)))
        return f"sent-{self.channel}-{fingerprint(items)}"


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One annotator's vote on one item: a label, a skip, or the withdrawal of either.

    `label` is a class name, a list of labels, or one or several numbers (stored as a tuple).
    `schema` is the version of the classes it was given for (None: the version when it is
    recorded). `time` is converted to UTC ISO 8601 (None: the time when it is recorded). `seconds`
    is the time that labelling took. `source` is `page`, `label-studio`, `labelled` (from the start
    of the campaign), or the name of a file.

    Raises:
        ParameterError: no annotator, no label or one too many, or an invalid time.
    """

    item: Id
    annotator: str
    kind: Literal["label", "skip", "undo"] = "label"
    label: Answer | None = None
    time: str | None = None
    seconds: float | None = None
    source: str = ""
    schema: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", _whole(self.item))
        if not self.annotator.strip():
            raise ParameterError("annotator", f"got {self.annotator!r}", "Say who labels")
        if self.kind not in ("label", "skip", "undo"):
            raise ParameterError("kind", f"got {self.kind!r}", "Give label, skip or undo")
        object.__setattr__(self, "label", label_of(self.label))
        if self.kind == "label" and self.label in (None, ""):
            raise ParameterError("label", f"got {self.label!r}", "Give the name of a class")
        if self.kind != "label" and self.label is not None:
            raise ParameterError("label", f"got {self.label!r} with a {self.kind}", "Leave it out")
        if self.time is not None:
            object.__setattr__(self, "time", utc(self.time))
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ParameterError("seconds", f"got {self.seconds}", "Give 0 or more")

    @cached_property
    def key(self) -> str:
        """The same word of the same annotator on the same item at the same time is one event."""
        text = json.dumps([self.item, self.annotator, self.time, self.kind, self.label])
        return "vote-" + hash_bytes(text.encode())


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a proxy was found to be worth, trained on `labels` labels after `round` rounds.

    `seen` tells which labels those were: after a correction as many are others.
    """

    round: int
    labels: int
    facts: Mapping[str, Any]
    seen: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", plain(dict(self.facts)))

    @property
    def key(self) -> str:
        """One event for the same round and the same labels."""
        name = f"trained-{self.round}-{self.labels}"
        return f"{name}-{self.seen}" if self.seen else name


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Data of the campaign were found elsewhere: `paths` by what they are (`pool`, `test`)."""

    paths: Mapping[str, str]
    time: str

    @property
    def key(self) -> str:
        """One event for each moment."""
        return f"moved-{self.time}"


Event = Started | Schema | Pool | Measure | Planned | Sent | Vote | Trained | Moved


def label_of(label: Any) -> Answer | None:
    """A label as it is kept: labels sorted and each once, numbers as a tuple of floats.

    Raises:
        ParameterError: a list of anything else, or a number that is not finite.
    """
    if label is None or isinstance(label, str):
        return label
    given = cast("list[Any]", list(label) if isinstance(label, list | tuple | set) else [label])
    if all(isinstance(each, str) and each for each in given):
        return tuple(sorted(set(given)))
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        found = tuple(map(float, given))
        if all(map(math.isfinite, found)):
            return found
    raise ParameterError(
        "label", f"got {label!r}", "Give the name of a class, a list of labels, or numbers"
    )


def _whole(item: Id) -> Id:
    return str(item) if isinstance(item, str) else operator.index(item)

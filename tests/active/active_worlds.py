"""Small pools of known truth, and campaigns on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepers import Campaign, Vote
from keepers.campaign import Id, Recorded

CLASSES = ("a", "b", "c")
CENTRES = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], dtype=np.float32)
PROXY = {"model": "logistic", "epochs": 10, "lr": 0.3}
TIME = "2020-03-01T12:00:00Z"


@dataclass
class World:
    """A Parquet file of vectors `x` under `key`, and the class of each."""

    folder: Path
    ids: list[Id]
    x: npt.NDArray[np.float32]
    y: list[str]
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def pool(self) -> Path:
        return self.folder / "pool.parquet"

    @property
    def truth(self) -> dict[Id, str]:
        return dict(zip(self.ids, self.y, strict=True))

    def write(
        self, name: str = "pool", rows: Sequence[int] | None = None, *, labels: bool = False
    ) -> Path:
        """The file `name`, of some rows, in their order; with their classes where asked."""
        chosen = list(range(len(self.ids)) if rows is None else rows)
        columns: dict[str, Any] = {
            "key": [self.ids[row] for row in chosen],
            "x": pa.array([self.x[row].tolist() for row in chosen], pa.list_(pa.float32())),
        }
        for column, values in self.more.items():
            columns[column] = [values[row] for row in chosen]
        if labels:
            columns["label"] = [self.y[row] for row in chosen]
        path = self.folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def start(self, name: str = "campaign", **given: Any) -> Campaign:
        """A campaign on the pool, by a linear model of ten steps."""
        settings: dict[str, Any] = {
            "classes": CLASSES,
            "input": "x",
            "id": "key",
            "method": "margin",
            "proxy": PROXY,
            "control": 0.0,
            "cold": "k-center",
            "distinct": None,
        }
        return Campaign.start(self.pool, campaign=self.folder / name, **(settings | given))

    def open(self, name: str = "campaign") -> Campaign:
        return Campaign.open(self.folder / name)

    def votes(self, ids: Iterable[Id], annotator: str = "ann", time: str = TIME) -> list[Vote]:
        truth = self.truth
        return [Vote(item=i, annotator=annotator, label=truth[i], time=time) for i in ids]

    def label(self, campaign: Campaign, ids: Iterable[Id]) -> Recorded:
        return campaign.record(self.votes(ids))


def make_world(folder: Path, n: int = 60, *, seed: int = 0, keys: str = "int") -> World:
    """Points around three centres, one of each class in turn; the pool is written."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(n) % 3
    x = (CENTRES[numbers] + rng.standard_normal((n, 2))).astype(np.float32)
    ids: list[Id] = [100 + i if keys == "int" else f"k{i}" for i in range(n)]
    world = World(folder, ids, x, [CLASSES[number] for number in numbers])
    world.write()
    return world


def run_rounds(world: World, campaign: Campaign, counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """Query and label round by round; the ids and scores that each planned."""
    found: list[tuple[Any, ...]] = []
    for count in counts:
        batch = campaign.query(count)
        items = campaign.state.rounds[-1].items
        found.append(tuple((each.item, each.part, each.score) for each in items))
        world.label(campaign, batch.ids)
    return found


def events(campaign: Campaign) -> list[Any]:
    """All that the journal holds."""
    return [event for _, event in campaign.journal.read()]


See = Callable[[tuple[Any, ...], dict[str, Any]], object]


def spy(patch: pytest.MonkeyPatch, owner: Any, name: str, see: See) -> None:
    """Let `see` have the arguments of every call of a function, which is then called."""
    original = getattr(owner, name)

    def seen(*args: Any, **kwargs: Any) -> Any:
        see(args, kwargs)
        return original(*args, **kwargs)

    patch.setattr(owner, name, seen)

"""Proxies of shards: trained on a sample, each by one task, and asked of one shard after another.

Every task computes with one thread and in batches of one size, in which the place of an example
comes from its id: the last bits of a product depend on where a row stands. So what a proxy says of
an example depends neither on the shard it stands in nor on the machine's number of cores.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods
from keepers.data import DensePool, encode
from keepers.files import fingerprint
from keepers.methods import EARLY
from keepers.random import derived_seed
from keepers.roles import Prepared
from keepers.sealed import read_tensors, recalled, write_tensors
from keepers.shards.examples import rows_of, source_of
from keepers.shards.parts import Part
from keepers.shards.reading import Reading
from keepers.shards.store import Store
from keepers.signals import extract
from keepers.training import Checkpoint, Hardware, fit
from keepers.types import EvalView, Signals

BATCH = 64
"""Examples that a proxy is asked about in one go: places of ids, and what is left is filled up."""
_AGAIN = "It is trained again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Proxies:
    """Proxies to be trained: for `epochs` of their recipe, one with each of the `seeds`."""

    prepared: Prepared
    seeds: tuple[int, ...]
    epochs: int
    hardware: Hardware
    folder: Path
    identity: str

    def path(self, member: int) -> Path:
        """The file of one's weights."""
        return self.folder / f"proxy-{self.key(member)}.safetensors"

    def key(self, member: int) -> str:
        """What its weights are found by: the model, its data, its seed and the hardware."""
        gains = self.prepared.recipe.bf16
        here = {**self.hardware.identity(gains_from_bf16=gains), "threads": 1}
        seed = self.seeds[member]
        return fingerprint(
            self.identity,
            self.prepared.role.identity(),
            self.prepared.fingerprint,
            seed,
            self.epochs,
            here,
        )[:16]

    def is_trained(self, member: int) -> bool:
        """Whether its weights are there, as they were written."""
        return recalled(lambda: read_tensors(self.path(member), "run", _AGAIN)) is not None


def train_proxy(work: Proxies, member: int) -> float:
    """Train one proxy and keep its weights; the seconds that it took."""
    prepared, seed, path = work.prepared, work.seeds[member], work.path(member)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".checkpoint")
    with one_thread():
        module = prepared.build(seed)
        fitted = fit(
            module,
            prepared.train_view(torch.arange(len(prepared.pool))),
            prepared.recipe,
            runtime=work.hardware.runtime(gains_from_bf16=prepared.recipe.bf16),
            seed=derived_seed(seed, "fit"),
            phase="proxy training",
            stop_after=work.epochs,
            keep=Checkpoint(path=checkpoint),
        )
    write_tensors(path, module.state_dict())
    checkpoint.unlink(missing_ok=True)
    return fitted.cost.seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Scoring:
    """What is asked of each shard: the method, and the files of the proxies' weights.

    `prepared` builds the proxies; it holds no examples.
    """

    method: str
    prepared: Prepared
    weights: tuple[Path, ...]
    reading: Reading
    class_names: tuple[str, ...]
    shape: tuple[int, ...]
    hardware: Hardware
    folder: Path


def without_examples(prepared: Prepared) -> Prepared:
    """What builds the models, and nothing of the data: it travels."""
    empty = torch.empty(0, dtype=torch.int64)
    return replace(prepared, pool=DensePool(torch.empty(0, 1)), labels=empty)


def score_shard(work: Scoring, part: Part) -> float:
    """Score one shard and keep the scores; how many examples it has."""
    row, prepared = methods.get(work.method), work.prepared
    taken = rows_of((work.reading, None), part)
    name = part.at.shard.name
    source = source_of([taken], work.reading, work.class_names, name, work.shape)
    source, pool = encode(source, prepared.encoder)
    positions, at = placed(source.examples.names)
    view = EvalView(pool=pool, labels=source.targets, task=prepared.task)
    wanted = row.needs - {"labels", EARLY} | ({"gradient_norms"} if EARLY in row.needs else set())
    runtime = work.hardware.runtime(gains_from_bf16=prepared.recipe.bf16)
    members: list[Signals] = []
    with one_thread():
        for path in work.weights:
            module = prepared.build(0)
            module.load_state_dict(read_tensors(path, "run", _AGAIN)[0])
            signals = extract(
                module, view, runtime=runtime, wanted=wanted, positions=positions, batch_size=BATCH
            )
            if EARLY in row.needs:
                signals = replace(
                    signals, early_gradient_norms=signals.get("gradient_norms")[:, None]
                )
            members.append(signals)
        scores = methods.score(row, members)[at]
    Store(work.folder).write(part.at.key, {"scores": scores.cpu().numpy()})
    return len(source)


def placed(ids: npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Positions of examples in batches, and where those with these ids (n,) are among them.

    Where an example stands in its batch depends on its id alone. Gaps are filled by the first one.

    >>> positions, at = placed(np.array(["a", "b", "c"], dtype=object))
    >>> len(positions), positions[at].tolist()
    (64, [0, 1, 2])
    """
    n = len(ids)
    places = np.fromiter((zlib.crc32(str(each).encode()) % BATCH for each in ids.tolist()), int, n)
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places, minlength=BATCH)
    before = np.empty(n, np.int64)
    before[order] = np.arange(n) - np.repeat(counts.cumsum() - counts, counts)
    at = before * BATCH + places
    positions = np.zeros(int(counts.max()) * BATCH, np.int64)
    positions[at] = np.arange(n)
    return torch.from_numpy(positions), torch.from_numpy(at)


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Let torch compute with one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def identity_of(scoring: Scoring) -> Any:
    """What scores depend on beside the shard."""
    paths = [path.name for path in scoring.weights]
    return [methods.get(scoring.method).identity(), paths, scoring.reading.identity(), BATCH]

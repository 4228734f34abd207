"""What scores by older weights do to accuracy.

python benchmarks/staleness.py --data FOLDER [--sets mnist digits sst2] [--seeds 5] [--out FILE]

RHO-LOSS in one process with scores that are a fixed number of steps old, as looking ahead has them
(`keepers.online.Replay`), a tenth of the labels wrong, a constant learning rate, half of the data
the holdout of the irreducible losses: MLP 512-512 on MNIST, 32 of 320, 600 steps; an MLP on digits,
32 of 320, 100 steps; hashed n-grams on sentences of SST-2, 32 of 320, 400 steps. The older scores
choose, or admit a shortlist of 40% or 20% of the candidates, among which fresh ones choose; or they
are drawn by, in place of the top (probabilities in proportion to e to the power of score by
temperature). With a learning rate that falls to 0 as a cosine, ages are fixed, or weighed by the
rate: the rates of the steps that lie between come to one step at the highest. Every 16th step is by
fresh scores, as always: the overlap of the choices is measured there. The guard, which would end
looking ahead, is taken out, and what it would have said is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from online_mnist import Data, losses, paired

from keepers.data import corrupt_labels, open_source
from keepers.online import Replay, Selecting, Selector
from keepers.online.second_look import LEAST, WARM, WINDOW, SecondLook
from keepers.random import generator
from keepers.roles import Role, encode_like, prepare
from keepers.runs import Run
from keepers.training import BatchPolicy, Hardware, Length
from keepers.training.optim import schedule
from keepers.types import Picks
from keepers.workflows.irreducible import Irreducible
from keepers.workflows.online import OnlineTraining, train_online
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.workplace import Workplace

NOISE = 0.1
ADAMW: dict[str, Any] = {
    "batch_size": 32,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "constant",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set, its target, and the length of its training."""

    train: str
    test: str | float
    target: Role
    il: Role
    keep: float
    steps: int
    limit: int | None = None


CASES = {
    "mnist": Case(
        train="mnist/train.parquet",
        test="mnist/test.parquet",
        target=Role(model="mlp", options={"hidden": (512, 512)}, lr=1e-3, **ADAMW),
        il=Role(model="mlp"),
        keep=0.1,
        steps=600,
    ),
    "digits": Case(
        train="digits",
        test=0.3,
        target=Role(model="mlp", lr=1e-3, **ADAMW),
        il=Role(model="mlp"),
        keep=0.1,
        steps=100,
    ),
    "sst2": Case(
        train="sst2/train.parquet",
        test="sst2/validation.parquet",
        target=Role(model="fasttext", lr=1e-2, **ADAMW),
        il=Role(model="fasttext"),
        keep=0.1,
        steps=400,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is made of scores of these ages.

    It is held against the fresh scores of the variant `against`.
    """

    ages: tuple[int, ...]
    shortlist: float = 0.0
    temperature: float = 0.0
    schedule: str = "constant"
    by_rate: bool = False
    against: str = "older scores choose"


COSINE = "rate falls: older scores choose"
VARIANTS = {
    "older scores choose": Variant(ages=(0, 1, 2, 4, 8)),
    "shortlist of 40%": Variant(ages=(1, 2, 4, 8), shortlist=0.4),
    "shortlist of 20%": Variant(ages=(1, 2, 4), shortlist=0.2),
    "drawn, temperature 0.1": Variant(ages=(0, 1, 4), temperature=0.1),
    "drawn, temperature 0.5": Variant(ages=(0, 1, 4), temperature=0.5),
    COSINE: Variant(ages=(0, 1, 2, 4), schedule="cosine", against=COSINE),
    "rate falls: age by the rate, at most": Variant(
        ages=(4, 8), schedule="cosine", by_rate=True, against=COSINE
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Aged(OnlineTraining):
    """A training whose older scores are used as a variant has it."""

    variant: Variant

    def policy(self) -> BatchPolicy:
        """That of its selection, changed."""
        policy, variant = super().policy(), self.variant
        assert isinstance(policy, Selecting)
        make = policy.make

        def sample(signals: Any, scores: torch.Tensor, k: int, **given: Any) -> Picks:
            noise = torch.rand(len(scores), generator=given["generator"]).double()
            keys = scores.double() / variant.temperature - (-noise.log()).log()
            return Picks(positions=keys.topk(k).indices)

        def drawing(module: Any, runtime: Any) -> Selector:
            selector = make(module, runtime)
            selector.method = replace(selector.method, select=sample)
            return selector

        if variant.temperature:
            policy.make = drawing
        if variant.by_rate:
            policy.__class__ = ByRate
        return policy


class ByRate(Selecting):
    """Looks ahead as far as the learning rates of the steps between come to one of the highest."""

    progress = 0.0

    def plain(self, positions: torch.Tensor, progress: float, version: int) -> Any:
        """As the policy."""
        self.progress = progress
        return super().plain(positions, progress, version)

    @property
    def lookahead(self) -> int:
        """By the rate of now, which only falls."""
        rate = max(schedule("cosine")(self.progress), 1e-9)
        return min(super().lookahead, int(1 / rate))


def noisy(case: Case, folder: Path, seed: int) -> Data:
    """The data of a case with labels made wrong, joined with its target."""
    path = folder / case.train
    source = open_source(str(path) if path.suffix else case.train, limit=case.limit)
    if isinstance(case.test, float):
        order = torch.randperm(len(source), generator=generator(0, "test")).numpy()
        cut = int(case.test * len(source))
        source, test = source.take(order[cut:]), source.take(order[:cut])
    else:
        test = open_source(str(folder / case.test), like=source)
    assert source.labels is not None
    labels, wrong = corrupt_labels(
        torch.from_numpy(source.labels),
        len(source.strata_names),
        NOISE,
        generator=generator(seed, "noise"),
    )
    source = replace(source, labels=labels.numpy())
    source, prepared = prepare(case.target, source)
    view = encode_like(prepared, test)
    return Data(source=source, prepared=prepared, view=view, wrong=wrong, seed=seed, noise=NOISE)


@contextmanager
def unguarded() -> Generator[list[float]]:
    """Overlaps as they are found; nothing is ended by them."""
    found: list[float] = []
    kept = SecondLook.note
    SecondLook.note = lambda self, overlap, version: found.append(overlap)
    try:
        yield found
    finally:
        SecondLook.note = kept


def run(case: Case, data: Data, il: Irreducible, age: int, variant: Variant) -> Any:
    """The last measurement of a training whose scores are so old, and the overlaps."""
    values = torch.full((len(data.source),), torch.nan)
    values[il.members] = il.losses.of(data.source.take(il.members.numpy()))
    recipe = replace(data.prepared.recipe, schedule=variant.schedule)
    training = Aged(
        variant=variant,
        prepared=replace(data.prepared, recipe=recipe),
        source=data.source,
        members=il.members,
        selection=SelectionConfig(
            keep=case.keep,
            hand_over=False,
            max_staleness=age,
            shortlist=variant.shortlist if age else None,
        ),
        length=Length(steps=case.steps),
        seed=data.seed,
        values=values,
        test=data.view,
        every=case.steps,
        marks={"corrupted": data.wrong},
        backend=Replay(),
    )
    with (
        unguarded() as overlaps,
        tempfile.TemporaryDirectory() as folder,
        Run(Path(folder) / "run", {}) as place,
    ):
        work = Workplace(run=place, hardware=Hardware(device="cpu"))
        trained = train_online(work, training)
    return trained.curve[-1], overlaps


def would_end(overlaps: list[float]) -> bool:
    """Whether the guard would have ended it."""
    overlaps = overlaps[WARM:]
    windows = (overlaps[at : at + WINDOW] for at in range(len(overlaps) - WINDOW + 1))
    return any(statistics.fmean(window) < LEAST for window in windows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    runs: list[dict[str, Any]] = []
    if given.out is not None and given.out.exists():
        runs = json.loads(given.out.read_text())["runs"]
    done = {(r["set"], r["variant"], r["age"], r["seed"]) for r in runs}
    for name in given.sets:
        case = CASES[name]
        for seed in range(given.seeds):
            data = noisy(case, given.data, seed)
            il: Irreducible | None = None
            for words, variant in VARIANTS.items():
                for age in variant.ages:
                    if (name, words, age, seed) in done:
                        continue
                    il = il or losses(data, case.il, Hardware(device="cpu"))[0]
                    last, overlaps = run(case, data, il, age, variant)
                    row = {"set": name, "variant": words, "age": age, "seed": seed}
                    row |= {"accuracy": last["accuracy"], "corrupted": last["corrupted"]}
                    row["overlaps"] = [round(value, 4) for value in overlaps]
                    runs.append(row)
                    print(json.dumps(row), flush=True)
                    if given.out is not None:
                        shown = {"rows": summarise(runs), "runs": runs}
                        given.out.write_text(json.dumps(shown) + "\n")
    for row in summarise(runs):
        print(json.dumps(row))


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy by age, its difference from that of fresh scores, and what the guard says."""
    groups: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
    for found in runs:
        key = found["set"], found["variant"], found["age"]
        groups.setdefault(key, {})[found["seed"]] = found
    rows: list[dict[str, Any]] = []
    for (name, variant, age), by_seed in groups.items():
        fresh = groups[name, VARIANTS[variant].against, 0]
        seeds = sorted(by_seed.keys() & fresh.keys())
        values = [by_seed[seed]["accuracy"] for seed in seeds]
        base = [fresh[seed]["accuracy"] for seed in seeds]
        overlaps = [by_seed[seed]["overlaps"] for seed in seeds]
        rows.append(
            {
                "set": name,
                "variant": variant,
                "age": age,
                "seeds": len(seeds),
                "accuracy": statistics.fmean(values),
                "difference": paired(values, base),
                "corrupted": statistics.fmean(by_seed[seed]["corrupted"] for seed in seeds),
                "overlap": statistics.fmean(value for each in overlaps for value in each)
                if any(overlaps)
                else 1.0,
                "ended": sum(map(would_end, overlaps)),
            }
        )
    return rows


if __name__ == "__main__":
    main()

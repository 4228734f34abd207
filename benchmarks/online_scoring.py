"""What each saving of online scoring saves, and what it costs in accuracy.

python benchmarks/online_scoring.py --data FOLDER [--repeats 3] [--out FILE]

RHO-LOSS with one saving at a time, 32 of 320 candidates, a tenth of the labels wrong: `mlp` on
MNIST, 400 steps; `preact20` on 10,000 pictures of CIFAR-10 at 32 × 32, 80 steps. Shown are
milliseconds of choosing for a step, the cost m of a selecting step in plain ones (of uniform
training, run in turn), the fraction of wrong labels among what was trained on, and the test
accuracy at the end. Losses are used again for up to one epoch of candidates, so that about half of
them are scored afresh.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from keepers.data import corrupt_labels, open_source
from keepers.random import generator
from keepers.roles import Role, encode_like, prepare
from keepers.runs import Run
from keepers.training import Hardware, Length
from keepers.workflows.irreducible import make_losses
from keepers.workflows.online import OnlineTraining, prepare_stand_in, train_online
from keepers.workflows.options.irreducible import IrreducibleConfig
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.workplace import Workplace

NOISE = 0.1
ADAMW: dict[str, Any] = {
    "batch_size": 32,
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.01,
    "schedule": "constant",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set, its target, and the savings that are tried on it."""

    data: str
    limit: int | None
    target: Role
    il: Role
    steps: int
    savings: dict[str, dict[str, Any]]


CASES = {
    "mlp": Case(
        data="mnist",
        limit=None,
        target=Role(model="mlp", options={"hidden": (512, 512)}, **ADAMW),
        il=Role(model="mlp", options={"hidden": (512, 512)}),
        steps=400,
        savings={
            "none": {},
            "bf16": {"score_precision": "bf16"},
            "half of the candidates": {"score_part": 0.5},
            "losses up to 94 steps old": {"max_age": 94},
            "stand-in, 128 wide": {
                "stand_in": Role(model="mlp", options={"hidden": (128,)}, lr=1e-3)
            },
            "30% kept": {"keep": 0.3},
        },
    ),
    "preact20": Case(
        data="cifar10",
        limit=20_000,
        target=Role(model="preact20", **ADAMW),
        il=Role(model="small-cnn", resolution=16, epochs=6),
        steps=80,
        savings={
            "none": {},
            "resolution 16": {"score_resolution": 16},
            "half of the candidates": {"score_part": 0.5},
            "losses up to 31 steps old": {"max_age": 31, "batch_norm": "eval"},
            "stand-in, preact8 at 16": {"stand_in": Role(model="preact8", resolution=16, lr=1e-3)},
            "30% kept": {"keep": 0.3},
        },
    ),
}


def measure(name: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    case = CASES[name]
    source = open_source(str(folder / case.data / "train.parquet"), limit=case.limit)
    test = open_source(str(folder / case.data / "test.parquet"), like=source)
    labels, wrong = corrupt_labels(
        torch.from_numpy(source.labels), 10, NOISE, generator=generator(0, "noise")
    )
    source, prepared = prepare(case.target, replace(source, labels=labels.numpy()))
    view, hardware = encode_like(prepared, test), Hardware(device="cpu")
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        with Run(Path(scratch) / "il", {}) as run:
            place = Workplace(run=run, hardware=hardware)
            config = IrreducibleConfig(model=case.il)
            il = make_losses(source, 0.5, config, place)
        values = torch.full((len(source),), torch.nan)
        values[il.members] = il.losses.of(source.take(il.members.numpy()))
        variants: dict[str, dict[str, Any]] = {"uniform": {"select": "uniform"}, **case.savings}
        for repeat in range(repeats):
            for saving, options in variants.items():
                selection = SelectionConfig(**options)
                training = OnlineTraining(
                    prepared=prepared,
                    source=source,
                    members=il.members,
                    selection=selection,
                    length=Length(steps=case.steps),
                    seed=repeat,
                    values=values,
                    stand_in=prepare_stand_in(selection, source),
                    test=view,
                    marks={"corrupted": wrong},
                )
                with Run(Path(scratch) / f"{saving}-{repeat}", {}) as run:
                    place = Workplace(run=run, hardware=hardware)
                    trained = train_online(place, training)
                found.setdefault(saving, []).append(
                    {
                        "step": trained.cost.seconds / case.steps,
                        "choosing": trained.facts["choosing_seconds"] / case.steps,
                        "accuracy": trained.curve[-1]["accuracy"],
                        "corrupted": trained.curve[-1]["corrupted"],
                    }
                )
                print(name, saving, found[saving][-1], flush=True)
    middle = {
        saving: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for saving, runs in found.items()
    }
    plain = middle["uniform"]["step"]
    return [
        {
            "model": name,
            "saving": saving,
            "choosing_ms": row["choosing"] * 1e3,
            "m": row["step"] / plain,
            "accuracy": row["accuracy"],
            "corrupted": row["corrupted"],
        }
        for saving, row in middle.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(CASES))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = [given.only] if given.only else list(CASES)
    rows = [row for name in names for row in measure(name, given.data, given.repeats)]
    if given.out:
        result = {"threads": torch.get_num_threads(), "repeats": given.repeats, "rows": rows}
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()

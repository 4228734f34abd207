"""Scoring shared out with scorers on Ray, or ahead, beside scoring in one process.

python benchmarks/scorers.py --data FOLDER [--set mnist|cifar10] [--seeds 5] [--steps 800]
    [--keep 0.1 0.2] [--out FILE]

On two cores with nothing else to do: RHO-LOSS in one process with one thread and with two, and a
trainer of one thread with a scorer on Ray, by the weights of the step (exact) and ahead (one step,
with the shortlist of the default). A tenth of the labels is wrong, irreducible losses are made once
and used again. MNIST: MLP 512-512, 32 kept, AdamW at a constant rate, to 97%. CIFAR-10: preact20
on 20,000 pictures, batch_norm `eval`, to 40%. Runs of one seed are made in turn;
evaluations are every 50 (10) steps and excluded. A step cost m is seconds of a step over those of a
uniform step on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import staleness
import torch
from online_mnist import Data, losses, paired, reached
from staleness import ADAMW, Case, noisy

from keepers.online import Scorers
from keepers.roles import Role
from keepers.runs import Run
from keepers.training import Hardware, Length
from keepers.workflows.irreducible import Irreducible
from keepers.workflows.online import OnlineTraining, train_online
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.workplace import Workplace

CASES = {
    "mnist": replace(staleness.CASES["mnist"], steps=800),
    "cifar10": Case(
        train="cifar10/train.parquet",
        test="cifar10/test.parquet",
        target=Role(model="preact20", lr=1e-3, **ADAMW),
        il=Role(model="small-cnn", resolution=16, epochs=6),
        keep=0.1,
        steps=100,
        limit=20_000,
    ),
}
GOAL = {"mnist": (0.97, 50), "cifar10": (0.40, 10)}


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the candidates of a training are scored."""

    name: str
    threads: int = 1
    scorers: int = 0
    age: int = 0


WAYS = (
    Way(name="one process, one thread"),
    Way(name="one process, two threads", threads=2),
    Way(name="one scorer, exact", scorers=1),
    Way(name="one scorer, one step ahead", scorers=1, age=1),
)


def run(
    name: str,
    data: Data,
    il: Irreducible,
    way: Way,
    keep: float,
    steps: int,
    select: str,
    every: int,
) -> dict[str, Any]:
    """One training: its curve, its seconds, and those of the scorers."""
    torch.set_num_threads(way.threads)
    values = torch.full((len(data.source),), torch.nan)
    values[il.members] = il.losses.of(data.source.take(il.members.numpy()))
    uniform = select == "uniform"
    training = OnlineTraining(
        prepared=data.prepared,
        source=data.source,
        members=il.members,
        selection=SelectionConfig(select=select)
        if uniform
        else SelectionConfig(
            select=select,
            keep=keep,
            hand_over=False,
            max_staleness=way.age,
            batch_norm="eval" if name == "cifar10" else "batch",
        ),
        length=Length(steps=steps),
        seed=data.seed,
        values=None if uniform else values,
        test=data.view,
        every=every,
        scorers=Scorers(way.scorers) if way.scorers else None,
    )
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder) / "run", {}) as place:
        work = Workplace(run=place, hardware=Hardware(device="cpu"))
        trained = train_online(work, training)
    facts = trained.facts["scorers"] or {}
    curve = [[p["step"], round(p["seconds"], 3), p["accuracy"]] for p in trained.curve]
    return {
        "set": name,
        "way": "uniform, one thread" if uniform else way.name,
        "keep": keep,
        "seed": data.seed,
        "final": curve[-1][2],
        "step_ms": 1e3 * trained.cost.seconds / trained.cost.steps,
        "scorer_seconds": facts.get("seconds", 0.0),
        "ended": (facts.get("drifted") or {}).get("step"),
        "reached": reached(curve, GOAL[name][0], 1),
        "curve": curve,
    }


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians of each way, and its ratios to the faster way of one process."""
    rows: list[dict[str, Any]] = []
    for name, keep in sorted({(r["set"], r["keep"]) for r in runs}):
        here = [r for r in runs if r["set"] == name and r["keep"] == keep]
        ways = {way: [r for r in here if r["way"] == way] for way in {r["way"] for r in here}}
        plain = statistics.median(r["step_ms"] for r in ways["uniform, one thread"])
        single = [way for way in ways if way.startswith("one process")]
        best = min(single, key=lambda way: statistics.median(r["step_ms"] for r in ways[way]))
        for way, found in sorted(ways.items()):
            pairs = [
                (a["reached"], b["reached"])
                for a, b in zip(found, ways[best], strict=False)
                if a["reached"] and b["reached"]
            ]
            rows.append(
                {
                    "set": name,
                    "keep": keep,
                    "way": way,
                    "step_ms": statistics.median(r["step_ms"] for r in found),
                    "m": statistics.median(r["step_ms"] for r in found) / plain,
                    "scorer_ms": statistics.median(
                        1e3 * r["scorer_seconds"] / r["curve"][-1][0] for r in found
                    ),
                    "final": statistics.fmean(r["final"] for r in found),
                    "difference": paired(
                        [r["final"] for r in found], [r["final"] for r in ways[best]]
                    ),
                    "seconds": [r["reached"] for r in found],
                    "ratio": statistics.median(a / b for a, b in pairs) if pairs else None,
                    "ended": sum(r["ended"] is not None for r in found),
                    "beside": best,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", choices=tuple(CASES), default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--keep", type=float, nargs="*", default=[0.1, 0.2])
    parser.add_argument("--every", type=int, help="steps between evaluations")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    case, runs = CASES[given.set], []
    steps, every = given.steps or case.steps, given.every or GOAL[given.set][1]
    for seed in range(given.seeds):
        data = noisy(case, given.data, seed)
        torch.set_num_threads(2)
        il = losses(data, case.il, Hardware(device="cpu"))[0]
        for keep in given.keep:
            ways = [(way, "rho-loss") for way in WAYS]
            for way, select in [(WAYS[0], "uniform"), *ways]:
                found = run(given.set, data, il, way, keep, steps, select, every)
                runs.append(found)
                shown = {key: value for key, value in found.items() if key != "curve"}
                print(json.dumps(shown), flush=True)
        if given.out is not None:
            given.out.write_text(json.dumps({"rows": summarise(runs), "runs": runs}) + "\n")
    for row in summarise(runs):
        print(json.dumps(row))


if __name__ == "__main__":
    main()

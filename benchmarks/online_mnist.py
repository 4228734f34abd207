"""Online selection on halves of MNIST: steps, and seconds, to a test accuracy.

python benchmarks/online_mnist.py --data FOLDER --part steps|seconds [--seeds 5] [--out FILE]

`steps` is the setting of the paper: MLP 512-512, AdamW at a constant rate, 32 of 320 candidates;
`seconds` the one that makes published gains vanish: every run has 12 s of training, evaluation
excluded, and a learning rate that falls linearly to nothing with them; 32 of 160 candidates are
kept and the last fifth of the training is uniform, as `online_choice.py` chose on validation data,
or 32 of 320 are kept throughout. A target is reached at the first of two evaluations in a row at or
over it; one is made every 50 steps. Runs of one seed are made in turn. Half of the training data is
the holdout, labels are made wrong in both halves.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from keepers.data import Source, corrupt_labels, open_source
from keepers.random import generator
from keepers.roles import Prepared, Role, encode_like, prepare
from keepers.runs import Run
from keepers.training import Hardware, Length
from keepers.types import EvalView
from keepers.workflows.irreducible import Irreducible, make_losses
from keepers.workflows.online import OnlineTraining, train_online
from keepers.workflows.options.irreducible import IrreducibleConfig
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.workplace import Workplace

HIDDEN = {"hidden": (512, 512)}
DEFAULT = Role(model="mlp")
WIDE = Role(model="mlp", options=HIDDEN)
PAPER = Role(model="mlp", options=HIDDEN, epochs=5, batch_size=256, lr=1e-3, schedule="constant")
WEAK = Role(
    model="mlp",
    options={"hidden": (128,)},
    epochs=3,
    batch_size=256,
    lr=1e-3,
    optimizer="adamw",
    schedule="constant",
)
KINDS = {"default": DEFAULT, "wide": WIDE, "paper": PAPER, "folds": PAPER, "weak": WEAK}
SECONDS = 12.0
EVERY = 50


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: its selection, its irreducible losses, its length."""

    name: str
    select: str = "rho-loss"
    il: str | None = "default"
    keep: float = 0.1
    until: float = 1.0
    precision: Any = "same"
    steps: int | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


STEPS = (
    Job(name="uniform", select="uniform", il=None, steps=4000),
    Job(name="rho-loss", il="paper", steps=1500),
    Job(name="rho-loss, no holdout", il="folds", steps=2000),
    Job(name="loss", select="loss", il=None, steps=1500),
)
TIMED = (
    Job(name="uniform", select="uniform", il=None),
    Job(name="rho-loss", precision="bf16", keep=0.2, until=0.8),
    Job(name="rho-loss, wide IL", il="wide", precision="bf16", keep=0.2, until=0.8),
    Job(name="rho-loss, wide IL, 10% kept throughout", il="wide", precision="bf16"),
    Job(name="rho-loss, weak IL", il="weak", precision="bf16"),
    Job(name="rho-loss, weak IL, until 0.7", il="weak", precision="bf16", until=0.7),
)
TARGETS = {
    "steps": {0.1: (0.96,), 0.4: (0.95,)},
    "seconds": {0.0: (0.97, 0.975), 0.1: (0.97,), 0.4: (0.95,)},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """MNIST with some labels wrong, joined with the target, and the test view."""

    source: Source
    prepared: Prepared
    view: EvalView
    wrong: torch.Tensor
    seed: int
    noise: float


def noisy(source: Source, test: Source, noise: float, seed: int, schedule: Any) -> Data:
    assert source.labels is not None
    labels, wrong = corrupt_labels(
        torch.from_numpy(source.labels), 10, noise, generator=generator(seed, "noise")
    )
    source = replace(source, labels=labels.numpy())
    role = replace(
        WIDE, batch_size=32, lr=1e-3, weight_decay=0.01, optimizer="adamw", schedule=schedule
    )
    source, prepared = prepare(role, source)
    return Data(
        source=source,
        prepared=prepared,
        view=encode_like(prepared, test),
        wrong=wrong,
        seed=seed,
        noise=noise,
    )


def losses(data: Data, kind: str | Role, hardware: Hardware) -> tuple[Irreducible, float]:
    """Irreducible losses of a kind, and the seconds they took."""
    role = KINDS[kind] if isinstance(kind, str) else kind
    config = IrreducibleConfig(model=role, seed=data.seed)
    if kind == "folds":  # the training half alone, in two folds
        half = losses(data, "paper", hardware)[0].members
        source = data.source.take(half.numpy())
        with tempfile.TemporaryDirectory() as folder, Run(Path(folder) / "run", {}) as run:
            place = Workplace(run=run, hardware=hardware, say=print)
            found = make_losses(source, None, config, place)
            found = replace(found, members=half)
    else:
        with tempfile.TemporaryDirectory() as folder, Run(Path(folder) / "run", {}) as run:
            place = Workplace(run=run, hardware=hardware)
            found = make_losses(data.source, 0.5, config, place)
    spent = sum(cost.seconds for cost in place.ledger.costs if "irreducible" in cost.phase)
    return found, spent


def run_job(
    job: Job, data: Data, il: Irreducible, hardware: Hardware, members: torch.Tensor | None = None
) -> dict[str, Any]:
    """One training, on all that has losses or on some of them."""
    values = None
    if job.il is not None:
        values = torch.full((len(data.source),), torch.nan)
        values[il.members] = il.losses.of(data.source.take(il.members.numpy()))
    training = OnlineTraining(
        prepared=data.prepared,
        source=data.source,
        members=il.members if members is None else members,
        selection=SelectionConfig(
            select=job.select, keep=job.keep, until=job.until, score_precision=job.precision
        ),
        length=Length(seconds=SECONDS) if job.steps is None else Length(steps=job.steps),
        seed=data.seed,
        values=values,
        test=data.view,
        every=EVERY,
        marks={"corrupted": data.wrong},
    )
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder) / "run", {}) as run:
        place = Workplace(run=run, hardware=hardware)
        trained = train_online(place, training)
    curve = trained.curve
    return {
        "name": job.name,
        "noise": data.noise,
        "seed": data.seed,
        "final": curve[-1]["accuracy"],
        "worst_class": curve[-1]["worst_class_accuracy"],
        "steps": trained.cost.steps,
        "seconds": trained.cost.seconds,
        "flops": trained.cost.flops,
        "corrupted": statistics.fmean(point["corrupted"] for point in curve),
        "choosing_share": trained.facts["choosing_seconds"] / trained.cost.seconds,
        "curve": [[p["step"], round(p["seconds"], 3), p["accuracy"]] for p in curve],
    }


def reached(curve: Sequence[Sequence[float]], target: float, column: int) -> float | None:
    """Steps (column 0) or seconds (1) at the first of two evaluations in a row over a target."""
    for first, second in itertools.pairwise(curve):
        if min(first[2], second[2]) >= target:
            return first[column]
    return None


def paired(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Mean of the paired differences and its 95% interval."""
    differences = [a - b for a, b in zip(values, baseline, strict=True)]
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return [mean, math.nan, math.nan]
    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * spread
    return [mean, mean - half, mean + half]


def summarise(part: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    column = 0 if part == "steps" else 1
    rows: list[dict[str, Any]] = []
    for noise, targets in TARGETS[part].items():
        here = [run for run in runs if run["noise"] == noise]
        by_name: dict[str, list[dict[str, Any]]] = {}
        for run in here:
            by_name.setdefault(run["name"], []).append(run)
        base = by_name.get("uniform", [])
        seeds = {run["seed"] for run in here}
        for group in by_name.values():
            seeds &= {run["seed"] for run in group}
        by_name = {
            name: [r for r in group if r["seed"] in seeds] for name, group in by_name.items()
        }
        base = [run for run in base if run["seed"] in seeds]
        if not seeds:
            continue
        for name, group in by_name.items():
            row: dict[str, Any] = {"noise": noise, "name": name}
            row["final"] = statistics.fmean(run["final"] for run in group)
            row["final_difference"] = paired(
                [run["final"] for run in group], [run["final"] for run in base]
            )
            row["steps_per_second"] = statistics.median(
                run["steps"] / run["seconds"] for run in group
            )
            row["corrupted"] = statistics.fmean(run["corrupted"] for run in group)
            row["il_seconds"] = statistics.median(run["il_seconds"] for run in group)
            for target in targets:
                hits = [reached(run["curve"], target, column) for run in group]
                plain = [reached(run["curve"], target, column) for run in base]
                row[f"to {target:g}"] = hits
                # Uniform training that never got there is counted as if it had at its last step,
                # which is the least that it would have taken.
                least = [run["curve"][-1][column] for run in base]
                plain = [end if at is None else at for at, end in zip(plain, least, strict=True)]
                for charge in (0.0, 1.0)[: 1 + column]:
                    ratios = [
                        math.inf if a is None else (a + charge * run["il_seconds"]) / b
                        for a, b, run in zip(hits, plain, group, strict=True)
                    ]
                    middle = statistics.median(ratios)
                    key = f"ratio{', charged' if charge else ''} to {target:g}"
                    row[key] = middle if math.isfinite(middle) else None
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("steps", "seconds"), required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", type=float, nargs="*", help="fractions of wrong labels")
    parser.add_argument("--add", action="store_true", help="to the runs that --out holds")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    source = open_source(str(given.data / "mnist" / "train.parquet"))
    test = open_source(str(given.data / "mnist" / "test.parquet"), like=source)
    hardware = Hardware(device="cpu")
    jobs = STEPS if given.part == "steps" else TIMED
    schedule = "constant" if given.part == "steps" else "linear"
    runs: list[dict[str, Any]] = []
    if given.add:
        runs = json.loads(given.out.read_text())["runs"]
    for seed in range(given.seeds):
        for noise in given.noise or TARGETS[given.part]:
            data = noisy(source, test, noise, seed, schedule)
            kinds = {job.il for job in jobs if job.il} | {"default"}
            if noise != 0.1:
                kinds -= {"weak"}
            made = {kind: losses(data, kind, hardware) for kind in sorted(kinds)}
            for job in jobs:
                if job.il == "weak" and noise != 0.1:
                    continue
                il, spent = made[job.il or "default"]
                result = run_job(job, data, il, hardware)
                result["il_seconds"] = spent if job.il else 0.0
                runs.append(result)
                shown = {k: v for k, v in result.items() if k != "curve"}
                print(json.dumps(shown), flush=True)
                write(given.part, runs, given.out)
    for row in summarise(given.part, runs):
        print(json.dumps(row))


def write(part: str, runs: list[dict[str, Any]], out: Path | None) -> None:
    if out is not None:
        result = {"part": part, "threads": torch.get_num_threads(), "rows": summarise(part, runs)}
        out.write_text(json.dumps({**result, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()

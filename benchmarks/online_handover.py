"""Selection that ends by itself, against uniform training and selection to the end.

python benchmarks/online_handover.py --data FOLDER --out FILE [--only mnist] [--seeds 10]
                                    [--summary]

Each cell is a data set (digits, mnist, sst2), a fraction of wrong labels, those of the holdout too,
and irreducible losses by a weak, a fair or a good model: one of few, of some or of all holdout
examples, trained until its loss on examples apart stops falling. For each seed the same target is
trained for the same number of steps uniformly, by rho-loss to the end, and by rho-loss with its
hand-over, from the same first weights, with a learning rate that falls linearly. `auto` is what
`--select auto` would have done with these losses, a step at the price of 1 + 1 / (3 keep), and
`advice` what `keepers advise --online` would have said before.

FILE has one JSON object a line, a cell and seed each; what it holds is not run again. --summary
writes the table beside it, as .json, and prints it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from scipy import stats
from torch import Tensor

from keepers.data import corrupt_labels, open_source
from keepers.models import Recipe
from keepers.online import (
    OnlineFacts,
    Selecting,
    Selector,
    assumed_ratio,
    online_facts,
    weaknesses,
)
from keepers.online.facts import Outlook
from keepers.random import generator
from keepers.roles import Prepared, Role, encode_like, prepare
from keepers.signals import extract
from keepers.tasks.classes import calibration_error
from keepers.training import BatchPolicy, Hardware, Length, Shuffle, fit
from keepers.types import EvalView

KEEP = 0.1
NOISES = (0.0, 0.05, 0.1, 0.2, 0.4)
KINDS = ("weak", "fair", "good")
CHECKED = 256  # examples of the training data that choose the checkpoint
ROUNDS = 8  # of training an irreducible-loss model, a checkpoint after each


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A data set: the model, examples trained on and held out, the steps of a training."""

    role: Role
    train: str
    test: str
    members: int
    holdout: dict[str, int]
    steps: int


SETTINGS = {
    "digits": Setting(
        role=Role(model="mlp", options={"hidden": (128, 128)}, lr=1e-3),
        train="digits",
        test="",
        members=500,
        holdout={"weak": 50, "fair": 300, "good": 700},
        steps=400,
    ),
    "mnist": Setting(
        role=Role(model="mlp", options={"hidden": (128, 128)}, lr=1e-3),
        train="mnist/train.parquet",
        test="mnist/test.parquet",
        members=10_000,
        holdout={"weak": 200, "fair": 2_000, "good": 20_000},
        steps=500,
    ),
    "sst2": Setting(
        role=Role(model="fasttext", options={"buckets": 2**16}, lr=1e-2),
        train="sst2/train.parquet",
        test="sst2/validation.parquet",
        members=2_300,
        holdout={"weak": 200, "fair": 1_500, "good": 4_600},
        steps=300,
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One seed of a data set with some labels wrong."""

    setting: Setting
    prepared: Prepared
    members: Tensor
    holdout: Tensor
    test: EvalView
    test_at: Tensor
    wrong: Tensor
    seed: int


def load(name: str, data: Path) -> tuple[Any, Prepared, EvalView | None]:
    setting = SETTINGS[name]
    where = setting.train if name == "digits" else str(data / setting.train)
    source, prepared = prepare(replace(setting.role, weight_decay=0.01), open_source(where))
    test = None
    if setting.test:
        other = open_source(str(data / setting.test), like=source)
        test = encode_like(prepared, other)
    return source, prepared, test


def cell(name: str, made: Any, noise: float, seed: int) -> Cell:
    setting, (source, prepared, test) = SETTINGS[name], made
    n, most = len(source), setting.members + setting.holdout["good"]
    shuffled = torch.randperm(n, generator=generator(seed, "parts"))
    labels, wrong = corrupt_labels(
        prepared.labels, len(source.class_names), noise, generator=generator(seed, "noise")
    )
    test_at = torch.arange(len(test.pool)) if test is not None else shuffled[most:]
    return Cell(
        setting=setting,
        prepared=replace(prepared, labels=labels),
        members=shuffled[: setting.members],
        holdout=shuffled[setting.members : most],
        test=test if test is not None else prepared.eval_view(),
        test_at=test_at,
        wrong=wrong,
        seed=seed,
    )


RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
RECIPE = {"batch_size": 32, "optimizer": "adamw", "weight_decay": 0.01}


def signals(module: Any, view: EvalView, at: Tensor) -> Any:
    return extract(module, view, runtime=RUNTIME, wanted=("log_probs", "losses"), positions=at)


def irreducible(at: Cell, kind: str) -> tuple[Tensor, dict[str, float]]:
    """Losses (n,) by position, NaN for others than members, and the quality of their model."""
    own = at.holdout[: at.setting.holdout[kind]]
    checked, view = at.members[:CHECKED], at.prepared.eval_view()
    module, lr = at.prepared.build(at.seed + 1000), at.setting.role.lr
    epochs = max(1, round(300 * 32 / len(own)))  # of a round: 300 steps, but no part of an epoch
    best: tuple[float, dict[str, Tensor]] | None = None
    for number in range(ROUNDS):
        recipe = Recipe(epochs=epochs, lr=lr, schedule="constant", **RECIPE)  # type: ignore[arg-type]
        fit(module, at.prepared.train_view(own), recipe, runtime=RUNTIME, seed=at.seed + number)
        loss = float(signals(module, view, checked).get("losses").mean())
        if best is not None and loss > best[0]:
            break
        best = loss, {name: value.clone() for name, value in module.state_dict().items()}
    assert best is not None
    module.load_state_dict(best[1])
    found = signals(module, view, at.members)
    values = torch.full((len(at.prepared.labels),), torch.nan)
    values[at.members] = found.get("losses")
    labels, log_probs = found.get("labels"), found.get("log_probs")
    return values, {
        "loss": float(found.get("losses").mean()),
        "accuracy": float((log_probs.argmax(1) == labels).double().mean()),
        "majority": float(labels.bincount().max() / len(labels)),
        "calibration_error": calibration_error(log_probs, labels),
        "confidence": float(log_probs.exp().amax(1).mean()),
    }


def train(at: Cell, policy: BatchPolicy) -> tuple[float, float]:
    """Test accuracy, and seconds of the training."""
    module = at.prepared.build(at.seed)
    recipe = Recipe(epochs=1, lr=at.setting.role.lr, schedule="linear", **RECIPE)  # type: ignore[arg-type]
    result = fit(
        module,
        at.prepared.train_view(at.members),
        recipe,
        runtime=RUNTIME,
        seed=at.seed,
        policy=policy,
        length=Length(steps=at.setting.steps),
    )
    found = signals(module, at.test, at.test_at)
    right = found.get("log_probs").argmax(1) == found.get("labels")
    return float(right.double().mean()), result.cost.seconds


def run(name: str, made: Any, noise: float, seed: int, done: set[Any]) -> Iterator[dict[str, Any]]:
    at: Cell | None = None
    uniform = 0.0
    for kind in KINDS:
        if (name, noise, kind, seed) in done:
            continue
        began = time.process_time()
        if at is None:
            at = cell(name, made, noise, seed)
            clean = made[1].eval_view()
            at = at if at.test is not clean else replace(at, test=clean)
            uniform = train(at, Shuffle())[0]
        values, quality = irreducible(at, kind)

        def policy(hand_over: bool, values: Tensor = values, at: Cell = at) -> Selecting:
            def make(module: Any, runtime: Any) -> Selector:
                return Selector(
                    "rho-loss",
                    keep=KEEP,
                    irreducible=values,
                    seed=at.seed,
                    num_examples=len(values),
                    hand_over=hand_over,
                )

            return Selecting(make, keep=KEEP)

        ending = policy(True)
        with_it, to_the_end = train(at, ending)[0], train(at, policy(False))[0]
        facts = online_facts(values[at.members], quality, keep=KEEP)
        yield {
            "data": name,
            "noise": noise,
            "model": kind,
            "seed": seed,
            "uniform": uniform,
            "hand_over": with_it,
            "to_the_end": to_the_end,
            "step": None if ending.ended is None else ending.ended.step,
            "steps": at.setting.steps,
            "redundant": facts.redundant,
            "unlearnable": facts.unlearnable,
            "il": quality,
            "cpu_seconds": time.process_time() - began,
        }


def difference(rows: list[dict[str, Any]], name: str) -> list[float]:
    """Mean over the seeds of the difference from uniform, in points, and its 95% interval."""
    found = [100 * (row[name] - row["uniform"]) for row in rows]
    mean = statistics.fmean(found)
    if len(found) < 2:
        return [mean, float("nan"), float("nan")]
    half = float(stats.t.ppf(0.975, len(found) - 1)) * statistics.stdev(found) / len(found) ** 0.5
    return [round(value, 3) for value in (mean, mean - half, mean + half)]


def facts_of(row: dict[str, Any]) -> OnlineFacts:
    """What was known before the target was trained: by this `advise` speaks and `auto` decides."""
    useful = max(KEEP, 1 - row["redundant"] - row["unlearnable"])
    return OnlineFacts(
        redundant=row["redundant"],
        unlearnable=row["unlearnable"],
        speedup=1 / useful,
        ratio=assumed_ratio(KEEP),
        weak=tuple(weaknesses(row["il"])),
    )


def auto(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs as `auto` would have gone: uniform where selecting does not pay."""
    return [{**row, "auto": row["hand_over" if facts_of(row).pays else "uniform"]} for row in rows]


def advice(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was said beforehand, and how often rho-loss with its hand-over ended above uniform."""
    found: list[dict[str, Any]] = []
    for outlook in get_args(Outlook):
        said = [row for row in rows if facts_of(row).outlook == outlook]
        gains = [100 * (row["hand_over"] - row["uniform"]) for row in said]
        found.append(
            {
                "outlook": outlook,
                "trainings": len(said),
                "above": sum(gain > 0 for gain in gains),
                "worse_by_half_a_point": sum(gain < -0.5 for gain in gains),
                "mean": statistics.fmean(gains) if gains else None,
                "mean_to_the_end": statistics.fmean(
                    100 * (row["to_the_end"] - row["uniform"]) for row in said
                )
                if said
                else None,
            }
        )
    return found


def page(table: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = [
        "| data | wrong labels | model | it is right on | uniform % | to the end | handed over | "
        "after step | auto | advice | seeds |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]

    def words(found: list[float]) -> str:
        mean, low, high = found
        return f"{mean:+.2f}" if math.isnan(low) else f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"

    for row in table:
        cell = f"| {row['data']} | {row['noise']:.0%} | {row['model']} "
        if not row["seeds"]:
            lines.append(f"{cell}| not run | | | | | | | 0 |")
            continue
        said = ", ".join(f"{name} ({n})" for name, n in row["advice"].items())
        at = f"{row['step']:.0f} of {row['steps']}"
        lines.append(
            f"{cell}| {row['il_accuracy']:.0%} | {100 * row['uniform']:.2f} | "
            f"{words(row['to_the_end'])} | {words(row['hand_over'])} | {at} | "
            f"{words(row['as_auto'])} | {said} | {row['seeds']} |"
        )
    return "\n".join(lines)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = []
    for name in SETTINGS:
        for noise in NOISES:
            for kind in KINDS:
                cell = (name, noise, kind)
                here = [r for r in rows if (r["data"], r["noise"], r["model"]) == cell]
                if not here:
                    table.append({"data": name, "noise": noise, "model": kind, "seeds": 0})
                    continue
                steps = [row["step"] for row in here]
                table.append(
                    {
                        "data": name,
                        "noise": noise,
                        "model": kind,
                        "seeds": len(here),
                        "il_accuracy": statistics.fmean(row["il"]["accuracy"] for row in here),
                        "uniform": statistics.fmean(row["uniform"] for row in here),
                        "hand_over": difference(here, "hand_over"),
                        "to_the_end": difference(here, "to_the_end"),
                        "as_auto": difference(auto(here), "auto"),
                        "ended": sum(step is not None for step in steps),
                        "step": statistics.median([row["step"] or row["steps"] for row in here]),
                        "steps": here[0]["steps"],
                        "auto": sum(facts_of(row).pays for row in here),
                        "advice": dict(Counter(facts_of(row).outlook for row in here)),
                    }
                )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    rows = (
        [json.loads(line) for line in given.out.read_text().splitlines()]
        if given.out.exists()
        else []
    )
    if given.summary:
        result = {"threads": 1, "table": summarise(rows), "advice": advice(rows), "runs": rows}
        given.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        print(page(result["table"]))
        print(json.dumps(result["advice"], indent=1))
        return
    torch.set_num_threads(1)
    done = {(row["data"], row["noise"], row["model"], row["seed"]) for row in rows}
    names = [given.only] if given.only else list(SETTINGS)
    made = {name: load(name, given.data) for name in names}
    for seed in range(given.seeds):
        for name in names:
            for noise in NOISES:
                for row in run(name, made[name], noise, seed, done):
                    with given.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

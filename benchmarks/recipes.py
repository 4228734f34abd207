"""Whether a model is trained for long enough by default, whatever the number of examples.

    python benchmarks/recipes.py [--data DIR] [--only CASE ...] [--sizes N ...] [--steps N ...]
                                 [--seeds N] [--out FILE.json]

On the first n examples of a shuffled training set a model of the table is trained for several
numbers of optimiser steps, each with a learning-rate schedule of its own, and measured on test
data; beside it stands the line of scikit-learn (pictures have none). Of `--steps`, `default` is
what the recipe comes to, `before` its epochs alone, and `2x` or `0.5x` so many times the default.
`--out` holds what is finished at any time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from keepers.data import Source, open_source
from keepers.roles import Role, encode_like, prepare
from keepers.signals import extract
from keepers.training import Hardware, Length, fit, fit_classifier, predict

TESTED = 2000
STEPS = ("before", "0.0625x", "0.125x", "0.25x", "0.5x", "default", "2x", "3x")
DIGITS_TESTED = 597
CASES: dict[str, tuple[str, str, str, str, int | None, str | None]] = {
    # model, training data, test data, column, side in pixels, line of scikit-learn
    "digits mlp": ("mlp", "", "", "", None, "linear"),
    "digits logistic": ("logistic", "", "", "", None, "linear"),
    "MNIST mlp": ("mlp", "mnist/train", "mnist/test", "image", None, None),
    "MNIST logistic": ("logistic", "mnist/train", "mnist/test", "image", None, None),
    "MNIST small-cnn": ("small-cnn", "mnist/train", "mnist/test", "image", 8, None),
    "MNIST preact8": ("preact8", "mnist/train", "mnist/test", "image", 14, None),
    "CIFAR-10 preact8": ("preact8", "cifar10/train", "cifar10/test", "img", 8, None),
    "SST-2 fasttext": ("fasttext", "sst2/train", "sst2/test", "sentence", None, "linear"),
    "CoLA fasttext": ("fasttext", "cola/train", "cola/validation", "sentence", None, "linear"),
}


def opened(data: Path, case: str, most: int) -> tuple[Source, Source]:
    """Training and test data of a case."""
    _, train, test, column, _, _ = CASES[case]
    if not train:
        whole = open_source("digits")
        order = np.random.default_rng(0).permutation(len(whole))
        parts = order[DIGITS_TESTED:], order[:DIGITS_TESTED]
        rest, tested = (whole.take(np.sort(part).tolist()) for part in parts)
        return rest, tested

    def part(name: str, limit: int) -> Any:
        table = pq.read_table(data / f"{name}.parquet")
        rows = np.random.default_rng(0).permutation(len(table))[:limit]
        return table.take(rows).select([column, "label"])

    source = open_source(part(train, most))
    return source, open_source(part(test, TESTED), like=source)


def measure(data: Path, case: str, sizes: Sequence[int], asked: Sequence[str], seeds: int) -> Any:
    """One row for each size, number of steps and seed; and for the line of scikit-learn."""
    name, *_, side, line = CASES[case]
    source, tested = opened(data, case, max(sizes))
    source, prepared = prepare(Role(model=name, resolution=side), source)
    view = encode_like(prepared, tested)
    recipe = prepared.recipe
    runtime = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    for n in dict.fromkeys(min(size, len(source)) for size in sizes):
        members = order[:n].sort().values
        epoch = -(-n // recipe.batch_size)
        default, before = epoch * recipe.epochs_of(epoch), epoch * recipe.epochs
        for word, seed in itertools.product(asked, range(seeds)):
            known = {"default": default, "before": before}
            steps = known.get(word) or (
                round(float(word[:-1]) * default) if word.endswith("x") else int(word)
            )
            module = prepared.build(seed)
            start = time.process_time()
            fitted = fit(
                module,
                prepared.train_view(members),
                recipe,
                runtime=runtime,
                seed=seed,
                length=Length(steps=steps),
            )
            seconds = time.process_time() - start
            found = extract(module, view, runtime=runtime)
            labels, said = found.get("labels"), found.get("log_probs")
            yield {
                "case": case,
                "n": n,
                "steps": steps,
                "default": steps == default,
                "seed": seed,
                "error": float((said.argmax(1) != labels).double().mean()),
                "losses": fitted.losses[-20:],
                "seconds": seconds,
            }
        if line is not None:
            yield from _line(source, tested, case, line, members)


def _line(
    source: Source, tested: Source, case: str, name: str, members: torch.Tensor
) -> Iterable[dict[str, Any]]:
    """The field's line, by scikit-learn, which has no seed that matters."""
    _, prepared = prepare(Role(model=name), source)
    view = encode_like(prepared, tested)
    assert prepared.classifier is not None
    start = time.process_time()
    fitted = fit_classifier(prepared.classifier, prepared.pool, prepared.labels, members, seed=0)
    seconds = time.process_time() - start
    everything = torch.arange(len(view))
    said = predict(fitted, view.pool, everything, prepared.info.num_classes)
    error = float((said.argmax(1) != view.labels).double().mean())
    yield {"case": case, "n": len(members), "line": name, "error": error, "seconds": seconds}


Group = dict[tuple[str, int], dict[int, list[dict[str, Any]]]]


def grouped(rows: Sequence[dict[str, Any]]) -> Group:
    """Rows by case and size, then by steps."""
    found: Group = {}
    for row in rows:
        if "line" not in row:
            found.setdefault((row["case"], row["n"]), {}).setdefault(row["steps"], []).append(row)
    return found


def mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)


def longest_of(steps: int, known: Iterable[int]) -> int | None:
    """Of three to four times as many steps, the most that were measured."""
    return max((s for s in known if 2.9 * steps <= s <= 4.1 * steps), default=None)


def recipes_table(rows: Sequence[dict[str, Any]]) -> str:
    """The default, the epochs of before and thrice the default, beside the line."""
    lines = {(row["case"], row["n"]): row for row in rows if "line" in row}
    shown = [
        "| | n | steps | right | 3–4 times as many | scikit-learn | CPU s | line, CPU s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (case, n), by_steps in sorted(grouped(rows).items()):
        default = next((s for s, group in by_steps.items() if group[0]["default"]), 0)
        longest = longest_of(default, by_steps)
        if longest is None:
            continue
        line = lines.get((case, n))
        cells = [case, f"{n:,}", f"{default:,}"]
        cells += [f"{1 - mean(by_steps[s], 'error'):.1%}" for s in (default, longest)]
        cells += [f"{1 - line['error']:.1%}" if line else "–"]
        cells += [f"{mean(by_steps[default], 'seconds'):.1f}"]
        cells += [f"{line['seconds']:.1f}" if line else "–"]
        shown.append("| " + " | ".join(cells) + " |")
    return "\n".join(shown)


BANDS = ((0.02, 1.0), (0.01, 0.02), (0.005, 0.01), (-1.0, 0.005))


def criteria_table(rows: Sequence[dict[str, Any]]) -> str:
    """How often a sign of one training says `still learning`, by what far longer ones gain.

    The gain is that of the means over seeds, by three to four times as many steps.
    """
    seen: dict[str, list[tuple[bool, float]]] = {}
    for by_steps in grouped(rows).values():
        for steps, group in by_steps.items():
            longest = longest_of(steps, by_steps)
            if longest is None:
                continue
            gain = mean(group, "error") - mean(by_steps[longest], "error")
            for row in group:
                for name, found in _criteria(row, by_steps).items():
                    seen.setdefault(name, []).append((found, gain))
    shown = [
        "| said to be still learning, by | gain over 2 | 1 to 2 | 0.5 to 1 | under 0.5 points |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, pairs in seen.items():
        cells = [name]
        for low, high in BANDS:
            found = [said for said, gain in pairs if low < gain <= high]
            cells.append(f"{sum(found)} of {len(found)}")
        shown.append("| " + " | ".join(cells) + " |")
    return "\n".join(shown)


def _criteria(row: dict[str, Any], by_steps: dict[int, list[dict[str, Any]]]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    steps, seed = row["steps"], row["seed"]
    for times, word in ((2.0, "twice"), (0.5, "half")):
        near = min(by_steps, key=lambda s: abs(s - times * steps))
        other = next((row for row in by_steps[near] if row["seed"] == seed), None)
        if other is not None and abs(near - times * steps) < 0.1 * near:
            gain = (row["error"] - other["error"]) * (1 if times > 1 else -1)
            for least in (0.005, 0.01, 0.02):
                found[f"{word} as many steps, {100 * least:g} points"] = gain > least
    losses = row["losses"]
    if len(losses) >= 5:
        last = losses[-1 - len(losses) // 5] - losses[-1]
        for share in (0.1, 0.2):
            name = f"training loss, {share:.0%} of it in the last fifth of the epochs"
            found[name] = last > share * losses[0]
    for least in (0.05, 0.2):
        found[f"training loss over {least:g} in the last epoch"] = losses[-1] > least
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("KEEPERS_DATA"))
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 300, 1000, 3000])
    parser.add_argument("--steps", nargs="*", default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for case in given.only:
        for row in measure(given.data, case, given.sizes, given.steps, given.seeds):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if given.out is not None:
                given.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(recipes_table(rows), criteria_table(rows), sep="\n\n")


if __name__ == "__main__":
    main()

"""What online selection costs beside the forward pass of the candidates.

python benchmarks/online_overhead.py [--threads 1] [--repeats 5] [--out FILE]

A selecting step chooses n_b of n_B candidates by RHO-LOSS, then trains on them (AdamW, fused). The
overhead is what `choose` takes less what the model's `forward` takes inside it: looking the ids
up, modes and random state, losses, sorting, cutting the batch. It is shown in microseconds and as
a fraction of the whole step, beside that of the least loop which chooses the same: no ids but
positions, cross-entropy, a difference, topk, the rows. The cases run in turn, and the median over
the repeats is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.models import create
from keepers.online import IrreducibleLosses, RhoLoss, Scoring, ScoringPrecision
from keepers.types import DataInfo

NUM_EXAMPLES = 30_000
DIGIT = DataInfo(kind="image", shape=(1, 28, 28), num_classes=10)
PICTURE = DataInfo(kind="image", shape=(3, 32, 32), num_classes=10)


@dataclass(frozen=True)
class Case:
    model: str
    info: DataInfo
    precision: ScoringPrecision
    steps: int


CASES = (
    Case("mlp", DIGIT, "fp32", 100),
    Case("mlp", DIGIT, "bf16", 100),
    Case("preact20", PICTURE, "fp32", 2),
    Case("preact20", PICTURE, "bf16", 2),
)


class Clock:
    """Adds up the seconds inside a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        try:
            return self.function(*args, **keywords)
        finally:
            self.seconds += time.perf_counter() - start


def least(case: Case, values: Tensor, kept: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """What chooses by positions, with nothing around it."""

    def choose(model: Any, given: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y, positions = given
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
                logits = model(x)
            losses = F.cross_entropy(logits.float(), y, reduction="none")
            rows = (losses - values[positions]).topk(kept).indices
            positions[rows]
            return x[rows], y[rows]

    return choose


def prepare(case: Case, *, bare: bool = False) -> Callable[[int], tuple[float, float]]:
    """A function that takes steps, and gives seconds of overhead and of everything, per step."""
    draw = torch.Generator().manual_seed(0)
    n, (candidates, kept) = NUM_EXAMPLES, (320, 32)
    ids = torch.randperm(10 * n, generator=draw)[:n]
    losses = IrreducibleLosses.given(ids, torch.rand(n, generator=draw))
    images = torch.rand(2_000, *case.info.shape, generator=draw)
    labels = torch.randint(10, (n,), generator=draw)
    model = create(case.model, case.info, seed=0).module.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    choose: Callable[..., Any]
    if bare:
        choose, ids = least(case, losses.values, kept), torch.arange(n)
    else:
        selector = RhoLoss(losses, keep=kept, scoring=Scoring(precision=case.precision))

        def choose(model: Any, given: Any) -> tuple[Tensor, Tensor]:
            chosen = selector(model, given)
            return chosen.batch[0], chosen.labels

    inner = Clock(model.forward)
    model.forward = inner

    def batch() -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.randint(n, (candidates,), generator=draw)
        return images[rows % len(images)], labels[rows], ids[rows]

    def run(steps: int) -> tuple[float, float]:
        choosing = forward = training = 0.0
        for _ in range(steps):
            given = batch()
            inner.seconds, start = 0.0, time.perf_counter()
            x, y = choose(model, given)
            done = time.perf_counter()
            choosing, forward = choosing + done - start, forward + inner.seconds
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            training += time.perf_counter() - done
        return (choosing - forward) / steps, (choosing + training) / steps

    run(2)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = [(prepare(case), prepare(case, bare=True)) for case in CASES]
    found: list[list[tuple[float, float]]] = [[] for _ in CASES]
    bare: list[list[float]] = [[] for _ in CASES]
    for _ in range(args.repeats):
        for case, (run, run_bare), times, least_ in zip(CASES, runs, found, bare, strict=True):
            times.append(run(case.steps))
            least_.append(run_bare(case.steps)[0])
    rows: list[dict[str, float | str]] = []
    print(
        f"{'model':10} {'scoring':8} {'step, ms':>9} {'overhead, µs':>13} {'of the step':>12} "
        f"{'least, µs':>10}"
    )
    for case, times, least_ in zip(CASES, found, bare, strict=True):
        overhead = statistics.median(part for part, _ in times)
        whole = statistics.median(all_ for _, all_ in times)
        fraction = statistics.median(part / all_ for part, all_ in times)
        rows.append(
            {
                "model": case.model,
                "scoring": case.precision,
                "step_ms": round(whole * 1e3, 3),
                "overhead_us": round(overhead * 1e6, 1),
                "fraction": round(fraction, 4),
                "least_us": round(statistics.median(least_) * 1e6, 1),
            }
        )
        print(
            f"{case.model:10} {case.precision:8} {whole * 1e3:>9.2f} {overhead * 1e6:>13.0f} "
            f"{fraction:>12.2%} {statistics.median(least_) * 1e6:>10.0f}"
        )
    if args.out:
        result = {"threads": args.threads, "repeats": args.repeats, "rows": rows}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Training and scoring throughput against a bare PyTorch loop on the same tensors.

python benchmarks/training.py [--threads 1] [--repeats 5] [--out FILE]

Both sides take the same steps from the same weights, in turn, in one process; a ratio is keepers'
examples per second over the bare loop's, by wall-clock time and by CPU time (the fairer one on a
machine that does other things), and the median over the repeats is shown. The fixed costs of a call
(counting FLOPs, seeding) are in it, on a single epoch. The bare loop reads batches as keepers does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers.data import BagPool, DensePool, crop_and_flip
from keepers.models import MODELS, Recipe, create
from keepers.signals import extract
from keepers.tasks import CLASSES, Labels, Number, Tags, Task
from keepers.training import Hardware, fit
from keepers.types import DataInfo, EvalView, Pool, TrainView

PICTURE = DataInfo(kind="image", shape=(3, 32, 32), num_classes=10)
DIGIT = DataInfo(kind="image", shape=(1, 28, 28), num_classes=10)
TEXT = DataInfo(kind="text", shape=(), num_classes=2)


def pictures(n: int, info: DataInfo) -> Pool:
    return DensePool(torch.randint(0, 256, (n, *info.shape), dtype=torch.uint8))


def texts(n: int) -> Pool:
    lengths = torch.randint(100, 500, (n,))
    return BagPool(torch.randint(2**18, (int(lengths.sum()),), dtype=torch.int32), lengths)


def classes(n: int, info: DataInfo) -> tuple[Task, Tensor]:
    return CLASSES, torch.randint(info.num_classes, (n,))


def labels(n: int, info: DataInfo) -> tuple[Task, Tags]:
    rows = torch.randint(info.num_classes, (n, 2)).tolist()
    tags = Tags.of(rows, info.num_classes)
    names = tuple(map(str, range(info.num_classes)))
    return Labels(names=names, counts=tuple(tags.counts().tolist()), total=n), tags


def numbers(n: int, info: DataInfo) -> tuple[Task, Tensor]:
    made = torch.randn(n, info.num_classes)
    return Number.of(tuple(map(str, range(info.num_classes))), made), made


EMOTIONS = DataInfo(kind="text", shape=(), num_classes=28, task="labels")
PRICE = DataInfo(kind="vector", shape=(26,), num_classes=1, task="number")

CASES: dict[str, tuple[str, DataInfo, Callable[[int], Pool], int, Callable[..., Any]]] = {
    "mlp": ("mlp", DIGIT, lambda n: pictures(n, DIGIT), 25_600, classes),
    "preact20": ("preact20", PICTURE, lambda n: pictures(n, PICTURE), 10_240, classes),
    "fasttext": ("fasttext", TEXT, texts, 25_600, classes),
    "fasttext-labels": ("fasttext", EMOTIONS, texts, 25_600, labels),
    "mlp-number": ("mlp", PRICE, lambda n: DensePool(torch.randn(n, 26)), 51_200, numbers),
}


def bare_loss(task: str, output: Tensor, targets: Tensor) -> Tensor:
    if task == "labels":
        return F.binary_cross_entropy_with_logits(output.float(), targets)
    if task == "number":
        return F.mse_loss(output.float(), targets)
    return F.cross_entropy(output.float(), targets)


def bare_score(task: str, output: Tensor) -> Tensor:
    return F.log_softmax(output.float(), 1) if task == "class" else output.float()


def bare_training(module: nn.Module, view: TrainView, recipe: Recipe, autocast: bool) -> None:
    """What a person writes by hand: shuffle, gather, augment, forward, backward, step."""
    targets = view.labels[torch.arange(len(view))] if isinstance(view.labels, Tags) else view.labels
    module.train()
    if recipe.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            module.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    else:
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
    draw = torch.Generator().manual_seed(0)
    steps = -(-len(view) // recipe.batch_size) * recipe.epochs
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps)
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(view), generator=draw).split(recipe.batch_size):
            inputs = view.pool.gather(rows)
            if view.augment is not None:
                inputs = view.augment(inputs, draw)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                logits = module(*inputs)
            loss = bare_loss(view.task.name, logits, targets[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()


@torch.inference_mode()
def bare_scoring(module: nn.Module, view: EvalView, autocast: bool) -> Tensor:
    module.eval()
    found: list[Tensor] = []
    for rows in torch.arange(len(view)).split(512):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = module(*view.pool.gather(rows))
        found.append(bare_score(view.task.name, logits))
    return torch.cat(found)


@dataclass(frozen=True)
class Seconds:
    wall: float
    cpu: float

    def over(self, other: Seconds) -> Seconds:
        return Seconds(self.wall / other.wall, self.cpu / other.cpu)


def seconds(work: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def turns(ours: Callable[[], object], bare: Callable[[], object], first: bool) -> list[Seconds]:
    """Seconds of both, keepers' own first in the list; `first` says which goes first in time."""
    if first:
        return [seconds(ours), seconds(bare)]
    return [seconds(bare), seconds(ours)][::-1]


def measure(name: str, repeats: int) -> dict[str, float | str]:
    model, info, make, n, targets = CASES[name]
    pool = make(n)
    task, labels = targets(n, info)
    recipe = replace(MODELS[model].defaults, epochs=1)
    augment = crop_and_flip(padding=4) if recipe.augment else None
    view = TrainView(
        pool=pool, labels=labels, positions=torch.arange(n), augment=augment, task=task
    )
    evaluation = EvalView(pool=pool, labels=labels, task=task)
    runtime = Hardware(device="cpu").runtime(gains_from_bf16=recipe.bf16)
    autocast = runtime.bf16

    def module() -> nn.Module:
        return create(model, info, seed=0).module.to(memory_format=torch.channels_last)

    ratios: dict[str, list[Seconds]] = {"training": [], "scoring": []}
    speeds: list[float] = []
    for repeat in range(repeats + 1):
        ours, bare = module(), module()
        training = turns(
            lambda: fit(ours, view, recipe, runtime=runtime, seed=0),  # noqa: B023
            lambda: bare_training(bare, view, recipe, autocast),  # noqa: B023
            first=repeat % 2 == 0,
        )
        scoring = turns(
            lambda: extract(ours, evaluation, runtime=runtime),  # noqa: B023
            lambda: bare_scoring(bare, evaluation, autocast),  # noqa: B023
            first=repeat % 2 == 0,
        )
        if repeat:  # the first is a warm-up
            ratios["training"].append(training[1].over(training[0]))
            ratios["scoring"].append(scoring[1].over(scoring[0]))
            speeds.append(n / training[0].wall)
    row: dict[str, float | str] = {
        "case": name,
        "precision": "bf16" if autocast else "fp32",
        "examples_per_second": round(statistics.median(speeds)),
    }
    for what, found in ratios.items():
        row[f"{what}_ratio"] = round(statistics.median(ratio.wall for ratio in found), 3)
        row[f"{what}_cpu_ratio"] = round(statistics.median(ratio.cpu for ratio in found), 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[dict[str, float | str]] = []
    print(f"{'':15} {'':9} {'':>10} {'training':>16} {'scoring':>16}")
    clocks = f"{'wall':>9}{'CPU':>7}"
    print(f"{'case':15} {'precision':9} {'examples/s':>10} {clocks} {clocks}")
    for name in args.models.split(","):
        row = measure(name, args.repeats)
        rows.append(row)
        print(
            f"{row['case']:15} {row['precision']:9} {row['examples_per_second']:>10} "
            f"{row['training_ratio']:>9.3f}{row['training_cpu_ratio']:>7.3f} "
            f"{row['scoring_ratio']:>9.3f}{row['scoring_cpu_ratio']:>7.3f}",
            flush=True,
        )
    if args.out:
        result = {"threads": args.threads, "repeats": args.repeats, "rows": rows}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

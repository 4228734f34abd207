"""Recipes of irreducible-loss models: what they cost, and how good their losses are.

python benchmarks/irreducible.py --data FOLDER [--seeds 3] [--out FILE]

Half of the training data, with some labels wrong, trains the model; the other half, which stands
in for what a target would train on, gets its losses. Shown are CPU seconds of training, the mean
held-out loss (lower is better: the losses are what selection subtracts), and the area under the
ROC curve of telling wrong labels by their loss. No test set is touched. `mlp` on MNIST chose the
recipes of `keepers il`, for a given width and for none (256), on CIFAR-10 they are confirmed;
`small-cnn` there says that they do not carry over to that model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score

from keepers.data import corrupt_labels, open_source
from keepers.models import Recipe, default_recipe
from keepers.random import generator
from keepers.roles import Role, prepare
from keepers.signals import extract
from keepers.training import Hardware, fit


def adamw(batch: int, epochs: int, lr: float, schedule: Any = "one-cycle") -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=batch,
        lr=lr,
        optimizer="adamw",
        weight_decay=0.01,
        schedule=schedule,
    )


MLP = [
    ("as the paper", "fp32", adamw(32, 5, 1e-3, "constant")),
    ("batches of 256", "fp32", adamw(256, 5, 1e-3, "constant")),
    ("256, bf16, one cycle", "bf16", adamw(256, 5, 1e-3)),
    ("512, bf16, one cycle, 4 epochs", "bf16", adamw(512, 4, 2e-3)),
    ("512, bf16, one cycle, 4 epochs, twice the rate", "bf16", adamw(512, 4, 4e-3)),
    ("512, bf16, one cycle, 6 epochs", "bf16", adamw(512, 6, 2e-3)),
    ("1024, bf16, one cycle, 5 epochs", "bf16", adamw(1024, 5, 4e-3)),
]
NARROW = [
    ("128, bf16, one cycle, 4 epochs", "bf16", adamw(128, 4, 2e-3)),
    ("256, bf16, one cycle, 4 epochs", "bf16", adamw(256, 4, 2e-3)),
]
CASES: dict[str, tuple[str, Role, int | None, tuple[float, ...], list[tuple[str, str, Recipe]]]] = {
    "mlp": (
        "mnist/train.parquet",
        Role(model="mlp", options={"hidden": (512, 512)}),
        None,
        (0.1, 0.4),
        MLP,
    ),
    "mlp, 256 wide": (
        "mnist/train.parquet",
        Role(model="mlp", options={"hidden": (256, 256)}),
        None,
        (0.1, 0.4),
        NARROW,
    ),
    "mlp, CIFAR-10": (
        "cifar10/train.parquet",
        Role(model="mlp", resolution=16, options={"hidden": (512, 512)}),
        20_000,
        (0.1, 0.4),
        MLP,
    ),
    "mlp, 256 wide, CIFAR-10": (
        "cifar10/train.parquet",
        Role(model="mlp", resolution=16, options={"hidden": (256, 256)}),
        20_000,
        (0.1, 0.4),
        NARROW,
    ),
    "small-cnn": (
        "cifar10/train.parquet",
        Role(model="small-cnn", resolution=16),
        20_000,
        (0.2,),
        [
            ("its own, 128", "bf16", replace(default_recipe("small-cnn"), epochs=8)),
            ("512, one cycle, 8 epochs", "bf16", adamw(512, 8, 2e-3)),
        ],
    ),
}


def measure(name: str, data: Path, seed: int) -> list[dict[str, Any]]:
    path, role, limit, noises, recipes = CASES[name]
    source, prepared = prepare(role, open_source(str(data / path), limit=limit))
    half = torch.randperm(len(source), generator=generator(seed, "half"))
    holdout, train = half.chunk(2)
    rows: list[dict[str, Any]] = []
    for noise in noises:
        labels, wrong = corrupt_labels(
            prepared.labels, len(source.class_names), noise, generator=generator(seed, "noise")
        )
        noisy = replace(prepared, labels=labels)
        for title, precision, recipe in recipes:
            runtime = Hardware(device="cpu", precision=precision).runtime(gains_from_bf16=True)  # pyright: ignore[reportArgumentType]
            module = noisy.build(seed)
            start = time.process_time()
            fit(module, noisy.train_view(holdout), recipe, runtime=runtime, seed=seed)
            spent = time.process_time() - start
            signals = extract(
                module,
                noisy.eval_view(),
                runtime=runtime,
                wanted=("log_probs", "losses"),
                positions=train,
            )
            losses = signals.get("losses")
            rows.append(
                {
                    "model": name,
                    "noise": noise,
                    "recipe": title,
                    "seed": seed,
                    "cpu_seconds": spent,
                    "held_out_loss": float(losses.double().mean()),
                    "auc": float(roc_auc_score(wrong[train].numpy(), losses.numpy())),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [
        row
        for name in CASES
        for seed in range(given.seeds)
        for row in measure(name, given.data, seed)
    ]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["noise"], row["recipe"]), []).append(row)
    table = [
        {"model": model, "noise": noise, "recipe": recipe}
        | {
            key: statistics.median(row[key] for row in group)
            for key in ("cpu_seconds", "held_out_loss", "auc")
        }
        for (model, noise, recipe), group in groups.items()
    ]
    result = {"threads": torch.get_num_threads(), "table": table, "rows": rows}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in table:
        print(row)


if __name__ == "__main__":
    main()

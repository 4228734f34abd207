"""Settings of online selection in seconds, chosen on validation data.

python benchmarks/online_choice.py --data FOLDER [--seeds 100 101 102 103] [--out FILE]

The trainings are those of `online_mnist.py --part seconds`, with other seeds. Of the half that is
trained on 5,000 digits are set aside, whose right labels say how accurate the models are; no test
set is touched. What varies is the irreducible-loss model, the fraction of the candidates that is
kept, and the share of the training after which steps are uniform. Shown are the seconds to an
accuracy over those of uniform training, with the irreducible losses reused and charged, and the
final accuracy less that of uniform training.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from online_mnist import DEFAULT, TARGETS, WIDE, Job, losses, noisy, run_job, summarise, write

from keepers.data import open_source
from keepers.random import generator
from keepers.roles import Role, encode_like
from keepers.training import Hardware

VALIDATED = 5_000
RECIPE: dict[str, Any] = {
    "epochs": 4,
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "bf16": True,
}
MODELS = {
    "512 wide, 6 epochs": WIDE,
    "512 wide": Role(
        model="mlp", options={"hidden": (512, 512)}, batch_size=512, lr=4e-3, **RECIPE
    ),
    "384 wide": Role(
        model="mlp", options={"hidden": (384, 384)}, batch_size=256, lr=2e-3, **RECIPE
    ),
    "default": DEFAULT,
}
TRIED = (
    ("512 wide, 6 epochs", 0.2, 0.8),
    ("512 wide", 0.2, 0.8),
    ("384 wide", 0.2, 0.8),
    ("default", 0.2, 0.8),
    ("384 wide", 0.1, 0.8),
    ("384 wide", 0.2, 0.9),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[100, 101, 102, 103])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    source = open_source(str(given.data / "mnist" / "train.parquet"))
    hardware = Hardware(device="cpu")
    jobs = [(None, Job(name="uniform", select="uniform", il=None))]
    for model, keep, until in TRIED:
        name = f"{model}, {keep:.0%} kept, until {until:g}"
        jobs.append((model, Job(name=name, keep=keep, until=until, precision="bf16")))
    runs: list[dict[str, Any]] = []
    for seed in given.seeds:
        for noise in TARGETS["seconds"]:
            data = noisy(source, source, noise, seed, "linear")
            made = {name: losses(data, role, hardware) for name, role in MODELS.items()}
            half = made["default"][0].members
            drawn = half[torch.randperm(len(half), generator=generator(seed, "validation"))]
            aside, members = drawn[:VALIDATED].sort().values, drawn[VALIDATED:]
            validated = replace(data, view=encode_like(data.prepared, source.take(aside.numpy())))
            for model, job in jobs:
                il, spent = made[model or "default"]
                result = run_job(job, validated, il, hardware, members)
                runs.append(result | {"il_seconds": spent if model else 0.0})
                print(json.dumps({k: v for k, v in runs[-1].items() if k != "curve"}), flush=True)
                write("seconds", runs, given.out)
    for row in summarise("seconds", runs):
        print(json.dumps(row))


if __name__ == "__main__":
    main()

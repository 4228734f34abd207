"""How far two dropout seeds choose the same examples, by the number of passes.

    python benchmarks/dropout_passes.py --data FOLDER [--nets 3] [--out FILE.json]

A network is trained on a few labelled examples, and `PASSES` passes with dropout on score a pool
of 1,000; two draws of K passes from them are what two seeds would have seen. Shown is the share of
the 50 picks that both choose, for each method that reads such passes, and what the halves of
one draw share (those are two seeds of K/2). Then other ways of drawing at the same cost: masks
of their own for each example, and masks that each drop every unit equally often over the passes.
Digits: MNIST, `mlp` with dropout 0.1. Texts: SST-2, a bag of n-grams with dropout 0.3.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from keepers import methods
from keepers.data import open_source
from keepers.models.posterior import sample_posterior
from keepers.processes import Runtime
from keepers.random import generator
from keepers.roles import Prepared, Role, prepare
from keepers.training import fit
from keepers.types import DataInfo, EncoderSpec, Model, Signals

COUNTS = (10, 20, 30, 50, 100, 200)
PASSES, POOL, PICKS, LABELLED = 400, 1_000, 50, 300
METHODS = ("bald", "batch-bald", "mc-entropy", "mc-conditional-entropy")
CPU = Runtime(device=torch.device("cpu"))


class Bag(nn.Module):
    """A sum of the embeddings of n-grams, dropout, and a linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(2**14, 32, mode="sum")
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, num_classes))

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """Logits (n, classes)."""
        return self.head(self.embedding(indices, offsets, per_sample_weights=weights))


def bag(info: DataInfo) -> Model:
    """A factory of `Bag`."""
    encoder = EncoderSpec(kind="text", scheme="hashed", buckets=2**14, ngrams=2)
    return Model(module=Bag(info.num_classes), encoder=encoder)


DATA: dict[str, tuple[str, Role]] = {
    "digits": (
        "mnist",
        Role(model="mlp", options={"hidden": (256, 256), "dropout": 0.1}, epochs=30),
    ),
    "texts": ("sst2", Role(model="dropout_passes:bag", epochs=30, lr=1e-2)),
}
Draw = Callable[[nn.Module, tuple[Tensor, ...], int], Tensor]


def ours(module: nn.Module, inputs: tuple[Tensor, ...], passes: int) -> Tensor:
    """As keepers draws: one mask for all examples, evenly over each half of the passes."""
    draws = range(PASSES // passes)
    return torch.cat([_ours(module, inputs, passes, seed) for seed in draws], 1)


def _ours(module: nn.Module, inputs: tuple[Tensor, ...], passes: int, seed: int) -> Tensor:
    return sample_posterior(module, lambda: module(*inputs), samples=passes, seed=seed)


def one_mask(module: nn.Module, inputs: tuple[Tensor, ...], passes: int) -> Tensor:
    """One mask for all examples, each pass by itself."""
    randomness = generator(0, "masks")

    def masked(layer: Any, given: tuple[Tensor, ...], _: Tensor) -> Tensor:
        kept = torch.rand(given[0].shape[1:], generator=randomness) >= layer.p
        return given[0] * kept / (1 - layer.p)

    layers = [part for part in module.modules() if isinstance(part, nn.Dropout)]
    handles = [layer.register_forward_hook(masked) for layer in layers]
    found = [module(*inputs).log_softmax(1) for _ in range(PASSES)]
    for handle in handles:
        handle.remove()
    return torch.stack(found, 1)


def own_masks(module: nn.Module, inputs: tuple[Tensor, ...], passes: int) -> Tensor:
    """Each example has masks of its own, as plain dropout draws them."""
    module.train()
    found = [module(*inputs).log_softmax(1) for _ in range(PASSES)]
    module.eval()
    return torch.stack(found, 1)


WAYS: dict[str, Draw] = {"even masks": ours, "one mask": one_mask, "own masks": own_masks}


def picks(method: str, log_probs: Tensor) -> set[int]:
    row = methods.get(method)
    chosen, _ = methods.choose(
        row,
        [Signals(posterior_log_probs=log_probs)],
        PICKS,
        generator=torch.Generator().manual_seed(0),
    )
    return set(chosen.positions.tolist())


def shared(method: str, posterior: Tensor, passes: int, pairs: int) -> float:
    """Mean share of the picks that two disjoint draws of so many passes have in common."""
    found: list[float] = []
    for pair in range(min(pairs, posterior.shape[1] // (2 * passes))):
        start = 2 * passes * pair
        first, second = posterior[:, start : start + 2 * passes].split(passes, 1)
        found.append(len(picks(method, first) & picks(method, second)) / PICKS)
    return mean(found)


def trained(prepared: Prepared, seed: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network that has learnt from a few examples, and the inputs of a pool."""
    order = torch.randperm(len(prepared.labels), generator=generator(seed, "pool"))
    module = prepared.build(seed)
    view = prepared.train_view(order[:LABELLED].sort().values)
    fit(module, view, prepared.recipe, runtime=CPU, seed=seed)
    pool = order[LABELLED : LABELLED + POOL].sort().values
    return module, prepared.eval_view().pool.gather(pool)


def measure(name: str, folder: Path, nets: int) -> dict[str, Any]:
    data, role = DATA[name]
    source = open_source(str(folder / data / "train.parquet"))
    keep = torch.randperm(len(source), generator=generator(0, "rows"))[: 4 * (LABELLED + POOL)]
    source, prepared = prepare(role, source.take(keep.sort().values.numpy()))
    by_count = [(method, count) for method in METHODS for count in COUNTS]
    seeds: dict[str, list[float]] = {f"{method}, {count}": [] for method, count in by_count}
    halves: dict[str, list[float]] = {f"{method}, {count}": [] for method, count in by_count}
    tried = [(way, method, n) for way in WAYS for method in METHODS for n in (20, 100)]
    ways: dict[str, list[float]] = {f"{way}, {method}, {n}": [] for way, method, n in tried}
    pass_s: list[float] = []
    for seed in range(nets):
        module, inputs = trained(prepared, seed)
        module.eval()
        with torch.no_grad():
            began = time.process_time()
            plain = {way: draw(module, inputs, PASSES) for way, draw in list(WAYS.items())[1:]}
            pass_s.append((time.process_time() - began) / PASSES / len(plain))
            even = {count: ours(module, inputs, count) for count in COUNTS}
        for method, count in by_count:
            pairs = 1 if method == "batch-bald" else 4
            first = even[count][:, :count]
            agreed = picks(method, first[:, : count // 2]) & picks(method, first[:, count // 2 :])
            halves[f"{method}, {count}"].append(len(agreed) / PICKS)
            seeds[f"{method}, {count}"].append(shared(method, even[count], count, pairs))
        for way, method, count in tried:
            pairs = 1 if method == "batch-bald" else 4
            posterior = even[count] if way == "even masks" else plain[way]
            ways[f"{way}, {method}, {count}"].append(shared(method, posterior, count, pairs))
        print(name, seed, {key: round(mean(v), 2) for key, v in seeds.items()}, flush=True)
    found = {"seeds": seeds, "halves": halves, "ways": ways}
    return {"data": name, "pass_s": mean(pass_s)} | {
        part: {key: round(mean(values), 3) for key, values in rows.items()}
        for part, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nets", type=int, default=3)
    parser.add_argument("--only", default=",".join(DATA), help=f"some of {', '.join(DATA)}")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, given.data, given.nets) for name in given.only.split(",")]
    for row in rows:
        print(json.dumps(row, indent=1))
    if given.out:
        what = {"pool": POOL, "picks": PICKS, "labelled": LABELLED, "nets": given.nets}
        given.out.write_text(json.dumps({**what, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

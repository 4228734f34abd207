"""Token-level selection on text with noise, and on clean text: steps to a held-out loss.

python benchmarks/tokens.py FILE.jsonl [--seeds 5] [--steps 600] [--keep 0.6 0.8] [--out FILE.json]

A small causal model of bytes is trained on one part of the texts, a fifth of whose bytes are drawn
at random (or none); another such model, the reference, on a second, clean part; both are measured
on a third. The learning rate is the best of three for plain training with noise, on a seed of its
own, and all runs have it. Every run has as many steps and tokens; the reference's training and its
passes are not counted in steps, and are said as seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepers import TokenSelector
from keepers.statistics import paired_difference

BATCH, LENGTH, NOISE, EVERY = 16, 64, 0.2, 25
RATES = (1e-3, 3e-3, 1e-2)


def texts(path: Path) -> list[Tensor]:
    """The bytes of a third of the texts each: for training, for the reference, held out."""
    found = [json.loads(line)["text"].encode() for line in path.read_text().splitlines()]
    parts = [b"\n\n".join(found[part::3]) for part in range(3)]
    return [torch.frombuffer(bytearray(part), dtype=torch.uint8).long() for part in parts]


def made(seed: int) -> Any:
    """A new model of bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            use_cache=False,
        )
    )


def drawn(data: Tensor, draw: torch.Generator, count: int = BATCH) -> Tensor:
    """Pieces (count, LENGTH) of a text."""
    starts = torch.randint(len(data) - LENGTH, (count,), generator=draw)
    return torch.stack([data[start : start + LENGTH] for start in starts.tolist()])


def held_out(model: Any, data: Tensor) -> float:
    """The mean loss of a token on the same pieces each time."""
    pieces = drawn(data, torch.Generator().manual_seed(7), 64)
    model.eval()
    with torch.no_grad():
        loss = float(model(input_ids=pieces, labels=pieces).loss)
    model.train()
    return loss


def trained(
    data: Tensor,
    other: Tensor,
    *,
    seed: int,
    steps: int,
    lr: float,
    noise: float,
    choose: TokenSelector | None = None,
) -> tuple[Any, list[float], float]:
    """The model, the held-out loss each EVERY steps, and seconds of training."""
    model, draw = made(seed), torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(data), generator=draw) < noise
    data = torch.where(wrong, torch.randint(256, data.shape, generator=draw), data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * max(0.05, 1 - step / steps)
    )
    curve, seconds = list[float](), 0.0
    for step in range(steps):
        batch = drawn(data, draw)
        begun = time.perf_counter()
        if choose is None:
            loss = model(input_ids=batch, labels=batch).loss
        else:
            given = {"input_ids": batch, "labels": batch}
            loss = choose(model(input_ids=batch).logits, given).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - begun
        if (step + 1) % EVERY == 0:
            curve.append(held_out(model, other))
    return model, curve, seconds


def steps_to(curve: list[float], target: float) -> int | None:
    """The first step at which the held-out loss is at most the target."""
    return next((EVERY * (at + 1) for at, loss in enumerate(curve) if loss <= target), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.6, 0.8])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    train, clean, other = texts(args.data)
    known: dict[str, Any] = {"steps": args.steps}
    tried = {
        lr: trained(train, other, seed=99, steps=args.steps, lr=lr, noise=NOISE)[1][-1]
        for lr in RATES
    }
    lr = min(tried, key=lambda rate: tried[rate])
    reference, curve, _ = trained(clean, other, seed=98, steps=args.steps, lr=lr, noise=0.0)
    found: dict[str, Any] = {
        "data": args.data.name,
        "steps": args.steps,
        "rates": {str(rate): loss for rate, loss in tried.items()},
        "reference": curve[-1],
        "runs": [],
    }
    for noise in (NOISE, 0.0):
        for seed in range(args.seeds):
            known = {"seed": seed, "steps": args.steps, "lr": lr, "noise": noise}
            _, plain, seconds = trained(train, other, **known)
            row = {"noise": noise, "seed": seed, "plain": plain, "seconds": seconds}
            for keep in args.keep:
                choose = TokenSelector(reference, keep=keep)
                _, curve, seconds = trained(train, other, choose=choose, **known)
                # To the loss at which plain training ends, which is its best.
                row[f"keep {keep}"] = curve
                row[f"share of steps, keep {keep}"] = (
                    steps_to(curve, plain[-1]) or float("inf")
                ) / args.steps
                row[f"seconds, keep {keep}"] = seconds
            found["runs"].append(row)
            print(json.dumps({name: v for name, v in row.items() if not isinstance(v, list)}))
    for noise in (NOISE, 0.0):
        runs = [row for row in found["runs"] if row["noise"] == noise]
        for keep in args.keep:
            ends = [row[f"keep {keep}"][-1] for row in runs]
            difference = paired_difference(ends, [row["plain"][-1] for row in runs])
            mean, low, high = difference.mean, difference.low, difference.high
            shares = [row[f"share of steps, keep {keep}"] for row in runs]
            found[f"noise {noise}, keep {keep}"] = {
                "difference in held-out loss": [mean, low, high],
                "median share of steps": statistics.median(shares),
            }
            print(noise, keep, f"{mean:+.4f} ({low:+.4f} to {high:+.4f})", sorted(shares))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

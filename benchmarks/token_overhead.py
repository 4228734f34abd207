"""What choosing tokens adds to a step of training, beside the two forward passes it needs.

python benchmarks/token_overhead.py [--rows 2] [--length 256] [--rounds 5] [--out FILE.json]

A model of the shape of SmolLM2-135M (random weights: time does not depend on them) takes, in turn,
a plain step (forward, cross-entropy, backward), a forward pass of the reference, and a step with
`TokenSelector`. What the last takes more than the first two together is the overhead; as
that drowns in a machine's noise, the same is also taken of logits that are there: both losses, the
choice and the way back to the logits, less a plain loss and its way back (`choosing_share`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from keepers import TokenSelector


def made() -> Any:
    """A new model of the shape of SmolLM2-135M."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )


class Said(torch.nn.Module):
    """A reference whose logits are known."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, **_: Any) -> torch.Tensor:
        return self.logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, reference = made().train(), made().eval()
    choose = TokenSelector(reference, keep=0.6)
    ids = torch.randint(49152, (args.rows, args.length))
    batch = {"input_ids": ids, "labels": ids.masked_fill(torch.arange(args.length) < 40, -100)}

    def plain() -> None:
        model(**batch).loss.backward()

    def look() -> None:
        with torch.no_grad():
            reference(input_ids=ids)

    def chosen() -> None:
        choose(model(input_ids=ids).logits, batch).loss.backward()

    with torch.no_grad():
        logits, said = model(input_ids=ids).logits, reference(input_ids=ids).logits
    logits.requires_grad_()

    def plain_loss() -> None:
        model.loss_function(logits, batch["labels"], vocab_size=49152).backward()

    def choice() -> None:
        TokenSelector(Said(said), keep=0.6)(logits, batch).loss.backward()

    parts = {
        "plain": plain,
        "reference": look,
        "chosen": chosen,
        "plain loss": plain_loss,
        "choice": choice,
    }
    found: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(args.rounds + 1):
        for name, part in parts.items():
            start = time.process_time()
            part()
            if turn:  # the first warms up
                found[name].append(time.process_time() - start)
            model.zero_grad()
            logits.grad = None
    shares = [
        (whole - one - two) / whole
        for one, two, whole in zip(found["plain"], found["reference"], found["chosen"], strict=True)
    ]
    apart = statistics.median(found["choice"]) - statistics.median(found["plain loss"])
    result = {
        "tokens": args.rows * args.length,
        "cpu_seconds": {name: statistics.median(each) for name, each in found.items()},
        "choosing_share": apart / statistics.median(found["chosen"]),
        "overhead": statistics.median(shares),
        "overhead_by_round": shares,
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=1))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

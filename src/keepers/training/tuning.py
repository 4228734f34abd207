"""Fine-tuning a causal language model for a number of tokens, whatever it is tuned on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from keepers.errors import KeepersError
from keepers.models import LanguageModel, TokenSequence, batched, padded, summed_losses
from keepers.processes import Runtime
from keepers.random import derived_seed, generator
from keepers.training.optim import one_cycle, set_learning_rate
from keepers.training.optim import optimizer as build_optimizer
from keepers.types import Progress, Silent

AREA = {"cpu": 1024}
"""Tokens, padding included, of which gradients are made at once, by device; `MANY` on others."""
MANY = 1 << 14


@dataclass(frozen=True, kw_only=True)
class TuningRecipe:
    """How a model is tuned: AdamW on all weights, the loss on answers alone.

    The learning rate rises over the first `warmup` of the steps and falls as a cosine to nothing.
    Gradients are brought to the norm `max_norm` where they are longer.
    """

    lr: float
    batch_tokens: int
    weight_decay: float = 0.0
    warmup: float = 0.1
    max_norm: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A model after tuning; the tokens that it saw, those it learnt, and what that took."""

    model: LanguageModel
    tokens: int
    answer_tokens: int
    examples: int
    steps: int
    flops: float


def tuning_flops(module: nn.Module, tokens: float) -> float:
    """Operations of training on `tokens`: six for each weight and token, two forward, four back."""
    return 6.0 * sum(each.numel() for each in module.parameters()) * tokens


def forward_flops(module: nn.Module, tokens: float) -> float:
    """Operations of a forward pass over `tokens`."""
    return tuning_flops(module, tokens) / 3


def token_steps(
    lengths: Tensor, members: Tensor, total: int, *, batch_tokens: int, seed: int
) -> Iterator[Tensor]:
    """The members of each step of a training on `total` tokens.

    Passes over the members, each in an order of its own, are cut into as many steps as batches of
    `batch_tokens` fit into `total`. A step ends where the tokens so far are nearest to its share,
    so that any members give the same number of steps and, to half an example, of tokens.

    Args:
        lengths: (n,) tokens of all examples, none over `batch_tokens`.
        members: positions (k,).

    >>> lengths, members = torch.tensor([4, 4, 2, 6]), torch.tensor([0, 1, 2])
    >>> steps = list(token_steps(lengths, members, 20, batch_tokens=6, seed=0))
    >>> len(steps), sum(int(lengths[step].sum()) for step in steps)
    (3, 20)
    """
    count = max(1, total // batch_tokens)
    found, done, step = list[int](), 0, 1
    for at in _passes(members, seed):
        length = int(lengths[at])
        while found and done + length / 2 > step * total / count:
            yield torch.tensor(found)
            found, step = [], step + 1
            if step > count:
                return
        found.append(at)
        done += length


def _passes(members: Tensor, seed: int) -> Iterator[int]:
    number = 0
    while True:
        order = torch.randperm(len(members), generator=generator(seed, "order", number))
        yield from members[order].tolist()
        number += 1


def tune(
    model: LanguageModel,
    sequences: Sequence[TokenSequence],
    members: Tensor,
    total: int,
    recipe: TuningRecipe,
    *,
    seed: int,
    runtime: Runtime,
    weights: Tensor | None = None,
    progress: Progress | None = None,
    what: str = "tuning",
) -> Tuned:
    """Tune a copy of a model on the members among the sequences, for `total` tokens.

    Args:
        model: is left as it is.
        members: positions (k,) into the sequences; `total` tokens are passes over them, as
            `token_steps` cuts them.
        weights: (n,) of the sequences, which multiply their losses.
        seed: of the order, and of dropout.

    Raises:
        KeepersError: a loss that is no finite number.
    """
    progress = progress or Silent()
    device = runtime.device
    module = copy.deepcopy(model.module).to(device).train()
    optimizer = build_optimizer(
        "adamw", module, lr=recipe.lr, momentum=0.0, weight_decay=recipe.weight_decay
    )
    lengths = torch.tensor([len(each.ids) for each in sequences])
    learnt = torch.tensor([int(each.learnt.sum()) for each in sequences])
    steps = list(token_steps(lengths, members, total, batch_tokens=recipe.batch_tokens, seed=seed))
    progress.start(what, len(steps))
    area = AREA.get(device.type, MANY)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derived_seed(seed, "dropout"))
        for number, rows in enumerate(steps):
            factor = one_cycle((number + 0.5) / len(steps), warmup=recipe.warmup, start=0.0)
            set_learning_rate(optimizer, recipe.lr * factor)
            whole = 0.0
            for part in batched(lengths[rows], most=area):
                here = rows[part]
                ids, told, _ = padded([sequences[row] for row in here.tolist()])
                with runtime.autocast():
                    sums = summed_losses(module, ids, told, device)
                if weights is not None:
                    sums = sums * weights[here]
                loss = sums.sum() / int(learnt[rows].sum())
                loss.backward()
                whole += float(loss.detach())
            if not math.isfinite(whole):
                raise KeepersError(
                    f"tuning: the loss is not finite in step {number + 1}. Lower the learning rate "
                    f"(now {recipe.lr:g}) or use precision fp32"
                )
            torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.max_norm)
            optimizer.step()
            optimizer.zero_grad()
            progress.advance(number + 1)
    progress.finish()
    seen = torch.cat(steps)
    tokens = int(lengths[seen].sum())
    return Tuned(
        model=replace(model, module=module.eval()),
        tokens=tokens,
        answer_tokens=int(learnt[seen].sum()),
        examples=len(seen),
        steps=len(steps),
        flops=tuning_flops(module, tokens),
    )

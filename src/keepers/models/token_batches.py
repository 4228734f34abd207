"""Token sequences in batches, and the losses of causal language models on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from keepers.models.causal import TokenSequence


def batched(lengths: Tensor, *, most: int) -> Iterator[Tensor]:
    """Positions of sequences of like length, the longest first; a batch times its longest ≤ `most`.

    A sequence that is longer than that has a batch of its own.

    >>> [rows.tolist() for rows in batched(torch.tensor([3, 9, 4, 2]), most=9)]
    [[1], [2, 0], [3]]
    """
    order = torch.argsort(lengths, descending=True, stable=True)
    start = 0
    while start < len(order):
        size = max(1, most // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def padded(sequences: Sequence[TokenSequence]) -> tuple[Tensor, Tensor, Tensor]:
    """Token numbers and what is learnt (n, longest), zeros on the right, and lengths (n,)."""
    length = torch.tensor([len(each.ids) for each in sequences])
    ids = torch.zeros(len(sequences), int(length.max()), dtype=torch.int64)
    learnt = torch.zeros(ids.shape, dtype=torch.bool)
    for row, each in enumerate(sequences):
        ids[row, : len(each.ids)] = each.ids
        learnt[row, : len(each.ids)] = each.learnt
    return ids, learnt, length


def summed_losses(module: nn.Module, ids: Tensor, learnt: Tensor, device: torch.device) -> Tensor:
    """The summed losses (n,) in nats of what is learnt, on the host, in float64.

    Logits are made where they are needed alone.

    Args:
        module: a causal language model on `device`.
        ids: (n, length) token numbers, and `learnt` (n, length) which of them count; some in each
            row, never the first token.
    """
    used = learnt.any(0).nonzero().squeeze(1)
    first, last = int(used[0]), int(used[-1])
    at = torch.arange(first - 1, last, device=device)
    ids = ids.to(device)
    logits = module(input_ids=ids, logits_to_keep=at, use_cache=False).logits.float()
    wanted = ids[:, first : last + 1]
    losses = logits.logsumexp(2) - logits.gather(2, wanted[:, :, None]).squeeze(2)
    return (losses * learnt[:, first : last + 1].to(device)).double().sum(1).cpu()

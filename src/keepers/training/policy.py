"""Batch policies: which members a step trains on, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.files import hash_bytes
from keepers.processes import Runtime
from keepers.random import generator
from keepers.training.candidates import Candidates, Feed
from keepers.training.observer import Step


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Which candidates a step trains on: `rows` (k,), and `weights` (k,) of their losses.

    `on_host` are the rows in the memory of the host, where they are there already. `flops` is
    what scoring the candidates took. `staleness` counts the steps since the weights that scored.
    """

    rows: Tensor
    weights: Tensor | None = None
    on_host: Tensor | None = None
    flops: float = 0.0
    staleness: int = 0


class BatchPolicy:
    """The order of an epoch, a function of (seed, epoch, state), and what each step makes of it.

    The order is cut into groups of candidates. Without more ado a step trains on its candidates;
    one that is not `plain` trains on those that are chosen. A policy with a state keeps it in
    tensors, which are part of every checkpoint; one that `watches` is told of each step.
    """

    watches: ClassVar[bool] = False

    def start(
        self,
        module: nn.Module,
        *,
        runtime: Runtime,
        seed: int,
        num_examples: int,
        batch_size: int,
        feed: Feed | None = None,
    ) -> None:
        """A training of `module` begins: forget the last one.

        Positions are under `num_examples`; a whole step trains on `batch_size` of them. `feed`
        gives the inputs of any step, in a training by `fit`.
        """

    @property
    def lookahead(self) -> int:
        """How many steps ahead the policy wants to know the candidates."""
        return 0

    def announce(self, positions: Tensor, step: int, now: int) -> None:
        """Those at `positions` are the candidates of a coming `step`; `now` is this one."""

    def close(self) -> None:
        """The training is over, or was ended by an error."""

    def epoch_length(self, num_members: int) -> int:
        """Examples in one epoch, as far as it is known beforehand."""
        return num_members

    def order(self, positions: Tensor, *, seed: int, epoch: int, progress: float = 0.0) -> Tensor:
        """The positions of one epoch, in training order: all of them in a fresh random order.

        `progress` is the share of the training that was done when the epoch began.
        """
        return positions[torch.randperm(len(positions), generator=generator(seed, "order", epoch))]

    def num_candidates(self, batch_size: int, progress: float) -> int:
        """Of how many candidates a batch of `batch_size` is chosen, so far into training."""
        return batch_size

    def plain(self, positions: Tensor, progress: float, version: int) -> Tensor | None:
        """What a step trains on that looks at no candidate; None where it is to `choose`.

        `positions` are those of the candidates, on the host; `version` counts the steps before.
        """
        return positions

    def choose(self, candidates: Candidates, progress: float) -> Choice | None:
        """What to train on; None for all candidates."""
        return None

    def weights(self, positions: Tensor) -> Tensor | None:
        """Weights of the losses of a plain step; None for 1."""
        return None

    def after_step(self, step: Step) -> float:
        """Take note of a step; only a policy that `watches` is told."""
        self.note(step.positions, step.task.losses(step.logits, step.labels))
        return 0.0

    def note(self, positions: Tensor, losses: Tensor) -> None:
        """Take note of the losses (n,) of what a step trained on."""

    def state_dict(self) -> dict[str, Tensor]:
        """The state as tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""


@dataclass(frozen=True)
class Shuffle(BatchPolicy):
    """Every member once an epoch, in a fresh random order."""


@dataclass(frozen=True)
class FreshSubset(BatchPolicy):
    """A fresh random subset of `size` members every epoch.

    A permutation is cut into ⌊n / size⌋ disjoint subsets, one for each epoch, and is then
    renewed; so no example comes twice in an epoch (Okanovic et al., "Repeated Random Sampling for
    Minimizing the Time-to-Accuracy of Learning", ICLR 2024).
    """

    size: int

    def epoch_length(self, num_members: int) -> int:
        """`size`, or all members where there are fewer."""
        return min(self.size, num_members)

    def order(self, positions: Tensor, *, seed: int, epoch: int, progress: float = 0.0) -> Tensor:
        """The positions of one epoch's subset, in training order."""
        size = self.epoch_length(len(positions))
        turn, part = divmod(epoch, len(positions) // size)
        shuffled = torch.randperm(len(positions), generator=generator(seed, "order", turn))
        return positions[shuffled[part * size : (part + 1) * size]]


@dataclass(frozen=True)
class InOrder(BatchPolicy):
    """Every member once an epoch, in the order that they are given."""

    def order(self, positions: Tensor, *, seed: int, epoch: int, progress: float = 0.0) -> Tensor:
        """The positions as they are."""
        return positions


class WeightedSampling(BatchPolicy):
    """Draws the members of each epoch with probabilities in proportion to `weights`.

    Without replacement, one after another from those that are left (Efraimidis and Spirakis,
    "Weighted random sampling with a reservoir", 2006), so `size` is at most how many there are.

    Args:
        weights: (n,) by position, finite and not negative.
        size: how many make an epoch; as many as there are members by default.
        replacement: a member may come several times.

    Raises:
        ParameterError: weights that are none, or fewer over 0 than are drawn.

    >>> drawn = WeightedSampling(torch.tensor([0.0, 1.0, 3.0]), size=6)
    >>> 0 in drawn.order(torch.arange(3), seed=0, epoch=0)
    False
    """

    def __init__(
        self, weights: Tensor, size: int | None = None, *, replacement: bool = True
    ) -> None:
        self._by_position = torch.as_tensor(weights).double().cpu()
        self.size, self.replacement = size, replacement
        own = self._by_position
        if own.ndim != 1 or not bool((own.isfinite() & (own >= 0)).all()):
            raise ParameterError(
                "weights",
                f"got shape {tuple(own.shape)}, or values that are negative or not finite",
                "Give one weight of 0 or more for each example",
            )
        if size is not None and size < 1:
            raise ParameterError("size", f"got {size}", "Give how many make an epoch, 1 or more")
        positive = int((own > 0).sum())
        if positive < (1 if replacement else size or len(own)):
            raise ParameterError(
                "weights",
                f"got {positive} over 0, but {size or len(own)} are to be drawn",
                "Give a smaller size, or replacement=True",
            )

    @property
    def num_weights(self) -> int:
        """How many examples have a weight."""
        return len(self._by_position)

    def __repr__(self) -> str:
        weights = hash_bytes(self._by_position.numpy())
        return f"WeightedSampling({weights}, size={self.size}, replacement={self.replacement})"

    def epoch_length(self, num_members: int) -> int:
        """`size`, or as many as there are members."""
        return self.size or num_members

    def order(self, positions: Tensor, *, seed: int, epoch: int, progress: float = 0.0) -> Tensor:
        """The positions that are drawn, in the order of the draws."""
        weights, size = self._by_position[positions], self.epoch_length(len(positions))
        draw = generator(seed, "order", epoch)
        if self.replacement:
            upto = weights.cumsum(0)
            points = torch.rand(size, generator=draw, dtype=torch.float64) * upto[-1]
            return positions[torch.searchsorted(upto, points, right=True).clamp(max=len(upto) - 1)]
        waits = torch.empty_like(weights).exponential_(generator=draw) / weights
        return positions[waits.argsort(stable=True)[:size]]


class Weighted(BatchPolicy):
    """Every member once an epoch, its loss multiplied by a weight of its own.

    Args:
        weights: (n,) by position; those of members are over 0.
    """

    def __init__(self, weights: Tensor) -> None:
        self._by_position = weights.float()

    @property
    def num_weights(self) -> int:
        """How many examples have a weight."""
        return len(self._by_position)

    def __repr__(self) -> str:
        return f"Weighted({hash_bytes(self._by_position.cpu().numpy())})"

    def weights(self, positions: Tensor) -> Tensor:
        """Those of the members at `positions`."""
        if self._by_position.device != positions.device:
            self._by_position = self._by_position.to(positions.device)
        return self._by_position[positions]


def next_batch(order: Tensor, start: int, size: int, *, at_least: int = 2) -> Tensor:
    """The batch of an epoch that begins at `start`; a rest of fewer than `at_least` joins it.

    Batch normalisation has no statistics for a batch of one.

    >>> next_batch(torch.arange(9), 4, 4).tolist()
    [4, 5, 6, 7, 8]
    """
    stop = start + size
    return order[start:] if len(order) - stop < at_least else order[start:stop]


def num_batches(length: int, batch_size: int, *, at_least: int = 2) -> int:
    """How many batches `next_batch` cuts an epoch of `length` examples into.

    >>> num_batches(9, 4), num_batches(10, 4)
    (2, 3)
    """
    full, rest = divmod(length, batch_size)
    return max(1, full + (rest >= at_least))

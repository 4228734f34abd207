"""InfoBatch: a batch policy that leaves out part of the examples with low losses."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.random import generator
from keepers.training import BatchPolicy, Feed, Runtime
from keepers.types import Budget


class InfoBatch(BatchPolicy):
    """Leaves out a random part of the examples whose last loss is below the mean.

    Of the m examples below the mean, k = keep·m stay in the epoch (rounded, at least 1), with
    weight m / k, so the expected gradient is unchanged. The first epoch trains on everything,
    and so does every epoch that begins in the last share `off` of the training.

    Paper:
        Qin et al., InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning, ICLR
        2024.

    Raises:
        ParameterError: a fraction outside (0, 1], or a share outside [0, 1].
    """

    watches: ClassVar[bool] = True

    def __init__(self, *, keep: float = 0.5, off: float = 0.125) -> None:
        if not 0 < keep <= 1:
            raise ParameterError("keep", f"got {keep}", "Give the fraction that stays, in (0, 1]")
        if not 0 <= off <= 1:
            raise ParameterError("off", f"got {off}", "Give a share of the training in [0, 1]")
        self.keep, self.off = keep, off
        self.losses = torch.empty(0)
        self.of_epoch = torch.empty(0)
        self.drawn = torch.tensor(-1)

    def __repr__(self) -> str:
        return f"InfoBatch(keep={self.keep!r}, off={self.off!r})"

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
        """Nothing is known of any example."""
        self.losses = torch.full((num_examples,), torch.nan, device=runtime.device)
        self.of_epoch = torch.ones(num_examples, device=runtime.device)
        self.drawn = torch.tensor(-1)

    def order(self, positions: Tensor, *, seed: int, epoch: int, progress: float = 0.0) -> Tensor:
        """What is left of the members, in random order."""
        if int(self.drawn) != epoch:  # an interrupted epoch keeps what it was drawn from
            self._draw(positions.unique(), seed, epoch, prune=progress < 1 - self.off)
        kept = positions[(self.of_epoch[positions.to(self.of_epoch.device)] > 0).cpu()]
        return super().order(kept, seed=seed, epoch=epoch)

    def _draw(self, positions: Tensor, seed: int, epoch: int, *, prune: bool) -> None:
        weights = torch.ones(len(positions))
        losses = self.losses[positions.to(self.losses.device)].cpu()
        below = (losses < losses.nanmean()).nonzero().squeeze(1)
        if prune and len(below):
            count = Budget(self.keep).resolve(len(below))
            shuffled = torch.randperm(len(below), generator=generator(seed, "infobatch", epoch))
            weights[below] = 0.0
            weights[below[shuffled[:count]]] = len(below) / count
        self.of_epoch[positions.to(self.of_epoch.device)] = weights.to(self.of_epoch)
        self.drawn = torch.tensor(epoch)

    def weights(self, positions: Tensor) -> Tensor:
        """1, or m / k for an example below the mean."""
        return self.of_epoch[positions]

    def note(self, positions: Tensor, losses: Tensor) -> None:
        """Record the losses of the examples trained on."""
        self.losses[positions.to(self.losses.device)] = losses.to(self.losses)

    def state_dict(self) -> dict[str, Tensor]:
        """The last losses, and what this epoch was drawn from."""
        return {"losses": self.losses, "of_epoch": self.of_epoch, "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.losses.copy_(state["losses"])
        self.of_epoch.copy_(state["of_epoch"])
        self.drawn = state["drawn"]

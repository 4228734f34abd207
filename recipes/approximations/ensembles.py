"""Models that learn and score side by side: what the approximation study is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from keepers.ledger import Tally
from keepers.models import count_flops
from keepers.online import Companion
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.training import Arguments, Candidates

FORWARD_AND_BACKWARD = 3  # FLOPs of a training step over those of its forward pass

State = dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class Material:
    """What all models of a study share.

    `labels` (n,) as they are trained on; a gradient step is on `size` examples, a training to
    convergence at most `epochs` long. `tally` counts what the phase in progress costs.
    """

    labels: Tensor
    size: int
    epochs: int
    tally: Tally = field(default_factory=Tally)


class Ensemble:
    """Models of one architecture, of which the loss is that of their mean prediction.

    −log (1/K) Σₖ pₖ(y | x) for K members, each trained by AdamW. One member is an ordinary model.

    Args:
        prepared: the architecture, its learning rate and its inputs, as the role says.
        size: how many members.
        seed: of their first weights, dropout and order of batches; members of the same number
            begin with the same weights whatever the size is.
        states: what the members have learnt already, as `states` gave it.
    """

    def __init__(
        self,
        prepared: Prepared,
        material: Material,
        *,
        size: int,
        seed: int,
        states: Sequence[State] = (),
    ) -> None:
        self.material, self.seed, self.steps = material, seed, 0
        recipe, device = prepared.recipe, material.labels.device
        self.pool = prepared.pool.to(device)
        self.members = [
            Companion(
                prepared.build(derived_seed(seed, "member", number)).to(device),
                lr=recipe.lr,
                weight_decay=recipe.weight_decay,
                inputs=self.pool.gather,
                seed=derived_seed(seed, "dropout", number),
            )
            for number in range(size)
        ]
        few = self.pool.gather(torch.zeros(1, dtype=torch.int64, device=device))
        self.flops = count_flops(self.members[0].module, few)
        for member, state in zip(self.members, states, strict=bool(states)):
            member.load_state_dict(_copy(state))

    def losses(self, positions: Tensor) -> Tensor:
        """The losses (n,) of the mean prediction at `positions` (n,)."""
        candidates = self._candidates(positions)
        each = torch.stack([member.losses(candidates) for member in self.members])
        self.material.tally.flops += each.numel() * self.flops
        return math.log(len(each)) - torch.logsumexp(-each, 0)

    def step(self, positions: Tensor) -> None:
        """One gradient step of each member on all of `positions`."""
        for member in self.members:
            self._update(member, positions)

    def converge(self, positions: Tensor, watched: Tensor) -> None:
        """Train each member on, until its loss on `watched` no longer falls; keep the lowest."""
        for number, member in enumerate(self.members):
            best, lowest = _copy(member.state_dict()), self._mean_loss(member, watched)
            for epoch in range(self.material.epochs):
                draw = generator(self.seed, "order", number, len(positions), epoch)
                order = positions[torch.randperm(len(positions), generator=draw).to(positions)]
                for batch in order.split(self.material.size):
                    self._update(member, batch)
                loss = self._mean_loss(member, watched)
                if not loss < lowest:
                    member.load_state_dict(best)
                    break
                best, lowest = _copy(member.state_dict()), loss

    def states(self) -> list[State]:
        """What each member has learnt."""
        return [_copy(member.state_dict()) for member in self.members]

    def _update(self, member: Companion, positions: Tensor) -> None:
        member.update(self._candidates(positions))
        self.steps += 1
        tally = self.material.tally
        tally.steps += 1
        tally.examples += len(positions)
        tally.flops += FORWARD_AND_BACKWARD * len(positions) * self.flops

    def _mean_loss(self, member: Companion, positions: Tensor) -> float:
        self.material.tally.flops += len(positions) * self.flops
        return float(member.losses(self._candidates(positions)).mean())

    def _candidates(self, positions: Tensor) -> Candidates:
        def cut(rows: Tensor) -> Arguments:
            return self.pool.gather(positions[rows]), {}

        labels = self.material.labels[positions]
        return Candidates(positions=positions, labels=labels, args=(), cut=cut, version=self.steps)


@dataclass(kw_only=True, eq=False)
class Function:
    """A selection function: its two models, and how they learn from what was chosen.

    `learn(function, chosen)` may look at everything that was `acquired` so far.
    """

    name: str
    target: Ensemble
    irreducible: Ensemble
    learn: Callable[[Function, Tensor], None]
    acquired: Tensor

    def scores(self, positions: Tensor) -> Tensor:
        """Loss of the target less irreducible loss, (n,)."""
        return self.target.losses(positions) - self.irreducible.losses(positions)

    def acquire(self, positions: Tensor, k: int) -> None:
        """Choose k of these candidates, and learn from them."""
        chosen = positions[self.scores(positions).topk(k).indices]
        self.acquired = torch.cat([self.acquired, chosen])
        self.learn(self, chosen)


def _copy(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}

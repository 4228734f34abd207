"""Training dynamics, observed on the training batches: forgetting events and margins."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.training.observer import Step


class Dynamics:
    """Forgetting events (Toneva et al. 2019) and area under the margin (Pleiss et al. 2020).

    A forgetting event is a change from correct to incorrect between two presentations of an
    example in training batches, augmented and with dropout as it was trained on. The margin is
    the logit of the label less the largest other logit, averaged over presentations.
    """

    def __init__(self, num_examples: int, device: torch.device | str = "cpu") -> None:
        exact = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self._state = {
            "events": torch.zeros(num_examples, dtype=torch.int32, device=device),
            "correct": torch.zeros(num_examples, dtype=torch.bool, device=device),
            "learnt": torch.zeros(num_examples, dtype=torch.bool, device=device),
            "margin_sum": torch.zeros(num_examples, dtype=exact, device=device),
            "presentations": torch.zeros(num_examples, dtype=torch.int32, device=device),
        }

    def after_step(self, step: Step) -> float:
        """Count the events and margins of one batch."""
        state, at = self._state, step.positions
        logits = step.logits.float()
        own = logits.gather(1, step.labels[:, None])
        others = logits.scatter(1, step.labels[:, None], -torch.inf)
        margin = own[:, 0] - others.amax(1)
        correct = margin > 0
        before = state["correct"][at]
        state["events"][at] += (before & ~correct).to(torch.int32)
        state["correct"][at] = correct
        state["learnt"][at] |= correct
        state["margin_sum"][at] += margin.to(state["margin_sum"].dtype)
        state["presentations"][at] += 1
        return 0.0

    def forgetting(self) -> Tensor:
        """Forgetting events (n,), ∞ where never classified correctly, on the CPU."""
        events = self._state["events"].double()
        return torch.where(self._state["learnt"], events, torch.inf).cpu()

    def aum(self) -> Tensor:
        """Mean margin (n,), 0 where never presented, on the CPU."""
        return (
            (self._state["margin_sum"] / self._state["presentations"].clamp(min=1)).cpu().double()
        )

    def state_dict(self) -> dict[str, Tensor]:
        """The counts so far."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from these counts."""
        for name, value in self._state.items():
            value.copy_(state[name])

"""When selection is done: nothing reducible is left, and uniform steps do better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from keepers import processes

WATCHED = frozenset({"losses", "irreducible_losses"})
"""The signals of a method that can be watched."""
WINDOW = 8  # steps whose means decide
HALF = 0.6931471805599453  # the loss at which a label has a probability of a half


_NUMBERS = ("step", "target", "irreducible", "chosen", "rest", "suspect", "suspect_rest")


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Why selection ended after `step` steps; means over the last few of them.

    `target` and `irreducible` are the probabilities that the target and the irreducible-loss
    model gave the labels of the candidates, `chosen` and `rest` the reducible losses of what was
    chosen and of all other candidates, `suspect` the share of the chosen whose label both models
    found unlikely, and `suspect_rest` that of the others. After 0 steps nothing was chosen, for
    the `reason` that is given.
    """

    step: int
    target: float = 0.0
    irreducible: float = 0.0
    chosen: float = 0.0
    rest: float = 0.0
    suspect: float = 0.0
    suspect_rest: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if not self.step:
            return f"Uniform steps from the start: {self.reason}"
        return (
            f"RHO-LOSS handed over to uniform steps after step {self.step:,}: the target gives "
            f"the labels of the candidates a mean probability of {self.target:.2f}, the "
            f"irreducible-loss model {self.irreducible:.2f}, so the rest of the difference is "
            f"the error of that model. Reducible loss of the chosen {self.chosen:.2f}, of the "
            f"rest {self.rest:.2f}; {self.suspect:.0%} of the chosen looked wrong to both, "
            f"{self.suspect_rest:.0%} of the rest"
        )


class Watch:
    """Watches what is chosen, and says when the choice is no better than chance.

    The reducible loss of an example is L - IL, and IL is an estimate with errors of its own.
    While the target knows less than the irreducible-loss model did, the largest differences are
    what it has not learnt yet. Once it knows as much, they are the errors of IL: labels whose
    loss was underestimated, wrong ones first. Candidates are drawn at random, and most were not
    trained on lately, so both models can be measured on them: selection ends where the
    mean probability of the labels, exp(-L), is no longer below exp(-IL). Unlike the mean loss it is
    bounded, so that a few wrong labels do not decide.

    Sums stay where the candidates are, and are looked at every few steps, with the chosen rows.
    """

    def __init__(self, *, active: bool = True) -> None:
        self.active = active
        self.sums, self.steps = torch.zeros(8), 0
        self.ended: HandOver | None = None

    @property
    def running(self) -> bool:
        """Whether a choice is to be noted."""
        return self.active and self.ended is None

    def note(self, losses: Tensor, irreducible: Tensor, rows: Tensor, alike: bool) -> Tensor | None:
        """Note the losses (n,) of the candidates and the chosen rows; sometimes: is it over?

        With `alike` all processes look at the means of them all. The answer is a boolean tensor.
        """
        suspect = (losses > HALF) & (irreducible > HALF)
        values = torch.stack(
            [(-losses).exp(), (-irreducible).exp(), losses - irreducible, suspect.to(losses.dtype)]
        )
        found = torch.cat([values.index_select(1, rows).mean(1), values.mean(1)])
        self.sums = found if not self.steps else self.sums + found
        self.steps += 1
        if self.steps % WINDOW:
            return None
        if alike:
            self.sums = processes.sum_of(self.sums) / processes.count()
        self.steps = 0
        return self.sums[4] >= self.sums[5]

    def end(self, step: int, share: float) -> HandOver:
        """Selection is over after this many steps, of whose candidates a `share` was chosen."""
        means = (self.sums.double() / WINDOW).tolist()
        chosen, every = means[:4], means[4:]
        rest = [(a - share * c) / max(1e-9, 1 - share) for a, c in zip(every, chosen, strict=True)]
        self.ended = HandOver(
            step=step,
            target=every[0],
            irreducible=every[1],
            chosen=chosen[2],
            rest=rest[2],
            suspect=chosen[3],
            suspect_rest=rest[3],
        )
        return self.ended

    def state_dict(self) -> dict[str, Tensor]:
        """What was noted since the last look, and the numbers of a hand-over."""
        ended = [0.0 if self.ended is None else getattr(self.ended, name) for name in _NUMBERS]
        return {
            "sums": self.sums,
            "steps": torch.tensor(self.steps),
            "ended": torch.tensor(ended, dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave; what was off from the start stays so."""
        self.sums, self.steps = state["sums"].clone(), int(state["steps"])
        step, *others = state["ended"].tolist()
        if self.ended is None or self.ended.step:
            named = dict(zip(_NUMBERS[1:], others, strict=True))
            self.ended = HandOver(step=int(step), **named) if step else None

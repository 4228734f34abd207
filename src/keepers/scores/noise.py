"""How many labels are wrong, from predictions for examples that the model did not train on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.scores import formulas
from keepers.scores.checks import check_labels
from keepers.scores.ranks import ranks
from keepers.tensors import check_log_probs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

GROUPS = 50
POINTS = 50
DROP = 1.92
"""Half of the 95% quantile of χ² with one degree of freedom."""
ALLOWANCE = 0.01
"""Share of the examples that may be hard for the model however sure it is of them."""
FAIR = 1 / 3
"""Under this part of the way from always guessing the largest class to no error, only a bound."""
BLIND = 0.1
"""Under this part of that way not even a bound: a class that is never named may hide in another."""
STEEPEST, LOWEST = 20.0, -4.0
FEW, MANY = 0.05, 0.25
"""Labels of which fewer are wrong are as good as right, and of which more are, hardly any use: an
interval from one to the other tells nothing."""


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """An estimate of the share of wrong labels, with an interval of 95%.

    Where `low` is 0 it is a bound: at most `high`. `disagreement` is the share of the `num`
    examples whose prediction is not the label.
    """

    rate: float
    low: float
    high: float
    disagreement: float
    num: int

    @property
    def vague(self) -> bool:
        """Whether next to none may be wrong, and as well one in four."""
        return self.low <= FEW and self.high > MANY

    def __str__(self) -> str:
        if self.vague:
            most = f" (up to {self.high:.1%})" if self.high < 1 else ""
            return f"the share of wrong labels is unknown{most}"
        if self.low == 0:
            return f"at most {self.high:.1%} of the labels are wrong"
        return f"{self.low:.1%} to {self.high:.1%} of the labels are wrong or too hard to predict"


def label_noise(labels: Tensor, log_probs: Tensor) -> LabelNoise:
    """The share of wrong labels that out-of-fold predictions leave over.

    A prediction of confidence rank u among those of its class, 0 for the least and 1 for the most
    confident, is right with probability c(u) = σ(a z + b), z = Φ⁻¹((1 + u)/2): the surer, the
    nearer to 1. A label is wrong with probability ε, whatever the confidence, and then any other
    class. So prediction and label agree with probability (1 − ε) c + ε (1 − c)/(C − 1). ε, a ≥ 0
    and −4 ≤ b ≤ 0 (0 for two classes) are fitted by maximum likelihood: a psychometric function
    with lapses, ε being the lapses. The interval is that of the profile likelihood. Its lower end
    is brought down by 0.01, for what is hard for the model however sure it is. It is 0, so that
    the interval is a bound, where predictions agree with less than a third of what always guessing
    the largest class gets wrong: then the surest may be wrong, too. With less than a tenth of it
    the upper end is 1, as examples of a class that is never named may have any other label.

    What is assumed: the model did not train on these examples; errors of the labels do not
    depend on how sure it is. Wrong labels that a model can learn (one class renamed, copies of one
    example) do not show. What no confidence of this model makes easier looks like a wrong label:
    on diamonds graded by their cut, a linear model finds 24% of them, and a forest 3%.

    Args:
        labels: (n,), class numbers as given, wrong ones among them.
        log_probs: (n, classes), of a model that did not train on the example.

    Raises:
        ParameterError: no examples, under 2 classes, NaN, labels out of range, another shape.

    Example:
        >>> right = torch.arange(2000) % 2
        >>> confidence = 0.5 + 0.499 * torch.rand(2000, generator=torch.Generator().manual_seed(0))
        >>> probs = torch.stack([1 - confidence, confidence], 1)
        >>> probs[right == 0] = probs[right == 0].flip(1)
        >>> given = torch.where(torch.arange(2000) % 10 == 3, 1 - right, right)  # 10% are wrong
        >>> found = label_noise(given, probs.log())
        >>> found.low < 0.1 < found.high, round(found.rate, 2)
        (True, 0.09)

    Papers:
        Wichmann and Hill, The psychometric function I, Perception & Psychophysics 63, 2001.
        Liu and Tao, Classification with Noisy Labels by Importance Reweighting, TPAMI 2016, for
        confident predictions as anchor points.
    """
    log_probs = check_log_probs(log_probs, 2, "log_probs").double().cpu()
    n, num_classes = log_probs.shape
    if not n or num_classes < 2:
        raise ParameterError(
            "log_probs", f"got shape {tuple(log_probs.shape)}", "Give examples, and 2 classes"
        )
    labels = check_labels(labels, n, num_classes).cpu()
    agree = log_probs.argmax(1) == labels
    disagreement = float((~agree).double().mean())
    rates, heights = _profile(_group(log_probs, agree), num_classes, disagreement)
    best = int(heights.argmax())
    low, high = _between(rates, heights - heights[best] + DROP)
    guessing = 1 - float(labels.bincount().max()) / n
    if disagreement > (1 - FAIR) * guessing:
        low = 0.0
    if disagreement > (1 - BLIND) * guessing:
        high = 1.0
    return LabelNoise(
        rate=float(rates[best]),
        low=max(0.0, low - ALLOWANCE),
        high=high,
        disagreement=disagreement,
        num=n,
    )


def _group(log_probs: Tensor, agree: Tensor) -> tuple[Floats, Floats, Floats]:
    """z of groups of like confidence, and how many of each agree and do not; ties go together."""
    predicted, doubt = log_probs.argmax(1), formulas.margin(log_probs)
    sure = torch.empty_like(doubt)
    for number in predicted.unique():
        here = predicted == number
        sure[here] = (ranks(-doubt[here]) + 0.5) / int(here.sum())
    group = (sure * GROUPS).long().clamp(max=GROUPS - 1)
    sizes = group.bincount(minlength=GROUPS).double()
    there = sizes > 0
    mean = group.bincount(sure, GROUPS)[there] / sizes[there]
    right = group.bincount(agree.double(), GROUPS)[there]
    z = torch.special.ndtri((1 + mean) / 2)
    return z.numpy(), right.numpy(), (sizes[there] - right).numpy()


def _profile(
    groups: tuple[Floats, Floats, Floats], num_classes: int, disagreement: float
) -> tuple[Floats, Floats]:
    """Values of ε, and the log-likelihood of each where a and b fit best."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    z, right, wrong = groups
    n = float(right.sum() + wrong.sum())
    error = math.sqrt(disagreement * (1 - disagreement) / n) + 1 / n
    most = min(disagreement + 4 * error, 1 - 1 / num_classes - 1e-3)
    flat = 0.0 if num_classes == 2 else LOWEST

    def loss(x: Floats, rate: float) -> tuple[float, Floats]:
        other = rate / (num_classes - 1)
        c = expit(x[0] * z + x[1])
        p = np.clip((1 - rate) * c + other * (1 - c), 1e-9, 1 - 1e-9)
        slope = (right / p - wrong / (1 - p)) * (1 - rate - other) * c * (1 - c)
        value = -float((right * np.log(p) + wrong * np.log1p(-p)).sum())
        return value, -np.array([(slope * z).sum(), slope.sum()])

    rates, starts = np.linspace(0, most, POINTS), [np.array([1.0, 0.0]), np.array([4.0, 0.0])]
    heights, last = np.empty(POINTS), starts[0]
    for place, rate in enumerate(rates):
        found: list[Any] = [
            minimize(
                loss,
                start,
                args=(float(rate),),
                jac=True,
                method="L-BFGS-B",
                bounds=[(0.0, STEEPEST), (flat, 0.0)],
            )
            for start in (last, *starts)
        ]
        best = min(found, key=lambda each: each.fun)
        heights[place], last = -best.fun, best.x
    return rates, heights


def _between(rates: Floats, over: Floats) -> tuple[float, float]:
    """Where `over` is 0 or more: the first and the last such rate, between points by a line."""
    import numpy as np

    inside = np.flatnonzero(over >= 0)
    first, last = int(inside[0]), int(inside[-1])

    def crossing(outside: int, within: int) -> float:
        part = over[outside] / (over[outside] - over[within])
        return float(rates[outside] + part * (rates[within] - rates[outside]))

    low = crossing(first - 1, first) if first else 0.0
    return low, crossing(last + 1, last) if last + 1 < len(rates) else float(rates[-1])

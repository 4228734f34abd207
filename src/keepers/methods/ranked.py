"""Rows that take the highest scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from keepers.methods.merging import side_by_side
from keepers.methods.method import Method
from keepers.scores import formulas
from keepers.selectors.ranking import highest
from keepers.types import Picks, Signals


def top(
    signals: Signals, scores: Tensor, k: int, *, selected: Tensor | None = None, **_: Any
) -> Picks:
    """The highest scores."""
    return Picks(positions=highest(scores, k, selected=selected))


def _of_last_layer(signals: Signals) -> Tensor:
    return signals.get("gradient_norms") * signals.get("features").norm(dim=1)


UNCERTAIN = (
    Method(
        name="least-confidence",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.least_confidence(signals.get("log_probs")),
        select=top,
        summary="1 − the largest probability",
        when="half or more is kept and labels are clean; for labelling, once the model is fair",
        paper="Lewis and Gale, SIGIR 1994",
        hard_first=True,
    ),
    Method(
        name="margin",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.margin(signals.get("log_probs")),
        select=top,
        summary="1 − (largest − second largest probability)",
        when="half or more is kept, with many classes that are easily confused; for labelling, "
        "the baseline beside random",
        paper="Scheffer, Decomain and Wrobel, IDA 2001",
        hard_first=True,
    ),
    Method(
        name="entropy",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.entropy(signals.get("log_probs")),
        select=top,
        summary="entropy of the predicted probabilities",
        when="half or more is kept and labels are clean; cheap, and often works; for labelling, "
        "with few classes",
        paper="Coleman et al., Selection via Proxy, ICLR 2020",
        hard_first=True,
    ),
)
"""By the predictions alone."""

LEARNT = (
    Method(
        name="forgetting",
        needs=frozenset({"forgetting"}),
        score=lambda signals: formulas.forgetting(signals.get("forgetting")),
        select=top,
        summary="how often an example was learnt and forgotten again during training",
        when="a large part is kept and the proxy trains for many epochs",
        paper="Toneva et al., ICLR 2019",
        hard_first=True,
    ),
    Method(
        name="el2n",
        needs=frozenset({"early_gradient_norms"}),
        score=lambda signals: signals.get("early_gradient_norms").mean(1),
        select=top,
        summary="gradient norm early in training, averaged over runs; for classes, the distance "
        "between prediction and label",
        when="labels are clean and you can afford only a short training",
        paper="Paul, Ganguli and Dziugaite, NeurIPS 2021",
        merge=side_by_side("early_gradient_norms"),
        default_ensemble=3,
        hard_first=True,
    ),
)
"""By how training went."""

LOST = (
    Method(
        name="loss",
        needs=frozenset({"losses"}),
        score=lambda signals: signals.get("losses"),
        select=top,
        summary="the loss of the model",
        when="labels are clean; wrong labels come first",
        paper="Kawaguchi and Lu, Ordered SGD, AISTATS 2020",
        hard_first=True,
    ),
    Method(
        name="rho-loss",
        needs=frozenset({"losses", "irreducible_losses"}),
        score=lambda signals: formulas.reducible_loss(
            signals.get("losses"), signals.get("irreducible_losses")
        ),
        select=top,
        summary="the loss minus the loss of a model trained on other data",
        when="data are noisy or redundant; examples that are learnable and not yet learnt come "
        "first",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="negative-il",
        needs=frozenset({"irreducible_losses"}),
        score=lambda signals: -signals.get("irreducible_losses"),
        select=top,
        summary="− the loss of a model trained on other data",
        when="to leave wrong labels out; examples that are already learnt stay",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="gradient-norm",
        needs=frozenset({"gradient_norms"}),
        score=lambda signals: signals.get("gradient_norms"),
        select=top,
        summary="norm of the loss gradient with respect to the model's output; for classes, the "
        "distance between prediction and label",
        when="labels are clean; wrong labels come first",
        paper="Katharopoulos and Fleuret, ICML 2018",
        hard_first=True,
    ),
    Method(
        name="last-layer-gradient-norm",
        needs=frozenset({"gradient_norms", "features"}),
        score=_of_last_layer,
        select=top,
        summary="norm of the gradient of the last layer's weights",
        when="labels are clean, and the norm of the features is informative",
        paper="Katharopoulos and Fleuret, ICML 2018",
        hard_first=True,
    ),
)
"""By the loss or its gradient."""

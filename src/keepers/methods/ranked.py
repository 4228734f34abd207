"""Rows that take the highest scores."""

from __future__ import annotations

from torch import Tensor

from keepers.methods.merging import side_by_side
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.types import Signals


def _of_last_layer(signals: Signals) -> Tensor:
    return signals.get("gradient_norms") * signals.get("features").norm(dim=1)


UNCERTAIN = (
    Method(
        name="least-confidence",
        score=By("log_probs", formulas.least_confidence),
        summary="1 − the largest probability",
        when="half or more is kept and labels are clean; for labelling, once the model is fair",
        paper="Lewis and Gale, SIGIR 1994",
        hard_first=True,
    ),
    Method(
        name="margin",
        score=By("log_probs", formulas.margin),
        summary="1 − (largest − second largest probability)",
        when="half or more is kept, with many classes that are easily confused; for labelling, "
        "the baseline beside random",
        paper="Scheffer, Decomain and Wrobel, IDA 2001",
        hard_first=True,
    ),
    Method(
        name="entropy",
        score=By("log_probs", formulas.entropy),
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
        score=By("forgetting", formulas.forgetting),
        summary="how often an example was learnt and forgotten again during training",
        when="a large part is kept and the proxy trains for many epochs",
        paper="Toneva et al., ICLR 2019",
        hard_first=True,
    ),
    Method(
        name="el2n",
        needs=frozenset({"early_gradient_norms"}),
        score=lambda signals: signals.get("early_gradient_norms").mean(1),
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
        score=By("losses"),
        summary="the loss of the model",
        when="labels are clean; wrong labels come first",
        paper="Kawaguchi and Lu, Ordered SGD, AISTATS 2020",
        hard_first=True,
    ),
    Method(
        name="rho-loss",
        score=By(("losses", "irreducible_losses"), formulas.reducible_loss),
        summary="the loss minus the loss of a model trained on other data",
        when="data are noisy or redundant; examples that are learnable and not yet learnt come "
        "first",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="negative-il",
        needs=frozenset({"irreducible_losses"}),
        score=lambda signals: -signals.get("irreducible_losses"),
        summary="− the loss of a model trained on other data",
        when="to leave wrong labels out; examples that are already learnt stay",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="gradient-norm",
        score=By("gradient_norms"),
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
        summary="norm of the gradient of the last layer's weights",
        when="labels are clean, and the norm of the features is informative",
        paper="Katharopoulos and Fleuret, ICML 2018",
        hard_first=True,
    ),
)
"""By the loss or its gradient."""

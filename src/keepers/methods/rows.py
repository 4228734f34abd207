"""The built-in rows: each a composition of a formula and a selector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from keepers import selectors
from keepers.methods.method import Method
from keepers.scores import formulas
from keepers.selectors.ranking import highest
from keepers.selectors.weighted import draw_by_importance, draw_by_percentile
from keepers.types import Picks, Signals

LARGE = 100_000
"""Examples over which facility location samples its candidates, unless told otherwise."""


def _side_by_side(name: str) -> Callable[[Sequence[Signals]], Signals]:
    """Join a signal of the members along its second dimension."""

    def merge(members: Sequence[Signals]) -> Signals:
        joined = torch.cat([signals.get(name) for signals in members], 1)
        return replace(members[0], **{name: joined})

    return merge


def _mean_margin(members: Sequence[Signals]) -> Signals:
    margins = torch.stack([signals.get("aum") for signals in members])
    return replace(members[0], aum=margins.mean(0))


def _top(
    signals: Signals, scores: Tensor, k: int, *, selected: Tensor | None = None, **_: Any
) -> Picks:
    return Picks(positions=highest(scores, k, selected=selected))


def _random(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.random_subset(len(signals), k, **settings))


def _stratified(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.stratified(signals.get("labels"), k, **settings))


def _k_center(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.k_center_greedy(signals.get("features"), k, **settings))


def _facility_location(
    signals: Signals, scores: None, k: int, *, optimizer: str, **settings: Any
) -> Picks:
    if optimizer == "auto":
        optimizer = "stochastic" if len(signals) > LARGE else "lazy"
    facilities: Any = selectors.facility_location
    return Picks(positions=facilities(signals.get("features"), k, optimizer=optimizer, **settings))


def _importance(
    signals: Signals,
    scores: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Picks:
    if selected is None:
        return draw_by_importance(scores, k, generator=generator)
    return selectors.importance_sample(scores, k, generator=generator, selected=selected)


def _percentile(
    signals: Signals,
    scores: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    beta: float,
) -> Picks:
    if selected is None:
        return draw_by_percentile(scores, k, generator=generator, beta=beta)
    return selectors.percentile_sample(scores, k, generator=generator, selected=selected, beta=beta)


def _ccs(signals: Signals, scores: Tensor, k: int, **settings: Any) -> Picks:
    return selectors.coverage_centric(scores, k, **settings)


_ROWS = (
    Method(
        name="random",
        needs=frozenset(),
        select=_random,
        summary="uniform without replacement",
        when="the baseline that every other method has to beat",
        paper="",
    ),
    Method(
        name="stratified",
        needs=frozenset({"labels"}),
        select=_stratified,
        summary="random, each class in its proportion",
        when="a random choice from few examples or rare classes",
        paper="Neyman 1934",
    ),
    Method(
        name="least-confidence",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.least_confidence(signals.get("log_probs")),
        select=_top,
        summary="1 − the largest probability",
        when="half or more is kept and labels are clean",
        paper="Lewis and Gale, SIGIR 1994",
        hard_first=True,
    ),
    Method(
        name="margin",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.margin(signals.get("log_probs")),
        select=_top,
        summary="1 − (largest − second largest probability)",
        when="half or more is kept, with many classes that are easily confused",
        paper="Scheffer, Decomain and Wrobel, IDA 2001",
        hard_first=True,
    ),
    Method(
        name="entropy",
        needs=frozenset({"log_probs"}),
        score=lambda signals: formulas.entropy(signals.get("log_probs")),
        select=_top,
        summary="entropy of the predicted probabilities",
        when="half or more is kept and labels are clean; the cheapest that often works",
        paper="Coleman et al., Selection via Proxy, ICLR 2020",
        hard_first=True,
    ),
    Method(
        name="forgetting",
        needs=frozenset({"forgetting"}),
        score=lambda signals: formulas.forgetting(signals.get("forgetting")),
        select=_top,
        summary="how often an example was learnt and forgotten again while training",
        when="a large part is kept and the proxy trains for many epochs",
        paper="Toneva et al., ICLR 2019",
        hard_first=True,
    ),
    Method(
        name="el2n",
        needs=frozenset({"early_log_probs", "labels"}),
        score=lambda signals: formulas.el2n(signals.get("early_log_probs"), signals.get("labels")),
        select=_top,
        summary="distance of early predictions from the label, averaged over runs",
        when="labels are clean and only a short training can be paid for",
        paper="Paul, Ganguli and Dziugaite, NeurIPS 2021",
        merge=_side_by_side("early_log_probs"),
        default_ensemble=3,
        hard_first=True,
    ),
    Method(
        name="k-center",
        needs=frozenset({"features"}),
        select=_k_center,
        merge=_side_by_side("features"),
        summary="repeatedly the point farthest from what is selected",
        when="rare kinds of examples must be covered; outliers come first",
        paper="Sener and Savarese, ICLR 2018",
    ),
    Method(
        name="facility-location",
        needs=frozenset({"features"}),
        select=_facility_location,
        merge=_side_by_side("features"),
        summary="the points that bring every point near to a pick",
        when="few examples are kept and they should be typical",
        paper="Mirzasoleiman et al., JMLR 2016",
        options={"optimizer": "auto", "epsilon": 0.01},
    ),
    Method(
        name="ccs",
        needs=frozenset({"aum"}),
        score=lambda signals: formulas.area_under_margin(signals.get("aum")),
        select=_ccs,
        merge=_mean_margin,
        summary="sets the hardest aside, then draws evenly from bins of difficulty",
        when="many labels may be wrong; on clean data it loses to random",
        paper="Zheng et al., ICLR 2023",
        options={"beta": 0.1, "num_bins": 50},
    ),
    Method(
        name="loss",
        needs=frozenset({"losses"}),
        score=lambda signals: signals.get("losses"),
        select=_top,
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
        select=_top,
        summary="the loss less that of a model trained on other data",
        when="data are noisy or redundant: what is learnable and not yet learnt comes first",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="negative-il",
        needs=frozenset({"irreducible_losses"}),
        score=lambda signals: -signals.get("irreducible_losses"),
        select=_top,
        summary="− the loss of a model trained on other data",
        when="wrong labels are to be left out; what is learnt already stays in",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="gradient-norm",
        needs=frozenset({"log_probs", "labels"}),
        score=lambda signals: formulas.error_norm(signals.get("log_probs"), signals.get("labels")),
        select=_top,
        summary="distance of the prediction from the label, which bounds the gradient norm",
        when="labels are clean; wrong labels come first",
        paper="Katharopoulos and Fleuret, ICML 2018",
        hard_first=True,
    ),
    Method(
        name="last-layer-gradient-norm",
        needs=frozenset({"log_probs", "labels", "features"}),
        score=lambda signals: formulas.last_layer_gradient_norm(
            signals.get("log_probs"), signals.get("labels"), signals.get("features")
        ),
        select=_top,
        summary="norm of the gradient of the last layer's weights",
        when="labels are clean and the size of the features says something",
        paper="Katharopoulos and Fleuret, ICML 2018",
        hard_first=True,
    ),
    Method(
        name="gradient-norm-is",
        needs=frozenset({"log_probs", "labels"}),
        score=lambda signals: formulas.error_norm(signals.get("log_probs"), signals.get("labels")),
        select=_importance,
        summary="drawn by gradient norm with replacement, weighted so that the mean is unbiased",
        when="the expected gradient must stay that of all the data",
        paper="Katharopoulos and Fleuret, ICML 2018",
        replacement=True,
    ),
    Method(
        name="bald",
        needs=frozenset({"posterior_log_probs"}),
        score=lambda signals: formulas.bald(signals.get("posterior_log_probs")),
        select=_top,
        summary="how much predictions with dropout on disagree",
        when="labels play no part; what the model could still learn comes first",
        paper="Houlsby et al., 2011; Gal, Islam and Ghahramani, ICML 2017",
    ),
    Method(
        name="mc-entropy",
        needs=frozenset({"posterior_log_probs"}),
        score=lambda signals: formulas.predictive_entropy(signals.get("posterior_log_probs")),
        select=_top,
        summary="entropy of the mean prediction with dropout on",
        when="labels play no part; a comparison for bald",
        paper="Gal, Islam and Ghahramani, ICML 2017",
        hard_first=True,
    ),
    Method(
        name="mc-conditional-entropy",
        needs=frozenset({"posterior_log_probs"}),
        score=lambda signals: formulas.conditional_entropy(signals.get("posterior_log_probs")),
        select=_top,
        summary="mean entropy of the predictions with dropout on",
        when="labels play no part; a comparison for bald",
        paper="Mindermann et al., ICML 2022",
        hard_first=True,
    ),
    Method(
        name="loss-minus-conditional-entropy",
        needs=frozenset({"posterior_log_probs", "labels"}),
        score=lambda signals: formulas.loss_minus_conditional_entropy(
            signals.get("posterior_log_probs"), signals.get("labels")
        ),
        select=_top,
        summary="the loss beyond the noise that the model itself expects",
        when="there is no model trained on other data, and dropout tells noise apart",
        paper="Mindermann et al., ICML 2022",
    ),
    Method(
        name="selective-backprop",
        needs=frozenset({"losses"}),
        score=lambda signals: signals.get("losses"),
        select=_percentile,
        summary="drawn without replacement, the likelier the higher the loss ranks",
        when="high losses should be preferred and low ones still be seen",
        paper="Jiang et al., 2019",
        options={"beta": 1.0},
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})

"""Rows that draw: uniformly, by class, or by the scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from keepers import selectors
from keepers.methods.merging import mean_margin, mean_out_of_fold
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.selectors.ranking import highest
from keepers.selectors.weighted import draw_by_importance, draw_by_percentile
from keepers.types import Picks, Signals


def _random(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.random_subset(len(signals), k, **settings))


def _stratified(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    shares = signals.get("labels") if signals.proportions is None else signals.proportions
    return Picks(positions=selectors.stratified(shares, k, **settings))


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
    beta: float | str,
) -> Picks:
    if selected is None:
        return draw_by_percentile(scores, k, generator=generator, beta=beta)
    return selectors.percentile_sample(scores, k, generator=generator, selected=selected, beta=beta)


def _ccs(signals: Signals, scores: Tensor, k: int, **settings: Any) -> Picks:
    return selectors.coverage_centric(scores, k, **settings)


def _uncontradicted(
    signals: Signals,
    scores: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Picks:
    """Of the labels that stand, each class in its proportion; then the least contradicted."""
    labels = signals.get("labels")
    taken = torch.zeros(len(labels), dtype=torch.bool)
    taken[torch.empty(0, dtype=torch.int64) if selected is None else selected] = True
    stands = scores > 1
    shut = (taken | ~stands).nonzero().squeeze(1)
    most = min(k, len(labels) - len(shut))
    picks = selectors.stratified(labels, most, generator=generator, selected=shut)
    taken[picks] = True
    rest = highest(scores, k - most, selected=taken.nonzero().squeeze(1))
    aside = ~stands
    aside[rest] = False
    return Picks(
        positions=torch.cat([picks, rest]),
        excluded=aside.nonzero().squeeze(1),
        why_excluded="a model that was not trained on it is confident of another class",
    )


UNIFORM = (
    Method(
        name="random",
        needs=frozenset(),
        select=_random,
        summary="uniform without replacement",
        when="the baseline that every other method must beat",
        paper="",
    ),
    Method(
        name="stratified",
        needs=frozenset({"labels"}),
        select=_stratified,
        summary="random, each class or label in its proportion",
        when="a random choice from few examples or rare classes",
        paper="Neyman 1934",
    ),
)

BY_SCORE = (
    Method(
        name="ccs",
        score=By("aum", formulas.area_under_margin),
        select=_ccs,
        merge=mean_margin,
        summary="drops the hardest examples, then draws evenly from bins of difficulty",
        when="many labels may be wrong; on clean data it loses to random",
        paper="Zheng et al., ICLR 2023",
        options={"beta": 0.1, "num_bins": 50},
    ),
    Method(
        name="confident-learning",
        score=By(("out_of_fold_log_probs", "labels"), formulas.uncontradicted),
        select=_uncontradicted,
        merge=mean_out_of_fold,
        summary="drops examples whose label is contradicted by a model trained on others, then "
        "draws like stratified",
        when="labels may be wrong; it also drops ambiguous examples",
        paper="Northcutt, Jiang and Chuang, JAIR 2021",
    ),
    Method(
        name="gradient-norm-is",
        score=By("gradient_norms"),
        select=_importance,
        summary="importance sampling: drawn by gradient norm with replacement, weighted so that "
        "the mean gradient is unbiased",
        when="the expected gradient must stay that of all the data",
        paper="Katharopoulos and Fleuret, ICML 2018",
        replacement=True,
    ),
    Method(
        name="selective-backprop",
        score=By("losses"),
        select=_percentile,
        summary="drawn without replacement, with a probability that rises with the rank of the "
        "loss",
        when="high losses should be preferred, and low losses still be seen",
        paper="Jiang et al., 2019",
        options={"beta": "auto"},
    ),
)

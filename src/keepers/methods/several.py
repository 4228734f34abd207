"""Rows for several labels and for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from keepers import selectors
from keepers.methods.merging import side_by_side
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.types import Picks, Signals


def _as_one(members: Sequence[Signals]) -> Signals:
    """The mean prediction, and the features side by side."""
    mean = torch.stack([signals.get("predictions") for signals in members]).mean(0)
    return replace(side_by_side("features")(members), predictions=mean)


def _greedy(signals: Signals, scores: None, k: int, *, generator: object, **settings: Any) -> Picks:
    points, values = signals.get("features"), signals.get("predictions")
    return Picks(positions=selectors.greedy_sampling(points, values, k, **settings))


SEVERAL = (
    Method(
        name="label-entropy",
        score=By("log_odds", formulas.label_entropy),
        summary="mean entropy over the labels",
        when="there are several labels, half or more is kept, and labels are clean",
        paper="Esuli and Sebastiani, ECIR 2009",
        hard_first=True,
    ),
    Method(
        name="label-margin",
        score=By("log_odds", formulas.label_margin),
        summary="by the label with the probability nearest to 0.5",
        when="there are several labels that are easily confused, and half or more is kept",
        paper="Brinker, GfKl 2006",
        hard_first=True,
    ),
    Method(
        name="mmc",
        score=By("log_odds", formulas.maximal_confidence_loss),
        summary="expected number of wrong labels, if the expected number of labels is predicted",
        when="there are several labels, and their number varies",
        paper="Yang, Sun, Wang and Chen, KDD 2009",
        hard_first=True,
    ),
    Method(
        name="committee",
        score=By("posterior_predictions", formulas.committee_variance),
        default_ensemble=5,
        summary="variance of the predicted numbers over several models",
        when="targets are numbers, and you can afford several models",
        paper="Burbidge, Rowland and King, IDEAL 2007",
        hard_first=True,
    ),
    Method(
        name="greedy-sampling",
        needs=frozenset({"features", "predictions"}),
        select=_greedy,
        merge=_as_one,
        summary="in each step, the point farthest from the picks, by the distance in features "
        "times that in predictions",
        when="targets are numbers, few examples are kept, and they must cover the range; "
        "outliers come first",
        paper="Wu, Lin and Huang, Information Sciences 2019 (iGS)",
    ),
)

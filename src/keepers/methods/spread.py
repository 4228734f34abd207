"""Rows that spread over the feature space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from keepers import selectors
from keepers.errors import ParameterError
from keepers.methods.merging import as_one_model, side_by_side
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.selectors.checks import unselected
from keepers.types import Picks, Signals

CLASSES = 10
"""Classes by which ProbCover estimates its radius where nobody says how many there are."""

LARGE, MUCH = 100_000, 4e12
"""Examples, and examples² × features, over which facility location samples its candidates."""


def _wide(members: Sequence[Signals]) -> Signals:
    """The mean gradients, and the features side by side."""
    mean = torch.stack([signals.get("gradients") for signals in members]).mean(0)
    return replace(side_by_side("features")(members), gradients=mean)


def _k_center(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.k_center_greedy(signals.get("features"), k, **settings))


def _facility_location(
    signals: Signals, scores: None, k: int, *, optimizer: str, **settings: Any
) -> Picks:
    features, how = signals.get("features"), ""
    if optimizer == "auto":
        n, d = features.shape
        large = n > LARGE or n * n * d > MUCH
        optimizer = "stochastic" if large else "lazy"
        if large:
            how = (
                f"facility location by sampling, because there are {n:,} examples of {d:,} "
                "features; optimizer=lazy is exact"
            )
    facilities: Any = selectors.facility_location
    return Picks(positions=facilities(features, k, optimizer=optimizer, **settings), how=how)


def _craig(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    gradients = signals.get("gradients")
    picks = _facility_location(Signals(features=gradients), None, k, **settings)
    return replace(picks, weights=selectors.cluster_weights(gradients, picks.positions))


def _gradient_spread(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    gradients, features = signals.get("gradients"), signals.get("features")
    return Picks(positions=selectors.gradient_spread(gradients, features, k, **settings))


def _typiclust(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.typiclust(signals.get("features"), k, **settings))


def _probcover(
    signals: Signals,
    scores: None,
    k: int,
    *,
    delta: float | str,
    num_classes: int | str,
    **settings: Any,
) -> Picks:
    radius: Any = None if delta == "auto" else delta
    classes: Any = CLASSES if num_classes == "auto" else num_classes
    if not isinstance(classes, int):
        raise ParameterError("num_classes", f"got {classes!r}", "Give 2 or more, or auto")
    features = signals.get("features")
    positions = selectors.probcover(features, k, delta=radius, num_classes=classes, **settings)
    return Picks(positions=positions)


def _badge(
    signals: Signals,
    scores: None,
    k: int,
    *,
    among: int | str,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Picks:
    log_probs, features = signals.get("log_probs"), signals.get("features")
    if among != "all" and (not isinstance(among, int) or among < k):
        raise ParameterError("among", f"got {among!r}", f"Give {k:,} or more, or all")
    held = torch.empty(0, dtype=torch.int64) if selected is None else selected
    left = unselected(len(signals), held)
    if among == "all" or len(left) <= int(among):
        picks = selectors.badge(log_probs, features, k, generator=generator, selected=selected)
        return Picks(positions=picks)
    at = left[torch.randperm(len(left), generator=generator)[:among]].sort().values
    return Picks(positions=at[selectors.badge(log_probs[at], features[at], k, generator=generator)])


def _cluster_margin(
    signals: Signals, scores: Tensor, k: int, *, generator: object, **settings: Any
) -> Picks:
    features = signals.get("features")
    return Picks(positions=selectors.cluster_margin(scores, features, k, **settings))


SPREAD = (
    Method(
        name="k-center",
        needs=frozenset({"features"}),
        reports=True,
        select=_k_center,
        merge=side_by_side("features"),
        summary="in each step, the point farthest from the selected points",
        when="rare kinds of examples must be covered; outliers come first",
        paper="Sener and Savarese, ICLR 2018",
    ),
    Method(
        name="facility-location",
        needs=frozenset({"features"}),
        reports=True,
        select=_facility_location,
        merge=side_by_side("features"),
        summary="picks such that every point has a similar pick",
        when="few examples are kept, and they should be typical",
        paper="Mirzasoleiman et al., JMLR 2016",
        options={"optimizer": "auto", "epsilon": 0.3},
    ),
    Method(
        name="craig",
        needs=frozenset({"gradients"}),
        reports=True,
        select=_craig,
        merge=side_by_side("gradients"),
        summary="facility location over gradients of the loss; each pick is weighted by the number "
        "of examples that it represents",
        when="the mean gradient of the part should be close to that of all data; train with its "
        "weights",
        paper="Mirzasoleiman, Bilmes and Leskovec, ICML 2020",
        options={"optimizer": "auto", "epsilon": 0.3},
    ),
    Method(
        name="gradient-spread",
        needs=frozenset({"gradients", "features"}),
        select=_gradient_spread,
        merge=_wide,
        summary="BADGE with known targets: gradients of the last layer that are large and far "
        "apart",
        when="labels are clean, and hard examples should be diverse",
        paper="Ash et al., ICLR 2020, with targets that are known",
        hard_first=True,
    ),
    Method(
        name="typiclust",
        needs=frozenset({"features"}),
        select=_typiclust,
        merge=side_by_side("features"),
        summary="typical points of the largest clusters that have no labelled example",
        when="there are few labels or none, and features were learnt without labels",
        paper="Hacohen, Dekel and Weinshall, ICML 2022",
        options={"num_neighbours": 20, "max_clusters": 500},
    ),
    Method(
        name="probcover",
        needs=frozenset({"features"}),
        select=_probcover,
        merge=side_by_side("features"),
        summary="the points with the most uncovered points near them",
        when="there are few labels or none",
        paper="Yehuda, Dekel, Hacohen and Weinshall, NeurIPS 2022",
        options={"delta": "auto", "num_classes": "auto", "purity": 0.95},
    ),
    Method(
        name="badge",
        needs=frozenset({"log_probs", "features"}),
        select=_badge,
        merge=as_one_model,
        summary="gradients of the last layer that are large and far apart",
        when="batches are large and there is a fair model; picks uncertain and diverse examples; "
        "in a large pool set `among`: how many candidates are drawn at random",
        paper="Ash et al., ICLR 2020",
        options={"among": "all"},
    ),
    Method(
        name="cluster-margin",
        needs=frozenset({"log_probs", "features"}),
        score=By("log_probs", formulas.margin),
        select=_cluster_margin,
        merge=as_one_model,
        summary="examples with small margins, in turn from clusters of the features",
        when="batches are large, and margin alone would take near-duplicates",
        paper="Citovsky et al., NeurIPS 2021",
        options={"oversampling": 10, "clusters_per_pick": 0.5},
    ),
)

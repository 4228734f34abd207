"""Rows over posterior samples: several predictions of each example.

They come from passes with dropout on, or from an ensemble, whose members' predictions are then
the samples (`as_posterior`). An ensemble of models with dropout has its samples joined.
"""

from __future__ import annotations

from typing import Any

from keepers import selectors
from keepers.methods.merging import side_by_side
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.types import Picks, Signals


def _batch_bald(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.batch_bald(signals.get("posterior_log_probs"), k, **settings))


POSTERIOR = (
    Method(
        name="bald",
        score=By("posterior_log_probs", formulas.bald),
        merge=side_by_side("posterior_log_probs"),
        summary="mutual information: how much predictions with dropout disagree",
        when="scores should not use labels; examples that the model can still learn come first",
        paper="Houlsby et al., 2011; Gal, Islam and Ghahramani, ICML 2017",
    ),
    Method(
        name="batch-bald",
        needs=frozenset({"posterior_log_probs"}),
        select=_batch_bald,
        merge=side_by_side("posterior_log_probs"),
        summary="the batch whose labels together have the most information about the model",
        when="batches are small (tens), labels are expensive, and bald would take near-copies",
        paper="Kirsch, van Amersfoort and Gal, NeurIPS 2019",
        options={"num_candidates": 2000, "num_samples": 1000},
    ),
    Method(
        name="mc-entropy",
        score=By("posterior_log_probs", formulas.predictive_entropy),
        merge=side_by_side("posterior_log_probs"),
        summary="entropy of the mean prediction with dropout",
        when="as a comparison for bald; does not use labels",
        paper="Gal, Islam and Ghahramani, ICML 2017",
        hard_first=True,
    ),
    Method(
        name="mc-conditional-entropy",
        score=By("posterior_log_probs", formulas.conditional_entropy),
        merge=side_by_side("posterior_log_probs"),
        summary="mean entropy of the predictions with dropout",
        when="as a comparison for bald; does not use labels",
        paper="Mindermann et al., ICML 2022",
        hard_first=True,
    ),
    Method(
        name="loss-minus-conditional-entropy",
        score=By(("posterior_log_probs", "labels"), formulas.loss_minus_conditional_entropy),
        merge=side_by_side("posterior_log_probs"),
        summary="the loss minus the noise that the model expects by dropout",
        when="there is no irreducible-loss model, and dropout recognises noise",
        paper="Mindermann et al., ICML 2022",
    ),
)

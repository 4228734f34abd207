"""Rows for what language models are tuned on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from keepers import selectors
from keepers.errors import ParameterError
from keepers.methods.method import By, Method
from keepers.scores import formulas
from keepers.selectors.ranking import highest
from keepers.types import Picks, Signals


def _in_turn(signals: Signals, scores: None, k: int, *, selected: Any = None, **_: Any) -> Picks:
    found = signals.get("similarities")
    return Picks(positions=selectors.in_turn(found, k, selected=selected))


def _unlike_better_ones(
    signals: Signals,
    scores: Tensor,
    k: int,
    *,
    similarity: float,
    selected: Tensor | None = None,
    **_: Any,
) -> Picks:
    if not 0 < similarity <= 1:
        raise ParameterError("similarity", f"got {similarity}", "Give a cosine in (0, 1]: 0.9")
    features = signals.get("features")
    left = len(scores) - (0 if selected is None else len(selected))
    order = highest(scores, left, selected=selected)
    found = selectors.distinct(
        order, features, k, threshold=1 - similarity, metric="cosine", selected=selected
    )
    how = ""
    if found.num_relaxed:
        how = (
            f"deita, whose last {found.num_relaxed:,} of {k:,} picks have an earlier pick with a "
            f"similarity of {similarity:g} or more: no others were left"
        )
    return Picks(positions=found.positions, how=how)


LANGUAGE = (
    Method(
        name="longest",
        score=By("lengths"),
        summary="the longest answers, in characters",
        when="as a baseline, like random, to which most methods lose; the tuned model gives "
        "longer answers, too",
        paper="Zhao et al., Long Is More for Alignment, ICML 2024",
    ),
    Method(
        name="perplexity",
        score=By("answer_losses", formulas.perplexity),
        summary="perplexity of the answers under a language model; in bands: "
        "perplexity:25-75%+random",
        when="in bands, because the highest are often broken or foreign texts; pays if the tuned "
        "model is at least five times larger",
        paper="Ankner et al., Perplexed by Perplexity, 2024",
        hard_first=True,
    ),
    Method(
        name="ifd",
        score=By(
            ("answer_losses", "unconditional_losses"), formulas.instruction_following_difficulty
        ),
        summary="how little the prompt helps a language model with the answer; examples with "
        "misleading prompts come last",
        when="instructions with short and long answers; no better than random on pools of "
        "millions (Xia et al. 2024)",
        paper="Li et al., From Quantity to Quality, NAACL 2024; Superfiltering, ACL 2024",
        hard_first=True,
    ),
    Method(
        name="deita",
        needs=frozenset({"qualities", "features"}),
        score=By("qualities"),
        select=_unlike_better_ones,
        summary="the best by a column of scores (--quality) or else by ifd, without those whose "
        "features are similar to a better one's (DEITA's filter)",
        when="the file has quality scores of a trained judge, as in the paper, and the best "
        "examples repeat each other; ifd does not judge quality",
        paper="Liu et al., What Makes Good Data for Alignment?, ICLR 2024",
        options={"similarity": 0.9},
        hard_first=True,
    ),
    Method(
        name="rds",
        needs=frozenset({"similarities"}),
        select=_in_turn,
        summary="the most similar to each of a few target examples, in turn (RDS+)",
        when="a few examples show what the model is for (--similar-to); keeps nothing else",
        paper="Ivison et al., Large-Scale Data Selection for Instruction Tuning, 2025",
    ),
    Method(
        name="less",
        score=By("gradient_similarities", formulas.gradient_influence),
        summary="examples whose gradients are most similar to those of target examples, so a step "
        "on them lowers the targets' loss (LESS, with the model as it is)",
        when="a few examples show what the model is for (--similar-to), and you can afford 2.5 "
        "times the cost of scoring the pool; the paper first tunes the proxy on a part; "
        "worse than random on three small pools",
        paper="Xia et al., LESS, ICML 2024",
    ),
)

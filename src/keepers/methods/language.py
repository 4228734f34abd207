"""Rows for what language models are tuned on."""

from __future__ import annotations

from typing import Any

from keepers import selectors
from keepers.methods.method import Method
from keepers.methods.ranked import top
from keepers.scores import formulas
from keepers.types import Picks, Signals


def _in_turn(signals: Signals, scores: None, k: int, *, selected: Any = None, **_: Any) -> Picks:
    found = signals.get("similarities")
    return Picks(positions=selectors.in_turn(found, k, selected=selected))


LANGUAGE = (
    Method(
        name="longest",
        needs=frozenset({"lengths"}),
        score=lambda signals: signals.get("lengths"),
        select=top,
        summary="the longest answers, in characters",
        when="the baseline beside random that most methods lose to; answers of the tuned model "
        "become longer, too",
        paper="Zhao et al., Long Is More for Alignment, ICML 2024",
    ),
    Method(
        name="perplexity",
        needs=frozenset({"answer_losses"}),
        score=lambda signals: formulas.perplexity(signals.get("answer_losses")),
        select=top,
        summary="how surprising the answers are to a language model; bands by "
        "perplexity:25-75%+random",
        when="in bands: the highest are often broken or foreign texts; pays where the tuned model "
        "is five times larger or more",
        paper="Ankner et al., Perplexed by Perplexity, 2024",
        hard_first=True,
    ),
    Method(
        name="ifd",
        needs=frozenset({"answer_losses", "unconditional_losses"}),
        score=lambda signals: formulas.instruction_following_difficulty(
            signals.get("answer_losses"), signals.get("unconditional_losses")
        ),
        select=top,
        summary="how little the prompt helps a language model with the answer; where it misleads, "
        "last",
        when="instructions with short answers among long ones; no better than random on pools of "
        "millions (Xia et al. 2024)",
        paper="Li et al., From Quantity to Quality, NAACL 2024; Superfiltering, ACL 2024",
        hard_first=True,
    ),
    Method(
        name="rds",
        needs=frozenset({"similarities"}),
        select=_in_turn,
        summary="what is most similar to each of a few target examples, in turn (RDS+)",
        when="a few examples show what the model is for (--similar-to); keeps nothing else",
        paper="Ivison et al., Large-Scale Data Selection for Instruction Tuning, 2025",
    ),
)

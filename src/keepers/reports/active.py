"""The report of a labelling campaign: how far it is, how good, and whether selection pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepers.campaign import STATUSES
from keepers.reports import (
    active_answers,
    active_charts,
    active_costs,
    active_items,
    active_shares,
    describe,
)
from keepers.reports.active_items import NUM_SHOWN, alphas_in_words
from keepers.reports.page import as_yaml, write_page
from keepers.workflows.active import Campaign
from keepers.workflows.active.judging import about_ceiling
from keepers.workflows.active.measuring import control_score
from keepers.workflows.active.standing import Standing

NUM_ROUNDS = 50
NUM_NAMES = 24


def active_report(campaign: Campaign, standing: Standing, path: str | Path | None = None) -> Path:
    """Write a self-contained HTML report of a campaign, and return its path.

    `path` is `report.html` in the campaign's folder where it is not given; what was there before
    is replaced. `standing` is what `campaign.status()` gives.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     campaign = keepers.Campaign.start("digits", campaign=f"{folder}/digits",
    ...                                       classes=[str(digit) for digit in range(10)])
    ...     active_report(campaign, campaign.status()).name
    'report.html'
    """
    destination = campaign.path / "report.html" if path is None else Path(path)
    context = _context(campaign, standing)
    campaign.desk.remember()
    return write_page(destination, "active.html", overwrite=True, **context)


def _context(campaign: Campaign, standing: Standing) -> dict[str, Any]:
    state = campaign.state
    measured = [facts for facts in standing.trained if facts["accuracy"] is not None]
    doubts = active_items.doubts(state)
    pending = state.pending()
    expenses = active_costs.costs(state, standing)
    classes = active_shares.class_shares(state)
    comparison = active_answers.comparison(standing)
    return {
        "standing": standing,
        "pool_name": campaign.holdings.source.name,
        "headline": active_answers.headline(standing),
        "accuracy": active_answers.accuracy(standing),
        "selection": active_answers.selection(standing),
        "answers": active_answers.answers(standing),
        "next_step": active_answers.next_step(standing),
        "price": active_answers.price(standing),
        "proxy": describe.model_name(state.settings.get("proxy")),
        "target": describe.model_name(state.settings.get("target")),
        "waiting": active_answers.waiting,
        "rounds": standing.rounds[-NUM_ROUNDS:],
        "unplanned": _unplanned(standing),
        "accuracy_chart": _accuracy_chart(standing, measured),
        "measured": measured,
        "comparison": comparison,
        "draws_chart": None if not comparison else active_charts.draws_chart(comparison["errors"]),
        "fidelity": active_answers.fidelity(standing),
        "about_ceiling": about_ceiling,
        "agreement": active_answers.agreement(standing),
        "classes": active_shares.most_apart(classes),
        "num_classes": len(classes),
        "question": state.question,
        "control_score": control_score,
        "class_words": active_shares.in_words(
            classes, one=state.question.one, parts={"control": 0, "selected": 0, **standing.parts}
        ),
        "largest_share": max((max(c.selected_share, c.control_share) for c in classes), default=0),
        "annotators": active_items.annotators(state),
        "alphas": alphas_in_words(standing.alphas),
        "disputed": active_items.cards(campaign, state.disputed[:NUM_SHOWN], with_votes=True),
        "doubts": active_items.doubtful_cards(campaign, doubts[:NUM_SHOWN]),
        "num_doubts": len(doubts),
        "certain": active_items.CERTAIN,
        "quarantined": active_items.quarantined_names(state)[:NUM_NAMES],
        "pending": active_items.cards(campaign, pending[:NUM_SHOWN]),
        "num_pending": len(pending),
        "phases": active_costs.phases(expenses),
        "expenses": expenses[-NUM_ROUNDS:],
        "total": active_costs.total(expenses),
        "settings": as_yaml(state.settings),
        "schemas": state.schemas,
        "fingerprint": "" if state.pool is None else state.pool.fingerprint,
        "found": campaign.holdings.source.found,
    }


def _accuracy_chart(standing: Standing, measured: Sequence[Mapping[str, Any]]) -> Any:
    """The rounds that were measured on what the last one was: others do not lie on one curve."""
    if not measured:
        return None
    last = measured[-1]["accuracy"]
    alike = [
        facts
        for facts in measured
        if all(facts["accuracy"][name] == last[name] for name in ("on", "test"))
    ]
    on = {"test": "the test set", "control": "control labels"}[
        (standing.accuracy or {"on": "control"})["on"]
    ]
    return active_charts.accuracy_chart(
        alike, forecast=standing.forecast, on=on, score=standing.score
    )


def _unplanned(standing: Standing) -> dict[str, int]:
    """Items of no round by status: labels that came with the campaign or that nobody asked for."""
    return {
        status: standing.counts[status] - sum(each["counts"][status] for each in standing.rounds)
        for status in STATUSES
    }

"""The report of a campaign and its terminal summary: right numbers, plain words, nothing run."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commands import plain_lines
from keepers.campaign import Planned, PlannedItem, Schema, State, Trained, Vote
from keepers.errors import KeepersError
from keepers.reports import (
    active_answers,
    active_charts,
    active_costs,
    active_items,
    active_shares,
    simulate_answers,
)
from keepers.reports.active import active_report
from keepers.reports.active_terminal import active_summary, batch_table
from keepers.reports.terminal import WIDTH
from keepers.workflows.active import Batch, Campaign
from keepers.workflows.active.standing import Standing
from test_reports import ATTACK, Page

NEG, POS = f"neg {ATTACK}", "pos [bold]x[/bold] $x^2$"
SECTIONS = {"answers", "accuracy", "random", "classes", "rounds", "annotators", "cost", "made"}
PHASES = ("proxy training", "scoring", "selecting")


def costs(*seconds: float, extra: Mapping[str, float] | None = None) -> tuple[dict[str, Any], ...]:
    phases = {**dict(zip(PHASES, seconds, strict=False)), **(extra or {})}
    return tuple({"phase": name, "seconds": spent} for name, spent in phases.items())


def planned(number: int, ids: Sequence[Any], *, control: int = 0, **changes: Any) -> Planned:
    """A batch whose last items are control items."""
    return Planned(
        round=number,
        asked=len(ids),
        labels_seen=0,
        method=changes.pop("method", "margin"),
        items=tuple(
            PlannedItem(
                item=item, rank=rank, part="control" if rank >= len(ids) - control else "selected"
            )
            for rank, item in enumerate(ids)
        ),
        costs=changes.pop("costs", costs(2.0, 1.0, 0.5)),
        **changes,
    )


def trained(number: int, labels: int, correct: int, control: int, **facts: Any) -> Trained:
    """A proxy that is right on `correct` of `control` control labels."""
    measured = {"correct": correct, "labels": control, "low": 0.5, "high": 0.95}
    return Trained(
        round=number,
        labels=labels,
        facts={"method": "margin", "control": measured if control else None, **facts},
    )


def against(verdict: str, mean: float = -0.05) -> dict[str, Any]:
    return {
        "labels": 100,
        "measured_on": "control",
        "errors": {"selected": [0.1, 0.2], "random": [0.15, 0.25]},
        "difference": {
            "mean": mean,
            "low": mean - 0.02,
            "high": mean + 0.02,
            "pairs": 5,
            "verdict": verdict,
        },
    }


@pytest.fixture
def text_campaign(tmp_path: Path) -> Callable[..., Campaign]:
    """A campaign on 60 texts t00 … t59, each of which is an attack, as is the file's name."""
    pool = tmp_path / "pool <img src=x onerror=alert(1)>.csv"
    with pool.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "text"])
        writer.writerows(
            [f"t{i:02}", f"{i} \x1b[31m[red]text {ATTACK} " + "long " * 90] for i in range(60)
        )

    def make(*events: Any, **settings: Any) -> Campaign:
        folder = tmp_path / f"campaign {len(list(tmp_path.iterdir()))}"
        settings.setdefault("proxy", "fasttext")
        campaign = Campaign.start(pool, campaign=folder, classes=[NEG, POS], id="key", **settings)
        campaign.journal.append(events)
        return campaign

    return make


def ids(first: int, end: int) -> list[str]:
    return [f"t{i:02}" for i in range(first, end)]


def says(item: str, annotator: str, label: str | None, **changes: Any) -> Vote:
    given: dict[str, Any] = {
        "kind": "skip" if label is None else "label",
        "time": "2026-03-01T12:00:00Z",
        "schema": 1,
    }
    return Vote(item=item, annotator=annotator, label=label, **(given | changes))


EVE = f"eve {ATTACK}"


def lively() -> list[Any]:
    """Two rounds with everything in them: labels, a skip, a dispute, a quarantine, a prediction."""
    predictions = [["t20", POS, 0.95], ["t21", NEG, 0.99], ["t22", POS, 0.7], ["t23", POS, 0.85]]
    votes = [says(item, EVE, NEG, seconds=2.0) for item in ids(0, 8)]
    votes += [says(item, "bo", POS, seconds=1.0) for item in ids(8, 12)]
    votes += [says("t12", EVE, None), says("t13", EVE, NEG), says("t13", "bo", POS)]
    votes += [says("t14", EVE, ATTACK, schema=1)]
    votes += [says(item, EVE, NEG) for item in ids(20, 24)]
    return [
        planned(1, ids(0, 20), control=4, facts={"cold": True}, method="typiclust"),
        planned(2, ids(20, 40), control=4, facts={"predictions": predictions}),
        trained(
            1,
            12,
            3,
            4,
            against_random=against("inconclusive"),
            fidelity={
                "sample": 50,
                "proxy_target": 0.1,
                "proxy_seeds": 0.8,
                "target_seeds": 0.9,
            },
            costs=costs(2.0, 1.0, 0.5, extra={"control training": 7.0}),
        ),
        *votes,
    ]


# The page -----------------------------------------------------------------------------------


def test_page_shows_everything_and_runs_nothing(text_campaign: Callable[..., Campaign]) -> None:
    campaign = text_campaign(*lively(), target="fasttext")
    page = Page(active_report(campaign, campaign.status(goal=0.9)))
    page.check_safe()
    more = {"fidelity", "disputed", "doubts", "quarantined", "next"}
    assert page.sections == SECTIONS | more
    assert page.html.startswith("<!doctype html>")
    assert ATTACK in page.text
    assert f"{EVE}: neg {ATTACK}" in page.text
    assert "onerror=alert(1)>.csv" in page.text
    assert "the proxy misleads" in page.text
    assert (
        "no model can be expected to agree better with another than that one's second seed does"
    ) in page.text
    assert "[bold]x[/bold] $x^2$" in page.text


def test_page_of_a_new_campaign(text_campaign: Callable[..., Campaign]) -> None:
    campaign = text_campaign()
    page = Page(active_report(campaign, campaign.status()))
    assert page.sections == SECTIONS
    assert "Nothing is labelled yet" in page.text
    assert "Nobody has labelled anything yet" in page.text
    assert "keepers active query 60 --campaign" in page.text


def test_page_is_replaced(text_campaign: Callable[..., Campaign]) -> None:
    campaign = text_campaign()
    first = active_report(campaign, campaign.status())
    assert first == campaign.path / "report.html"
    before = first.read_text()
    campaign.journal.append(lively())
    assert active_report(campaign, campaign.status()).read_text() != before


def test_cards_do_not_tell_control_items_from_selected_ones(
    text_campaign: Callable[..., Campaign],
) -> None:
    def articles(control: int) -> list[str]:
        campaign = text_campaign(planned(1, ids(0, 6), control=control))
        html = active_report(campaign, campaign.status()).read_text()
        return re.findall(r"<article.*?</article>", html, re.DOTALL)

    assert len(articles(0)) == 6
    assert articles(0) == articles(6)


def test_next_items_are_in_the_order_to_label_and_few(
    text_campaign: Callable[..., Campaign],
) -> None:
    campaign = text_campaign(planned(1, list(reversed(ids(0, 30)))), says("t29", "bo", POS))
    page = Page(active_report(campaign, campaign.status()))
    assert "The first 12 of 29, in the order to label them" in page.text
    shown = re.findall(r'title="(t\d\d)"', page.html)
    assert shown == [f"t{i}" for i in range(28, 16, -1)]


def test_pictures_are_shown_as_data(tmp_path: Path) -> None:
    campaign = Campaign.start(
        "digits", campaign=tmp_path / "c", classes=[str(digit) for digit in range(10)]
    )
    some = campaign.holdings.source.ids[:3].tolist()
    campaign.journal.append([planned(1, some), says(some[0], "a", "1"), says(some[0], "b", "2")])
    page = Page(active_report(campaign, campaign.status()))
    page.check_safe()
    pictures = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(pictures) == 3
    assert "a: 1" in page.text
    assert "b: 2" in page.text


def test_an_item_that_left_the_pool_is_said_to_be_gone(
    text_campaign: Callable[..., Campaign],
) -> None:
    campaign = text_campaign()
    campaign.journal.append([planned(1, ["gone"]), says("gone", "a", NEG), says("gone", "b", POS)])
    card = active_items.cards(campaign, campaign.state.disputed)[0]
    assert "cannot be shown" in card.preview.excerpt


def test_many_rounds_are_cut(text_campaign: Callable[..., Campaign]) -> None:
    campaign = text_campaign(*(planned(n + 1, [item]) for n, item in enumerate(ids(0, 60))))
    page = Page(active_report(campaign, campaign.status()))
    assert "Shown are the last 50 of 60 rounds" in page.text
    lines = plain_lines(active_summary(campaign.status()))
    assert sum("margin" in line for line in lines) == 20


# Answers ------------------------------------------------------------------------------------


def stand(**changes: Any) -> Standing:
    nothing = dict.fromkeys(
        (
            *("unplanned", "planned", "sent", "labelled"),
            *("skipped", "disputed", "quarantined", "removed"),
        ),
        0,
    )
    changes["counts"] = nothing | changes.get("counts", {})
    facts: dict[str, Any] = {
        "path": Path("c"),
        "campaign": "x",
        "pool": 1000,
        "left": 900,
        "method": "margin",
        "parts": {},
        "classes": {"a": 0, "b": 0},
        "rounds": (),
        "trained": (),
        "annotators": {},
        "labelling_seconds": 0.0,
        "selection_seconds": 0.0,
        "forecast": None,
        "warnings": (),
    }
    return Standing(**(facts | changes))


def measured(value: float = 0.9, on: str = "test", **facts: Any) -> dict[str, Any]:
    accuracy = {"value": value, "low": value - 0.05, "high": value + 0.05, "examples": 200}
    return {"round": 1, "labels": 80, "accuracy": {**accuracy, "on": on}, **facts}


ROUND = {"control": 5}
FEW = {"value": 1.0, "low": 0.862, "high": 1.0, "examples": 24, "on": "control"}


@pytest.mark.parametrize(
    ("standing", "line"),
    [
        (stand(), "Nothing is labelled yet"),
        (stand(counts={"labelled": 1}), "1 example labelled, accuracy not known yet"),
        (stand(trained=(measured(),)), "90% accurate, trained on 80 labels"),
        (
            stand(trained=({**measured(), "accuracy": FEW},)),
            "86.2% to 100% accurate, trained on 80 labels",
        ),
        (
            stand(trained=(measured(against_random=against("better")),)),
            "90% accurate, trained on 80 labels; selection beats random",
        ),
        (
            stand(trained=(measured(against_random=against("worse", 0.05)),)),
            "90% accurate, trained on 80 labels; random labels do better",
        ),
    ],
)
def test_headline(standing: Standing, line: str) -> None:
    assert active_answers.headline(standing) == line


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (
            stand(trained=(measured(),)),
            "90% (95% interval 85% to 95%) on 200 examples of the test set; the proxy was trained "
            "on 80 labels.",
        ),
        (
            stand(trained=(measured(on="control"),)),
            "90% (95% interval 85% to 95%) on 200 control labels, a random sample of the pool; "
            "the proxy was trained on 80 labels.",
        ),
        (
            stand(is_cold=True),
            "Not known yet: the proxy is trained once two classes are labelled.",
        ),
        (
            stand(classes={"a": 1, "b": 1}),
            "Not known yet: the next keepers active query measures the proxy, and so does keepers "
            "active status --train.",
        ),
        (
            stand(trained=({"labels": 8, "accuracy": None},)),
            "Unknown: the campaign has neither a test set nor a control slice.",
        ),
        (
            stand(trained=({"labels": 8, "accuracy": None},), rounds=(ROUND,)),
            "Not known yet: there is no test set, and there were no control labels to measure on.",
        ),
    ],
)
def test_accuracy_in_words(standing: Standing, words: str) -> None:
    assert active_answers.accuracy(standing).words == words


@pytest.mark.parametrize(
    ("standing", "brief", "words"),
    [
        (
            stand(trained=(measured(against_random=against("better")),)),
            "yes",
            "Yes: trained on 100 selected labels the proxy errs on 15%, on 100 random labels "
            "on 20%: −5.0 points (95% interval −7.0 to −3.0), 5 draws, measured on control "
            "labels left out.",
        ),
        (stand(trained=(measured(against_random=against("worse", 0.05)),)), "no", "No, it is wo"),
        (
            stand(trained=(measured(against_random=against("inconclusive")), measured())),
            "not known yet",
            "The interval includes zero; more control labels make it narrower.",
        ),
        (stand(), "not known yet", "it needs 100 control labels, and none is there."),
        (stand(parts={"control": 1}), "not known yet", "and one is there."),
        (stand(parts={"control": 99}, rounds=(ROUND,)), "not known yet", "and 99 are there."),
        (stand(rounds=({"control": 0},)), "not known yet", "Unknown: no batch so far had contr"),
        (
            stand(parts={"control": 120}, rounds=(ROUND,), trained=(measured(),)),
            "not known yet",
            "there are enough control labels (120) to measure it: keepers active status --train.",
        ),
        (
            stand(
                parts={"control": 120},
                rounds=(ROUND,),
                trained=(measured(control={"labels": 120}),),
            ),
            "not known yet",
            "it also needs 50 selected labels.",
        ),
        (stand(method="random"), "random", "There is none: the method is random."),
    ],
)
def test_whether_selection_beats_random(standing: Standing, brief: str, words: str) -> None:
    answer = active_answers.selection(standing)
    assert answer.brief == brief
    assert words in answer.words


CURVE = {"ceiling": 0.99, "scale": 1.0, "exponent": 0.5}


@pytest.mark.parametrize(
    ("forecast", "value", "words"),
    [
        (None, 0.9, ""),
        (
            {"goal": 0.95, "points": 4, "labels": 625, "low": 400, "high": 1200, "curve": CURVE},
            0.9,
            "About 625 to train on, 545 more than now (95% interval 400 to 1,200).",
        ),
        (
            {"goal": 0.95, "points": 3, "labels": 625, "low": None, "high": None, "curve": CURVE},
            0.9,
            "About 625 to train on, 545 more than now; the rounds are too few or too scattered "
            "for an interval.",
        ),
        (
            {"goal": 0.95, "points": 4, "labels": 981, "low": 900, "high": 990, "curve": CURVE},
            0.9,
            "901 more than now (95% interval 900 to 990). The pool holds only 900 more.",
        ),
        ({"goal": 0.95, "points": 2}, 0.9, "three measured rounds, and two are there."),
        ({"goal": 0.95, "points": 0}, 0.9, "three measured rounds, and none is there."),
        ({"goal": 0.95, "points": 5}, 0.9, "do not lead to 95%: their curve levels off below"),
        (
            {"goal": 0.95, "points": 5},
            0.97,
            "It is reached with 80 labels, though its interval goes down to 92%.",
        ),
        ({"goal": 0.9, "points": 5}, 0.97, "It is reached with 80 labels."),
    ],
)
def test_price_in_labels(forecast: Any, value: float, words: str) -> None:
    standing = stand(trained=(measured(value),), forecast=forecast)
    found = active_answers.price(standing)
    assert found.words.endswith(words) or words in found.words
    assert bool(found.words) == bool(words)


@pytest.mark.parametrize(
    ("agreement", "how", "mood"),
    [(0.75, "Largely", "better"), (0.5, "In part", "inconclusive"), (0.3, "Hardly", "worse")],
)
def test_fidelity_is_judged_by_its_ceiling(agreement: float, how: str, mood: str) -> None:
    seeds = {"sample": 2000, "proxy_seeds": 0.9, "target_seeds": 0.8}
    facts = measured(fidelity={**seeds, "proxy_target": agreement})
    answer = active_answers.agreement(stand(trained=(facts,)))
    assert answer.verdict == mood
    assert answer.words.startswith(f"{how}: their ranks of 2,000 examples agree at Spearman")
    assert "0.90 for the proxy and 0.80 for the target" in answer.words


def test_fidelity_without_a_ceiling_is_not_judged() -> None:
    seeds = {"sample": 674, "proxy_seeds": -0.06, "target_seeds": 1.0}
    answer = active_answers.agreement(
        stand(trained=(measured(fidelity={**seeds, "proxy_target": 0.36}),))
    )
    assert answer.verdict == "inconclusive"
    assert answer.words == (
        "Cannot be told: their ranks of 674 examples agree at Spearman 0.36. Two seeds agree "
        "at −0.06 for the proxy and 1.00 for the target: with a model that ranks by chance, "
        "agreement means nothing."
    )


@pytest.mark.parametrize(
    ("proxy_seeds", "told"),
    [
        (
            0.9,
            "no model can be expected to agree better with another than that one's second seed "
            "does",
        ),
        (0.04, "agreement with a model that ranks by chance means nothing"),
    ],
)
def test_a_ceiling_is_claimed_only_where_there_is_one(proxy_seeds: float, told: str) -> None:
    row = {"proxy_target": 0.36, "proxy_seeds": proxy_seeds, "target_seeds": 0.8, "sample": 2000}
    assert simulate_answers.about_agreement({"agreement": [row, row]}).endswith(f"{told}.")


def test_questions_without_an_answer_are_left_out() -> None:
    names = [answer.name for answer in active_answers.answers(stand())]
    assert names == ["How accurate?", "Does selection beat random here?"]


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (stand(counts={"sent": 1}), "1 example waits for labels: keepers active label"),
        (stand(counts={"planned": 2}), "2 examples wait for labels: keepers active label"),
        (stand(), "Nothing waits for labels: keepers active query 100 --campaign c"),
        (stand(left=7), "keepers active query 7 --campaign c"),
        (stand(left=0), "No unlabelled example is left: keepers active export"),
        (stand(path=Path("my camp;ls")), "--campaign 'my camp;ls'"),
    ],
)
def test_next_step(standing: Standing, words: str) -> None:
    assert words in active_answers.next_step(standing)


# What is counted ----------------------------------------------------------------------------


def state(*events: Any) -> State:
    return State.empty().after([Schema(version=1, classes=("a", "b", "c")), *events])


def test_class_shares() -> None:
    votes = [says(item, "x", label) for item, label in zip(ids(0, 8), "aaabaabb", strict=True)]
    brought = says("t50", "x", "c", source="labelled")
    shares = active_shares.class_shares(state(planned(1, ids(0, 8), control=4), *votes, brought))
    found = [(s.name, s.selected, s.control, s.labels, s.selected_share) for s in shares]
    assert found == [("a", 3, 2, 5, 0.75), ("b", 1, 2, 3, 0.25), ("c", 0, 0, 1, 0.0)]
    assert [s.control_share for s in shares] == [0.5, 0.5, 0.0]
    assert "only 4 of them" in active_shares.in_words(shares)


def test_class_shares_name_what_selection_distorts() -> None:
    many = [f"{i:03}" for i in range(200)]
    labels = "a" * 90 + "b" * 10 + "a" * 50 + "b" * 50
    votes = [says(item, "x", label) for item, label in zip(many, labels, strict=True)]
    shares = active_shares.class_shares(state(planned(1, many, control=100), *votes))
    assert [s.is_apart for s in shares] == [True, True, False]
    words = "Selection takes “a” more often and “b” less often than they occur"
    assert words in active_shares.in_words(shares)


def test_few_of_many_classes_are_shown() -> None:
    one = active_shares.class_shares(state())[0]
    many = [replace(one, name=str(i), selected_share=i / 100) for i in range(30)]
    assert [each.name for each in active_shares.most_apart(many)] == [str(i) for i in range(6, 30)]


def test_costs_by_round() -> None:
    held = state(
        planned(1, ids(0, 4)),
        planned(2, ids(4, 8), costs=costs(4.0, 2.0)),
        says("t00", "x", "a", seconds=3.0),
        says("t04", "x", "a", seconds=5.0),
        says("t04", "y", "a", seconds=7.0),
        says("t59", "y", "a", seconds=11.0),
    )
    standing = stand(
        trained=(
            {"round": 0, "costs": costs(2.0, 1.0, 0.5, extra={"control training": 6.0})},
            {"round": 1, "costs": costs(9.0, 1.0)},  # status --train
        )
    )
    found = active_costs.costs(held, standing)
    assert [(e.name, e.measuring, e.labelling) for e in found] == [
        ("1", 16.0, 3.0),
        ("2", 0.0, 12.0),
        ("not asked for", 0.0, 11.0),
    ]
    assert found[0].phases == dict(zip(PHASES, (2.0, 1.0, 0.5), strict=True))
    total = active_costs.total(found)
    assert total.phases == dict(zip(PHASES, (6.0, 3.0, 0.5), strict=True))
    assert (total.measuring, total.labelling, total.machine) == (16.0, 26.0, 25.5)


def test_phases_stand_in_the_order_in_which_they_come() -> None:
    cold = active_costs.Expense(
        name="1", phases={"features": 1, "selecting": 1, "other": 1}, measuring=0, labelling=0
    )
    warm = replace(cold, phases={"proxy training": 1, "encoding": 1, "selecting": 1})
    names = ["features", "encoding", "proxy training", "selecting", "other"]
    assert active_costs.phases([cold, warm]) == names


def test_measuring_before_the_first_round_is_counted() -> None:
    standing = stand(trained=({"round": 0, "costs": costs(9.0, 1.0)},))
    assert [(e.name, e.machine) for e in active_costs.costs(state(), standing)] == [("before", 10)]


def test_annotators() -> None:
    found = active_items.annotators(
        state(
            says("t00", "labelled", "a", source="labelled"),
            *(says("t01", who, label) for who, label in (("x", "a"), ("y", "a"), ("z", "b"))),
            *(says("t02", who, label, seconds=2.0) for who, label in (("x", "a"), ("y", "b"))),
            says("t03", "x", None, seconds=1.5),
            says("t04", "x", "c"),
        )
    )
    assert [(a.name, a.labels, a.skips, a.seconds, a.agreed, a.shared) for a in found] == [
        ("x", 3, 1, 3.5, 1, 2),
        ("y", 2, 0, 2.0, 1, 2),
        ("z", 1, 0, 0.0, 0, 1),
    ]


def test_doubts_are_contradictions_of_a_sure_proxy() -> None:
    predictions = [["t00", "b", 0.85], ["t01", "b", 0.99], ["t02", "a", 0.99], ["t03", "b", 0.79],
                   ["t04", "gone", 0.99], ["t05", "b", 0.9], ["t06", "old", 0.95]]  # fmt: skip
    found = active_items.doubts(
        state(
            Schema(version=2, classes=("a", "b", "c", "old")),
            Schema(version=3, classes=("a", "b", "c"), renamed={"old": "a"}),
            planned(1, ids(0, 7), facts={"predictions": predictions}),
            *(says(item, "x", "a", schema=3) for item in (*ids(0, 5), "t06")),
        )
    )
    assert [(each.id, each.predicted, each.probability) for each in found] == [
        ("t01", "b", 0.99),
        ("t00", "b", 0.85),
    ]


def test_quarantined_names_are_counted() -> None:
    votes = [says("t00", "x", "odd"), says("t01", "x", "odd"), says("t02", "x", "d")]
    assert active_items.quarantined_names(state(*votes)) == [("odd", 2), ("d", 1)]


# Charts -------------------------------------------------------------------------------------

POINTS = [
    {"labels": n, "accuracy": {"value": v, "low": v - 0.05, "high": v + 0.02}}
    for n, v in ((50, 0.7), (100, 0.8), (200, 0.85))
]


def test_accuracy_chart_draws_the_way_to_the_goal() -> None:
    plain = active_charts.accuracy_chart(POINTS, forecast=None, on="the test set")
    goal = {"goal": 0.9, "points": 3, "labels": 1234, "low": 900, "high": None, "curve": CURVE}
    drawn = active_charts.accuracy_chart(POINTS, forecast=goal, on="the test set")
    assert "accuracy on the test set" in plain
    assert "about 1,234" in drawn
    assert "about" not in plain
    assert drawn.count("stroke-dasharray") > plain.count("stroke-dasharray")
    assert "var(--kept)" in plain
    assert not re.search(r"#0102\d\d", drawn)


def test_accuracy_chart_of_a_far_goal_is_logarithmic() -> None:
    goal = {"goal": 0.9, "points": 3, "low": 900, "high": 10**9, "curve": CURVE}
    near = active_charts.accuracy_chart(POINTS, forecast={**goal, "labels": 300}, on="x")
    far = active_charts.accuracy_chart(POINTS, forecast={**goal, "labels": 900_000}, on="x")
    assert "about 900,000" in far
    assert ">0</text>" in near
    assert ">0</text>" not in far  # a logarithmic axis has no zero


def test_accuracy_chart_without_a_forecast_marks_the_goal() -> None:
    drawn = active_charts.accuracy_chart(POINTS[:1], forecast={"goal": 0.9, "points": 1}, on="x")
    assert ">goal<" in drawn


def test_draws_chart_has_a_line_for_each_draw() -> None:
    drawn = active_charts.draws_chart({"selected": [0.1, 0.2, 0.1], "random": [0.2, 0.2, 0.3]})
    assert [f"draw {n}" in drawn for n in (1, 2, 3, 4)] == [True, True, True, False]


# The terminal -------------------------------------------------------------------------------


def test_summary_is_plain_and_narrow(text_campaign: Callable[..., Campaign]) -> None:
    campaign = text_campaign(*lively())
    lines = plain_lines(active_summary(campaign.status(goal=0.9)))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "16 labelled of 60 examples in 2 rounds by auto"
    assert "How accurate? 75%" in text
    assert "Does selection beat random here? Not known yet" in text
    assert "Labels: 16 selected" in text
    row = next(line.split() for line in lines if "typiclust" in line)
    assert row == ["1", "typiclust", "20", "12", "5", "1", "1", "1", "–", "3.5s"]
    assert "[bold]x[/bold]" in text
    assert EVE.split()[0] in text


def test_summary_of_a_new_campaign(text_campaign: Callable[..., Campaign]) -> None:
    lines = plain_lines(active_summary(text_campaign().status()))
    assert lines[0] == "0 labelled of 60 examples in 0 rounds by auto"
    assert not any("round method" in line for line in lines)


def test_batch_table_shows_the_first_and_not_their_part(
    text_campaign: Callable[..., Campaign],
) -> None:
    def table(control: int, **changes: Any) -> list[str]:
        campaign = text_campaign(planned(1, ids(0, 20), control=control), trained(0, 9, 3, 4))
        facts = {"cold": True, "near_duplicates": 3}
        batch = Batch(round=1, ids=tuple(ids(0, 20)), method="margin", facts=facts, **changes)
        return plain_lines(batch_table(campaign, batch))

    lines = table(0)
    assert lines == table(20)
    assert lines[0] == "Round 1: 20 examples to label, by margin, without a proxy yet (cold start)"
    assert lines[1].startswith("The proxy is 75% right on 4 control labels")
    assert lines[2] == "3 near-duplicates let in: nothing else was left"
    assert lines[-1].strip() == "… and 8 more"
    assert [line.split()[:2] for line in lines[4:16]] == [
        [str(n), f"t{n - 1:02}"] for n in range(1, 13)
    ]
    assert "[red]text" in lines[4]
    assert "\x1b" not in "".join(lines)
    assert table(0, again=True)[0].endswith("planned before")
    assert max(map(len, lines)) <= WIDTH


def test_batch_table_of_pictures_gives_their_size(tmp_path: Path) -> None:
    campaign = Campaign.start(
        "digits", campaign=tmp_path / "c", classes=[str(digit) for digit in range(10)]
    )
    item = campaign.holdings.source.ids[0]
    batch = Batch(round=1, ids=(item, "gone"), method="margin", facts={})
    lines = plain_lines(batch_table(campaign, batch))
    assert "picture, 8 × 8" in lines[-2]
    assert "(cannot be shown)" in lines[-1]
    with pytest.raises(KeepersError):
        campaign.desk.content("gone")

"""What is known of a campaign, in sentences: how accurate, whether selection pays, what is left."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from keepers.baselines import RANDOM
from keepers.reports import quantities
from keepers.reports.answer import Answer
from keepers.statistics import Verdict
from keepers.tasks import CLASSES
from keepers.words import counted
from keepers.workflows.active.judging import Judgement, judged, latest
from keepers.workflows.active.measuring import ENOUGH_CONTROL
from keepers.workflows.active.standing import Standing

WAITING = ("planned", "sent")


WIDE = 0.12
"""The width of an interval from which on a headline shows it, and not its middle."""


def headline(standing: Standing) -> str:
    """The state of a campaign in one line."""
    found = standing.accuracy
    if found is None:
        labelled = standing.counts["labelled"]
        if not labelled:
            return "Nothing is labelled yet"
        return f"{counted(labelled, 'example')} labelled, {standing.score} not known yet"
    trained_on = counted(standing.trained[-1]["labels"], "label")
    words = f"{reached(standing, found)}, trained on {trained_on}"
    verdict = selection(standing).verdict
    if verdict == "better":
        return f"{words}; selection beats random"
    return f"{words}; random labels do better" if verdict == "worse" else words


def reached(standing: Standing, found: Mapping[str, Any]) -> str:
    """A score by its name; its interval in its place where that is wide."""
    is_wide = found["high"] - found["low"] > WIDE
    shown = _interval(found) if is_wide else quantities.percent(found["value"])
    if standing.score == CLASSES.score_words:
        return f"{shown} accurate"
    return f"{standing.score} of {shown}"


def answers(standing: Standing) -> list[Answer]:
    """Every question to which there is something to say."""
    found = [accuracy(standing), selection(standing), price(standing), agreement(standing)]
    return [answer for answer in found if answer.words]


def accuracy(standing: Standing) -> Answer:
    """How accurate the proxy is, on what, and how sure that is."""
    found = standing.accuracy
    if found is None:
        return Answer(name=_how(standing), brief="not known", words=_no_accuracy(standing))
    trained_on = counted(standing.trained[-1]["labels"], "label")
    words = (
        f"{quantities.percent(found['value'])} (95% interval {_interval(found)}) on "
        f"{measured_on(found)}; the proxy was trained on {trained_on}."
    )
    return Answer(name=_how(standing), brief=quantities.percent(found["value"]), words=words)


def _how(standing: Standing) -> str:
    return "How accurate?" if standing.score == CLASSES.score_words else f"What {standing.score}?"


def measured_on(found: Mapping[str, Any]) -> str:
    """On what an accuracy was measured."""
    if found["on"] == "test":
        which = "an earlier" if found.get("is_earlier") else "the"
        return f"{counted(found['examples'], 'example')} of {which} test set"
    labels = counted(found["examples"], "control label")
    return f"{labels}, a random sample of the pool"


def _no_accuracy(standing: Standing) -> str:
    if standing.trained:
        if not control_planned(standing):
            return "Unknown: the campaign has neither a test set nor a control slice."
        return (
            "Not known yet: there is no test set, and there were no control labels to measure on."
        )
    if standing.is_cold:
        return f"Not known yet: the proxy is trained once {standing.enough}."
    return (
        "Not known yet: the next keepers active query measures the proxy, and so does "
        "keepers active status --train."
    )


def control_planned(standing: Standing) -> int:
    """How many control items were planned so far."""
    return sum(each["control"] for each in standing.rounds)


def comparison(standing: Standing) -> Mapping[str, Any] | None:
    """The latest comparison of selected with random labels."""
    return latest(standing.trained, "against_random")


def selection(standing: Standing) -> Answer:
    """Whether selected labels train a better proxy here than as many random ones."""
    name = "Does selection beat random here?"
    if standing.method == RANDOM:
        return Answer(name=name, brief="random", words="There is none: the method is random.")
    if standing.rounds and all(each.get("method") == RANDOM for each in standing.rounds):
        return Answer(name=name, brief="random", words="There is none yet: all batches are random.")
    found = comparison(standing)
    if found is None:
        return Answer(name=name, brief="not known yet", words=_no_comparison(standing))
    verdict: Verdict = found["difference"]["verdict"]
    mean = found["difference"]["mean"]
    where = "the test set" if found["measured_on"] == "test" else "control labels left out"
    errors = {part: sum(values) / len(values) for part, values in found["errors"].items()}
    labels = quantities.count(found["labels"])
    of_classes = standing.score == CLASSES.score_words
    errs = "errs on" if of_classes else f"has an error (1 − {standing.score}) of"
    on = "on " if of_classes else "of "
    words = (
        f"trained on {labels} selected labels the proxy {errs} "
        f"{quantities.percent(errors['selected'])}, on {labels} random labels "
        f"{on}{quantities.percent(errors['random'])}: {quantities.points(mean, 1, signed=True)} "
        f"points{_points_interval(found['difference'])}, {found['difference']['pairs']} draws, "
        f"measured on {where}."
    )
    if verdict == "better":
        return Answer(name=name, brief="yes", words=f"Yes: {words}", verdict=verdict)
    if verdict == "worse":
        return Answer(name=name, brief="no", words=f"No, it is worse: {words}", verdict=verdict)
    more = "The interval includes zero; more control labels make it narrower."
    return Answer(name=name, brief="not known yet", words=f"Not known yet: {words} {more}")


def _no_comparison(standing: Standing) -> str:
    there = standing.parts.get("control", 0)
    if standing.rounds and not control_planned(standing):
        return "Unknown: no batch so far had control labels (random labels to compare with)."
    if there < ENOUGH_CONTROL:
        have = "one is" if there == 1 else f"{quantities.count(there)} are" if there else "none is"
        return f"Not known yet: it needs {ENOUGH_CONTROL} control labels, and {have} there."
    measured = standing.trained[-1].get("control") if standing.trained else None
    if measured is None or measured["labels"] < ENOUGH_CONTROL:
        return (
            f"Not known yet: there are enough control labels ({quantities.count(there)}) to "
            "measure it: keepers active status --train."
        )
    return f"Not known yet: it also needs {ENOUGH_CONTROL // 2} selected labels."


def price(standing: Standing) -> Answer:
    """How many labels the goal may take; no words where no goal was given."""
    found = standing.forecast
    if found is None:
        return Answer(name="How many labels more?", brief="", words="")
    goal = quantities.percent(found["goal"])
    name = f"How many labels for {goal}?"
    now = standing.trained[-1]["labels"] if standing.trained else 0
    if (reached := standing.accuracy) is not None and reached["value"] >= found["goal"]:
        sure = reached["low"] >= found["goal"]
        doubt = "" if sure else f", though its interval goes down to {_share(reached['low'])}"
        words = f"It is reached with {counted(now, 'label')}{doubt}."
        return Answer(name=name, brief="reached", words=words, verdict="better")
    if "labels" not in found:
        if found["points"] < 3:
            there = ("none is", "one is", "two are")[found["points"]]
            words = f"Not known yet: it needs three measured rounds, and {there} there."
        else:
            words = (
                f"The rounds so far do not lead to {goal}: their curve levels off below it, or "
                "does not rise."
            )
        return Answer(name=name, brief="not known", words=words)
    more = max(0, found["labels"] - now)
    words = f"About {quantities.count(found['labels'])} to train on, {quantities.count(more)} more"
    if found["low"] is None:
        words += " than now; the rounds are too few or too scattered for an interval."
    else:
        low, high = quantities.count(found["low"]), quantities.count(found["high"])
        words += f" than now (95% interval {low} to {high})."
    if more > standing.left:
        words += f" The pool holds only {quantities.count(standing.left)} more."
    return Answer(name=name, brief=f"about {quantities.count(found['labels'])}", words=words)


def fidelity(standing: Standing) -> Mapping[str, Any] | None:
    """The latest agreement of proxy and target."""
    return latest(standing.trained, "fidelity")


_VERDICTS: Mapping[Judgement, Verdict] = {
    "largely": "better",
    "in part": "inconclusive",
    "hardly": "worse",
    "cannot be told": "inconclusive",
}


def agreement(standing: Standing) -> Answer:
    """Whether the proxy ranks the pool as the target would; no words without a target."""
    name = "Does the proxy select as the target would?"
    found = fidelity(standing)
    if found is None:
        return Answer(name=name, brief="", words="")
    value = found["proxy_target"]
    judgement = judged(found)
    end = "no more can be expected"
    if judgement == "cannot be told":
        end = "with a model that ranks by chance, agreement means nothing"
    words = (
        f"{judgement.capitalize()}: their ranks of "
        f"{counted(found['sample'], 'example')} agree at Spearman {_signed(value)}. Two "
        f"seeds agree at {_signed(found['proxy_seeds'])} for the proxy and "
        f"{_signed(found['target_seeds'])} for the target: {end}."
    )
    return Answer(name=name, brief=_signed(value), words=words, verdict=_VERDICTS[judgement])


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def why_auto(standing: Standing) -> str:
    """What `auto` took in its latest round, and why; "" where it was not asked."""
    last = standing.rounds[-1] if standing.rounds else {}
    why = last.get("auto")
    return f"auto took {last['method']} in round {last['round']}: {why}" if why else ""


def waiting(counts: Mapping[str, int]) -> int:
    """Items that wait for labels."""
    return sum(counts[status] for status in WAITING)


def next_step(standing: Standing) -> str:
    """What to do next."""
    campaign = f"--campaign {shlex.quote(str(standing.path))}"
    if left := waiting(standing.counts):
        wait = "waits" if left == 1 else "wait"
        words = f"{counted(left, 'example')} {wait} for labels"
        return f"{words}: keepers active label {campaign}"
    if not standing.left:
        return (
            f"No unlabelled example is left: keepers active export {campaign} --out labels.parquet"
        )
    return f"Nothing waits for labels: {next_query(standing)}"


def next_query(standing: Standing) -> str:
    """The command that plans a batch: of 100, or what is left."""
    count = min(100, standing.left)
    return f"keepers active query {count} --campaign {shlex.quote(str(standing.path))}"


def _interval(found: Mapping[str, Any]) -> str:
    return f"{_share(found['low'])} to {_share(found['high'])}"


def _share(value: float) -> str:
    return quantities.percent(value)


def _points_interval(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return ""
    low, high = (quantities.points(difference[end], 1, signed=True) for end in ("low", "high"))
    return f" (95% interval {low} to {high})"

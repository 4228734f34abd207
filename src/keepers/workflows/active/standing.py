"""Where a campaign stands: a plain value that the terminal, a report and JSON show."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from keepers.campaign import BROUGHT, State, agreement, forecast, wilson
from keepers.errors import ParameterError, first_few
from keepers.tasks import CLASSES, kind_of
from keepers.words import counted
from keepers.workflows.active.drift import Drift
from keepers.workflows.active.ground import Ground
from keepers.workflows.active.measuring import accuracies, control_score, warnings
from keepers.workflows.active.opening import Holdings
from keepers.workflows.options.active import CampaignConfig


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of a campaign.

    `counts` are items by status; `parts` the labels of each part (`selected`, `control`,
    `brought`); `classes` how many examples have each class or label; `task` what is labelled,
    `score` what the accuracy of it is called, `enough` and `too_few` say from when on there is one,
    and why not yet; `rounds` and `trained` what each round planned and found, and why `auto` took
    its method; `annotators` their votes and seconds, `alphas` how far they agree on the class, or
    each label or number, the lowest first. `forecast` says how many labels a goal may take.
    """

    path: Path
    campaign: str
    pool: int
    left: int
    method: str
    counts: Mapping[str, int]
    parts: Mapping[str, int]
    classes: Mapping[str, int]
    rounds: tuple[Mapping[str, Any], ...]
    trained: tuple[Mapping[str, Any], ...]
    annotators: Mapping[str, Mapping[str, float]]
    labelling_seconds: float
    selection_seconds: float
    forecast: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    task: str = CLASSES.name
    score: str = CLASSES.score_words
    enough: str = CLASSES.enough
    too_few: str = CLASSES.too_few
    is_cold: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def accuracy(self) -> Mapping[str, Any] | None:
        """The latest accuracy of the proxy: `value`, `low`, `high`, `labels`, `on`."""
        return self.trained[-1]["accuracy"] if self.trained else None


def standing(
    path: Path,
    state: State,
    holdings: Holdings,
    config: CampaignConfig,
    drift: Drift,
    goal: float | None = None,
) -> Standing:
    """Everything `keepers active status` shows, from the journal alone."""
    if goal is not None and not 0 < goal < 1:
        raise ParameterError("goal", f"got {goal}", "Give an accuracy in (0, 1) such as 0.9")
    trained = tuple(_trained(facts, state) for facts in state.trained)
    ground = Ground(holdings=holdings, state=state, config=config)
    found = _pool_since(state, drift)
    if trained and trained[-1]["is_earlier"]:
        found.append(
            "The test data changed since the proxy was measured: its accuracy is on the earlier "
            "data. keepers active status --train measures it again"
        )
    if trained:
        found += [*warnings(dict(trained[-1]), config.method), *_unanswered(trained[-1])]
    if ground.torn:
        found.append(
            f"{len(ground.torn):,} labelled examples are copies of one input with different labels "
            f"({first_few(list(map(str, ground.torn)))}): correct the labels that are wrong"
        )
    if trained and (new := len(ground.known.members) - trained[-1]["labels"]) > 0:
        found.append(
            f"{counted(new, 'label')} to train on were added since the proxy was measured: "
            "keepers active status --train"
        )
    return Standing(
        path=path,
        campaign=state.campaign,
        pool=int(holdings.in_pool.sum()),
        left=len(ground.known.open) + len(ground.undrawn),
        method=config.method,
        counts=state.counts(),
        parts=dict(Counter(state.part(item) or "brought" for item in state.labels)),
        classes=_named(state),
        **_measured_by(state),
        is_cold=ground.known.is_cold,
        rounds=tuple(_round(state, each) for each in state.rounds),
        trained=trained,
        annotators=_annotators(state),
        alphas=agreement(state),
        labelling_seconds=state.seconds,
        selection_seconds=sum(cost["seconds"] for each in state.rounds for cost in each.costs),
        forecast=None if goal is None else _forecast(trained, goal, config.control),
        warnings=tuple(found),
    )


def _named(state: State) -> dict[str, int]:
    """How many examples have each class or label; nothing for numbers, which name none."""
    question = state.question
    found = Counter(name for each in state.labels.values() for name in question.names_in(each))
    return {} if not question.is_named else dict.fromkeys(state.classes, 0) | dict(found)


def _measured_by(state: State) -> dict[str, str]:
    kind = kind_of(state.settings.get("task") or CLASSES.name)
    return {
        "task": kind.name,
        "score": kind.score_words,
        "too_few": kind.too_few,
        "enough": kind.enough,
    }


def _pool_since(state: State, drift: Drift) -> list[str]:
    """How the pool changed since the last round was planned, and what is missing from it now."""
    seen = state.rounds[-1].facts.get("pool", -1) if state.rounds else 0
    later = [pool for pool in state.pools if pool.number > seen]
    since = Drift(
        added=sum(pool.added for pool in later),
        gone=sum(pool.gone for pool in later),
        changed=drift.changed,
        removed=state.removed,
    )
    return since.sentences()


def _unanswered(facts: Mapping[str, Any]) -> list[str]:
    """A sentence where control items were not answered: what is known is of the others alone."""
    missing, control = facts.get("unanswered_control", 0), facts.get("control")
    if not missing or control is None or missing < 0.05 * control["labels"]:
        return []
    return [
        f"{counted(missing, 'control item was', 'control items were')} skipped or disputed, and "
        f"{control['labels']:,} labelled: the accuracy is measured on the labelled ones"
    ]


def _round(state: State, planned: Any) -> dict[str, Any]:
    return {
        "round": planned.round,
        "asked": planned.asked,
        "method": planned.method,
        "cold": bool(planned.facts.get("cold")),
        "auto": planned.facts.get("auto"),
        "control": sum(each.part == "control" for each in planned.items),
        "labels_seen": planned.labels_seen,
        "near_duplicates": planned.facts.get("near_duplicates", 0),
        "seconds": sum(cost["seconds"] for cost in planned.costs),
        "counts": state.counts(planned.round),
    }


def _trained(event: Any, state: State) -> dict[str, Any]:
    """The facts of one training, its accuracy and interval beside them.

    `test` is the fingerprint of the test set, `is_earlier` says that it was another one then.
    """
    facts = {"round": event.round, "labels": event.labels, **event.facts}
    control, test = facts.get("control"), facts.get("test_accuracy")
    accuracy = None
    if test is not None:
        n = facts["test_examples"]
        low, high = facts.get("test_interval") or wilson(round(test * n), n)
        accuracy = {"value": test, "low": low, "high": high, "examples": n, "on": "test"}
    elif control is not None:
        accuracy = {
            "value": control_score(control),
            "low": control["low"],
            "high": control["high"],
            "examples": control["labels"],
            "on": "control",
        }
    measures, then = state.measures, None
    if test is not None and measures:
        then = measures[max(0, facts.get("measure", 0))].fingerprint
    earlier = then is not None and then != measures[-1].fingerprint
    if accuracy is not None:
        accuracy |= {"test": then, "is_earlier": earlier}
    return {**facts, "accuracy": accuracy, "is_earlier": earlier}


def _annotators(state: State) -> dict[str, dict[str, float]]:
    found: defaultdict[str, dict[str, float]] = defaultdict(
        lambda: {"labels": 0, "skips": 0, "seconds": 0.0}
    )
    for item in state.items.values():
        for vote in item.current:
            if vote.source == BROUGHT:
                continue
            mine = found[vote.annotator]
            mine["labels" if vote.kind == "label" else "skips"] += 1
            mine["seconds"] += vote.seconds or 0.0
    return {name: found[name] for name in sorted(found)}


def _forecast(
    trained: tuple[Mapping[str, Any], ...], goal: float, control: float
) -> dict[str, Any]:
    """Labels to train on until the goal, and `to_give`: those with the control slice's."""
    points = accuracies([dict(facts) for facts in trained if not facts["is_earlier"]])
    found = forecast([size for size, _ in points], [value for _, value in points], goal)
    facts: dict[str, Any] = {"goal": goal, "points": len(points)}
    if found is not None:
        facts |= {**asdict(found), "to_give": math.ceil(found.labels / (1 - control))}
    return facts

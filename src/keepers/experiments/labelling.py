"""`advise_labelling`: what labels will be worth, and whether choosing them pays, beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.baselines import RANDOM
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.labelling_pilot import CHOICE, PilotConfig, needed_for, play, rows_of
from keepers.options import taking
from keepers.tasks import CLASSES
from keepers.words import counted, listed
from keepers.workflows.advise import Advice
from keepers.workflows.auto import pilot_role
from keepers.workflows.looked_at import FEWEST, FOLDS, part_of
from keepers.workflows.opening import about, check_outputs, say_skipped, workplace
from keepers.workflows.options.advise import LabellingOptions
from keepers.workflows.workplace import Workplace

LARGEST = 4_000
"""Labelled examples that a pilot looks at, at most."""


@taking(LabellingOptions)
def advise_labelling(data: Any, options: LabellingOptions) -> Advice:
    """Say how good a model labels will bring, and whether choosing them pays, before a campaign.

    It simulates campaigns on the existing labels as `keepers.simulate` does, twice in each
    of five folds: a cheap model is trained on random labels and on those that each method asks
    for, and is measured on the held-out examples. Rows without a label are the pool to be
    labelled. If all rows have labels, the answer is for a campaign on data like these.

    Args:
        data: as in `keepers.coreset`; labels that are not known yet may be missing.

    Raises:
        ParameterError: no labels, all alike, too few for the smallest budget, or a method that
            there is not for such targets.
        KeepersError: another argument or the data are invalid.
    """
    check_outputs(data, options)
    reading = {"seed": options.seed, "keep_unlabelled": True}
    opened = workplace(data, options, purpose="advise-labelling", **reading)
    with opened as (source, place):
        say_skipped(source, place.say)
        methods = options.of_task(source.task)
        labelled = _labelled(source, options)
        result = _result(data, source, labelled, methods, options, place)
        return Advice.left(result, place, options)


def _labelled(source: Source, config: LabellingOptions) -> Source:
    """The examples that have a label, one of each input.

    Raises:
        ParameterError: none, all alike, or too few for the smallest budget.
    """
    at = np.flatnonzero(_known(source))
    found = source.take(at)
    found = found.take(np.flatnonzero(found.units == np.arange(len(found))))
    needed = max(FEWEST, needed_for(config.budgets[0]))
    if needed > LARGEST:
        raise ParameterError(
            "budgets",
            f"a pilot uses at most {LARGEST:,} labelled examples, but {config.budgets[0]:,} "
            f"labels need {needed:,}",
            f"Ask for {LARGEST * (FOLDS - 1) // FOLDS:,} or fewer as well",
        )
    if len(found) < needed:
        remedy = "Label more at random first"
        if len(found) >= FEWEST:
            remedy += f", or ask for less, such as --budgets {len(found) * 2 // 5}"
        raise ParameterError(
            "data",
            f"{counted(len(found), 'labelled example')} cannot show the value of "
            f"{config.budgets[0]} labels: in {FOLDS} folds that needs {needed}",
            remedy,
        )
    if found.task.is_cold(found.targets):
        raise ParameterError("label", found.task.too_few, "Label examples that differ first")
    return part_of(found, config.seed, LARGEST)


def _known(source: Source) -> npt.NDArray[np.bool_]:
    """Which rows (n,) have a label."""
    if source.targets is None:
        return np.zeros(len(source), dtype=bool)
    return source.task.known(source.targets).numpy()


def _result(
    data: Any,
    source: Source,
    labelled: Source,
    methods: Sequence[str],
    config: LabellingOptions,
    place: Workplace,
) -> dict[str, Any]:
    measured = [k for k in config.budgets if needed_for(k) <= len(labelled)]
    role = pilot_role(labelled, config.proxy)
    simulation = PilotConfig(
        methods=methods,
        initial=max(1, measured[0] // 2),
        rounds=measured,
        proxy=role,
        target=role,
        distinct=None,
        task=source.task.name,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    )
    played = play(data, labelled, simulation, place)
    known = int(_known(source).sum())
    unlabelled = len(source) - (known if known < len(source) else 0)
    result: dict[str, Any] = {
        "kind": "advise-labelling",
        "score": source.task.score_words,
        "data": about(source),
        "config": {
            "budgets": config.budgets,
            "methods": methods,
            "seed": config.seed,
            "proxy": role.identity(),
        },
        "pilot": {
            "model": role.model,
            "examples": len(labelled),
            "folds": FOLDS,
            "pool": played.pool,
            "seconds": played.seconds,
        },
        "rows": rows_of(played, measured, len(labelled), is_share=source.task.is_share),
        "open": [k for k in config.budgets if k not in measured],
        "rounds": {
            "pool": unlabelled,
            "after": measured[-1],
            "seconds": {
                method: training + rest * unlabelled / played.pool
                for method, (training, rest) in played.rounds.items()
            },
        },
    }
    return {**result, "sentences": sentences(result)}


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The conclusions, in sentences: what labels bring, and whether choosing them pays."""
    pilot, rows, n = result["pilot"], result["rows"], result["pilot"]["examples"]
    score = result["score"]
    curve = [row for row in rows if row["method"] == RANDOM]
    found = [
        "Random labels bring: "
        + "; ".join(f"{row['k']:,} labels {_level(row['score'], score)}" for row in curve)
    ]
    if result["open"]:
        there = "there are" if n < LARGEST else "a pilot uses at most"
        found.append(
            f"The value of {listed([f'{k:,}' for k in result['open']], 5)} labels is open: the "
            f"largest budget needs {needed_for(result['open'][-1]):,} labelled examples, and "
            f"{there} {n:,}"
        )
    found += [
        _choice([row for row in rows if row["method"] == method], score)
        for method in result["config"]["methods"]
    ]
    if not any(row["told"] == "better" for row in rows):
        when = "until its proxy knows where it errs" if score == CLASSES.score_words else "here"
        found.append(
            "No method was significantly better than random: --method random is as good as any "
            f"of them, and auto, the default, is random {when}"
        )
    rounds = result["rounds"]
    for method, seconds in rounds["seconds"].items():
        found.append(
            f"A round by {method} after {rounds['after']:,} labels takes about {seconds:.3g} s on "
            f"{counted(rounds['pool'], 'row')}"
        )
    found.append(
        f"The pilot's model is {pilot['model']}, and its pool had {pilot['pool']:,} examples: a "
        "larger pool gives more choice, and another model may differ. It took "
        f"{pilot['seconds']:.3g} s"
    )
    return found


def _level(found: Mapping[str, float], score: str) -> str:
    between = f"({found['low']:.1%} to {found['high']:.1%})"
    if score == CLASSES.score_words:
        return f"{found['mean']:.1%} right {between}"
    return f"{score} {found['mean']:.1%} {between}"


def _choice(rows: Sequence[Mapping[str, Any]], score: str) -> str:
    """What is known of one method at every budget."""
    words: list[str] = []
    for row in rows:
        at = f"{row['k']:,} labels"
        if row["told"] is None:
            needed = needed_for(row["k"], CHOICE)
            takes = f"a method needs {needed:,} labelled"
            if needed > LARGEST:
                takes += f", but a pilot uses at most {LARGEST:,}"
            words.append(f"open at {at} ({takes})")
        elif row["taken"] == (RANDOM,):
            words.append(f"random itself at {at}")
        else:
            mean, low, high = (-100 * row["difference"][name] for name in ("mean", "high", "low"))
            chance = ""
            if row["told"] == "cannot tell" and low * high > 0:
                chance = "; among several comparisons, one may look so by chance"
            words.append(f"{row['told']} at {at} ({mean:+.1f}, {low:+.1f} to {high:+.1f}{chance})")
    return f"{rows[0]['method']} against random, in points of {score}: {'; '.join(words)}"

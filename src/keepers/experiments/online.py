"""`compare_online`: does choosing what gets a gradient step pay on these data?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keepers.baselines import BASELINES, EQUAL_TIME, UNIFORM
from keepers.data import Source, most_confused
from keepers.errors import ParameterError, renamed
from keepers.experiments.compare import Comparison
from keepers.experiments.corruption import CONFUSED, confusion, corrupt
from keepers.experiments.material import open_both
from keepers.experiments.online_summary import OnlineTrial, summarise, without_verdicts
from keepers.experiments.online_trials import OnlineBench
from keepers.experiments.trial import by_way
from keepers.files import fingerprint
from keepers.online import IrreducibleLosses
from keepers.options import cut, taking
from keepers.statistics import FEWEST_SEEDS
from keepers.words import counted
from keepers.workflows.online import INFOBATCH, ORIGINAL
from keepers.workflows.opening import about, check_outputs, placed, say_skipped, share
from keepers.workflows.options.compare_online import CompareOnlineConfig, CompareOnlineOptions
from keepers.workflows.options.irreducible import OF_IRREDUCIBLE
from keepers.workflows.parts import open_holdout
from keepers.workflows.tested import check_losses
from keepers.workflows.workplace import say_or_not


@taking(CompareOnlineOptions)
def compare_online(data: Any, options: CompareOnlineOptions) -> Comparison:
    """Train a target with and without online selection, and measure the time to accuracies.

    For each of `seeds` seeds the target is trained for the same number of gradient steps by each
    method, uniformly, and on a fresh random subset every epoch. It is also trained uniformly with a
    linearly decayed learning rate for as long as the first of the methods took
    (`uniform-equal-time`). All trainings of a seed begin with the same weights. An accuracy counts
    as reached at the first of two consecutive evaluations at or above it. Evaluation is not timed,
    and test data choose nothing. With three seeds or more, uniform training at equal time is
    repeated once for twice as long: if that gains over a point of accuracy, final accuracies get no
    verdict.

    Args:
        data: as in `keepers.coreset`, with labels.

    Raises:
        KeepersError: an argument or the data are invalid.
    """
    config, say = cut(options, CompareOnlineConfig), say_or_not(options.say)
    il, holdout = options.il, options.holdout
    options.hardware.join_processes()
    for each in (data, options.test, holdout, il):
        check_outputs(each, options)
    _check_irreducible(config, il, holdout)
    losses = IrreducibleLosses.load(il) if isinstance(il, str | Path) else il
    source, test_source, in_both = open_both(data, options, say)
    if losses is not None:
        split_off = share(options.test, "test") is not None
        check_losses(losses, test_source, say, split_off=split_off)
    if holdout is not None and share(holdout, "holdout") is None:
        how = options.on_bad_row, options.progress, say
        holdout = open_holdout(holdout, source, test_source, *how)
    corruption = config.corruption()
    if INFOBATCH in config.methods:
        say(f"{INFOBATCH} takes neither keep nor until, but method_options.{INFOBATCH}.keep")
    mark = f"-{fingerprint(asdict(corruption))[:4]}" if corruption.anything else ""
    with placed(options, "compare-online", mark, data=source, test=test_source) as place:

        def partners(clean: Source) -> Mapping[int, int]:
            with renamed(OF_IRREDUCIBLE):
                role = config.irreducible(0).role(clean)
            clean, model = place.prepare(role, clean, parameter="il_model")
            count = min(CONFUSED, len(clean.class_names) // 2 * 2)
            return most_confused(confusion(model, clean, place), count)

        made = corrupt(source, test_source, holdout, corruption, partners, say)
        bench = OnlineBench.prepare(made, losses, config, place)
        say_skipped(bench.source, say)
        trials: list[OnlineTrial] = []
        for trial in bench.trials():
            trials.append(trial)
            say(
                f"seed {trial.seed}: {trial.method}, {counted(trial.target.steps, 'step')} in "
                f"{trial.target.seconds:.1f} s: test {source.task.score_words} "
                f"{trial.curve[-1]['accuracy']:.2%}"
            )
        found = summarise(
            trials,
            uniform=UNIFORM,
            baselines=BASELINES,
            asked=config.targets,
            uses=config.uses,
        )
        checked = None
        if config.seeds >= FEWEST_SEEDS:
            first = next(t for t in trials if (t.method, t.seed) == (EQUAL_TIME, 0))
            checked = bench.convergence(first)
            if not checked["converged"]:
                found["rows"] = without_verdicts(found["rows"])
                say(f"Warning: {checked['words']}")
        result: dict[str, Any] = {
            "kind": "compare-online",
            "data": about(
                bench.source,
                test_name=test_source.name,
                test_n=len(bench.test),
                in_both=in_both,
            ),
            "config": asdict(config) | {"target": bench.target.role.identity()},
            "corruption": made.facts,
            "seeds": list(range(config.seeds)),
            **found,
            "convergence": checked,
            "hand_overs": _hand_overs(trials),
            "curves": _curves(trials),
            "irreducible": bench.quality,
            "costs": place.ledger.by_phase(),
            "hardware": place.hardware.identity(gains_from_bf16=bench.target.recipe.bf16),
        }
        return Comparison.left(result, place, options)


def _check_irreducible(config: CompareOnlineConfig, il: Any, holdout: Any) -> None:
    needed = config.with_irreducible
    for name, given in (("il", il), ("holdout", holdout)):
        if given is not None and not needed:
            raise ParameterError(
                name,
                "got a value, but no method needs irreducible losses",
                "Leave it out, or add a method such as rho-loss",
            )
    config.irreducible(0).check_beside(il=il, holdout=holdout)
    if ORIGINAL in needed and (il is not None or holdout is None):
        raise ParameterError(
            "methods",
            f"got '{ORIGINAL}', which updates one irreducible-loss model",
            "Give holdout data or a holdout fraction, not folds or a file of losses",
        )


def _curves(trials: Sequence[OnlineTrial]) -> dict[str, list[Any]]:
    """For each method one curve a seed."""
    return {method: [list(t.curve) for t in group] for (method,), group in by_way(trials).items()}


def _hand_overs(trials: Sequence[OnlineTrial]) -> dict[str, list[Any]]:
    """For each method that ended by itself in some seed, when and why, or None, for every seed."""
    found = {method: [t.hand_over for t in group] for (method,), group in by_way(trials).items()}
    return {method: each for method, each in found.items() if any(each)}

"""`advise` of conversations: does tuning on a choice pay, by tunings on small parts of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keepers import methods as table
from keepers.baselines import EVERYTHING, RANDOM, SAFE
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.trial import mean
from keepers.experiments.tuning_compare import finite, role_of, say_shared, summarise
from keepers.experiments.tuning_pilot import DRAWS, ROOM, STEPS, TRIED, TuningPilot, options_of
from keepers.experiments.tuning_pool import TuningPool
from keepers.experiments.tuning_target import target_of
from keepers.experiments.tuning_trials import TuningBench, TuningTrial
from keepers.statistics import Difference
from keepers.words import counted, listed
from keepers.workflows.conversations import say_unused
from keepers.workflows.offered import check_offered
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.settling import told
from keepers.workflows.workplace import Workplace

MANY_COPIES = 0.1
"""The share of near-copies of held-out conversations that is worth a warning."""
FEWEST = 50
"""Conversations under which nothing is said."""
SAME = 0.01
"""Nats per token, about a percent of perplexity, within which a difference is none."""


def advise_tuning(source: Source, config: AdviseOptions, place: Workplace) -> dict[str, Any]:
    """Whether tuning a language model on a choice pays, for each method and budget.

    In each of `DRAWS` draws every method chooses of a part of the conversations, a copy of the
    target is tuned on each choice for as many tokens, and held-out conversations judge it.

    Raises:
        ParameterError: no target, too few conversations, a budget that is no part of the tokens,
            or one under the longest conversation.
        DataError: conversations that its template cannot write.
    """
    pilot = _opened(source, config, place)
    _announce(pilot)
    benches, before, trials = list[TuningBench](), list[float](), list[TuningTrial]()
    for draw, bench in enumerate(pilot.benches()):
        benches.append(bench)
        before.append(bench.before().loss)
        for trial in bench.trials():
            keep = pilot.fractions[bench.budgets.index(trial.budget)]
            trials.append(replace(trial, seed=draw, keep=keep, budget=round(keep * pilot.part)))
            place.say(
                f"draw {draw + 1}: {trial.method}, {counted(trial.rows, 'conversation')} of "
                f"{trial.held:,} tokens: loss {trial.measure.loss:.4f} "
                f"({before[-1]:.4f} before tuning)"
            )
    return _result(pilot, benches[0], trials, mean(before))


def _opened(source: Source, config: AdviseOptions, place: Workplace) -> TuningPilot:
    for name in config.methods or TRIED:
        check_offered(table.get(name), source)
    say_unused(config.methods or TRIED, place.say, similar_to=config.similar_to)
    target_of(CompareOptions(test=None, target=config.target))  # what is wrong is said first
    if len(source) < FEWEST:
        raise ParameterError(
            "data",
            f"{counted(len(source), 'conversation')} can show nothing",
            f"A pilot needs {FEWEST}, and says more with thousands",
        )
    pool = TuningPool.open(source, options_of(config, source), place)
    say_skipped(pool.source, place.say)
    return TuningPilot(config=config, pool=pool)


def _announce(pilot: TuningPilot) -> None:
    """Say what the pilot will do, and what weakens what it will say."""
    pool, say = pilot.pool, pilot.pool.place.say
    planned = listed([f"{each:.0%}" for each in pilot.fractions], 5)
    tunings = f"{pilot.arms} tunings of {counted(pool.epochs, 'pass', 'passes')}"
    say(
        f"Pilot: {DRAWS} draws of {pilot.part:,} of {int(pool.tokens.sum()):,} tokens, {tunings} "
        f"in each at {planned} kept, in steps of {pilot.batch_tokens:,} tokens"
    )
    cost, asked = f"about {pilot.share:.0%} of tuning on everything", pilot.config.pilot_share
    if pilot.share > ROOM * asked:
        cost += f", more than --pilot-share {asked:.0%}: smaller parts would have too few steps"
    say(f"The tunings cost {cost}")
    left_out, of = pilot.copies
    if left_out:
        warning = "Warning: " if left_out > MANY_COPIES * of else ""
        say(
            f"{warning}{left_out:,.0f} of {of:,.0f} conversations in a draw are near-copies of a "
            "held-out one, and are left out"
        )
    where = "the data, of which each draw holds some out"
    say_shared(pool.options, pool.source, where, say)


def _result(
    pilot: TuningPilot, first: TuningBench, trials: Sequence[TuningTrial], before: float
) -> dict[str, Any]:
    """What the trials tell; `first` is the bench of the first draw."""
    pool, source, place = pilot.pool, pilot.pool.source, pilot.pool.place
    total = int(pool.tokens.sum())
    spent = place.ledger.total()
    lr, tried = first.rate
    whole = _seconds_per_token(trials) * pool.epochs * total
    times = total / pilot.part
    rows = [_judged(row, times, whole) for row in summarise(trials, overlap=pilot.overlap)]
    result: dict[str, Any] = {
        "kind": "advise-tuning",
        "data": {
            "name": source.name,
            "kind": source.kind,
            "n": len(source),
            "tokens": total,
            "fingerprint": source.fingerprint,
        },
        "config": {
            "keep": pilot.fractions,
            "methods": pool.options.methods,
            "seed": pilot.config.seed,
            "pilot_share": pilot.config.pilot_share,
            "target": role_of(first),
            "proxy": first.chooser.proxy_of(first.named),
        },
        "pilot": {
            "draws": DRAWS,
            "tokens": pilot.part,
            "judged": len(first.held_out.sequences),
            "steps": trials[0].target.steps,
            "seconds": spent.seconds,
            "share": spent.seconds / whole,
        },
        "target": {"model": pool.role.model, "seconds": whole, "epochs": pool.epochs},
        "learning_rate": {"taken": lr, "tried": finite(tried)},
        "before": before,
        "rows": rows,
        "take": {str(keep): taken(rows, keep, source) for keep in pilot.fractions},
        "costs": place.ledger.by_phase(),
    }
    return {**result, "sentences": sentences(result)}


def _seconds_per_token(trials: Sequence[TuningTrial]) -> float:
    return sum(each.target.seconds for each in trials) / sum(each.tokens for each in trials)


def _judged(row: Mapping[str, Any], times: float, whole: float) -> dict[str, Any]:
    """A row with its verdicts in the words of advice, and its costs for the whole pool."""
    selecting = row["selection_seconds"] * times
    return {
        **row,
        **{
            name: None if row[gap] is None else _told(row[gap])
            for name, gap in (("told", "difference"), ("told_longest", "from_longest"))
        },
        "selection_seconds": selecting,
        "saved_seconds": whole * (1 - row["keep"]) - selecting,
    }


def _told(gap: Difference) -> str:
    """What a difference is called; one that is sure to be within `SAME` is none."""
    inside = gap.low is not None and gap.high is not None and max(-gap.low, gap.high) <= SAME
    return "no difference" if inside else told(gap, same=SAME)


def taken(rows: Sequence[Mapping[str, Any]], keep: float, source: Source) -> str:
    """What to take at a budget: the best that beat random and the longest, or the safe choice.

    That is a random part, with the share of each source unless the pilot found this worse.
    """
    here = [row for row in rows if row["keep"] == keep and row["method"] != EVERYTHING]
    good = [
        row for row in here if row["told"] == "better" and row["told_longest"] in ("better", None)
    ]
    if good:
        return min(good, key=lambda row: row["loss_mean"])["method"]
    worse = any(row["method"] == SAFE and row["told"] == "worse" for row in here)
    return RANDOM if source.targets is None or worse else SAFE


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The answers in words."""
    pilot, target = result["pilot"], result["target"]
    passes = counted(target["epochs"], "pass", "passes")
    found = [
        f"The pilot took {pilot['seconds']:.3g} s, {pilot['share']:.0%} of the time for tuning "
        f"{target['model']} on everything ({passes}, about {target['seconds']:.3g} s)"
    ]
    if pilot["steps"] < STEPS:
        found.append(
            f"Each tuning had only {counted(pilot['steps'], 'step')}: keepers compare with more "
            "tokens tells more"
        )
    for keep, name in result["take"].items():
        lead = f"At {float(keep):.0%} of the tokens"
        here = [row for row in result["rows"] if row["keep"] == float(keep)]
        row = next(each for each in here if each["method"] == name)
        if row["told"] == "better":
            found.append(f"{lead}, take {name}: {_against(row)}")
        else:
            found.append(
                f"{lead}, no method is better than both a random part and the longest answers: "
                f"take a random part ({name})"
            )
        found += [
            f"{lead}, {_named(each['method'])}: {_against(each)}"
            for each in here
            if each["method"] not in (RANDOM, name)
        ]
        saves = row["saved_seconds"]
        words = "saves" if saves > 0 else "costs"
        found.append(
            f"{lead}, selecting by {name} takes about {row['selection_seconds']:.2g} s for all "
            f"data, and end to end it {words} {abs(saves):.3g} s of tuning"
        )
    return found


def _named(method: str) -> str:
    return "everything for the same number of tokens" if method == EVERYTHING else method


def _against(row: Mapping[str, Any]) -> str:
    """Both differences of a row, in words."""
    parts = [
        f"{_words(row[told_by])} {whom} ({_nats(row[gap])})"
        for told_by, gap, whom in (
            ("told", "difference", "a random part"),
            ("told_longest", "from_longest", "the longest answers"),
        )
        if row[told_by] is not None
    ]
    return "; ".join(parts)


def _words(word: str) -> str:
    return {
        "no difference": "no different from",
        "cannot tell": "cannot be told from",
    }.get(word, f"{word} than")


def _nats(gap: Difference) -> str:
    ends = "" if gap.low is None else f", {gap.low:+.3f} to {gap.high:+.3f}"
    return f"{gap.mean:+.3f} nats per token{ends}".replace("-", "−")

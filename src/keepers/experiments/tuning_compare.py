"""`compare` of conversations: does tuning on a choice beat random, and the longest answers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

from keepers.baselines import LONGEST, RANDOM
from keepers.data import Source, open_source
from keepers.errors import about
from keepers.experiments.summary import BaselineOf, costs_of, random_of, with_differences
from keepers.experiments.trial import Row, by_way, mean
from keepers.experiments.tuning_trials import TuningBench, TuningTrial
from keepers.options import cut
from keepers.statistics import standard_deviation
from keepers.words import counted
from keepers.workflows.conversations import say_unused
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.compare import CompareConfig, CompareOptions
from keepers.workflows.options.shared import Say
from keepers.workflows.overlap import alike
from keepers.workflows.workplace import Workplace


def compare_tuned(
    source: Source,
    test: Source,
    in_both: int,
    options: CompareOptions,
    place: Workplace,
) -> dict[str, Any]:
    """The result of a comparison of conversations.

    Raises:
        KeepersError: as `TuningBench.prepare`.
    """
    say = place.say
    bench = TuningBench.prepare(source, test, options, place)
    say_skipped(bench.pool.source, say)
    used = {"similar_to": options.similar_to, "quality": options.quality}
    say_unused(options.methods, say, **used)
    say_shared(options, test, "the held-out data", say)
    before = bench.before()
    say(f"Target as it is: {_measured(before)}")
    trials: list[TuningTrial] = []
    for trial in bench.trials():
        trials.append(trial)
        say(
            f"seed {trial.seed}: {trial.method}, {counted(trial.rows, 'conversation')} of "
            f"{trial.held:,} tokens, tuned on {trial.tokens:,}: {_measured(trial.measure)}"
        )
    lr, tried = bench.rate
    return {
        "kind": "compare-tuned",
        "data": {
            "name": source.name,
            "n": len(bench.pool.source),
            "tokens": int(bench.pool.tokens.sum()),
            "test_name": test.name,
            "test_n": len(bench.held_out.sequences),
            "test_answer_tokens": sum(int(s.learnt.sum()) for s in bench.held_out.sequences),
            "others": bench.held_out.others.shape[1],
            "in_both": in_both,
            "fingerprint": source.fingerprint,
        },
        "config": asdict(cut(options, CompareConfig))
        | {"target": role_of(bench), "proxy": bench.chooser.proxy_of(bench.named)},
        "seeds": list(range(options.seeds)),
        "learning_rate": {"taken": lr, "tried": finite(tried)},
        "before": asdict(before),
        "rows": summarise(trials),
        "costs": place.ledger.by_phase(),
        "hardware": place.hardware.identity(gains_from_bf16=True),
    }


def say_shared(options: CompareOptions, judges: Source, where: str, say: Say) -> None:
    """Say so where target examples, or their near-copies, are among what judges, too."""
    if options.similar_to is None:
        return
    with about("similar_to"):
        targets = open_source(options.similar_to, task="tokens", on_bad_row=options.on_bad_row)
    if both := int(alike(targets, judges).sum()):
        say(
            f"Warning: {both:,} of {counted(len(targets), 'target example')} "
            f"{'is' if both == 1 else 'are'} also in {where}, or nearly so: this makes methods "
            "that use them look better than they are"
        )


def finite(losses: Mapping[float, float]) -> dict[str, float | None]:
    """Losses by learning rate; None where the training went astray."""
    return {f"{rate:g}": loss if isfinite(loss) else None for rate, loss in losses.items()}


def role_of(bench: TuningBench) -> dict[str, Any]:
    """The target, and how it is tuned."""
    return {
        "model": bench.pool.role.model,
        "epochs": bench.pool.epochs,
        "batch_tokens": bench.batch_tokens,
        "length": bench.pool.target.length,
    }


def _measured(found: Any) -> str:
    words = f"loss {found.loss:.4f}"
    return words if found.told_apart is None else f"{words}, told apart {found.told_apart:.1%}"


def summarise(trials: Sequence[TuningTrial], *, overlap: float = 0.0) -> list[dict[str, Any]]:
    """One row for each method and budget: means over seeds, and against random and the longest.

    The differences in loss are tested as one family. Those in answers told apart have no
    verdict: of a dozen held-out conversations one answer is the same for every seed, and would seem
    sure. `overlap`: as in `paired_difference`.
    """
    rows = [_row(group) for group in by_way(trials).values()]
    baselines = {"difference": random_of(rows), "from_longest": longest_of(rows)}
    rows = with_differences(rows, overlap=overlap, **baselines)
    if any(trial.measure.told_apart is None for trial in trials):
        return rows
    choices = [{**row, "errors": row["told_apart_errors"]} for row in rows]
    baselines = {"difference": random_of(choices), "from_longest": longest_of(choices)}
    named = {f"told_apart_{name}": of for name, of in baselines.items()}
    told = with_differences(choices, overlap=overlap, **named)
    for row in told:
        row |= {name: row[name] and replace(row[name], verdict="inconclusive") for name in named}
    return [{**apart, "errors": row["errors"]} for row, apart in zip(rows, told, strict=True)]


def longest_of(rows: Sequence[Row]) -> BaselineOf:
    """What gives a row's second baseline: the longest at the same budget."""
    longest = {row["k"]: row for row in rows if row["method"] == LONGEST}
    return lambda row: None if row["method"] in (LONGEST, RANDOM) else longest.get(row["k"])


def _row(trials: Sequence[TuningTrial]) -> dict[str, Any]:
    first = trials[0]
    losses = [trial.measure.loss for trial in trials]
    told = [trial.measure.told_apart for trial in trials]
    errors = [1 - each for each in told if each is not None]
    return {
        "method": first.method,
        "keep": first.keep,
        "k": first.budget,
        "rows": mean([trial.rows for trial in trials]),
        "held": mean([trial.held for trial in trials]),
        "tokens": mean([trial.tokens for trial in trials]),
        "answer_tokens": mean([trial.answer_tokens for trial in trials]),
        "errors": losses,
        "loss_mean": mean(losses),
        "loss_std": standard_deviation(losses),
        "losses_by_conversation": [trial.measure.loss_by_conversation for trial in trials],
        "told_apart_errors": errors,
        "told_apart_mean": 1 - mean(errors) if errors else None,
        **costs_of(trials),
    }

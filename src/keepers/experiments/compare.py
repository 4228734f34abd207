"""`compare`: does selection beat random on this data, and what does it cost?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from keepers import methods as table
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.convergence import noted, withheld
from keepers.experiments.corruption import into, noisy
from keepers.experiments.material import open_both
from keepers.experiments.summary import agreement, summarise
from keepers.experiments.trials import Bench
from keepers.experiments.tuning_compare import compare_tuned
from keepers.options import cut, taking
from keepers.random import generator
from keepers.statistics import FEWEST_SEEDS
from keepers.types import Budget
from keepers.workflows.offered import check_offered
from keepers.workflows.opening import about, check_outputs, placed, say_skipped
from keepers.workflows.options.compare import CompareConfig, CompareOptions
from keepers.workflows.options.compare_online import Corruption
from keepers.workflows.options.shared import AUTO, Say
from keepers.workflows.outcome import Outcome
from keepers.workflows.workplace import say_or_not


class Comparison(Outcome):
    """The result of `compare` as plain JSON values, and its run directory."""

    file = "compare.json"


@taking(CompareOptions)
def compare(data: Any, options: CompareOptions) -> Comparison:
    """Train a target on each selection, on random subsets of the same size, and on everything.

    For each of `seeds` seeds the proxies are trained once, for all methods. The target is then
    trained on each method's selection at each fraction, on a random subset, on a fresh random
    subset every epoch for the same number of steps, and on everything. Each training has a
    learning-rate schedule for its own number of steps. The number of epochs is fixed and the error
    is that of the last epoch, so the test data choose nothing. With enough seeds for a verdict, two
    targets of the first seed are trained once more, for twice as many epochs: if that gains over a
    point, the target was still learning, and there is no verdict.

    With conversations the target is a causal language model. It is tuned for the same number of
    tokens on each selection, on a random part, on the longest answers and on everything, and the
    errors are losses on held-out answers.

    Args:
        data: as in `keepers.coreset`, with labels.

    Raises:
        KeepersError: an argument or the data are invalid.
    """
    config, say = cut(options, CompareConfig), say_or_not(options.say)
    options.hardware.join_processes()
    for read in (data, options.test):
        check_outputs(read, options)
    source, test_source, in_both = open_both(data, options, say)
    for name in config.methods:
        if name != AUTO:
            check_offered(table.get(name), source)
    if source.other_task is not None and source.kind != "chat":
        say(f"Errors are 1 - {source.task.score_words}")
    for budget in config.keep if source.kind != "chat" else ():
        Budget.parse(budget).resolve(len(source))
    if config.keep_tokens and source.kind != "chat":
        raise ParameterError(
            "keep_tokens", f"got a value, but {source.name} holds no conversations", "Give --keep"
        )
    source, changed = _with_noise(source, config.noise if source.kind != "chat" else 0.0, say)
    with placed(options, "compare", data=source, test=test_source) as place:
        if source.kind == "chat":
            tuned = compare_tuned(source, test_source, in_both, options, place)
            return Comparison.left(tuned, place, options)
        bench = Bench.prepare(source, test_source, changed, config, place)
        say_skipped(bench.source, say)
        trials = []
        for trial in bench.trials():
            trials.append(trial)
            chosen = f"{trial.method}{' by the target' if trial.selector == 'target' else ''}"
            chosen += f" ({trial.taken})" if trial.taken else ""
            floor = f" ({trial.floored:,} for --min-per-class)" if trial.floored else ""
            say(
                f"seed {trial.seed}: {chosen}, {trial.k:,} of {len(bench.source):,} kept{floor}: "
                f"test error {trial.test_error:.2%}"
            )
        checks = bench.convergence() if config.seeds >= FEWEST_SEEDS else []
        score, scores = bench.scores_by_model()
        result: dict[str, Any] = {
            "kind": "compare",
            **({"score": source.task.score_words} if source.other_task else {}),
            "data": about(
                source,
                n=len(bench.source),
                test_name=test_source.name,
                test_n=len(bench.test.view),
                in_both=in_both,
            ),
            "config": asdict(config)
            | {"proxy": bench.proxy.role.identity(), "target": bench.target.role.identity()},
            "seeds": list(range(config.seeds)),
            "convergence": noted(checks, len(bench.source), say),
            "rows": withheld(summarise(trials), checks, "difference"),
            "auto": [{"k": k} | taken.facts() for k, taken in bench.taken.items()],
            "agreement": agreement(score, scores),
            "costs": place.ledger.by_phase(),
            "hardware": place.hardware.identity(gains_from_bf16=bench.target.recipe.bf16),
        }
        return Comparison.left(result, place, options)


def _with_noise(source: Source, noise: float, say: Say) -> tuple[Source, torch.Tensor | None]:
    if not noise:
        return source, None
    source, changed = noisy(source, Corruption(noise=noise), {}, generator(0, "noise"))
    say(f"Changed {int(changed.sum()):,} training labels {into(source)} (--noise {noise:g})")
    return source, changed

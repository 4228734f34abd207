"""`compare`: does selection beat random on this data, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from keepers import methods as table
from keepers import processes
from keepers.choices import Balance, Header, OnBadRow, Precision
from keepers.configuration import picked
from keepers.data import Source, corrupt_labels
from keepers.experiments.config import CompareConfig
from keepers.experiments.convergence import noted, withheld
from keepers.experiments.material import open_both
from keepers.experiments.summary import agreement, summarise
from keepers.experiments.trials import Bench
from keepers.files import plain, write_json
from keepers.ledger import Ledger
from keepers.random import generator
from keepers.roles import Role
from keepers.runs import Run
from keepers.statistics import FEWEST_SEEDS
from keepers.types import Budget, Progress
from keepers.workflows.opening import (
    ReadingOf,
    Say,
    check_outputs_of,
    default_run,
    only_classes,
    say_or_not,
    say_skipped,
)
from keepers.workflows.options.shared import AUTO
from keepers.workflows.scoring import check_offered
from keepers.workflows.workplace import Workplace


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of `compare` as plain JSON values, and the run directory it stands in."""

    result: dict[str, Any]
    run: Path


def compare(
    data: Any,
    *,
    test: Any,
    methods: Sequence[str] = (AUTO,),
    method_options: Mapping[str, Mapping[str, Any]] | None = None,
    keep: Sequence[int | float | str] = (0.3, 0.5, 0.7),
    proxy: str | Role | Mapping[str, Any] | None = None,
    target: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    target_epochs: int | None = None,
    target_resolution: int | None = None,
    resolution: int | None = None,
    ensemble: int | None = None,
    balance: Balance | None = None,
    min_per_class: int = 1,
    seeds: int = 5,
    with_target: bool = False,
    noise: float = 0.0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    out: str | Path | None = None,
    overwrite: bool = False,
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Comparison:
    """Train a target on each selection, on random subsets of the same size, and on everything.

    For each of `seeds` seeds: the proxies are trained once and serve every method; the target is
    trained on each method's choice at each fraction, on a random subset, on a fresh random subset
    every epoch at the same number of steps, and on everything; each time with its learning-rate
    schedule fitted to the steps it has. Test data take no part in any choice: epochs are fixed,
    and the error is that of the last epoch. With enough seeds for a verdict, two targets of the
    first seed are trained once more, for twice as many epochs: where that gains over a point, the
    target was still learning, and there is no verdict.

    Args:
        data, test: as in `keepers.coreset`; `test` may be a fraction, split off at random.
        methods, keep: every method at every budget; `method_options` has the options of each, by
            its name. `auto` is at each budget what `keepers.coreset` takes there, and its pilot
            is part of what selecting costs.
        proxy, target: models or roles; None takes one for the kind of data.
        epochs, resolution, ensemble: of the proxy; `target_epochs`, `target_resolution`: of the
            target.
        with_target: also select with the target itself: what the proxy saves and loses.
        noise: fraction of the training labels that are changed to another class first.
        seeds: under 5, only a very clear difference gets a verdict; under 3, none.
        out, overwrite: JSON file for the result, and whether it may replace an earlier one.
        balance, min_per_class, device, precision: as in `keepers.coreset`; so are run, resume,
            progress and say.
        input, label, id, split, header, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.
    """
    given = {**locals(), "method_options": method_options or {}}
    config = picked(CompareConfig, given)
    reading = replace(picked(ReadingOf, given), task="auto")
    hardware = config.hardware
    hardware.join_processes()
    say = say_or_not(say)
    for read in (data, test):
        check_outputs_of(read, given)
    source, test_source, in_both = open_both(data, test, reading, progress, say)
    for name in config.methods:
        if name != AUTO:
            check_offered(table.get(name), source.task)
    if source.other_task is not None:
        say(f"Errors are 1 - {source.task.score_words}")
    for budget in config.keep:
        Budget.parse(budget).resolve(len(source))
    source, changed = _with_noise(source, config.noise, say)
    path = Path(run or default_run(source, "compare"))
    identity = {"data": source.fingerprint, "test": test_source.fingerprint}
    with Run(path, identity, resume=resume) as opened:
        place = Workplace(
            run=opened,
            hardware=hardware,
            ledger=Ledger(),
            progress=progress,
        )
        bench = Bench.prepare(source, test_source, changed, config, place, on_bad_row, say)
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
        result: dict[str, Any] = plain(
            {
                "kind": "compare",
                **({"score": source.task.score_words} if source.other_task else {}),
                "data": {
                    "name": source.name,
                    "kind": source.kind,
                    "n": len(bench.source),
                    "num_classes": source.task.num_outputs,
                    "test_name": test_source.name,
                    "test_n": len(bench.test.view),
                    "in_both": in_both,
                    "fingerprint": source.fingerprint,
                },
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
        )
        if processes.rank() == 0:
            place.run.leave("compare.json", result, say)
            if out is not None:
                write_json(Path(out), result, overwrite=overwrite)
    return Comparison(result=result, run=path)


def _with_noise(source: Source, noise: float, say: Say) -> tuple[Source, torch.Tensor | None]:
    if not noise:
        return source, None
    only_classes(source, "noise")
    labels, changed = corrupt_labels(
        torch.from_numpy(source.labels),
        len(source.class_names),
        noise,
        generator=generator(0, "noise"),
    )
    say(f"Changed {int(changed.sum()):,} training labels to another class (--noise {noise:g})")
    return replace(source, labels=labels.numpy()), changed

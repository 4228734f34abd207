"""`simulate`: active learning with an oracle. Does choosing beat random, and what does it cost?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keepers import processes
from keepers.choices import Balance, Header, OnBadRow, Precision, TaskName
from keepers.configuration import SAMPLES, picked
from keepers.data import Source, check_run, open_source
from keepers.errors import ParameterError
from keepers.experiments.compare import Comparison
from keepers.experiments.convergence import noted, withheld
from keepers.experiments.simulate_config import Budgets, SimulateConfig
from keepers.experiments.simulate_summary import reached, summarise
from keepers.experiments.simulate_trials import Bench
from keepers.experiments.summary import ChoiceTrial
from keepers.files import plain, write_json
from keepers.ledger import Ledger
from keepers.roles import Role
from keepers.runs import Run
from keepers.sealed import ArrowTable, read_table, write_table
from keepers.statistics import FEWEST_SEEDS
from keepers.training import Hardware
from keepers.types import Progress
from keepers.words import counted
from keepers.workflows.active.config import BUILT_IN, Cold
from keepers.workflows.opening import ReadingOf, Say, default_run, say_or_not, say_skipped
from keepers.workflows.options.shared import AUTO
from keepers.workflows.tested import with_test
from keepers.workflows.workplace import Workplace

PICKS = "picks.parquet"


class Simulation(Comparison):
    """The result of `simulate` as plain JSON values, and the run directory it stands in."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each method, selector and budget."""
        return self.result["rows"]

    @property
    def table(self) -> ArrowTable:
        """The rows as a table, with the difference from random in columns of its own."""
        flat: list[dict[str, Any]] = []
        for row in self.rows:
            found = {
                name: value for name, value in row.items() if not isinstance(value, dict | list)
            }
            for name in ("difference", "against_target"):
                given = row[name] or {}
                found |= {f"{name}_{end}": given.get(end) for end in ("mean", "low", "high")}
                found[f"{name}_verdict"] = given.get("verdict")
            flat.append(found)
        return pa.Table.from_pylist(flat)

    @property
    def picks(self) -> ArrowTable:
        """What each campaign labelled: seed, method, selector, round (0: initial), rank and id."""
        return read_table(self.run / PICKS, "run", "The same command makes it again")[0]

    def to_json(self, path: str | Path | None = None, *, overwrite: bool = False) -> str:
        """The result as JSON text; with `path` it is also written there.

        Raises:
            RunError: `path` exists and `overwrite` is false.
        """
        if path is not None:
            write_json(Path(path), self.result, overwrite=overwrite)
        return json.dumps(self.result, indent=2, ensure_ascii=False)


def simulate(
    data: Any,
    *,
    test: Any,
    methods: Sequence[str] = (AUTO,),
    method_options: Mapping[str, Mapping[str, Any]] | None = None,
    initial: int | float | str = 0.02,
    rounds: Sequence[int | float | str] = (0.1, 0.2, 0.3, 0.4, 0.5),
    measure: Sequence[int | float | str] | None = None,
    proxy: str | Role | Mapping[str, Any] | None = None,
    target: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    target_epochs: int | None = None,
    target_resolution: int | None = None,
    resolution: int | None = None,
    ensemble: int | None = None,
    samples: int = SAMPLES,
    balance: Balance | None = None,
    cold: Cold = "random",
    features: str = BUILT_IN,
    distinct: float | None = 0.98,
    neighbours: int | None = None,
    seeds: int = 5,
    with_target: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    task: TaskName = "auto",
    id: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Simulation:
    """Play labelling campaigns on labelled data, by each method and by random.

    For each of `seeds` seeds, all methods begin with the same labels. Then, round by round: the
    proxy is trained from scratch on what is labelled and scores the pool, the method picks, and
    the labels of its picks, no others, are revealed. At each budget the target is trained from
    scratch on what is labelled and tested; its learning-rate schedule is fitted to the steps it
    has. The method `random` always runs: uniform draws of the same numbers of labels. Test data
    take no part in any choice: epochs are fixed, the error is that of the last epoch, and
    examples of the pool that also stand in the test data, or are copies of another, are left out
    of it.

    A method is charged for all it needs: the proxy's encoding of the pool, its features, and every
    training, scoring pass and ranking up to the last pick. The training of the target on the
    labels is no part of selection.

    Args:
        data, test: as in `keepers.coreset`; `test` may be a fraction, split off at random.
        methods: rows of `keepers.methods` that need no labels of the pool, and `auto`, which
            settles it round by round; `method_options` has the options of each, by its name.
        initial: labels before the first round, as a fraction of the pool or a count.
        rounds: labels after each round, all counted; increasing fractions or counts.
        measure: those of them at which the target is trained; None takes every round.
        proxy, target: models or roles; None takes one for the kind of data.
        epochs, resolution, ensemble, samples, balance: of the proxy and the batch; see
            `ActiveConfig`, and there `features`, `distinct` and `neighbours`. None of them is
            applied to `random`.
        target_epochs, target_resolution: of the target.
        cold: how the initial labels are chosen; all but `random` choose without a model, and the
            method `random` draws its own.
        with_target: also select with the target itself: what the proxy saves and loses. The
            ranks of the two are compared on the labelled sets of the first seed.
        seeds: under 5, only a very clear difference gets a verdict; under 3, none.
        device, precision, run, resume, progress, say: as in `keepers.coreset`.
        input, label, task, id, split, header, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.

    Paper:
        Coleman et al., Selection via Proxy, ICLR 2020.
    """
    given = dict(locals())
    config = SimulateConfig.of(given)
    reading = picked(ReadingOf, given | {"features": None})  # here they are those of the proposals
    hardware = Hardware(device=config.choosing.device, precision=config.choosing.precision)
    hardware.join_processes()
    say = say_or_not(say)
    check_run(data, run)
    check_run(test, run)
    source, tested, in_both = _open(data, test, reading, progress, say)
    config = config.of_task(source.task.name)
    if source.other_task is not None:
        say(f"Errors are 1 - {source.task.score_words}")
    Budgets.resolve(config, len(source))
    path = Path(run or default_run(source, "simulate"))
    identity = {"data": source.fingerprint, "test": tested.fingerprint}
    with Run(path, identity, resume=resume) as opened:
        place = Workplace(run=opened, hardware=hardware, ledger=Ledger(), progress=progress)
        bench = Bench.prepare(data, source, tested, config, place, on_bad_row)
        say_skipped(bench.pool, say)
        trials: list[ChoiceTrial] = []
        for trial in bench.trials(range(config.seeds)):
            trials.append(trial)
            way = f"{trial.method}{' by the target' if trial.selector == 'target' else ''}"
            say(
                f"seed {trial.seed}: {way}, {trial.k:,} of {len(bench.pool):,} labelled: "
                f"test error {trial.test_error:.2%}"
            )
        checks = bench.convergence() if config.seeds >= FEWEST_SEEDS else []
        rows = withheld(summarise(trials), checks, "difference", "against_target")
        result: dict[str, Any] = plain(
            {
                "kind": "simulate",
                "data": {
                    "name": source.name,
                    "kind": source.kind,
                    "n": len(bench.pool),
                    "num_classes": source.task.num_outputs,
                    **measured_by(source),
                    "test_name": tested.name,
                    "test_n": len(bench.rounds.test.view),
                    "in_both": in_both,
                    "fingerprint": source.fingerprint,
                },
                "config": config.flat()
                | {
                    "proxy": bench.rounds.proxy.role.identity(),
                    "target": bench.rounds.target.role.identity(),
                },
                "seeds": list(range(config.seeds)),
                "initial": bench.rounds.budgets.initial,
                "rounds": bench.rounds.budgets.rounds,
                "convergence": noted(checks, len(bench.pool), say),
                "rows": rows,
                "reached": reached(rows),
                "agreement": bench.agreement,
                "auto": bench.auto,
                "costs": bench.by_phase(),
                "hardware": hardware.identity(gains_from_bf16=bench.rounds.target.recipe.bf16),
            }
        )
        if processes.rank() == 0:
            write_table(path / PICKS, bench.picks_table(), {})
            place.run.leave("simulate.json", result, say)
    return Simulation(result=result, run=path)


def measured_by(source: Source) -> dict[str, str]:
    """What the targets are and what the score is called, where they are no classes."""
    if source.other_task is None:
        return {}
    task = source.task
    return {"task": task.name, "targets": task.plural, "score": task.score_words}


def _open(
    data: Any, test: Any, reading: ReadingOf, progress: Progress | None, say: Say
) -> tuple[Source, Source, int]:
    """The pool, the test data, and how many of the pool were left out as they stand in both."""
    source = open_source(data, progress=progress, **vars(reading))
    if source.labels is None or not bool(source.task.known(source.labels).all()):
        raise ParameterError(
            "label",
            "a simulation needs a label for every example, to reveal it when it is picked",
            "Name the column with --label; for data without labels: keepers active start",
        )
    source, tested, _ = with_test(source, test, reading.on_bad_row, progress, lambda _: None)
    for sentence in source.found:
        say(sentence)
    in_both = np.isin(source.digests, tested.digests)
    left_out = int(in_both.sum())
    if left_out:
        say(f"Left {counted(left_out, 'example')} of the pool out, also found in the test data")
        source = source.take(np.flatnonzero(~in_both))
    firsts = np.flatnonzero(source.units == np.arange(len(source)))
    if len(firsts) < len(source):
        say(
            f"Left out {len(source) - len(firsts):,} copies of other examples: one label serves all"
        )
        source = source.take(firsts)
    return source, tested, left_out

"""`simulate`: active learning with an oracle. Does choosing beat random, and what does it cost?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keepers import processes
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.compare import Comparison
from keepers.experiments.convergence import noted, withheld
from keepers.experiments.simulate_budgets import Budgets
from keepers.experiments.simulate_summary import reached, summarise
from keepers.experiments.simulate_trials import Bench
from keepers.experiments.summary import ChoiceTrial
from keepers.files import write_json
from keepers.options import cut, taking
from keepers.sealed import ArrowTable, read_table, write_table
from keepers.statistics import FEWEST_SEEDS
from keepers.words import counted, listed
from keepers.workflows.opening import (
    about,
    check_outputs,
    placed,
    read_data,
    say_skipped,
)
from keepers.workflows.options.shared import Say
from keepers.workflows.options.simulate import SimulateConfig, SimulateOptions
from keepers.workflows.tested import with_test
from keepers.workflows.workplace import WARNING, say_or_not

PICKS = "picks.parquet"


class Simulation(Comparison):
    """The result of `simulate` as plain JSON values, and its run directory."""

    file = "simulate.json"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each method, selector and budget."""
        return self.result["rows"]

    @property
    def table(self) -> ArrowTable:
        """The rows as a table; the difference from random has its own columns."""
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
        """The result as JSON text; with `path` it is also written to a file.

        Raises:
            RunError: `path` exists and `overwrite` is false.
        """
        if path is not None:
            write_json(Path(path), self.result, overwrite=overwrite)
        return json.dumps(self.result, indent=2, ensure_ascii=False)


@taking(SimulateOptions)
def simulate(data: Any, options: SimulateOptions) -> Simulation:
    """Simulate labelling campaigns on labelled data, by each method and by random.

    For each of `seeds` seeds, all methods begin with the same labels. In each round the
    proxy is trained from scratch on the labels so far and scores the pool, the method picks, and
    only the labels of its picks are revealed. At each budget the target is trained from
    scratch on these labels and tested, with a learning-rate schedule for its own number of steps.
    The method `random` always runs: uniform draws of the same numbers of labels. The number of
    epochs is fixed and the error is that of the last epoch, so the test data choose nothing.
    Examples of the pool that are also in the test data, or are copies of another, are left out.

    The cost of a method includes everything that it needs: the proxy's encoding of the pool, its
    features, and every training, scoring pass and ranking up to the last pick. Training the target
    on the labels is not part of it.

    Args:
        data: as in `keepers.coreset`, with labels.

    Raises:
        KeepersError: an argument or the data are invalid.

    Paper:
        Coleman et al., Selection via Proxy, ICLR 2020.
    """
    config, say = cut(options, SimulateConfig), say_or_not(options.say)
    options.hardware.join_processes()
    for read in (data, options.test):
        check_outputs(read, options)
    source, tested, in_both = _open(data, options, say)
    config = config.of_task(source.task.name)
    if source.other_task is not None:
        say(f"Errors are 1 - {source.task.score_words}")
    Budgets.resolve(config, len(source))
    with placed(options, "simulate", data=source, test=tested) as place:
        bench = Bench.prepare(data, source, tested, config, place)
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
        target = bench.rounds.target
        rows = withheld(summarise(trials), checks, "difference", "against_target")
        result: dict[str, Any] = {
            "kind": "simulate",
            "data": about(
                source,
                n=len(bench.pool),
                test_name=tested.name,
                test_n=len(bench.rounds.test.view),
                in_both=in_both,
            ),
            "config": asdict(config)
            | {
                "proxy": bench.rounds.proxy.role.identity(),
                "target": target.role.identity(),
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
            "hardware": place.hardware.identity(gains_from_bf16=target.recipe.bf16),
        }
        if processes.rank() == 0:
            write_table(place.run.path / PICKS, bench.picks_table(), {})
        return Simulation.left(result, place, options)


def _open(data: Any, options: SimulateOptions, say: Say) -> tuple[Source, Source, int]:
    """The pool, the test data, and how many of the pool were left out as they stand in both."""
    source = read_data(data, options)
    if source.labels is None or not bool(source.task.known(source.labels).all()):
        raise ParameterError(
            "label",
            "a simulation needs a label for every example, which it reveals when the example is "
            "picked",
            "Name the column with --label; for data without labels: keepers active start",
        )
    source, tested, _ = with_test(source, options.test, options, lambda _: None)
    for sentence in source.found:
        say(sentence)
    whole, in_both = source, np.isin(source.digests, tested.digests)
    left_out = int(in_both.sum())
    if left_out:
        say(f"Left {counted(left_out, 'example')} of the pool out: they are also in the test data")
        source = source.take(np.flatnonzero(~in_both))
    firsts = np.flatnonzero(source.units == np.arange(len(source)))
    if len(firsts) < len(source):
        say(
            f"Left out {len(source) - len(firsts):,} copies of other examples: copies share one "
            "label"
        )
        source = source.take(firsts)
    _warn_of_lost(whole, source, tested, say)
    return source, tested, left_out


def _warn_of_lost(whole: Source, pool: Source, tested: Source, say: Say) -> None:
    """Warn of classes of the test data of which the pool lost every example."""
    found = (each.strata for each in (whole, pool, tested))
    before, after, wanted = (set[int]() if each is None else {*each.tolist()} for each in found)
    lost = [repr(whole.strata_names[each]) for each in sorted((before & wanted) - after)]
    if lost:
        say(
            f"{WARNING}test: every example of {listed(lost)} in the pool has the inputs of a test "
            "example and was left out, so it cannot be learnt. Give test data that share no inputs "
            "with the pool, or more columns as --input"
        )

"""`compare`: does selection beat random on this data, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from keepers import processes
from keepers.configuration import validated
from keepers.data import Source, corrupt_labels, open_source
from keepers.errors import ParameterError
from keepers.experiments.config import CompareConfig
from keepers.experiments.summary import agreement, summarise
from keepers.experiments.trials import Bench
from keepers.files import plain, write_json
from keepers.ledger import Ledger
from keepers.random import generator
from keepers.roles import OnBadRow, Role
from keepers.runs import Run
from keepers.selectors import stratified
from keepers.training import Hardware, Precision
from keepers.types import Budget, Progress
from keepers.workflows.scoring import Balance, Reading, Say, default_run, say_or_not, say_skipped
from keepers.workflows.stages import Workplace


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of `compare` as plain JSON values, and the run directory it stands in."""

    result: dict[str, Any]
    run: Path


def compare(
    data: Any,
    *,
    test: Any,
    methods: Sequence[str] = ("entropy",),
    keep: Sequence[int | float | str] = (0.3, 0.5, 0.7),
    proxy: str | Role | Mapping[str, Any] | None = None,
    target: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    target_epochs: int | None = None,
    resolution: int | None = None,
    ensemble: int | None = None,
    balance: Balance | None = None,
    seeds: int = 3,
    with_target: bool = False,
    noise: float = 0.0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
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
    and the error is that of the last epoch.

    Args:
        data, test: as in `keepers.coreset`; `test` may be a fraction, split off at random.
        methods, keep: every method at every budget.
        proxy, target: models or roles; None takes one for the kind of data.
        epochs, resolution, ensemble: of the proxy; `target_epochs`: of the target.
        with_target: also select with the target itself: what the proxy saves and loses.
        noise: fraction of the training labels that are changed to another class first.
        seeds: under 5, every verdict is "inconclusive".
        balance, device, precision, run, resume, progress, say: as in `keepers.coreset`.
        input, label, id, split, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.
    """
    config = validated(
        CompareConfig,
        {
            "methods": methods,
            "keep": keep,
            "proxy": proxy,
            "target": target,
            "epochs": epochs,
            "target_epochs": target_epochs,
            "resolution": resolution,
            "ensemble": ensemble,
            "balance": balance,
            "seeds": seeds,
            "with_target": with_target,
            "noise": noise,
            "device": device,
            "precision": precision,
        },
    )
    reading = validated(
        Reading,
        {
            "input": input,
            "label": label,
            "id": id,
            "split": split,
            "limit": limit,
            "on_bad_row": on_bad_row,
        },
    )
    hardware = Hardware(device=config.device, precision=config.precision)
    hardware.join_processes()
    say = say_or_not(say)
    source = open_source(data, **vars(reading))
    source, test_source = _with_test(source, test, on_bad_row)
    for sentence in source.found:
        say(sentence)
    for budget in config.keep:
        Budget.parse(budget).resolve(len(source))
    in_both = int(np.isin(test_source.digests, source.digests).sum())
    if in_both == len(test_source):
        raise ParameterError(
            "test",
            f"every input of {test_source.name} also stands in the training data {source.name}",
            "Give data that were held out, or a fraction such as 0.2 to split off",
        )
    if in_both:
        say(
            f"Warning: {in_both:,} of the {len(test_source):,} test inputs also stand in the "
            "training data, so test errors look better than they are"
        )
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
        bench = Bench.prepare(source, test_source, changed, config, place, on_bad_row)
        say_skipped(bench.source, say)
        trials = []
        for trial in bench.trials():
            trials.append(trial)
            chosen = f"{trial.method}{' by the target' if trial.selector == 'target' else ''}"
            say(
                f"seed {trial.seed}: {chosen}, {trial.k:,} of {len(bench.source):,} kept: "
                f"test error {trial.test_error:.2%}"
            )
        score, scores = bench.scores_by_model()
        result: dict[str, Any] = plain(
            {
                "kind": "compare",
                "data": {
                    "name": source.name,
                    "kind": source.kind,
                    "n": len(bench.source),
                    "num_classes": len(source.class_names),
                    "test_name": test_source.name,
                    "test_n": len(bench.test.view),
                    "in_both": in_both,
                    "fingerprint": source.fingerprint,
                },
                "config": asdict(config)
                | {"proxy": bench.proxy.role.identity(), "target": bench.target.role.identity()},
                "seeds": list(range(config.seeds)),
                "rows": summarise(trials),
                "agreement": agreement(score, scores),
                "costs": place.ledger.by_phase(),
                "hardware": place.hardware.identity(gains_from_bf16=bench.target.recipe.bf16),
            }
        )
        if processes.rank() == 0:
            write_json(path / "compare.json", result)
    return Comparison(result=result, run=path)


def _with_test(source: Source, test: Any, on_bad_row: OnBadRow) -> tuple[Source, Source]:
    """The training and the test data; a fraction is split off at random, class by class."""
    fraction = _fraction(test)
    if fraction is None:
        return source, open_source(test, like=source, on_bad_row=on_bad_row)
    assert source.labels is not None
    count = fraction.resolve(len(source), "test")
    labels = torch.from_numpy(source.labels)
    drawn = stratified(labels, count, generator=generator(0, "test")).numpy()
    # Copies of a test input leave the training data with it.
    rest = np.flatnonzero(~np.isin(source.digests, source.digests[drawn]))
    if not len(rest):
        raise ParameterError("test", f"got {test!r}, which leaves no training data")
    return source.take(rest), replace(source.take(drawn), name=f"{count:,} rows split off")


def _fraction(test: Any) -> Budget | None:
    """The budget that `test` is, or None where it names data."""
    if isinstance(test, int | float):
        return Budget.parse(test, "test")
    if not isinstance(test, str) or Path(test).exists() or not test.rstrip("%").strip():
        return None
    try:
        float(test.rstrip("%"))
    except ValueError:
        return None
    return Budget.parse(test, "test")


def _with_noise(source: Source, noise: float, say: Say) -> tuple[Source, torch.Tensor | None]:
    if not noise:
        return source, None
    labels, changed = corrupt_labels(
        torch.from_numpy(source.labels),
        len(source.class_names),
        noise,
        generator=generator(0, "noise"),
    )
    say(f"Changed {int(changed.sum()):,} training labels to another class (--noise {noise:g})")
    return replace(source, labels=labels.numpy()), changed

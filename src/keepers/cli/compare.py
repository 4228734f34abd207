"""`keepers compare` and `keepers demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import online_options as online_
from keepers.cli import options
from keepers.cli.settings import given_names, settings_of
from keepers.errors import ParameterError

ONLY_ONLINE = frozenset(
    {
        *("until", "hand_over", "steps", "seconds", "evaluate_every", "targets"),
        *("il", "il_model", "il_epochs"),
        *("holdout", "folds", "uses", "batch_norm", "score_precision", "score_resolution"),
        *("score_part", "max_age", "stand_in", "structured_noise", "relevance"),
        *("duplicate", "duplicate_times"),
    }
)
ONLY_CORESET = frozenset(
    {
        *("target_epochs", "target_resolution", "resolution", "ensemble", "balance"),
        *("min_per_class", "with_target"),
    }
)


def compare(
    context: typer.Context,
    data: options.Data,
    test: Annotated[
        str, typer.Option(help="Test data like DATA, or a fraction of DATA to split off (0.2)")
    ],
    online: online_.Online = False,
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas (online: rho-loss)")
    ] = "auto",
    keep: Annotated[
        str, typer.Option(help="Budgets, separated by commas (online: one fraction, 0.1)")
    ] = "0.3,0.5,0.7",
    proxy: options.Proxy = None,
    target: Annotated[str | None, typer.Option(help="Model that is trained on the choice")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the proxy; online: of uniform training")
    ] = None,
    target_epochs: Annotated[int | None, typer.Option(help="Epochs of the target")] = None,
    target_resolution: Annotated[
        int | None, typer.Option(help="Side in pixels at which the target looks")
    ] = None,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = None,
    balance: options.BalanceBy = None,
    min_per_class: options.MinPerClass = 1,
    seeds: Annotated[int, typer.Option(help="Repetitions; 5 or more for a verdict")] = 5,
    with_target: Annotated[
        bool, typer.Option("--with-target", help="Also select with the target itself")
    ] = False,
    noise: Annotated[float, typer.Option(help="Fraction of training labels to corrupt")] = 0.0,
    until: online_.Until = 1.0,
    hand_over: online_.HandOver = True,
    steps: online_.Steps = None,
    seconds: online_.Seconds = None,
    evaluate_every: online_.EvaluateEvery = None,
    targets: online_.Targets = "",
    il: online_.Il = None,
    il_model: online_.IlModel = None,
    il_epochs: online_.IlEpochs = None,
    holdout: online_.Holdout = None,
    folds: online_.Folds = 2,
    uses: online_.Uses = 10,
    batch_norm: online_.BatchNormOf = options.BatchNorm.BATCH,
    score_precision: online_.ScorePrecisionOf = options.ScorePrecision.SAME,
    score_resolution: online_.ScoreResolution = None,
    score_part: online_.ScorePart = 1.0,
    max_age: online_.MaxAge = 0,
    stand_in: online_.StandIn = None,
    structured_noise: online_.StructuredNoise = 0.0,
    relevance: online_.Relevance = None,
    duplicate: online_.Duplicate = 0.0,
    duplicate_times: online_.DuplicateTimes = 2,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    split: options.Split = None,
    header: options.HeaderOf = options.Header.AUTO,
    limit: options.Limit = None,
    on_bad_row: options.BadRow = options.OnBadRow.ERROR,
    out: Annotated[Path | None, typer.Option(help="JSON file for the result")] = None,
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Does selection beat random on this data? Train a target on each choice and see.

    For every method and budget, over several seeds: against a random subset of the same size,
    a fresh random subset every epoch, and everything. Prints a table and writes report.html.

    With --online: which examples of each batch are worth a gradient step? Every method and
    uniform training, timed to given accuracies; uniform once more at equal time.
    """
    values = settings_of(context, config, set_ or ())
    given = given_names(context, config, set_ or ())
    outputs = {name: values.pop(name) for name in ("out", "overwrite")} | {"config": config}
    asked = bool(values.pop("online"))
    _check_given(given, online=asked)
    if asked:  # what nobody gave has another default there
        values = {name: values[name] for name in values if name in given or name == "run"}
    else:
        values = {name: values[name] for name in values if name not in ONLY_ONLINE}
    from keepers.cli.running import run_compare

    run_compare(data, values, outputs, as_json=json_, online=asked)


def _check_given(given: set[str], *, online: bool) -> None:
    for name in sorted(given & (ONLY_CORESET if online else ONLY_ONLINE)):
        if online:
            raise ParameterError(name, "got some, which is for core-sets", "Leave out --online")
        raise ParameterError(name, "got some, which is for --online", "Add --online")


def demo(
    run: options.RunDirectory = Path("keepers-runs/demo"),
    json_: options.Json = False,
) -> None:
    """The main job on the handwritten digits of scikit-learn: select half, compare, report."""
    from keepers.cli.running import DEMO, run_compare

    outputs: dict[str, Any] = {"out": None, "overwrite": True}
    run_compare("digits", {**DEMO, "run": run}, outputs, as_json=json_)

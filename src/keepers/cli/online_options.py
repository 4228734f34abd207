"""Options of `keepers compare` that only a comparison with `--online` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepers.cli.options import BatchNorm, ScorePrecision

Online = Annotated[
    bool, typer.Option("--online", help="Compare what gets a gradient step, in place of core-sets")
]
Until = Annotated[
    float, typer.Option(help="Online: share of the training after which steps are uniform")
]
HandOver = Annotated[
    bool, typer.Option(help="Online: rho-loss ends by itself where nothing reducible is left")
]
Steps = Annotated[int | None, typer.Option(help="Online: gradient steps, in place of epochs")]
Seconds = Annotated[
    float | None, typer.Option(help="Online: seconds of each training, in place of epochs")
]
EvaluateEvery = Annotated[
    int | None, typer.Option(help="Online: steps between evaluations (default: 40 in all)")
]
Targets = Annotated[
    str, typer.Option(help="Online: accuracies to reach, by commas (default: what uniform reaches)")
]
Il = Annotated[
    Path | None, typer.Option(help="Online: irreducible losses of 'keepers il', for all seeds")
]
IlModel = Annotated[
    str | None, typer.Option(help="Online: model that gives irreducible losses (default: by data)")
]
IlEpochs = Annotated[int | None, typer.Option(help="Online: epochs of the irreducible-loss model")]
Holdout = Annotated[
    str | None, typer.Option(help="Online: data for that model, or a fraction of DATA")
]
Folds = Annotated[int, typer.Option(help="Online: without holdout, parts of DATA to cross-fit")]
Uses = Annotated[
    int, typer.Option(help="Online: trainings that share the cost of irreducible losses")
]
BatchNormOf = Annotated[
    BatchNorm, typer.Option(help="Online: batch normalisation while candidates are scored")
]
ScorePrecisionOf = Annotated[ScorePrecision, typer.Option(help="Online: number format of scoring")]
ScoreResolution = Annotated[
    int | None, typer.Option(help="Online: side in pixels at which candidates are scored")
]
ScorePart = Annotated[
    float, typer.Option(help="Online: share of the candidates that is scored at all")
]
MaxAge = Annotated[
    int, typer.Option(help="Online: use a loss again for so many steps; 0 scores afresh")
]
StandIn = Annotated[
    str | None, typer.Option(help="Online: small model that is scored in place of the target")
]
StructuredNoise = Annotated[
    float, typer.Option(help="Online: fraction changed among the four most confused classes")
]
Relevance = Annotated[
    int | None, typer.Option(help="Online: classes kept whole; 6% is kept of the others")
]
Duplicate = Annotated[
    float, typer.Option(help="Online: fraction of the examples that is there more than once")
]
DuplicateTimes = Annotated[int, typer.Option(help="Online: how often those are there")]

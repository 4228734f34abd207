"""Options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Balance(StrEnum):
    """What the budget is shared over."""

    CLASS = "class"


class Precision(StrEnum):
    """Number formats of training and inference."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class ScorePrecision(StrEnum):
    """Number formats of scoring."""

    SAME = "same"
    FP32 = "fp32"
    BF16 = "bf16"
    AUTO = "auto"


class BatchNorm(StrEnum):
    """Which statistics candidates are scored with."""

    BATCH = "batch"
    BATCH_AND_UPDATE = "batch-and-update"
    EVAL = "eval"


class Header(StrEnum):
    """Whether CSV and TSV files have a header."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


class OnBadRow(StrEnum):
    """What to do with a row that cannot be read."""

    ERROR = "error"
    SKIP = "skip"


Data = Annotated[
    str,
    typer.Argument(
        help="Parquet, CSV, JSONL, a folder of pictures, .npy, 'digits', or a Hugging Face hub id"
    ),
]
Input = Annotated[str | None, typer.Option(help="Column with the picture, text or vector")]
Label = Annotated[str | None, typer.Option(help="Column with the label")]
TaskOf = Annotated[
    str, typer.Option(help="What labels are: class (one each), labels (several) or number")
]
Id = Annotated[str | None, typer.Option(help="Column with a unique key (default: input hash)")]
Group = Annotated[str | None, typer.Option(help="Column to report the kept share by")]
Split = Annotated[str | None, typer.Option(help="Part of a folder, file or hub data set to read")]
HeaderOf = Annotated[
    Header, typer.Option(help="Whether the first line of CSV and TSV files names the columns")
]
Limit = Annotated[int | None, typer.Option(help="Try it on a random part of so many rows")]
BadRow = Annotated[OnBadRow, typer.Option(help="Stop at rows that cannot be read, or skip them")]
Method = Annotated[str, typer.Option(help="How to select; see 'keepers methods'")]
CoresetMethod = Annotated[
    str | None,
    typer.Option(
        help="How to select; see 'keepers methods' (default: auto, with --features "
        "facility-location)"
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        help="Column of embeddings, or a .npy file of one for each row, to cover: no labels are "
        "needed and no proxy is trained"
    ),
]
NearDuplicates = Annotated[
    float | None,
    typer.Option(
        metavar="SIMILARITY",
        help="Set aside all but the first of rows whose features are alike by this cosine "
        "similarity or more",
    ),
]
Proxy = Annotated[
    str | None, typer.Option(help="Model that selects; see 'keepers models' (default: by data)")
]
IlModel = Annotated[
    str | None, typer.Option(help="Model that gives irreducible losses (default: by data)")
]
Holdout = Annotated[
    str | None,
    typer.Option(help="Data like DATA for that model, or a fraction of DATA (default: folds)"),
]
Folds = Annotated[
    int, typer.Option(help="Without holdout: parts of DATA, each scored by a model of the others")
]
Epochs = Annotated[int | None, typer.Option(help="Epochs of the proxy (default: the model's own)")]
Resolution = Annotated[int | None, typer.Option(help="Side in pixels at which the proxy looks")]
Ensemble = Annotated[
    int | None, typer.Option(help="Proxies combined by rank (default: the method's own)")
]
BalanceBy = Annotated[Balance | None, typer.Option(help="Share the budget evenly over classes")]
MinPerClass = Annotated[
    int, typer.Option(help="Examples that each class keeps at least, if it has them; 0: no floor")
]
Val = Annotated[float, typer.Option(help="Fraction held out to measure the proxy, never selected")]
Seed = Annotated[int, typer.Option(help="Same data, same seed, same selection")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
PrecisionOf = Annotated[Precision, typer.Option(help="Number format; auto: bf16 where it pays")]
RunDirectory = Annotated[
    Path | None, typer.Option(help="Run directory (default: keepers-runs/ and the data's name)")
]
Resume = Annotated[bool, typer.Option(help="Continue what the run directory holds")]
Config = Annotated[Path | None, typer.Option(help="YAML file with any of these options")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Set one, also nested: proxy.lr=0.05"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, no more")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist")]

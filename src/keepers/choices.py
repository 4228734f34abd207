"""What the options take that know only a few words."""

from __future__ import annotations

from typing import Literal

Balance = Literal["class"]
"""What the budget is shared over."""

BatchNorm = Literal["batch", "batch-and-update", "eval"]
"""Which statistics a model that is scored normalises with."""

Cold = Literal["typiclust", "probcover", "k-center", "random"]
"""How to choose while fewer than two classes are labelled."""

Header = Literal["auto", "yes", "no"]
"""Whether CSV and TSV files have a header."""

OnBadRow = Literal["error", "skip"]
"""What to do with a row that cannot be read."""

Precision = Literal["auto", "fp32", "bf16"]
"""Number formats of training and inference."""

ScorePrecision = Literal["same", "fp32", "bf16", "auto"]
"""Number formats of online scoring."""

TASKS = ("auto", "class", "labels", "number", "tokens")
"""The tasks that are known without looking for those of installed packages."""

TaskName = str
"""What targets are: `auto` judges it by the values; `class`, `labels`, `number`, `tokens`
(what a language model is tuned on), or an installed package's."""

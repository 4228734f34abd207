"""The choices of the command line are those of Python: it lists them without importing torch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, get_args

import pytest

from keepers.cli import active, options
from keepers.data.encode import OnBadRow
from keepers.models.mode import BatchNorm
from keepers.training import Precision
from keepers.workflows.active.config import Cold
from keepers.workflows.online import ScorePrecision
from keepers.workflows.scoring import Balance

CHOICES: list[tuple[type[StrEnum], Any]] = [
    (active.Cold, Cold),
    (options.Balance, Balance),
    (options.BatchNorm, BatchNorm),
    (options.OnBadRow, OnBadRow),
    (options.Precision, Precision),
    (options.ScorePrecision, ScorePrecision),
]


@pytest.mark.parametrize(("offered", "taken"), CHOICES)
def test_the_same_choices_in_both(offered: type[StrEnum], taken: Any) -> None:
    assert tuple(offered) == get_args(taken)

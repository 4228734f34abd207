"""What a fresh random subset every epoch gains over a fixed one."""

from __future__ import annotations

import torch

from keepers.workflows.fresh import gain_of_fresh


def points(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, 30, generator=draw)
    return rows, (rows[:, :10].sum(1) > 0).long()


def test_fresh_subsets_see_more_and_err_less_where_little_is_kept() -> None:
    rows, labels = points(900, 0)
    assert gain_of_fresh(rows, labels, 600, 30, 20, seed=1) < -0.03


def test_a_subset_of_everything_is_the_same_fresh_or_fixed() -> None:
    rows, labels = points(300, 0)
    assert gain_of_fresh(rows, labels, 200, 200, 1, seed=1) == 0

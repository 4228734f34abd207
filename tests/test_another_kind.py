"""Models of another kind than the pilot's: what they are fitted on, and what they say."""

from __future__ import annotations

import pytest
import torch

from keepers.models import another_kind, create_classifier
from keepers.types import DataInfo


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (DataInfo(kind="text", shape=(), num_classes=3), None),
        (DataInfo(kind="vector", shape=(4,), num_classes=3), "a random forest"),
        (DataInfo(kind="vector", shape=(4,), num_classes=1, task="number"), "a random forest"),
        (DataInfo(kind="vector", shape=(4,), num_classes=3, task="labels"), None),
    ],
)
def test_there_is_another_kind_for_a_task(info: DataInfo, name: str | None) -> None:
    linear = create_classifier("linear", info, {}, "proxy")
    found = another_kind(linear, info)
    assert (None if found is None else found[0]) == name
    if found is not None:
        assert found[1].encoder == linear.encoder
        assert type(found[1].make(0)) is not type(linear.make(0))


def test_trees_are_drawn_by_the_seed() -> None:
    info = DataInfo(kind="vector", shape=(4,), num_classes=2)
    found = another_kind(create_classifier("linear", info, {}, "proxy"), info)
    assert found is not None
    rows = torch.randn(80, 4, generator=torch.Generator().manual_seed(0)).numpy()
    y = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    one, same, other = (
        found[1].make(seed).fit(rows[:40], y[:40]).predict_proba(rows[40:]) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert not (one == other).all()

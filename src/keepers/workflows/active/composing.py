"""A batch from a proposal: the order to label in, and what the proxy expects of each item."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from keepers.campaign import Id, PlannedItem
from keepers.random import generator
from keepers.workflows.active.ground import Ground
from keepers.workflows.active.planning import Proposal


def composed(
    ground: Ground, proposal: Proposal, drawn: Tensor, seed: int
) -> tuple[PlannedItem, ...]:
    """The items in the order to label them; control items stand anywhere among the others.

    `drawn` are the positions of the control items.
    """
    scores, method = proposal.scores, proposal.opinion.method
    reason = f"cold start: {method.name}" if ground.known.is_cold else method.name
    total = len(proposal.positions) + len(drawn)
    draw = torch.randperm(total, generator=generator(seed, "places"))
    places = set(draw[: len(drawn)].tolist())
    controls = iter(_ids(ground, drawn))
    chosen = iter(enumerate(_ids(ground, proposal.positions)))
    items: list[PlannedItem] = []
    for rank in range(total):
        if rank in places:
            item = PlannedItem(item=next(controls), rank=rank, part="control", reason="control")
        else:
            place, name = next(chosen)
            score = None if scores is None else float(scores[place])
            item = PlannedItem(item=name, rank=rank, score=score, reason=reason)
        items.append(item)
    return tuple(items)


def predictions(ground: Ground, proposal: Proposal, drawn: Tensor) -> list[list[Any]]:
    """What the proxy takes each item for, and its probability: [id, label, probability]."""
    if not proposal.opinion.trained:
        return []
    positions = torch.cat([proposal.positions, drawn])
    task = ground.known.task
    found = task.predicted(proposal.opinion.of(positions, task))
    return [
        [item, label, None if probability is None else round(probability, 6)]
        for item, (label, probability) in zip(_ids(ground, positions), found, strict=True)
    ]


def _ids(ground: Ground, positions: Tensor) -> list[Id]:
    return ground.source.ids[positions.numpy()].tolist()

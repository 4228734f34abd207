"""A frozen encoder's features of the data: computed once, and kept as a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keepers import processes
from keepers.data import DensePool
from keepers.ledger import Ledger
from keepers.roles import Prepared
from keepers.runs import StageRecord
from keepers.signals import embed, store
from keepers.types import Pool
from keepers.workflows.workplace import Workplace

FEATURES = "features"
"""The stage that makes features, and the phase under which they are booked."""


def embedded(place: Workplace, prepared: Prepared, pool: Pool, content: str) -> Pool:
    """What a classifier reads: the pool itself, or what its encoder makes of it, once.

    `content` is a fingerprint of the inputs of the pool, whatever their labels.
    """
    embedder = prepared.classifier and prepared.classifier.embedder
    if embedder is None:
        return pool

    def compute(folder: Path) -> StageRecord:
        ledger = Ledger()
        store.clear(folder)
        with ledger.phase(FEATURES) as tally:
            features = embed(
                prepared.normalised(embedder),
                pool,
                runtime=place.hardware.runtime(gains_from_bf16=False),
                name=prepared.role.model,
                folder=folder if processes.rank() == 0 else None,
                tally=tally,
                progress=place.progress,
            )
            if processes.rank() == 0:
                store.write(folder, {FEATURES: features})
        return StageRecord(costs=tuple(ledger.costs))

    inputs = embedding_inputs(place, prepared, content)
    folder, _ = place.stage(FEATURES, inputs, compute)
    return DensePool(store.read(folder)[FEATURES])


def embedding_inputs(place: Workplace, prepared: Prepared, content: str) -> dict[str, Any]:
    """All that the features of `embedded` depend on, for the stage's fingerprint."""
    return {
        "content": content,
        "encoder": prepared.fingerprint,
        "role": prepared.role.identity(),  # an option may be seen in no weight
        "hardware": place.hardware.identity(gains_from_bf16=False),
    }

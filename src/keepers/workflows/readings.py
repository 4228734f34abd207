"""Stages in which a language model reads conversations, and the signals that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.data import Source
from keepers.ledger import Ledger
from keepers.models import LanguageModel, TokenSequence
from keepers.runs import StageRecord
from keepers.scores import instruction_following_difficulty
from keepers.signals import forget_parts, read_through, store
from keepers.types import Signals
from keepers.workflows.workplace import Workplace

COMPARED = frozenset({"similarities", "gradient_similarities"})
"""The signals that compare with target examples."""
READ = COMPARED | {"qualities", "answer_losses", "unconditional_losses", "features"}
"""The signals that a language model gives by reading."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Target examples: their `source`, and their tokens where a language model reads them."""

    source: Source
    sequences: Sequence[TokenSequence] = ()


def read_signals(
    source: Source,
    model: LanguageModel,
    sequences: Sequence[TokenSequence],
    needs: frozenset[str],
    place: Workplace,
    targets: Targets | None = None,
    *,
    what: str = "reading by the proxy",
) -> Signals:
    """What a model says of a source, whose sequences are given, and of its likeness to targets.

    `what` is what the ledger calls the first reading. What was read before of the same
    conversations, the pool's or the targets', is found again.
    """
    reader = _Reader(model, place)
    found: dict[str, Tensor] = {}
    rated = "qualities" in needs
    if needs - {"gradient_similarities"}:
        vectors = bool(needs & {"features", "similarities"})
        arrays = reader.read(source, sequences, what, features=vectors)
        found["answer_losses"] = arrays["losses"]
        if vectors:
            found["features"] = arrays["features"]
    if "unconditional_losses" in needs or rated:
        found["unconditional_losses"] = reader.alone(source, sequences)
    if rated:
        found["qualities"] = instruction_following_difficulty(
            found["answer_losses"], found["unconditional_losses"]
        )
    if targets is not None and "similarities" in needs:
        like = reader.read(targets.source, targets.sequences, "reading targets", features=True)
        found["similarities"] = cosines(found["features"], like["features"])
    if targets is not None and "gradient_similarities" in needs:
        own = reader.gradients(source, sequences, "gradients by the proxy")
        like = reader.gradients(targets.source, targets.sequences, "gradients of targets")
        tasks = targets.source.strata
        found["gradient_similarities"] = by_task(
            cosines(own, like), torch.zeros(len(like)) if tasks is None else torch.tensor(tasks)
        )
    return Signals(**{name: value for name, value in found.items() if name in needs})


def cosines(features: Tensor, others: Tensor) -> Tensor:
    """Cosines (n, m) of features (n, d) and others (m, d)."""
    return F.normalize(features, dim=1) @ F.normalize(others, dim=1).T


def by_task(similarities: Tensor, tasks: Tensor) -> Tensor:
    """Means (n, tasks) of similarities (n, m) over the targets of each task (m,).

    >>> by_task(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([1, 0, 1]))
    tensor([[2.0000, 3.5000]])
    """
    names, of = tasks.unique(return_inverse=True)
    members = F.one_hot(of, len(names)).to(similarities.dtype)
    return similarities @ (members / members.sum(0))


@dataclass(frozen=True)
class _Reader:
    """Reads conversations once, in stages of the run directory."""

    model: LanguageModel
    place: Workplace

    def read(
        self, source: Source, sequences: Sequence[TokenSequence], what: str, *, features: bool
    ) -> Mapping[str, Tensor]:
        """The `losses` (n,) of the answers, and `features` (n, d) of the hidden states."""
        inputs = self._inputs(source)
        features = features or self.place.run.finished("reading", {**inputs, "features": True})
        inputs |= {"features": features}
        return self._stage("reading", inputs, sequences, what, features=features)

    def alone(self, source: Source, sequences: Sequence[TokenSequence]) -> Tensor:
        """The losses (n,) of the answers without their prompts."""
        found = [alone(each) for each in sequences]
        owners = [owner for owner, parts in enumerate(found) for _ in parts]
        parts = [part for parts in found for part in parts]
        inputs = {**self._inputs(source), "after": "what announces them"}
        what = "reading answers alone"
        whole = self._stage("reading-alone", inputs, parts, what, owners, len(sequences))
        return whole["losses"]

    def gradients(self, source: Source, sequences: Sequence[TokenSequence], what: str) -> Tensor:
        """Projected gradients (n, d) of the mean losses of the answers."""
        inputs = self._inputs(source)
        return self._stage("gradients", inputs, sequences, what, gradients=True)["features"]

    def _inputs(self, source: Source) -> dict[str, Any]:
        return {
            "data": source.content,
            "model": self.model.fingerprint,
            "hardware": self.place.hardware.identity(gains_from_bf16=True),
        }

    def _stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        sequences: Sequence[TokenSequence],
        what: str,
        owners: Sequence[int] | None = None,
        total: int | None = None,
        **vectors: bool,
    ) -> Mapping[str, Tensor]:
        """The mean losses of conversations, of which the sequences are the parts; and vectors."""
        n = len(sequences) if total is None else total

        def compute(folder: Path) -> StageRecord:
            ledger = Ledger()
            store.clear(folder)
            with ledger.phase(what) as tally:
                read = read_through(
                    self.model,
                    sequences,
                    runtime=self.place.hardware.runtime(gains_from_bf16=True),
                    folder=folder,
                    every=self.place.checkpoint_every,
                    tally=tally,
                    progress=self.place.progress,
                    what=what,
                    **vectors,
                )
                tally.examples = n
            at = torch.tensor(range(n) if owners is None else owners, dtype=torch.int64)
            sums = torch.zeros(n, dtype=torch.float64).index_add_(0, at, read.sums)
            counts = torch.zeros(n, dtype=torch.int64).index_add_(0, at, read.counts)
            arrays = {"losses": (sums / counts.clamp_min(1)).float()}
            if read.features is not None:
                arrays["features"] = read.features
            store.write(folder, arrays)
            forget_parts(folder)
            return StageRecord(costs=tuple(ledger.costs))

        folder, _ = self.place.stage(name, inputs, compute)
        return store.read(folder)


def alone(sequence: TokenSequence) -> list[TokenSequence]:
    """The answers of a conversation, each after what stands before an answer alone.

    None is longer than the conversation is.

    >>> import torch
    >>> learnt = torch.tensor([0, 0, 1, 1, 0]).bool()
    >>> one = TokenSequence(ids=torch.arange(5), learnt=learnt, before=(9,))
    >>> [part.ids.tolist() for part in alone(one)]
    [[9, 2, 3]]

    Source:
        Li et al., From Quantity to Quality, 2024, whose code reads "### Response:" and the answer.
    """
    ids, learnt = sequence.ids, sequence.learnt
    edges = torch.diff(learnt.int(), prepend=torch.zeros(1, dtype=torch.int32)).nonzero()
    found: list[TokenSequence] = []
    bounds = [*edges.squeeze(1).tolist(), *([len(ids)] if bool(learnt[-1]) else [])]
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        before = ids.new_tensor(sequence.before[-(len(ids) - (stop - start)) :])
        told = torch.ones(len(before) + stop - start, dtype=torch.bool)
        told[: max(1, len(before))] = False
        if told.any():
            found.append(TokenSequence(ids=torch.cat([before, ids[start:stop]]), learnt=told))
    return found

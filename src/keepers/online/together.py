"""One choice among the candidates of all ranks, each of which holds the inputs of its own alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from keepers import processes
from keepers.online.scorer import Scored, Scorer, scored_by
from keepers.training import Arguments, AtRows, Candidates, Choice
from keepers.types import Signals


@dataclass(frozen=True, kw_only=True, eq=False)
class Everyone(Candidates):
    """The candidates of all ranks: positions and labels of all, `inputs` of this rank's.

    They stand in the order in which a `SelectingLoader` deals them out, so that what is chosen does
    not depend on how many ranks there are. Candidate i is at row `places[i]` of rank `owners[i]`;
    both (n,) are in the memory of the host.
    """

    inputs: Candidates
    owners: Tensor
    places: Tensor

    @classmethod
    def gather(cls, own: Candidates, ids: Any = None) -> Self:
        """Of what each rank has; `ids` are what errors call an example, by position."""
        lengths = processes.lengths_of(own.positions)
        places = torch.cat([torch.arange(length) for length in lengths])
        owners = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        order = (places * len(lengths) + owners).argsort()

        def all_of(values: Tensor) -> Tensor:
            together = torch.cat(processes.gather_parts(values, lengths))
            return together.index_select(0, order.to(values.device))

        positions = all_of(own.positions)
        return cls(
            positions=positions,
            labels=all_of(own.labels),
            args=(),
            cut=_no_inputs,
            version=own.version,
            ids=None if ids is None else AtRows(ids, positions),
            inputs=own,
            owners=owners[order],
            places=places[order],
        )

    def take(self, rows: Tensor) -> Self:
        """The candidates at `rows` alone."""
        on_host = rows.cpu()
        return replace(
            self,
            positions=self.positions[rows],
            labels=self.labels[rows],
            ids=None if self.ids is None else AtRows(self.ids, rows),
            owners=self.owners[on_host],
            places=self.places[on_host],
        )

    def own(self) -> Candidates:
        """Those of this rank, with their inputs; where it has none, one that stands for none."""
        mine = self.places[self.owners == processes.rank()]
        rows = mine if len(mine) else torch.zeros(1, dtype=torch.int64)
        return self.inputs.take(rows.to(self.inputs.positions.device))


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoringTogether(Scorer):
    """Each rank scores its own candidates; all get the signals of all, to the same bit."""

    scorer: Scorer

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """As `Scorer.score`."""
        assert isinstance(candidates, Everyone)
        scored = scored_by(self.scorer, candidates.own(), needs)
        owners, ranks = candidates.owners, processes.count()
        lengths = owners.bincount(minlength=ranks).tolist()

        def all_of(values: Tensor) -> Tensor:
            found = values.new_empty((len(owners), *values.shape[1:]))
            own = values[: lengths[processes.rank()]]
            for rank, part in enumerate(processes.gather_parts(own, lengths)):
                found[(owners == rank).to(values.device)] = part
            return found

        return Scored(
            positions=candidates.positions,
            version=scored.version,
            signals=Signals(**{name: all_of(value) for name, value in scored.signals.items()}),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dealt:
    """What this rank trains on of a choice among all.

    `rows` are its own, `weights` make the mean over the ranks of the means of weight × loss that of
    all `chosen` examples. A rank of whose candidates none was chosen gets its first with weight 0,
    as parallel training has every rank take each step.
    """

    rows: Tensor
    weights: Tensor
    chosen: int


def deal(choice: Choice, candidates: Everyone) -> Dealt:
    """This rank's part of a choice, in pick order."""
    on_host = choice.rows.cpu() if choice.on_host is None else choice.on_host.cpu()
    k, ranks = len(on_host), processes.count()
    mine = (candidates.owners[on_host] == processes.rank()).nonzero().squeeze(1)
    if not len(mine):
        return Dealt(rows=torch.zeros(1, dtype=torch.int64), weights=torch.zeros(1), chosen=k)
    weights = torch.full((len(mine),), len(mine) * ranks / k)
    if choice.weights is not None:
        weights = weights * choice.weights.cpu()[mine]
    return Dealt(rows=candidates.places[on_host[mine]], weights=weights, chosen=k)


def _no_inputs(rows: Tensor) -> Arguments:
    raise AssertionError(f"inputs of other ranks are not here, for {len(rows)} rows")

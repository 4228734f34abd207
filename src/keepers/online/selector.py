"""The choice of a batch among its candidates, by a row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from keepers import methods
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.files import fingerprint, hash_bytes
from keepers.methods import Method
from keepers.online.checks import (
    LOSSES,
    SUPPLIED,
    broken_contract,
    check_method,
    not_numbers,
    supplied,
    unknown_ids,
)
from keepers.online.companion import Companion
from keepers.online.handover import WATCHED, HandOver, Watch
from keepers.online.recent import Recent
from keepers.online.scorer import Scored, Scorer, Scoring, scored_by
from keepers.online.second_look import Looked, SecondLook
from keepers.online.transfer import any_nan, to_host
from keepers.random import derived_seed
from keepers.tasks import CLASSES, Task
from keepers.training import Candidates, Choice
from keepers.types import Budget, Signals


class Selector:
    """Chooses k of n candidates: scores them, then takes what the method picks.

    Args:
        method: a row of the table, `options` are its own.
        keep: the fraction of the candidates, or their number.
        irreducible: irreducible losses by position, where the method needs them.
        scoring: how candidates are scored.
        seed: whatever is drawn is a function of it and of the candidates' version.
        num_examples: positions are under it; needed where losses are used again.
        num_classes: of the data, for methods that make use of it.
        of: says which examples the positions stand for, in the state.
        stand_in: a model that is scored in place of the one in training, and trained beside it.
        updated: an irreducible-loss model that goes on learning from what is chosen (the
            original function of Mindermann et al. 2022).
        hand_over: end by itself where nothing reducible is left (`rho-loss` alone knows).
        task: what labels mean.

    Raises:
        ParameterError: a method that needs what is not there, or a saving that it cannot use.
    """

    def __init__(
        self,
        method: str | Method,
        *,
        keep: int | float | str | Budget = 0.1,
        irreducible: Tensor | None = None,
        scoring: Scoring | None = None,
        seed: int = 0,
        num_examples: int = 0,
        num_classes: int | None = None,
        of: str = "",
        options: Mapping[str, Any] | None = None,
        stand_in: Companion | None = None,
        updated: Companion | None = None,
        hand_over: bool = True,
        task: Task = CLASSES,
    ) -> None:
        row = (
            method
            if isinstance(method, Method)
            else methods.get(method, supplied=SUPPLIED, replacement=True)
        )
        if not row.needs <= supplied(task):
            missing = methods.in_words(row.needs - supplied(task))
            rows = methods.offered(supplied(task), replacement=True)
            raise ParameterError(
                "method",
                f"got '{row.name}', which needs {missing}, but the targets are {task.plural}",
                f"For those: {', '.join(sorted(rows))}",
            )
        self.method, self.options = row, methods.settings(row, options, num_classes)
        self.budget = Budget.parse(keep)
        self.scoring = scoring or Scoring()
        self.irreducible, self.seed, self.of = irreducible, seed, of
        self.stand_in, self.updated = stand_in, updated
        self.longest, self.staleness, self.task = 0, 0, task
        self.generator, self.draws = torch.Generator(), derived_seed(seed, "choose")
        check_method(
            row,
            self.scoring,
            num_examples,
            irreducible=irreducible is not None,
            stand_in=stand_in is not None,
            updated=updated is not None,
        )
        ahead = self.scoring.max_staleness > 0
        self.second = SecondLook(self.scoring.shortlist) if ahead else None
        self.watch = Watch(active=hand_over and task.likely and row.needs >= WATCHED)
        self.drawn = torch.zeros(num_examples if self.watch.active else 0, dtype=torch.int16)
        self.aged = Recent(num_examples, self.scoring.max_age)

    def choose(
        self,
        candidates: Candidates,
        scorer: Scorer,
        known: Tensor | None = None,
        k: int | None = None,
        *,
        alike: bool = False,
    ) -> Choice:
        """Rows of the candidates in pick order, and their weights; at random once it is over.

        `known` (n,) says which candidates have a position at all, None that all have. `k` is how
        many are kept, None by the budget. `alike`: every process chooses at this step, among
        candidates of its own, and all hand over together. On an accelerator this waits for it
        once, for the rows and whether every score is a number; where losses are used again, once
        more, for those that are too old.

        Raises:
            ParameterError: no candidates, a count over them, or ids without a position.
            KeepersError: a score that is not a number, with the ids; scores of other examples than
                the candidates, or by weights that are older than `max_staleness`.
        """
        method, device = self.method, candidates.positions.device
        if self.ended is not None:
            return self.draw(candidates.positions, candidates.version, k)
        if known is not None and known.device.type == "cpu" and not known.all():
            raise unknown_ids(candidates, known)  # before anything is noted of what it stands for
        n = len(candidates)
        k = self.count(n) if k is None else k
        self.staleness = 0
        part = None if self.scoring.part >= 1 else self._part(candidates, k)
        asked = candidates if part is None else candidates.take(part)
        looked = self._look(asked, scorer, k)
        signals, everyone = looked.signals, looked.everyone
        if looked.rows is not None:
            asked, part = asked.take(looked.rows), looked.rows  # a shortlist is made of all
        row = method.selecting
        scores = None if row.score is None else row.score(signals)
        wrong: Tensor | None = None
        if device.type == "cpu":
            if scores is not None and any_nan(scores):
                raise not_numbers(asked, row.score, signals)
        else:
            wrong = None if known is None else ~known.all().to(device, non_blocking=True)
            if scores is not None:
                nan = scores.isnan()
                wrong = nan.any() if wrong is None else wrong | nan.any()
                scores = scores.masked_fill(nan, 0.0)  # a draw by NaN would be out of range
        self.generator.manual_seed((self.draws + candidates.version) % 2**63)
        inside, among, ranked = self._let_through(asked, signals, k), signals, scores
        if inside is not None:
            among, ranked = signals.at(inside), None if scores is None else scores[inside]
        picks = row.select(
            among, ranked, k, selected=None, generator=self.generator, **self.options
        )
        drawn = picks.positions if inside is None else inside[picks.positions.to(device)]
        if drawn.shape != (k,) or (picks.weights is not None and picks.weights.shape != (k,)):
            raise broken_contract(method, k, picks)
        there = drawn.to(device)
        rows = there if part is None else part[there]
        over = None
        if self.watch.running:
            losses = everyone.get("losses"), everyone.get("irreducible_losses")
            over = self.watch.note(*losses, there if looked.rows is None else rows, alike)
        ends = False
        if device.type == "cpu":
            on_host, ends = rows, over is not None and bool(over)
        elif drawn.device.type == "cpu" and wrong is None and part is None:
            on_host = drawn
        else:
            bad, ends, on_host = to_host(rows, wrong, over)
            if bad:
                if known is not None and not known.all():
                    raise unknown_ids(candidates, known)
                raise not_numbers(asked, row.score, signals)
        if ends:
            self.watch.end(candidates.version + 1, k / len(asked))
        if self.stand_in is not None or self.updated is not None:
            trained = candidates.take(rows)
            for companion in self.companions().values():
                companion.update(trained)
        weights = None if picks.weights is None else picks.weights.to(device)
        return Choice(rows=rows, weights=weights, on_host=on_host, staleness=self.staleness)

    def _let_through(self, asked: Candidates, signals: Signals, k: int) -> Tensor | None:
        """Which of the candidates the bands of the method let through; None where it has none."""
        bands = self.method.bands
        if not bands:
            return None
        scores = [band.by.score(signals) for band in bands if band.by.score is not None]
        for band, values in zip(bands, scores, strict=True):
            if values.is_cpu and any_nan(values):
                raise not_numbers(asked, band.by.score, signals)
        everyone = torch.arange(len(asked), device=asked.positions.device)
        return methods.let_through(bands, scores, everyone, k)

    @property
    def ended(self) -> HandOver | None:
        """Why selection is over; None while it goes on."""
        return self.watch.ended

    def draw(self, positions: Tensor, version: int, k: int | None = None) -> Choice:
        """k of these (n,) positions for a uniform step: those that came least often since the end.

        So examples come about equally often, as in plain training; nothing is scored. Ties are
        random. Rows are where the positions are, and on the host.
        """
        n = len(positions)
        k = self.count(n) if k is None else k
        self.generator.manual_seed((self.draws + version) % 2**63)
        order = torch.rand(n, generator=self.generator).to(positions.device, non_blocking=True)
        if len(self.drawn):
            self.drawn = self.drawn.to(positions.device)
            order = order + self.drawn.index_select(0, positions)
        rows = order.topk(k, largest=False, sorted=False).indices
        if len(self.drawn):
            self.drawn[positions.index_select(0, rows)] += 1
        return Choice(rows=rows, on_host=rows.cpu())

    def count(self, n: int) -> int:
        """k of n; of fewer than the longest batch had, the same share, but no batch of one."""
        if not n:
            raise ParameterError("batch", "got no example", "Give at least one")
        self.longest = max(self.longest, n)
        if n >= self.longest:
            return self.budget.resolve(n)
        whole, value = self.budget.resolve(self.longest), self.budget.value
        share = self.budget.resolve(n) if isinstance(value, float) else value * n / self.longest
        return max(min(whole, n, 2), int(share + 0.5))

    def _part(self, candidates: Candidates, k: int) -> Tensor:
        part, n = self.scoring.part, len(candidates)
        size = Budget(part).resolve(n)
        if size < k and n < self.longest:
            size = k  # a short batch, of which at least two are kept
        if size < k:
            raise ParameterError(
                "part",
                f"got {part:g}, which scores only {size} of {n} candidates, but {k} are kept",
                "Score at least as many as are kept",
            )
        self.generator.manual_seed(derived_seed(self.seed, "part", candidates.version))
        drawn = torch.randperm(n, generator=self.generator)[:size].sort().values
        return drawn.to(candidates.positions.device)

    def _look(self, candidates: Candidates, scorer: Scorer, k: int) -> Looked:
        of_model, rows = self.of_model, None
        found: dict[str, Tensor] = {}
        if self.stand_in is not None:
            found["losses"] = self.stand_in.losses(candidates)
        elif self.scoring.max_age:
            found["losses"] = self.aged.losses(
                candidates, lambda old: self._scored(scorer, old, LOSSES)
            )
        elif of_model:
            scored = early = self._scored(scorer, candidates, of_model)
            if self.staleness and self.second is not None:

                def again(some: Candidates) -> Scored:
                    return scorer.again(some, of_model)

                rows, scored = self.second.look(candidates, early, again, self._rank, k)
                self.staleness = candidates.version - scored.version
            found = dict(scored.signals.items())
            if rows is not None:  # what is admitted is no sample of the candidates: they are all
                signals = self._whole(dict(early.signals.items()), candidates)
                return Looked(
                    signals=self._whole(found, candidates.take(rows)), everyone=signals, rows=rows
                )
        if not found and "irreducible_losses" not in self.method.needs:
            found["labels"] = candidates.labels  # a random choice: nothing is asked of the model
        signals = self._whole(found, candidates)
        return Looked(signals=signals, everyone=signals)

    def _whole(self, found: dict[str, Tensor], candidates: Candidates) -> Signals:
        """What the model said, and the irreducible losses where the method needs them."""
        if "irreducible_losses" in self.method.needs:
            found["irreducible_losses"] = self._irreducible(candidates)
        return Signals(**found)

    def _rank(self, candidates: Candidates, scored: Scored) -> Tensor:
        row = self.method.selecting
        assert row.score is not None  # as was checked
        return row.score(self._whole(dict(scored.signals.items()), candidates)).nan_to_num(
            nan=torch.inf
        )

    @property
    def of_model(self) -> frozenset[str]:
        """The signals that a scorer is asked for."""
        return self.method.needs - {"irreducible_losses"}

    @property
    def looks_ahead(self) -> bool:
        """Whether candidates of coming steps are to be announced."""
        return self.second is not None and self.second.ended is None and self.ended is None

    def _scored(self, scorer: Scorer, candidates: Candidates, needs: frozenset[str]) -> Scored:
        scored = scored_by(scorer, candidates, needs)
        self.staleness, most = candidates.version - scored.version, self.scoring.max_staleness
        if self.staleness > most:
            raise KeepersError(
                f"backend: step {candidates.version + 1} was scored with weights "
                f"{self.staleness} steps old, but only {most} are allowed. Wait for newer "
                "weights, or give Scoring(max_staleness=...)"
            )
        return scored

    def _irreducible(self, candidates: Candidates) -> Tensor:
        if self.updated is not None:
            return self.updated.losses(candidates)
        assert self.irreducible is not None
        device = candidates.positions.device
        if self.irreducible.device != device:
            self.irreducible = self.irreducible.to(device)  # once, not at every step
        return self.irreducible.index_select(0, candidates.positions)

    def companions(self) -> dict[str, Companion]:
        """The models that learn beside the one in training, by name."""
        found = {"stand_in": self.stand_in, "updated": self.updated}
        return {name: each for name, each in found.items() if each is not None}

    @cached_property
    def _identity(self) -> int:
        """A number for all that the choices depend on, beside the model and the state."""
        losses = None
        if self.irreducible is not None:
            values = self.irreducible.detach().float().cpu().contiguous()
            losses = [hash_bytes(values.numpy()), self.of]
        chosen = self.method.name, self.options, self.budget, self.scoring, self.seed, losses
        chosen = (*chosen, self.watch.active)
        beside = {name: each.identity() for name, each in self.companions().items()}
        return int(fingerprint(*chosen, beside)[:15], 16)

    def state_dict(self) -> dict[str, Tensor]:
        """Recent losses and companions as tensors, and whose they are."""
        state = self._own_state()
        for name, companion in self.companions().items():
            state |= {f"{name}.{key}": value for key, value in companion.state_dict().items()}
        return state

    def _own_state(self) -> dict[str, Tensor]:
        return {
            "identity": torch.tensor(self._identity),
            "recent": self.aged.recent,
            "scored_at": self.aged.scored_at,
            "longest": torch.tensor(self.longest),
            "drawn": self.drawn,
            **{
                f"{part}.{name}": value
                for part, each in self._parts().items()
                for name, value in each.state_dict().items()
            },
        }

    def _parts(self) -> dict[str, Watch | SecondLook]:
        second = {} if self.second is None else {"second": self.second}
        return {"watch": self.watch, **second}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            RunError: it is that of a selector with other data or other settings.
        """
        companions, own = self.companions(), self._own_state()
        owners = {name.partition(".")[0] for name in state if "." in name}
        same = own.keys() <= state.keys() and int(state["identity"]) == self._identity
        if (
            not same
            or owners != {*companions, *self._parts()}
            or len(state["recent"]) != len(self.aged.recent)
        ):
            raise RunError(
                "state: it is of a selector with other data or settings. Make the selector with "
                "the same ones: method, keep, losses, scoring, seed, hand_over"
            )
        self.aged.recent.copy_(state["recent"])
        self.aged.scored_at.copy_(state["scored_at"])
        self.longest, self.drawn = int(state["longest"]), state["drawn"].clone()
        parts = {**companions, **self._parts()}
        for name, part in parts.items():
            prefix = f"{name}."
            part.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )

"""Online selection as a batch policy of `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from keepers import processes
from keepers.errors import ParameterError
from keepers.models import count_flops
from keepers.models.mode import uses_batch_statistics
from keepers.online.ahead import AHEAD, Ahead
from keepers.online.backend import Backend, check_backend
from keepers.online.handover import HandOver
from keepers.online.scorer import AcrossProcesses, InProcess, Scored, Scorer
from keepers.online.selector import Selector
from keepers.training import AtRows, BatchPolicy, Candidates, Choice, Feed, Runtime
from keepers.types import Budget

FLOPS_SAMPLE = 32
NO_MODEL = frozenset({"irreducible_losses", "labels"})


class Selecting(BatchPolicy):
    """Each step trains on the best of its candidates: of n_B = n_b / keep, n_b are kept.

    Args:
        selector: makes a fresh selector for the module that a training begins with.
        keep: the fraction of the candidates.
        until: after this share of the training, steps are uniform.
        name: says what it is, in fingerprints.
        ids: what errors call the examples, by position.
        backend: makes what scores; several processes share its work out.

    Raises:
        ParameterError: a count in place of the fraction, or a share outside (0, 1].
    """

    def __init__(
        self,
        selector: Callable[[nn.Module, Runtime], Selector],
        *,
        keep: float,
        until: float = 1.0,
        name: str = "",
        ids: Any = None,
        backend: Backend = InProcess,
    ) -> None:
        if isinstance(Budget.parse(keep).value, int):
            raise ParameterError(
                "keep", f"got the count {keep}", "Give the fraction of the candidates, such as 0.1"
            )
        if not 0 < until <= 1:
            raise ParameterError("until", f"got {until}", "Give a share of the training in (0, 1]")
        self.make, self.keep, self.until, self.name, self.ids = selector, keep, until, name, ids
        self.backend = backend
        self.selector: Selector | None = None
        self.scorer: _Counting | None = None
        self.ahead: Scorer | None = None
        self.module: nn.Module | None = None
        self.flops = torch.tensor(-1.0)
        self.beside: dict[str, float] = {}
        self.batch_size = 0

    def __repr__(self) -> str:
        return f"Selecting({self.name!r}, keep={self.keep!r}, until={self.until!r})"

    def start(
        self,
        module: nn.Module,
        *,
        runtime: Runtime,
        seed: int,
        num_examples: int,
        batch_size: int,
        feed: Feed | None = None,
    ) -> None:
        """Forget what was kept of an earlier training."""
        self.beside, self.batch_size = {}, batch_size
        self.module, self.flops = module, torch.tensor(-1.0, dtype=torch.float64)
        self.selector = selector = self.make(module, runtime)
        check_backend(self.backend, selector.stand_in)
        scoring, autocast = selector.scoring, runtime.autocast
        scorer = self.backend(
            module=module, scoring=scoring, seed=seed, autocast=autocast, task=selector.task
        )
        scorer.begin(needs=selector.of_model, keep=self.keep, feed=feed)
        self.ahead = scorer
        if processes.count() > 1:
            together = uses_batch_statistics(module, scoring.batch_norm)
            scorer = AcrossProcesses(scorer=scorer, together=together)
        self.scorer = _Counting(scorer)

    @property
    def lookahead(self) -> int:
        """How many steps ahead the candidates are announced."""
        assert self.ahead is not None
        assert self.selector is not None
        return self.ahead.lookahead if self.selector.looks_ahead else 0

    def announce(self, positions: Tensor, step: int, now: int) -> None:
        """The scorer may score them already."""
        assert self.ahead is not None
        self.ahead.announce(positions, step, now, None)

    def close(self) -> None:
        """No more is scored."""
        if self.ahead is not None:
            self.ahead.close()

    def scorer_facts(self) -> dict[str, Any] | None:
        """What scorers elsewhere did, as JSON values; None where there were none."""
        if not isinstance(self.ahead, Ahead):
            return None
        assert self.selector is not None
        second = self.selector.second
        ended = None if second is None else second.ended
        return {
            "count": self.ahead.workers.count,
            "seconds": self.ahead.seconds,
            "schedule": self.ahead.schedule,
            "notes": self.ahead.notes,
            "drifted": None if ended is None else {**asdict(ended), "why": str(ended)},
        }

    def num_candidates(self, batch_size: int, progress: float) -> int:
        """n_B, or the batch itself once selection is over."""
        if progress >= self.until:
            return batch_size
        return math.ceil(batch_size / self.keep - 1e-9)

    @property
    def ended(self) -> HandOver | None:
        """Why the selector handed over to uniform steps; None where it did not."""
        return None if self.selector is None else self.selector.ended

    def plain(self, positions: Tensor, progress: float, version: int) -> Tensor | None:
        """All of the batch after `until`; after a hand-over as many as are kept of the candidates.

        So the training has as many steps, and the learning rate falls with them, as if selection
        went on.
        """
        if progress >= self.until:
            return positions
        if self.ended is None:
            return None
        assert self.selector is not None
        k = self._kept(len(positions), progress)
        return positions[self.selector.draw(positions, version, k).rows]

    def _kept(self, n: int, progress: float) -> int | None:
        """How many of n candidates: of a whole group as many as were asked for, not rounded."""
        whole = n == self.num_candidates(self.batch_size, progress)
        return self.batch_size if whole else None

    def choose(self, candidates: Candidates, progress: float) -> Choice | None:
        """The best of the candidates."""
        assert self.selector is not None
        assert self.scorer is not None
        if self.flops < 0:
            self.flops = torch.tensor(self._flops(candidates), dtype=torch.float64)
        if self.ids is not None:
            candidates = replace(candidates, ids=AtRows(self.ids, candidates.positions))
        before = self.scorer.rows
        k = self._kept(len(candidates), progress)
        alike = processes.count() > 1
        choice = self.selector.choose(candidates, self.scorer, k=k, alike=alike)
        flops = float(self.flops) * (self.scorer.rows - before)
        return replace(choice, flops=flops + self._companion_flops(candidates, choice))

    def _flops(self, candidates: Candidates) -> float:
        """FLOPs of scoring one candidate by the model."""
        assert self.selector is not None
        assert self.module is not None
        needs, scoring = self.selector.method.needs, self.selector.scoring
        few = _few(candidates)
        passes = scoring.samples * ("posterior_log_probs" in needs)
        passes += bool(needs - {"posterior_log_probs", *NO_MODEL})
        flops = passes * count_flops(self.module, few.args) / len(few)
        if scoring.resolution is not None and few.args[0].ndim == 4:
            flops *= min(1.0, scoring.resolution**2 / math.prod(few.args[0].shape[2:]))
        return flops

    def _companion_flops(self, candidates: Candidates, choice: Choice) -> float:
        """FLOPs of the models beside: they score the candidates and train on the chosen."""
        assert self.selector is not None
        total = 0.0
        work = len(candidates) * self.selector.scoring.part + 3 * len(choice.rows)
        for name, companion in self.selector.companions().items():
            if name not in self.beside:
                few = _few(candidates)
                flops = count_flops(companion.module, companion.arguments(few))
                self.beside[name] = flops / len(few)
            total += work * self.beside[name]
        return total

    def state_dict(self) -> dict[str, Tensor]:
        """The selector's state."""
        assert self.selector is not None
        assert self.ahead is not None
        ahead = {f"{AHEAD}{name}": value for name, value in self.ahead.state_dict().items()}
        return {"flops": self.flops, **self.selector.state_dict(), **ahead}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        assert self.selector is not None
        self.flops = state["flops"]
        assert self.ahead is not None
        ahead = {k.removeprefix(AHEAD): v for k, v in state.items() if k.startswith(AHEAD)}
        self.ahead.load_state_dict(ahead)
        self.selector.load_state_dict(
            {k: v for k, v in state.items() if k != "flops" and not k.startswith(AHEAD)}
        )


class _Counting(Scorer):
    """Counts the candidates that are scored."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.rows = scorer, 0

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """As the scorer."""
        self.rows += len(candidates)
        return self.scorer.score(candidates, needs)

    def again(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """As the scorer."""
        self.rows += len(candidates)
        return self.scorer.again(candidates, needs)


def _few(candidates: Candidates) -> Candidates:
    rows = torch.arange(min(FLOPS_SAMPLE, len(candidates)), device=candidates.positions.device)
    return candidates.take(rows)

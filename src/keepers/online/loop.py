"""Online selection in anyone's training loop: two lines."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from keepers import processes
from keepers.errors import KeepersWarning, ParameterError
from keepers.methods import Method
from keepers.online.ahead import AHEAD, Ahead, AheadBackend, schedule_of
from keepers.online.arguments import Among, checked, task_given
from keepers.online.backend import Backend
from keepers.online.batch import Chosen, Parts, Read, cut, cut_batch, read_batch
from keepers.online.checks import unknown_ids
from keepers.online.companion import Companion
from keepers.online.cost import StepCost, measure_step
from keepers.online.facts import doubt, online_facts
from keepers.online.handover import HandOver
from keepers.online.losses import IrreducibleLosses
from keepers.online.numbered import candidates_of, positions_of
from keepers.online.scorer import InProcess, LossFunction, Scorer, Scoring
from keepers.online.scorers import Scorers
from keepers.online.selector import Selector
from keepers.online.together import Everyone, ScoringTogether, deal
from keepers.tasks import Task
from keepers.training import Candidates, Choice


class BatchSelector:
    """Selects the part of a batch that is worth a gradient step, in any training loop.

    Call it with the model and a batch with ids: `(inputs…, labels, ids)` or a mapping. Or pass
    `labels=` and `ids=` beside the batch, which may then be a tensor. The model's mode,
    its running statistics and the random state do not change.

    Args:
        method: an online method of `keepers.methods`, or its name. `auto` is
            `rho-loss`, or uniform steps from the start if `rho-loss` cannot pay with these losses.
        losses: irreducible losses, if the method needs them.
        keep: the fraction of each batch to keep, or a count. A batch shorter than an earlier one
            keeps the same share, but at least two examples if the longer one kept two or more.
        scoring: how candidates are scored, with options that make scoring cheaper.
        stand_in: a small model that scores instead of yours, and is trained along with it.
        updated: an irreducible-loss model that keeps learning (the original function).
        read: a function that gives the `Parts` of a batch of another form.
        loss: a function from your model's output and the labels to one loss for each example.
        task: the kind of labels: `class` numbers (n,); several `labels` (n, labels) of 0 and 1;
            `number` (n,) or (n, numbers); `tokens` (n, length) of a causal language model, with
            -100 for tokens without a loss: the loss of a sequence is the mean over its tokens; or
            a task of `keepers.tasks`. The default is the task of the losses, or classes.
        backend: makes the scorer; by default your model scores in this process.
        scorers: the number of scorers on Ray, or `keepers.Scorers`. With
            `Scoring(max_staleness=1)` they score ahead of a loop that takes its batches from
            `stream`. `close` ends them.
        among: with several processes, each chooses among its `own` candidates, or they make one
            choice among those of `all`, the same for any number of processes. Each then trains on
            the chosen examples that it holds, and must multiply its losses by the weights, which
            correct for their number. A process without chosen examples gets one with weight 0.
        options: of the method.
        seed: for methods that draw.
        hand_over: `rho-loss` changes to uniform steps when nothing reducible is left: a random part
            of each batch, without scoring. A warning says why, and `ended` holds the numbers. False
            selects to the end.

    Raises:
        ParameterError: something that the method needs is missing; calls raise it, too.

    >>> losses = IrreducibleLosses.given([1, 2, 3, 4], [0.0, 0.0, 0.0, 9.0])
    >>> choose = BatchSelector("rho-loss", losses, keep=0.5)
    >>> batch = (torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.zeros(4).long(), [1, 2, 3, 4])
    >>> model = nn.Linear(1, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[0.0], [1.0]]))
    >>> chosen = choose(model, batch)
    >>> chosen.ids, chosen.batch[0].tolist(), chosen.weights.tolist()
    ([3, 2], [[2.0], [1.0]], [1.0, 1.0])
    """

    def __init__(
        self,
        method: str | Method = "rho-loss",
        losses: IrreducibleLosses | None = None,
        *,
        keep: int | float | str = 0.1,
        scoring: Scoring | None = None,
        stand_in: Companion | None = None,
        updated: Companion | None = None,
        read: Read | None = None,
        loss: LossFunction | None = None,
        task: str | Task | None = None,
        backend: Backend = InProcess,
        scorers: int | Scorers | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        hand_over: bool = True,
        among: Among = "own",
    ) -> None:
        backend = checked(locals())
        auto = method == "auto"
        if auto:
            method = "rho-loss"
        self.losses, self.read, self.loss, self.backend = losses, read, loss, backend
        self.among: Among = among
        self.selector = Selector(
            method,
            keep=keep,
            irreducible=None if losses is None else losses.values,
            scoring=scoring,
            seed=seed,
            num_examples=0 if losses is None else len(losses),
            of="" if losses is None else losses.fingerprint,
            options=options,
            stand_in=stand_in,
            updated=updated,
            hand_over=hand_over,
            task=task_given(task, losses),
        )
        if losses is not None and "irreducible_losses" in self.selector.method.needs:
            for sentence in losses.weaknesses if processes.rank() == 0 else ():
                warnings.warn(f"losses: {sentence}", KeepersWarning, stacklevel=2)
        if auto:
            self._decide(losses, keep)
        self.steps = 0
        self.fetched = 0  # batches that stream has taken from its loader, and not given yet
        self._made: tuple[nn.Module, Scorer] | None = None
        self._resumed: dict[str, Tensor] = {}  # of a scorer that is made with the first batch
        self._noted: list[str] = []  # of scorers that were closed
        self.in_step = False  # with the other processes, each with a selector like this one
        self.since: int | None = None  # first step of an update, where that takes several

    def __call__(
        self, model: nn.Module, batch: Any, *, labels: Any = None, ids: Any = None
    ) -> Chosen:
        """The chosen part of `batch`.

        Raises:
            ParameterError: a batch without ids or labels, ids without an irreducible loss, more
                kept than there is, or an output that is no logits of the labels' width.
            KeepersError: losses that are not numbers, with the ids.
        """
        parts, selector = self._parts(batch, labels, ids), self.selector
        over, total = selector.ended is not None, None
        if self.among == "all" and processes.count() > 1:
            choice, total = self._choose_together(model, parts)
        elif over:
            choice = selector.draw(positions_of(parts, self.losses)[0], self.steps)
        else:
            candidates, known = self._candidates(parts, self.steps)
            alike = self.in_step or isinstance(model, DistributedDataParallel)
            choice = selector.choose(candidates, self._scorer(model), known, alike=alike)
        if selector.ended is not None and not over and processes.rank() == 0:
            warnings.warn(str(selector.ended), KeepersWarning, stacklevel=2)
        self.steps += 1
        n, on_host = parts.labels.shape[0], choice.on_host
        rows = choice.rows.to(parts.device, non_blocking=True)
        weights = choice.weights
        if weights is None:
            weights = torch.ones(len(rows), device=rows.device)
        return Chosen(
            batch=cut_batch(batch, rows, n, on_host)
            if self.read is None
            else parts.within(batch, rows, on_host),
            ids=cut(parts.ids, rows, n, on_host),
            labels=cut(parts.labels, rows, n, on_host),
            rows=rows,
            weights=weights,
            weighted=choice.weights is not None,
            staleness=choice.staleness,
            total=total,
        )

    def _choose_together(self, model: nn.Module, parts: Parts) -> tuple[Choice, int]:
        """This rank's part of one choice among the candidates of all, and of how many it is."""
        own, known = self._candidates(parts, self.steps)
        if known is not None and not known.all():
            raise unknown_ids(own, known)
        candidates = Everyone.gather(own, None if self.losses is None else self.losses.ids)
        choice = self.selector.choose(candidates, ScoringTogether(scorer=self._scorer(model)))
        dealt = deal(choice, candidates)
        part = Choice(
            rows=dealt.rows.to(parts.device, non_blocking=True),
            weights=dealt.weights.to(parts.device, non_blocking=True),
            on_host=dealt.rows,
            staleness=choice.staleness,
        )
        return part, dealt.chosen

    def _decide(self, losses: IrreducibleLosses | None, keep: int | float | str) -> None:
        """Let every step be uniform where selecting cannot pay with these losses."""
        share = self.selector.budget.value
        if isinstance(share, int):
            raise ParameterError("keep", f"got the count {keep} for auto", "Give a fraction: 0.1")
        assert losses is not None  # as the selector found
        doubted = doubt(losses.origin, few_passes=False)
        facts = online_facts(losses.values, losses.quality, keep=share, doubted=doubted)
        if not facts.pays:
            self.selector.watch.ended = HandOver(step=0, reason=facts.why)
            if processes.rank() == 0:
                warnings.warn(str(self.ended), KeepersWarning, stacklevel=3)

    @property
    def ended(self) -> HandOver | None:
        """Why steps are now uniform; None while the method selects."""
        return self.selector.ended

    def _parts(self, batch: Any, labels: Any, ids: Any) -> Parts:
        if self.read is None:
            return read_batch(batch, labels=labels, ids=ids)
        if labels is not None or ids is not None:
            raise ParameterError(
                "read", "labels or ids were given beside the batch", "Let it read them"
            )
        return self.read(batch)

    def _candidates(self, parts: Parts, step: int) -> tuple[Candidates, Tensor | None]:
        return candidates_of(parts, self.losses, self.selector.task, step, self.since)

    def _scorer(self, model: nn.Module) -> Scorer:
        selector = self.selector
        if isinstance(model, DistributedDataParallel):
            model = model.module  # scoring is the business of one process
        if self._made is not None and self._made[0] is model:
            return self._made[1]
        self.close()
        scorer = self.backend(
            module=model,
            scoring=selector.scoring,
            seed=selector.seed,
            loss=self.loss,
            task=selector.task,
        )
        keep = selector.budget.value
        scorer.begin(needs=selector.of_model, keep=keep if isinstance(keep, float) else None)
        if self._resumed:
            scorer.load_state_dict(self._resumed)
            self._resumed = {}
        self._made = model, scorer
        return scorer

    def stream(self, model: nn.Module, loader: Iterable[Any]) -> Generator[Chosen]:
        """Choose from each batch of a loader, and let scorers work ahead.

        Take your step before you ask for the next choice, because the scorers use the weights at
        that time. Save a state after a step; `fetched` batches were then taken from the loader
        but not yet given to you (`loader.state_dict(ahead=choose.fetched)`).

        >>> choose = BatchSelector("loss", keep=1)
        >>> batches = [(torch.eye(2), torch.tensor([0, 1]), [1, 2])]
        >>> [chosen.ids for chosen in choose.stream(nn.Linear(2, 2), batches)]  # doctest: +ELLIPSIS
        [[...]]
        """
        for batch in self.announcing(model, loader):
            yield self(model, batch)

    def announcing(self, model: nn.Module, loader: Iterable[Any]) -> Generator[Any]:
        """The batches of a loader, unchanged; following batches are sent to the scorers.

        For a loop that calls the selector itself; otherwise use `stream`.
        """
        waiting: deque[Any] = deque()
        ahead = self._scorer(model).lookahead
        for batch in loader:
            waiting.append(batch)
            if len(waiting) > 1:
                self.announce(model, batch, len(waiting) - 1)
            self.fetched = len(waiting) - 1
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            self.fetched = len(waiting) - 1
            yield waiting.popleft()

    @property
    def lookahead(self) -> int:
        """How many updates ahead the scorers need the batches; 0 if they do not score ahead."""
        ahead = isinstance(self.backend, AheadBackend) and self.selector.looks_ahead
        return self.selector.scoring.max_staleness if ahead else 0

    def announce(self, model: nn.Module, batch: Any, ahead: int) -> None:
        """Send the scorers a batch that will come `ahead` calls after the next one.

        They score it with the current weights. `announcing` and `stream` call this; another kind of
        loop may call it itself. If another batch comes instead, it is scored when it comes.
        """
        if not self.selector.looks_ahead:
            return
        step = self.steps + ahead
        candidates, known = self._candidates(self._parts(batch, None, None), step)
        if known is None or known.all():  # else it is said when its turn has come
            now = self.steps if self.since is None else self.since
            self._scorer(model).announce(candidates.positions, step, now, candidates)

    @property
    def notes(self) -> list[str]:
        """Messages: what happened to scorers, and why scoring ahead ended."""
        second = self.selector.second
        drifted = [] if second is None or second.ended is None else [str(second.ended)]
        return [*self._noted, *([] if self._made is None else self._made[1].notes), *drifted]

    @property
    def schedule(self) -> list[tuple[int, tuple[int, ...]]]:
        """Which weights scored each piece of each step, if there are scorers: for `Replay`."""
        if self._made is None:
            return schedule_of(self._resumed)
        made = self._made[1]
        return made.schedule if isinstance(made, Ahead) else []

    def close(self) -> None:
        """End the scorers; the next call starts them again. `notes` and `schedule` stay."""
        if self._made is not None:
            made, self._made = self._made[1], None
            made.close()
            self._noted += made.notes
            self._resumed = made.state_dict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step_cost(
        self,
        model: nn.Module,
        batch: Any,
        say: Callable[[str], None] | None = None,
        *,
        labels: Any = None,
        ids: Any = None,
    ) -> StepCost:
        """Measure the cost of a selecting step in plain steps, on this batch.

        The model, its gradients and the random state do not change.
        """
        candidates, known = self._candidates(self._parts(batch, labels, ids), self.steps)
        cost = measure_step(
            model,
            candidates,
            self._scorer(model),
            self.selector,
            known=known,
            loss=self.loss,
            task=self.selector.task,
        )
        if say is not None:
            say(str(cost))
        return cost

    def state_dict(self) -> dict[str, Tensor]:
        """The state to save in a checkpoint, to continue with the same choices."""
        made = self._resumed if self._made is None else self._made[1].state_dict()
        ahead = {f"{AHEAD}{name}": value for name, value in made.items()}
        return {"steps": torch.tensor(self.steps), **self.selector.state_dict(), **ahead}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            RunError: it is that of a selector with other data or other settings.
        """
        ahead = {k.removeprefix(AHEAD): v for k, v in state.items() if k.startswith(AHEAD)}
        names = {name for name in state if not name.startswith(AHEAD)} - {"steps"}
        self.selector.load_state_dict(
            {name: state[name] for name in names} if "steps" in state else {}
        )
        self.close()
        self._resumed = ahead
        self.steps = int(state["steps"])


class RhoLoss(BatchSelector):
    """Selects the examples with the largest reducible holdout loss: loss minus irreducible loss.

    They are learnable, worth learning and not yet learnt (Mindermann et al., ICML 2022). All
    arguments are those of `BatchSelector`.
    """

    def __init__(
        self, losses: IrreducibleLosses, *, keep: int | float | str = 0.1, **others: Any
    ) -> None:
        super().__init__("rho-loss", losses, keep=keep, **others)

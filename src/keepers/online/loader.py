"""A loader for anyone's loop that resumes in the middle of an epoch, on any number of ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from keepers import processes
from keepers.errors import KeepersError, KeepersWarning, ParameterError, RunError
from keepers.files import fingerprint
from keepers.online.epochs import Epoch
from keepers.online.items import Asked, Collate, Items
from keepers.online.loading import check_loading, check_replicas
from keepers.online.loop import BatchSelector
from keepers.random import derived_seed
from keepers.training import BatchPolicy, InOrder, Runtime, Shuffle
from keepers.words import counted

_COUNTERS = ("settings", "data", "ranks", "epoch", "step")


class SelectingLoader:
    """Batches of a map-style data set, for a loop that must resume exactly after an interruption.

    The order of an epoch is a function of (seed, epoch, the state of the policy). It is cut into
    global batches of at most `batch_size`, whose sizes differ by at most one: no last batch is
    tiny, and none is padded with repeated examples. Neither the order nor the batches depend on the
    number of ranks and workers: of b examples, rank r of R loads those at r, r + R, r + 2R…

    Iteration begins where the last one stopped: at the next batch of the epoch, or at the next
    epoch. `state_dict` counts the batches that the loop received, not those that workers loaded
    ahead. Save it after the step on a batch; it includes the states of the selector and the policy.

    Random draws of items from the global generators of torch, numpy and Python (augmentation) are a
    function of (seed, epoch, row).

    Args:
        dataset: has a length and items by index. A selector needs items with ids
            (`keepers.with_ids`).
        choose: the selector that your loop calls with each batch; the loader saves its state. With
            several ranks and `among='all'` it makes the same choice for any number of ranks.
        batch_size: candidates of a step, over all ranks.
        shuffle: a new random order each epoch; False keeps the order of the data set.
        policy: replaces `shuffle`: it sets the order and the weights of each epoch. `FreshSubset`,
            `Weighted`, `WeightedSampling` of `keepers.training`, or `keepers.InfoBatch`. Weights
            are the last item of each batch (in a mapping, `keepers_weights`): the mean over the
            ranks of the mean of weight × loss is the mean over the global batch.
        epochs: the total number of epochs, which `InfoBatch` needs: it trains on everything in the
            last ones.
        seed: for the order, and for random draws of items.
        collate_fn, loading: those of `torch.utils.data.DataLoader`, such as `num_workers`.
        num_replicas, rank: as in torch's `DistributedSampler`; by default the processes of
            `torch.distributed`.

    Raises:
        ParameterError: data without a length or without examples; a batch size under 1, or one
            that leaves a rank without an example in some step; a policy with weights together
            with a selector, or a policy that selects itself; InfoBatch without `epochs`.

    >>> loader = SelectingLoader(list(range(5)), batch_size=2, shuffle=False)
    >>> first = next(iter(loader))
    >>> state = loader.state_dict()
    >>> again = SelectingLoader(list(range(5)), batch_size=2, shuffle=False)
    >>> again.load_state_dict(state)
    >>> first.tolist(), [batch.tolist() for batch in again]
    ([0, 1], [[2, 3], [4]])
    """

    def __init__(
        self,
        dataset: Any,
        choose: BatchSelector | None = None,
        *,
        batch_size: int,
        shuffle: bool = True,
        policy: BatchPolicy | None = None,
        epochs: int | None = None,
        seed: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        **loading: Any,
    ) -> None:
        self.dataset = Items(dataset, seed)
        n = len(self.dataset)
        check_loading(choose, batch_size, policy, shuffle, n, epochs, seed, loading)
        check_replicas(rank, num_replicas)
        self.choose, self.batch_size, self.epochs, self.seed = choose, int(batch_size), epochs, seed
        self.policy = policy or (Shuffle() if shuffle else InOrder())
        self.policy.start(
            nn.Module(),
            runtime=Runtime(device=torch.device("cpu")),
            seed=seed,
            num_examples=n,
            batch_size=batch_size,
        )
        if choose is not None and self.policy.weights(torch.arange(1)) is not None:
            raise ParameterError(
                "policy", "it weights examples, and so may the selector", "Give one of them"
            )
        self._replicas = None if num_replicas is None or rank is None else (rank, num_replicas)
        self._epoch, self._step, self._noted, self._loaded = 0, 0, True, False
        self._cut: Epoch | None = None
        self._pass: object = None
        self._last, self._share = torch.empty(0, dtype=torch.int64), 1.0
        self._generator = torch.Generator()
        self.batch_sampler = Batches(self)
        self.collate_fn = Collate(collate_fn)
        self.loader: DataLoader[Any] = DataLoader(
            self.dataset,  # pyright: ignore[reportArgumentType]
            batch_sampler=Batches(self, rest=True),  # pyright: ignore[reportArgumentType]
            collate_fn=self.collate_fn,
            generator=self._generator,
            **loading,
        )

    @property
    def sampler(self) -> SimpleNamespace:
        """What Lightning tells of each epoch.

        A run that `max_steps` ended within an epoch counts that epoch as over when it goes on, so
        what is told before the first batch does not leave an epoch that was loaded.
        """

        def set_epoch(epoch: int) -> None:
            if not (self._loaded and 0 < self._step < len(self)):
                self.set_epoch(epoch)

        return SimpleNamespace(set_epoch=set_epoch)

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self._epoch + (self._step >= len(self))

    @property
    def step(self) -> int:
        """How many batches of that epoch the loop received."""
        return self._step if self._step < len(self) else 0

    @property
    def share(self) -> float:
        """The factor for the mean loss of the last batch on this rank.

        The number of its examples, divided by the mean over all ranks: 1 if a batch divides evenly.
        With this factor, the mean over the ranks is the mean over the global batch. The weights of
        a policy or of a selector include it already.
        """
        return self._share

    def __len__(self) -> int:
        """Batches of the epoch that was begun last."""
        return self._now().batches

    def __iter__(self) -> Generator[Any]:
        """The batches of this rank, from where the last pass stopped to the end of its epoch.

        Raises:
            ParameterError: a step has fewer examples than there are ranks.
            KeepersError: a state was loaded, another epoch set or another pass begun meanwhile; or
                the policy was not told the losses of the epoch before.
        """
        self._begin()
        mine = self._pass = object()
        self._generator.manual_seed(derived_seed(self.seed, "workers", self._epoch, self._step))
        for batch in self.loader:
            if self._pass is not mine:
                raise KeepersError(
                    "loader: during this iteration a state was loaded, an epoch set or another "
                    "iteration started. Start a new one"
                )
            rank, ranks = self._rank()
            self._last = self._now().share(self._step, rank=rank, ranks=ranks)
            self._share = len(self._last) * ranks / len(self._now().batch(self._step))
            self._step, self._loaded = self._step + 1, False
            yield batch

    def set_epoch(self, epoch: int, step: int | None = None) -> None:
        """Go to this epoch: to its first batch, unless the loader is in the middle of it."""
        if step is not None or epoch != self._epoch or self._step >= len(self):
            self._go(epoch, step or 0)

    def note(self, losses: Tensor) -> None:
        """Give the policy the losses (n,) of the last batch (`InfoBatch`).

        Every rank calls it with the losses of its own examples; the ranks exchange them.

        Raises:
            ParameterError: not one loss for each example, or one that is not finite (raised on all
                ranks).
        """
        positions, losses = self._last, losses.detach().float().cpu()
        if losses.shape != positions.shape:
            raise ParameterError(
                "losses",
                f"got shape {tuple(losses.shape)} for a batch of {len(positions)}",
                "Give one loss for each example of the last batch",
            )
        if self._rank()[1] > 1:
            lengths = processes.lengths_of(positions)
            positions = torch.cat(processes.gather_parts(positions, lengths))
            losses = torch.cat(processes.gather_parts(losses, lengths))
        wrong = (~losses.isfinite()).nonzero().squeeze(1)
        if len(wrong):
            raise ParameterError(
                "losses",
                f"got {float(losses[wrong[0]])} for row {int(positions[wrong[0]])} of the data: "
                f"{counted(len(wrong), 'loss', 'losses')} of this batch are not finite",
                "Look for a model that diverged (lower lr), or for inputs that are not finite",
            )
        self.policy.note(positions, losses)
        self._noted = True

    def state_dict(self, ahead: int = 0) -> dict[str, Tensor]:
        """The state to save in a checkpoint, to continue after the last step.

        It is the same on all ranks, unless a selector chooses among the candidates of its own rank.
        `ahead` is the number of batches that a loop fetched early and has not trained on.

        Raises:
            ParameterError: `ahead` is more than the batches received in this epoch.
        """
        if not 0 <= ahead <= self._step:
            raise ParameterError(
                "ahead",
                f"got {ahead}, but the loop received {counted(self._step, 'batch', 'batches')} of "
                "this epoch",
                "Give the number of them that were not trained on yet",
            )
        state = {
            **self._identity(),
            "ranks": torch.tensor(self._rank()[1]),
            "epoch": torch.tensor(self._epoch),
            "step": torch.tensor(self._step - ahead),
        }
        state |= {f"policy.{name}": value for name, value in self.policy.state_dict().items()}
        if self.choose is not None:
            chosen = self.choose.state_dict()
            state |= {f"choose.{name}": value for name, value in chosen.items()}
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state of `state_dict`, on any number of ranks; iteration continues there.

        Raises:
            RunError: the state is of a loader with other data or settings, or not of a loader.
        """
        missing = [name for name in _COUNTERS if name not in (state or ())]
        if missing:
            raise RunError(f"state: it lacks {', '.join(missing)}. Give a state of state_dict()")
        now = self._identity()
        if int(state["data"]) != int(now["data"]):
            raise RunError(
                "state: it is of a loader with other data: their number, order, ids or content "
                "differ. Load it with the same data"
            )
        if int(state["settings"]) != int(now["settings"]):
            raise RunError(
                "state: it is of a loader with other settings. Make the loader with the same "
                "ones: batch_size, shuffle, policy, epochs, seed"
            )
        parts: dict[str, dict[str, Tensor]] = {"policy": {}, "choose": {}}
        for name, value in state.items():
            part, dot, rest = name.partition(".")
            if dot and part in parts:
                parts[part][rest] = value
        if bool(parts["choose"]) != (self.choose is not None):
            have = "with" if parts["choose"] else "without"
            raise RunError(
                f"state: it is of a loader {have} a selector. Make this loader in the same way"
            )
        if self.choose is not None:
            self.choose.load_state_dict(parts["choose"])
            ranks, here = int(state["ranks"]), self._rank()[1]
            if ranks != here and self.choose.among == "own":
                warnings.warn(
                    f"choose: the state is of {counted(ranks, 'rank')}, but here are {here}, and "
                    "each chooses among its own candidates, so the choices will differ. With "
                    "among='all' the choice is the same on any number of ranks",
                    KeepersWarning,
                    stacklevel=2,
                )
        try:
            self.policy.load_state_dict(parts["policy"])
        except KeyError as error:
            lacking = f"policy.{error.args[0]}"
            raise RunError(f"state: it lacks {lacking}. Give a state of state_dict()") from None
        self._cut = None
        self._go(int(state["epoch"]), int(state["step"]))
        self._loaded = True

    def _go(self, epoch: int, step: int) -> None:
        self._epoch, self._step, self._noted, self._pass = epoch, step, True, None
        self._loaded = False

    def _begin(self) -> None:
        """Be at the next batch of an epoch that has one."""
        if self._step >= len(self):
            if not self._noted:
                raise KeepersError(
                    f"policy: {type(self.policy).__name__} got no losses in epoch {self._epoch}. "
                    "Call loader.note(losses) after each step"
                )
            self._go(self._epoch + 1, 0)
        if not self._step:
            self._noted = not self.policy.watches
        least, ranks = self._now().least, self._rank()[1]
        if least < ranks:
            raise ParameterError(
                "batch_size",
                f"got {self.batch_size}, so a step of epoch {self._epoch} has "
                f"{counted(least, 'example')} for {ranks} ranks",
                "Give at least one for each rank: a larger batch_size, or fewer ranks",
            )

    def _now(self) -> Epoch:
        """The epoch that was begun last."""
        if self._cut is None or self._cut.number != self._epoch:
            progress = min(1.0, self._epoch / self.epochs) if self.epochs else 0.0
            every = torch.arange(len(self.dataset))
            rows = self.policy.order(every, seed=self.seed, epoch=self._epoch, progress=progress)
            if not len(rows):
                raise ParameterError(
                    "policy",
                    f"{type(self.policy).__name__} left no example for epoch {self._epoch}",
                    "Give one that leaves at least one",
                )
            self._cut = Epoch.cut(self._epoch, rows, self.batch_size)
        return self._cut

    def asked(self, first: int) -> Iterator[list[Asked]]:
        """What the batches of this rank ask for, from the batch `first` of the epoch on."""
        epoch, (rank, ranks) = self._now(), self._rank()
        for step in range(first, epoch.batches):
            own = epoch.share(step, rank=rank, ranks=ranks)
            weights = self.policy.weights(own)
            if weights is None:
                yield [Asked(row, epoch.number) for row in own.tolist()]
                continue
            # Ranks average their means: each counts by its share of the batch.
            weights = weights.double().cpu() * (len(own) * ranks / len(epoch.batch(step)))
            pairs = zip(own.tolist(), weights.tolist(), strict=True)
            yield [Asked(row, epoch.number, weight) for row, weight in pairs]

    def _rank(self) -> tuple[int, int]:
        return self._replicas or (processes.rank(), processes.count())

    def _identity(self) -> dict[str, Tensor]:
        named = repr(self.policy)
        if " at 0x" in named:  # the default of Python, another one in each process
            named = type(self.policy).__qualname__
        settings = fingerprint(self.batch_size, named, self.epochs, self.seed)
        found = {"settings": settings, "data": self.dataset.identity}
        return {name: torch.tensor(int(value[:15], 16)) for name, value in found.items()}


class Batches:
    """The batch sampler of an epoch, or of the `rest` of it, for a DataLoader."""

    def __init__(self, loader: SelectingLoader, *, rest: bool = False) -> None:
        self.loader, self.rest = loader, rest

    def __iter__(self) -> Iterator[list[Asked]]:
        return self.loader.asked(self.loader.step if self.rest else 0)

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """As the loader's."""
        self.loader.set_epoch(epoch)

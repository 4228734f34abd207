"""Online selection inside the `Trainer` of the `lightning` library (extra `lightning`)."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from keepers.errors import MissingExtraError, ParameterError
from keepers.integrations.checks import check_loader, check_selector
from keepers.online import BatchSelector, SelectingLoader, read_batch

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.core.hooks import DataHooks
else:
    try:
        from lightning.pytorch import Callback
        from lightning.pytorch.core.hooks import DataHooks
    except ImportError:
        Callback = DataHooks = object  # importing this module stays possible; using it is refused


class SelectingCallback(Callback):
    """Lets `training_step` see the chosen part of each training batch.

    The loader gives candidates that carry their ids: `(inputs…, labels, ids)`, a mapping, or what
    the selector's `read` understands. Each batch is cut once it is on the device, scored with the
    module's `forward` in the trainer's precision; then its ids are taken out, so that
    `training_step` and every other hook see `(inputs…, labels)` of the chosen examples. Batches of
    validation, test and prediction stay as they are. What the selector knows is part of
    Lightning's checkpoints; of several processes, that of the first. With a
    `keepers.SelectingLoader`, a run goes on in the middle of an epoch, and on another number of
    processes where the selector chooses among the candidates of all.

    Scorers that look ahead (`max_staleness`) have to know the next batch while this one is trained
    on: give `fit` the loader as `callback.ahead(loader)`.

    For the length of `fit` the strategy's `batch_to_device` is wrapped; the module and the data
    module are left alone.

    Args:
        selector: chooses among the candidates.
        weighted: `training_step` multiplies the losses with `self.keepers_weights` (k,), as
            methods that draw with weights need. The callback sets it before each step: ones where
            the method has none.

    Raises:
        MissingExtraError: `lightning` is not installed.
        ParameterError: a selector that is none; in `fit`, a method with weights (or a choice among
            the candidates of all processes) without `weighted`, a loader whose policy weighs, a
            `training_step` that takes the loader itself, and all that the selector refuses; where
            scorers look ahead, a loader that is not read ahead, or batches that
            `on_before_batch_transfer` changes.

    ```python
    trainer = Trainer(callbacks=[SelectingCallback(choose)])
    ```
    """

    def __init__(self, selector: BatchSelector, *, weighted: bool = False) -> None:
        if Callback is object:
            raise MissingExtraError("SelectingCallback", "lightning")
        check_selector(selector)
        super().__init__()
        self.selector, self.weighted = selector, weighted
        self._restore: Callable[[], None] | None = None

    def ahead(self, loader: Any) -> ReadAhead:
        """The same batches, which are read before their turn and announced to scorers.

        Raises:
            ParameterError: a loader with a state of its own that is no `keepers.SelectingLoader`:
                it would count what was read as trained on.
        """
        return ReadAhead(loader, self.selector)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Select from here on."""
        self._check(pl_module)
        if self.selector.among == "all" and trainer.world_size > 1:  # each has a share
            self._check_weighted()
        strategy: Any = trainer.strategy
        self.selector.in_step = trainer.world_size > 1
        to_device, own = strategy.batch_to_device, vars(strategy).get("batch_to_device")

        def to_device_and_cut(batch: Any, *others: Any, **more: Any) -> Any:
            if not trainer.training:
                return to_device(batch, *others, **more)
            loader: Any = trainer.train_dataloader  # another one where it is loaded anew
            coming = loader.next() if isinstance(loader, ReadAhead) else []
            own = coming[0] if coming else Coming(batch)
            if own.moved is None:
                own.moved = to_device(batch, *others, **more)
            for place, each in enumerate(coming[1:], 1):
                if each.moved is None and place <= self.selector.lookahead:
                    converted = trainer.precision_plugin.convert_input(each.batch)
                    each.moved = to_device(converted, *others, **more)
                    with trainer.precision_plugin.train_step_context():
                        self.selector.announce(trainer.lightning_module, each.moved, place)
            return None if own.moved is None else self._cut(trainer, own.moved)

        def restore() -> None:
            if own is None:
                del strategy.batch_to_device
            else:
                strategy.batch_to_device = own
            vars(pl_module).pop("keepers_weights", None)

        strategy.batch_to_device, self._restore = to_device_and_cut, restore

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a loader whose policy takes part in the steps, or that is not read ahead."""
        loader = trainer.train_dataloader
        if isinstance(loader, ReadAhead):
            loader = loader.loader
        elif self.selector.lookahead:
            raise ParameterError(
                "max_staleness",
                f"got {self.selector.lookahead}, but the next batch is unknown",
                "Give fit the loader as callback.ahead(loader)",
            )
        if isinstance(loader, SelectingLoader):
            check_loader(loader)

    def _check(self, pl_module: LightningModule) -> None:
        if "dataloader_iter" in inspect.signature(pl_module.training_step).parameters:
            raise ParameterError(
                "training_step",
                "takes dataloader_iter, so no batch passes through the trainer",
                "Use batch, or call the selector in training_step yourself",
            )
        if self.selector.selector.method.replacement:  # such picks always carry weights
            self._check_weighted()
        modules = (pl_module, getattr(pl_module.trainer, "datamodule", None))
        if self.selector.lookahead and any(map(_changes_batches, modules)):
            raise ParameterError(
                "on_before_batch_transfer",
                "changes a batch after it was announced to scorers",
                "Do it in the data set, its collator or on_after_batch_transfer, or leave "
                "max_staleness out",
            )

    def _check_weighted(self) -> None:
        if not self.weighted:
            raise ParameterError(
                "weighted",
                f"got False, but {self.selector.selector.method.name} weights its examples"
                + (", each by the share of its process" if self.selector.among == "all" else ""),
                "Multiply the losses with self.keepers_weights in training_step and give "
                "weighted=True",
            )

    def _cut(self, trainer: Trainer, batch: Any) -> Any:
        pl_module = trainer.lightning_module
        with trainer.precision_plugin.train_step_context():
            chosen = self.selector(pl_module, batch)
        if chosen.weighted:
            self._check_weighted()
        vars(pl_module)["keepers_weights"] = chosen.weights
        read = self.selector.read or read_batch
        return _without(chosen.batch, batch, read(batch).ids)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the strategy as it was."""
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the strategy as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._restore is not None:
            self._restore()
        self._restore = None

    def state_dict(self) -> dict[str, Tensor]:
        """What Lightning's checkpoint holds of the selector."""
        return self.selector.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.selector.load_state_dict(state_dict)


@dataclass
class Coming:
    """A batch that was read; `moved` is what it is on the device, once it was announced."""

    batch: Any
    moved: Any = None


class ReadAhead:
    """A loader whose batches are read ahead of their turn, as far as scorers look ahead.

    What Lightning sees is the loader itself: its length, its sampler, and the state after what was
    trained on.
    """

    def __init__(self, loader: Any, selector: BatchSelector) -> None:
        if hasattr(loader, "state_dict") and not isinstance(loader, SelectingLoader):
            raise ParameterError(
                "loader",
                f"got {type(loader).__name__}, whose state also counts batches that were only "
                "read ahead",
                "Give a keepers.SelectingLoader, or a loader without a state",
            )
        self.loader: Any = loader
        self.selector = selector
        self.coming: deque[Coming] = deque()  # read, and their turn is to come

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # of a copy that is still empty
            raise AttributeError(name)
        found = getattr(self.loader, name)
        return partial(found, len(self.coming)) if name == "state_dict" else found

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Generator[Any]:
        self.coming = deque()
        waiting: deque[Any] = deque()
        for batch in self.loader:
            self.coming.append(Coming(batch))
            waiting.append(batch)
            if len(waiting) > self.selector.lookahead:
                yield waiting.popleft()
        yield from waiting

    def next(self) -> list[Coming]:
        """The batch whose turn it is, and those that follow it as far as they were read."""
        return [self.coming.popleft(), *self.coming] if self.coming else []

    @property
    def worker_init_fn(self) -> Any:
        """The loader's, which Lightning sets where workers are seeded."""
        return self.loader.worker_init_fn

    @worker_init_fn.setter
    def worker_init_fn(self, value: Any) -> None:
        self.loader.worker_init_fn = value


def _changes_batches(owner: Any) -> bool:
    own = getattr(type(owner), "on_before_batch_transfer", None)
    return owner is not None and own is not DataHooks.on_before_batch_transfer


def _without(cut: Any, batch: Any, ids: Any) -> Any:
    """`cut` less the part which is, in the `batch` it was cut from, the `ids`.

    >>> ids = [3, 4]
    >>> _without(("x", "y", [4]), ("xx", "yy", ids), ids)
    ('x', 'y')
    """
    if isinstance(batch, Mapping):
        return {name: part for name, part in cut.items() if batch[name] is not ids}
    if isinstance(batch, tuple | list) and not hasattr(batch, "_fields"):
        kept = [part for part, whole in zip(cut, batch, strict=True) if whole is not ids]
        return type(batch)(kept)
    return cut

"""Online selection inside the `Trainer` of the `lightning` library (extra `lightning`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from keepers.errors import MissingExtraError, ParameterError
from keepers.integrations.checks import check_loader, check_selector
from keepers.online import BatchSelector, SelectingLoader, read_batch

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        Callback = object  # importing this module stays possible; using it is refused


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
            `training_step` that takes the loader itself, and all that the selector refuses.

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

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Select from here on."""
        self._check(pl_module)
        if self.selector.among == "all" and trainer.world_size > 1:  # each has a share
            self._check_weighted()
        strategy: Any = trainer.strategy
        self.selector.in_step = trainer.world_size > 1
        to_device, own = strategy.batch_to_device, vars(strategy).get("batch_to_device")

        def to_device_and_cut(batch: Any, *others: Any, **more: Any) -> Any:
            moved = to_device(batch, *others, **more)
            return self._cut(trainer, moved) if trainer.training and moved is not None else moved

        def restore() -> None:
            if own is None:
                del strategy.batch_to_device
            else:
                strategy.batch_to_device = own
            vars(pl_module).pop("keepers_weights", None)

        strategy.batch_to_device, self._restore = to_device_and_cut, restore

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a loader whose policy takes part in the steps."""
        loader = trainer.train_dataloader
        if isinstance(loader, SelectingLoader):
            check_loader(loader)

    def _check(self, pl_module: LightningModule) -> None:
        if "dataloader_iter" in inspect.signature(pl_module.training_step).parameters:
            raise ParameterError(
                "training_step",
                "takes dataloader_iter, so that no batch passes through the trainer",
                "Take batch, or call the selector in training_step yourself",
            )
        if self.selector.selector.method.replacement:  # such picks always carry weights
            self._check_weighted()

    def _check_weighted(self) -> None:
        if not self.weighted:
            raise ParameterError(
                "weighted",
                f"got False, and {self.selector.selector.method.name} weights its examples"
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

"""Online selection inside the `Trainer` of the `transformers` library (extra `hf`)."""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from keepers.errors import KeepersError, MissingExtraError, ParameterError, RunError
from keepers.integrations.checks import check_loader, check_selector
from keepers.online import BatchSelector, SelectingLoader
from keepers.online.batch import LABEL_KEYS
from keepers.online.items import WEIGHTS
from keepers.sealed import read_tensors, write_tensors
from keepers.tasks import BUILT_IN, of_batches
from keepers.tasks.tokens import IGNORED, Tokens, token_losses

_LOADER = "keepers_loader.safetensors"
_REQUIRED = ("transformers", "accelerate")
_Base: Any = object  # `transformers.Trainer` comes behind this class, from the user


class SelectingTrainerMixin(_Base):
    """Makes a `Trainer` take its steps on the chosen part of each training batch.

    `per_device_train_batch_size` is the number of candidates; the method's `keep` says how many of
    them are trained on. With a `loader` it is the loader's `batch_size`, of all processes together,
    and a run goes on in the middle of an epoch on another number of processes. The choice is made
    where the Trainer gathers the batches of a step, so that `num_items_in_batch` and gradient
    accumulation count the chosen examples alone. Batches of evaluation and prediction stay whole.
    What the selector knows is saved in the Trainer's checkpoints and restored with them. Where its
    scorers look ahead, the batches of the next update steps are read before those of this one are
    chosen; `max_staleness` counts update steps.

    A training batch needs the ids: an integer column `id_column` of the data set (as
    `keepers.with_ids` adds it), which `remove_unused_columns` spares and the model never sees. A
    collator of your own has to pass it on.

    Where the method weights what it draws, the loss is the weighted one: the sum of `weights` ×
    loss over `num_items_in_batch`, or its mean where the Trainer does not count. The loss of one
    example is the selector's `loss`, or that of its `task`: cross-entropy of the logits (with the
    Trainer's `label_smoothing_factor`), binary cross-entropy over several labels, squared error, or
    the mean over the tokens of a sequence; there the weighted loss is the sum over all tokens by
    their number.
    A class with a `compute_loss` of its own finds the weights (k,) in
    `inputs.pop("keepers_weights", None)`.

    Tested with transformers 4.57 and 5.23, on one device for each process.

    Args:
        selector: chooses among the candidates; by default that of the loader.
        loader: gives the training batches, with a collator and workers of its own, in place of
            what `train_dataset`, the batch size and the seed of the Trainer make.
        id_column: where the ids are.
        arguments, others: those of the `Trainer`.

    Raises:
        MissingExtraError: `transformers` or `accelerate` is not installed.
        KeepersError: a `Trainer` before transformers 4.46, which has no `get_batch_samples`.
        ParameterError: a selector that is none, or a method with weights (or a choice among the
            candidates of all processes, which weighs) beside a `compute_loss_func` or a
            `compute_loss` that cannot take them; a loader whose policy weighs or looks at losses;
            in training, a batch without ids, and all that the selector refuses.

    ```python
    class SelectingTrainer(SelectingTrainerMixin, Trainer): ...

    trainer = SelectingTrainer(model, args, train_dataset=train, selector=choose)
    ```
    """

    def __init__(
        self,
        *arguments: Any,
        selector: BatchSelector | None = None,
        loader: SelectingLoader | None = None,
        id_column: str = "id",
        **others: Any,
    ) -> None:
        for name in _REQUIRED:
            if importlib.util.find_spec(name) is None:
                raise MissingExtraError("SelectingTrainerMixin", "hf")
        if selector is None and loader is not None:
            selector = loader.choose
        check_selector(selector)
        assert selector is not None
        if loader is not None:
            check_loader(loader)
        if not hasattr(super(), "get_batch_samples"):
            raise KeepersError(
                "transformers: behind SelectingTrainerMixin is no Trainer that gathers its batches "
                "with get_batch_samples. Write (SelectingTrainerMixin, Trainer), with transformers "
                "4.57 or later"
            )
        self.selector, self.loader, self.id_column = selector, loader, id_column
        self._totals: list[int] = []  # chosen by all processes, of the batches of an update step
        self._coming: tuple[Any, deque[dict[str, Any]]] = None, deque()  # read early, of an epoch
        super().__init__(*arguments, **others)
        together = selector.among == "all" and self.args.world_size > 1
        if together or selector.selector.method.replacement:  # such picks always carry weights
            self._check_weights_reach_the_loss()

    def _check_weights_reach_the_loss(self) -> None:
        from transformers import Trainer

        own = super().compute_loss.__func__ is not Trainer.compute_loss
        if own or self.compute_loss_func is not None:
            name = "compute_loss" if own else "compute_loss_func"
            raise ParameterError(
                name,
                f"{self.selector.selector.method.name} weights its examples, but one loss for "
                "the whole batch cannot be weighted",
                "Instead, give the selector loss=, with one loss for each example",
            )

    def get_train_dataloader(self) -> Any:
        """The loader that was given; or the Trainer's, with the id column left in."""
        if self.loader is not None:
            return _AsDataLoader(self.loader)
        self._set_signature_columns_if_needed()
        columns = self._signature_columns
        self._signature_columns = [*columns, self.id_column]
        try:
            return super().get_train_dataloader()
        finally:
            self._signature_columns = columns

    def get_batch_samples(
        self, epoch_iterator: Iterable[Any], num_batches: int, *others: Any, **more: Any
    ) -> Any:
        """The Trainer's, of batches that are cut to what was chosen."""
        self._totals, self.selector.since = [], self.selector.steps
        try:
            cut = map(self._cut, self._read(epoch_iterator, num_batches))
            found = super().get_batch_samples(cut, num_batches, *others, **more)
        finally:
            self.selector.since = None
        self._chosen_in_step = sum(self._totals)
        return found

    def _read(self, epoch_iterator: Iterable[Any], num_batches: int) -> Iterator[Any]:
        """The batches of an update step, once those of coming ones were announced to scorers.

        They come from the same epoch: what the next one has is not known yet.
        """
        source, coming = self._coming
        if source is not epoch_iterator:
            coming = deque[dict[str, Any]]()
            self._coming = epoch_iterator, coming
        lookahead = self.selector.lookahead
        if not lookahead and not coming:
            return map(self._prepared, epoch_iterator)
        batches = map(self._prepared, epoch_iterator)
        coming.extend(itertools.islice(batches, max(0, num_batches - len(coming))))
        now = [coming.popleft() for _ in range(min(num_batches, len(coming)))]
        for batch in itertools.islice(batches, max(0, num_batches * lookahead - len(coming))):
            coming.append(batch)
            self.selector.announce(self.model, self._named(batch), len(now) + len(coming) - 1)
        return iter(now)

    def _prepared(self, batch: Any) -> dict[str, Any]:
        """A batch on the device of the step, with the model as the step will have it."""
        if not isinstance(batch, Mapping) or self.id_column not in batch:
            got = ", ".join(map(repr, batch)) if isinstance(batch, Mapping) else type(batch)
            raise ParameterError(
                "id_column",
                f"got '{self.id_column}', but a training batch has only {got}",
                "Give the data set an integer column of that name (see keepers.with_ids), which "
                "the collator passes on",
            )
        self.selector.in_step = self.args.world_size > 1
        self.model.train()  # an evaluation may have left it otherwise, and the step will do it
        return dict(self._prepare_inputs(batch))

    def _named(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The ids under the name that the selector knows."""
        others = {name: value for name, value in batch.items() if name != self.id_column}
        return {**others, "id": batch[self.id_column]}

    def _cut(self, batch: dict[str, Any]) -> dict[str, Any]:
        chosen = self.selector(self.model, self._named(batch))
        cut = {name: value for name, value in chosen.batch.items() if name != "id"}
        if chosen.weighted:
            self._check_weights_reach_the_loss()
            cut[WEIGHTS] = chosen.weights
        if chosen.total is not None:
            self._totals.append(chosen.total)
        return cut

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The Trainer's; the weighted loss where the batch carries weights."""
        weights = inputs.pop(WEIGHTS, None)
        if weights is None:
            return super().compute_loss(
                model,
                inputs,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
            )
        others = dict(inputs)
        name = next((name for name in (*self.label_names, *LABEL_KEYS) if name in others), None)
        if name is None:
            raise ParameterError(
                "label_names",
                f"got {self.label_names}, none of which is in a batch with weights",
                "Name the labels in TrainingArguments",
            )
        labels = others.pop(name)
        outputs = model(**others)
        tokens = isinstance(self.selector.selector.task, Tokens) and self.selector.loss is None
        if tokens and not self._totals:
            loss = self._of_tokens(outputs, labels, weights, num_items_in_batch)
            return (loss, outputs) if return_outputs else loss
        losses = weights * self._losses(outputs, labels)
        counted = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        if self._totals:  # chosen together: the weights hold the share of this process
            total = self._totals.pop(0) if len(self._totals) > 1 else self._totals[0]
            loss = losses.mean() * (total / self._chosen_in_step if counted else 1)
        elif counted:
            # Of several labels to an example the Trainer counts each. What a loss of the selector's
            # own is over, that loss knows.
            each = 1 if self.selector.loss is not None else labels[:1].numel()
            loss = losses.sum() * each / num_items_in_batch
            if getattr(self.args, "average_tokens_across_devices", False):
                loss = loss * self.accelerator.num_processes  # which the processes' mean undoes
        else:
            loss = losses.mean()
        return (loss, outputs) if return_outputs else loss

    def _of_tokens(self, outputs: Any, labels: Tensor, weights: Tensor, count: Any) -> Tensor:
        """The weighted sum of the losses of all tokens over their number, `count` where known."""
        sums = token_losses(outputs.logits, labels).sum(1)
        if not self.model_accepts_loss_kwargs or count is None:
            return (weights * sums).sum() / (labels[:, 1:] != IGNORED).sum().clamp_min(1)
        loss = (weights * sums).sum() / count
        if getattr(self.args, "average_tokens_across_devices", False):
            loss = loss * self.accelerator.num_processes
        return loss

    def _losses(self, outputs: Any, labels: Tensor) -> Tensor:
        if self.selector.loss is not None:
            return self.selector.loss(outputs, labels)
        task, smoothing = self.selector.selector.task, self.args.label_smoothing_factor
        # Labels were looked at when the batch was chosen: at every step that would be a wait.
        output = task.check(outputs, task.batch(labels), self.selector.steps).float()
        if task.likely:
            return F.cross_entropy(output, labels, reduction="none", label_smoothing=smoothing)
        # As the model's own loss is: in the units of the targets.
        own = of_batches(task.name) if task.name in BUILT_IN else task
        return own.losses(output, own.batch(labels))

    def prediction_step(
        self, model: nn.Module, inputs: Mapping[str, Any], *others: Any, **more: Any
    ) -> Any:
        """The Trainer's, on the whole batch without its ids."""
        whole = {name: value for name, value in inputs.items() if name != self.id_column}
        return super().prediction_step(model, whole, *others, **more)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        state = self.selector.state_dict()
        if self.selector.among == "own" or self.args.process_index == 0:
            write_tensors(self._selector_path(output_dir), state)
        if self.loader is not None:
            state = self.loader.state_dict()  # of the epoch: the Trainer counts the batches
            if self.args.process_index == 0:
                write_tensors(Path(output_dir) / _LOADER, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if self.loader is not None:
            self._load_loader(self.loader, Path(checkpoint) / _LOADER)
        path = self._selector_path(checkpoint)
        if not path.exists():
            warnings.warn(
                f"{checkpoint} was saved without a selector: its choices start again", stacklevel=2
            )
            return
        state, _ = read_tensors(path, "selector", "Resume from another checkpoint")
        try:
            self.selector.load_state_dict(state)
        except (KeepersError, KeyError, RuntimeError) as error:
            raise RunError(
                f"selector: {path} cannot be restored: {error}. Resume with the selector of the "
                "run, or from another checkpoint"
            ) from None

    def _load_loader(self, loader: SelectingLoader, path: Path) -> None:
        """Be in the epoch of the checkpoint; the Trainer itself counts the batches of it."""
        remedy = "Resume with the loader of the run, or from another checkpoint"
        try:
            loader.load_state_dict(read_tensors(path, "loader", remedy)[0])
        except FileNotFoundError:
            raise RunError(f"loader: {path} is not there. {remedy}") from None

    def _selector_path(self, checkpoint: str) -> Path:
        several = self.args.world_size > 1 and self.selector.among == "own"
        number = f"_{self.args.process_index}" if several else ""
        return Path(checkpoint) / f"keepers_selector{number}.safetensors"


class _AsDataLoader:
    """A loader as the Trainer knows them: it tells of each epoch, and skips batches of one itself.

    Accelerate skips by a DataLoader over the rest of `batch_sampler`, with all else from here.
    """

    def __init__(self, loader: SelectingLoader) -> None:
        self.loader, self.batch_sampler = loader, loader.batch_sampler

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # of a copy that is still empty
            raise AttributeError(name)
        return getattr(self.loader.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def set_epoch(self, epoch: int) -> None:
        self.loader.set_epoch(epoch, 0)

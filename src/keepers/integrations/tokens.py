"""Token-level selection inside the `Trainer` of the `transformers` library (extra `hf`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from keepers.errors import ParameterError
from keepers.online import TokenSelector

_Base: Any = object  # `transformers.Trainer` comes behind this class, from the user


class TokenSelectingTrainerMixin(_Base):
    """Makes a `Trainer` of a causal language model take its loss on the chosen tokens.

    Batches stay whole; the loss of a step is the sum over its chosen tokens by their number, that
    of all its batches where gradients are accumulated. Evaluation measures all tokens. The
    reference model is moved to the device of the training.

    It goes before any Trainer that gives the model `labels`: also that of TRL for supervised
    fine-tuning, with packing, batches without padding, and losses of completions alone.

    Tested with transformers 4.57 and 5.23, and with TRL 1.16, which then logs its metrics of tokens
    in evaluation alone.

    Args:
        selector: chooses the tokens.
        arguments, others: those of the `Trainer`.

    Raises:
        ParameterError: a selector that is none, a loss function beside it, or label smoothing.

    ```python
    class SelectingTrainer(TokenSelectingTrainerMixin, Trainer): ...

    trainer = SelectingTrainer(model, args, train_dataset=train, selector=TokenSelector(reference))
    ```
    """

    def __init__(self, *arguments: Any, selector: TokenSelector, **others: Any) -> None:
        given: Any = selector
        if not isinstance(given, TokenSelector):
            raise ParameterError(
                "selector", f"got {type(given).__name__}", "Give a keepers.TokenSelector"
            )
        self.selector = selector
        super().__init__(*arguments, **others)
        for name, other in (
            ("compute_loss_func", self.compute_loss_func),
            ("label_smoothing_factor", self.args.label_smoothing_factor),
        ):
            if other:
                raise ParameterError(name, f"got {other}", "The tokens have their cross-entropy")
        if selector.reference is not None:
            selector.reference.to(self.args.device)

    def get_batch_samples(
        self, epoch_iterator: Iterable[Any], num_batches: int, *others: Any, **more: Any
    ) -> Any:
        """The Trainer's, counting the tokens that will be chosen."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, *others, **more)
        if count is None:
            return batches, count
        chosen = sum(self.selector.count(each["labels"]) for each in batches)
        if isinstance(count, torch.Tensor):
            total = torch.tensor(chosen, device=self.args.device)
            if self.args.average_tokens_across_devices and self.args.world_size > 1:
                total = self.accelerator.gather(total).sum()
            return batches, total.to(count.dtype).view(count.shape)
        return batches, chosen

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of the chosen tokens; in evaluation the Trainer's, of all."""
        if not model.training:
            return super().compute_loss(
                model,
                inputs,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
            )
        given = {name: each for name, each in inputs.items() if name != "labels"}
        given.pop("reference_losses", None)
        outputs = model(**given)
        choice = self.selector(outputs.logits, inputs)
        if self.model_accepts_loss_kwargs and num_items_in_batch is not None:
            loss = choice.total / num_items_in_batch
            if self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # which the processes' mean undoes
        else:
            loss = choice.loss
        return (loss, outputs) if return_outputs else loss

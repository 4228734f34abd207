"""Penultimate features of any module, without naming a layer."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from keepers.errors import KeepersError


class FeatureTap:
    """Catches the penultimate features of each forward pass of a module.

    They are the input of the last layer with parameters of its own that runs: what the final
    linear layer sees, whatever it is called. The layer is found on the first forward pass, by
    watching all of them.

    `features` has shape (n, d), and does not depend on the rest of the batch. Where the last
    layer is linear and runs at every position (n, ..., d), as the head of a decoder does, they
    are the input at the position whose output the module returned, or the mean of the inputs
    where the module returned the mean of the outputs. Any other input is flattened.

    Raises:
        KeepersError: `features` is read before a forward pass, no layer has parameters, or a
            linear layer ran at several positions and the module returned neither.

    >>> import torch
    >>> module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 5))
    >>> with FeatureTap(module) as tap:
    ...     logits = module(torch.ones(4, 3))
    ...     tap.features.shape
    torch.Size([4, 2])
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._handles: dict[nn.Module, list[RemovableHandle]] = {}
        self._whole: list[RemovableHandle] = []
        self._last: nn.Module | None = None
        self._input: Tensor | None = None
        self._output: Tensor | None = None
        self._returned: Any = None

    def __enter__(self) -> Self:
        self._whole = [
            self._module.register_forward_pre_hook(self._forget),
            self._module.register_forward_hook(self._note_returned),
        ]
        for layer in self._module.modules():
            if next(layer.parameters(recurse=False), None) is not None:
                self._handles[layer] = [
                    layer.register_forward_pre_hook(self._remember, with_kwargs=True)
                ]
                if isinstance(layer, nn.Linear):
                    self._handles[layer].append(layer.register_forward_hook(self._note_output))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in (*self._whole, *(h for each in self._handles.values() for h in each)):
            handle.remove()
        self._handles.clear()
        self._input = self._output = self._returned = None

    @property
    def features(self) -> Tensor:
        """The features of the latest forward pass: (n, d), detached."""
        if self._input is None:
            raise KeepersError(
                "model: no features were seen. Run the module inside the block; it needs at "
                "least one layer with parameters"
            )
        for layer in [layer for layer in self._handles if layer is not self._last]:
            for handle in self._handles.pop(layer):
                handle.remove()
        caught = self._input.detach()
        if self._output is not None and caught.ndim > 2:
            return _pooled(caught.flatten(1, -2), self._output.detach(), self._returned)
        return caught.flatten(1) if caught.ndim > 1 else caught.unsqueeze(1)

    def _forget(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._input = self._output = self._returned = None

    def _remember(self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, Tensor)]
        if tensors:
            self._last, self._input, self._output = layer, tensors[0], None

    def _note_output(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if layer is self._last:
            self._output = output

    def _note_returned(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._returned = output


def _pooled(inputs: Tensor, outputs: Tensor, returned: Any) -> Tensor:
    """What the returned logits (n, classes) were made from, of inputs (n, p, d)."""
    logits = returned.get("logits") if isinstance(returned, Mapping) else returned
    logits = logits if isinstance(logits, Tensor) else getattr(returned, "logits", None)
    outputs = outputs.flatten(1, -2)
    if isinstance(logits, Tensor) and logits.shape == (len(outputs), outputs.shape[-1]):
        logits = logits.detach().to(outputs.dtype)
        alone = logits.unsqueeze(1)
        same = ((outputs == alone) | (outputs.isnan() & alone.isnan())).all(-1)
        if bool(same.any(1).all()):
            rows = torch.arange(len(inputs), device=inputs.device)
            return inputs[rows, same.int().argmax(1)]
        if torch.allclose(outputs.mean(1), logits, rtol=1e-4, atol=1e-5):
            return inputs.mean(1)
    raise KeepersError(
        f"model: its last layer runs at {inputs.shape[1]} positions of each example, but the "
        "model returns neither the output at one of them nor their mean, so features (n, d) are "
        "unknown. Pool the positions before the last layer, or use a method without features"
    )

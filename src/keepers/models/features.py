"""Penultimate features of any module, without naming a layer."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from keepers.errors import KeepersError


class FeatureTap:
    """Catches the penultimate features of each forward pass of a module.

    They are the input of the last layer with parameters of its own that runs: what the final
    linear layer sees, whatever it is called. The layer is found on the first forward pass, by
    watching all of them.

    `features` has shape (n, d). An input of a linear layer that has positions between (n, ..., d)
    is averaged over them, so that d does not depend on the batch; any other input is flattened.

    Raises:
        KeepersError: `features` is read before a forward pass, or no layer has parameters.

    >>> import torch
    >>> module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 5))
    >>> with FeatureTap(module) as tap:
    ...     logits = module(torch.ones(4, 3))
    ...     tap.features.shape
    torch.Size([4, 2])
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._handles: dict[nn.Module | None, RemovableHandle] = {}
        self._last: nn.Module | None = None
        self._input: Tensor | None = None

    def __enter__(self) -> Self:
        self._handles[None] = self._module.register_forward_pre_hook(self._forget)
        for layer in self._module.modules():
            if next(layer.parameters(recurse=False), None) is not None:
                self._handles[layer] = layer.register_forward_pre_hook(
                    self._remember, with_kwargs=True
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        self._input = None

    @property
    def features(self) -> Tensor:
        """The features of the latest forward pass: (n, d), detached."""
        if self._input is None:
            raise KeepersError(
                "model: no features were seen. Run the module inside the block; it needs at "
                "least one layer with parameters"
            )
        for layer in [layer for layer in self._handles if layer not in (None, self._last)]:
            self._handles.pop(layer).remove()
        caught = self._input.detach()
        if isinstance(self._last, nn.Linear) and caught.ndim > 2:
            return caught.flatten(1, -2).mean(dim=1)
        return caught.flatten(1) if caught.ndim > 1 else caught.unsqueeze(1)

    def _forget(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._input = None

    def _remember(self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, Tensor)]
        if tensors:
            self._last, self._input = layer, tensors[0]

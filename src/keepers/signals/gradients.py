"""Projected gradients of the answer losses of a causal language model, one for each sequence."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from keepers.errors import KeepersError
from keepers.models import summed_losses
from keepers.processes import Runtime
from keepers.random import generator

RANK = 64
"""Directions that the input and the output of a layer are projected on.

Cosines of SmolLM2-135M are off by 0.024 (at 16 by 0.08); those of whole gradients spread by 0.045.
"""


class ProjectedGradients:
    """Gradients of mean answer losses by the weights of the linear layers, projected.

    The gradient of a linear layer is a matrix G (outputs, inputs), the sum over tokens of
    (gradient of the output) ⊗ (input). P G Qᵀ is made of it, P and Q drawn at random, and the sum
    over the layers is the vector of a sequence. Inner products of these are those of the whole
    gradients, up to chance. All layers count but the head and the embeddings: gradients of a last
    layer alone say which tokens occur and little else. No gradient of a weight is made: a reading
    takes a pass forward and one backward through the activations.

    Args:
        module: a causal language model on the device of `runtime`; it is left as it was.
        rank: directions on either side; vectors are of `rank`² numbers.

    Source:
        Xia et al., LESS, ICML 2024 (2402.04333), with weights of LoRA and one large projection;
        the two small ones: Choe et al., What is Your Data Worth to GPT?, 2024 (2405.13954).
    """

    def __init__(self, module: nn.Module, runtime: Runtime, *, rank: int = RANK) -> None:
        self._module, self._runtime, self._rank = module, runtime, rank
        base: nn.Module = module.base_model  # pyright: ignore[reportAssignmentType]
        self._layers = {name: each for name, each in base.named_modules() if _is_linear(each)}
        self._sides: dict[tuple[str, int], Tensor] = {}

    def read(self, ids: Tensor, learnt: Tensor) -> tuple[Tensor, Tensor]:
        """Summed losses (n,), float64, and vectors (n, rank²), float32, both on the host.

        Args:
            ids: (n, length) token numbers, padded on the right.
            learnt: (n, length), which of them count; some in each row, never the first.

        Raises:
            KeepersError: no linear layer of the model runs over tokens.
        """
        found: list[Tensor] = []
        with torch.inference_mode(False), torch.enable_grad(), self._watched(ids.shape, found):
            ids, learnt = ids.clone(), learnt.clone()  # what inference mode made has no gradient
            with self._runtime.autocast():
                sums = summed_losses(self._module, ids, learnt, self._runtime.device)
            (sums / learnt.sum(1)).sum().backward()
        if not found:
            raise KeepersError(
                "gradients: no linear layer of the model runs over tokens (n, length, d). Use "
                "rds, which compares hidden states"
            )
        return sums.detach(), found[0].cpu()

    @contextmanager
    def _watched(self, shape: torch.Size, found: list[Tensor]) -> Generator[None]:
        """Inside the block activations have gradients and weights have none; layers take notes."""
        weights = [(each, each.requires_grad) for each in self._module.parameters()]
        embeddings: nn.Module = self._module.get_input_embeddings()  # pyright: ignore
        handles = [embeddings.register_forward_hook(_with_gradient)]
        for name, layer in self._layers.items():
            handles.append(layer.register_forward_hook(self._noting(name, shape, found)))
        try:
            for each, _ in weights:
                each.requires_grad_(False)
            yield
        finally:
            for handle in handles:
                handle.remove()
            for each, was in weights:
                each.requires_grad_(was)

    def _noting(self, name: str, shape: torch.Size, found: list[Tensor]) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
            seen = given[0] if given else None
            if not isinstance(seen, Tensor) or seen.shape[:-1] != shape or not out.requires_grad:
                return
            with torch.autocast(seen.device.type, enabled=False):
                inputs = self._projected(name, "inputs", seen.detach())

            def tell(gradient: Tensor) -> None:
                outputs = self._projected(name, "outputs", gradient)
                block = (outputs.transpose(1, 2) @ inputs).flatten(1)
                found[:] = [found[0] + block] if found else [block]

            out.register_hook(tell)

        return note

    def _projected(self, name: str, side: str, values: Tensor) -> Tensor:
        """(n, length, rank) of values (n, length, d) on one side of a layer."""
        key = (name + side, values.shape[-1])
        if key not in self._sides:
            draw = generator(0, "projection", name, side)
            drawn = torch.randn(values.shape[-1], self._rank, generator=draw) / self._rank**0.5
            self._sides[key] = drawn.to(values.device)
        return values.float() @ self._sides[key]


def _with_gradient(_: nn.Module, given: Any, out: Tensor) -> Tensor:
    return out.requires_grad_()


def _is_linear(layer: nn.Module) -> bool:
    """Whether a layer has a matrix as its weight, whatever its class; embeddings are none."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(layer, nn.Embedding)

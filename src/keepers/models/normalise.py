"""Normalisation as a part of the module: a saved model carries its own statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError


class Stretched(nn.Module):
    """A module whose output is in the units of the targets: mean + std · output.

    Its own output has a mean of about 0 and a spread of about 1, which is what networks learn.

    >>> Stretched(nn.Identity(), mean=(10.0,), std=(2.0,))(torch.tensor([[0.5]]))
    tensor([[11.]])
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("target_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("target_std", torch.tensor(std, dtype=torch.float32))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The module's output (n, numbers), in float32."""
        return self.target_mean + self.target_std * self.module(*inputs).float()


class Normalised(nn.Module):
    """A module whose first input is normalised: (x − mean) / std for each channel or feature.

    Args:
        module: gets the normalised first input and all the others as they are.
        mean: one value for each channel of pictures (n, c, h, w) or feature of vectors (n, d).
        std: the same number of values, all over 0.

    Raises:
        ParameterError: lengths differ, or a standard deviation is not over 0.

    >>> module = Normalised(nn.Identity(), mean=(1.0, 2.0), std=(1.0, 2.0))
    >>> module(torch.tensor([[1.0, 4.0]]))
    tensor([[0., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ParameterError(
                "std", f"got {len(std)} values for {len(mean)} means", "Give one value for each"
            )
        if not all(value > 0 for value in std):
            raise ParameterError("std", f"got {tuple(std)}", "Give values over 0")
        self.module = module
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """The module's output."""
        shape = (1, -1, *(1 for _ in first.shape[2:]))
        return self.module((first - self.mean.view(shape)) / self.std.view(shape), *others)

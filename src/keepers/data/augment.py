"""Augmentation of whole batches of pictures, on the device they are on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.errors import ParameterError
from keepers.types import Augment


@dataclass(frozen=True, kw_only=True)
class CropAndFlip:
    """Each picture shifted by up to `padding` pixels (black enters), half of them mirrored."""

    padding: int
    flip: bool

    def __call__(
        self, inputs: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Pictures (n, channels, height, width) of the same shape and dtype."""
        pictures = inputs[0]
        n, _, height, width = pictures.shape
        if n == 0:
            return inputs

        def draw(low: int, high: int) -> Tensor:
            drawn = torch.randint(low, high, (n,), generator=generator, device=generator.device)
            return drawn.to(pictures.device)

        pad = self.padding
        top, left = draw(0, 2 * pad + 1), draw(0, 2 * pad + 1)
        mirrored = draw(0, 2) if self.flip else torch.zeros_like(top)
        across = torch.arange(width, device=pictures.device)
        columns_NW = torch.where(mirrored[:, None] == 1, width - 1 - across, across) + left[:, None]
        rows_NH = torch.arange(height, device=pictures.device) + top[:, None]
        padded = F.pad(pictures.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad))
        first = torch.arange(n, device=pictures.device)[:, None] * padded.shape[1]
        index = (first + rows_NH)[:, :, None] * padded.shape[2] + columns_NW[:, None, :]
        moved = padded.flatten(0, 2).index_select(0, index.flatten())
        return (moved.view(n, height, width, -1).permute(0, 3, 1, 2), *inputs[1:])


def crop_and_flip(padding: int = 4, flip: bool = True) -> Augment:
    """Random crop after padding with zeros, and a random horizontal flip, for each picture.

    The shift is uniform over the (2·padding + 1)² offsets, the flip has probability ½.

    >>> shifted, = crop_and_flip(0, flip=False)((torch.ones(2, 3, 4, 4),), torch.Generator())
    >>> bool((shifted == 1).all())
    True

    Raises:
        ParameterError: `padding` is negative.

    Paper: He et al. 2016, Identity Mappings in Deep Residual Networks.
    """
    if padding < 0:
        raise ParameterError("padding", f"got {padding}", "Give 0 or more pixels")
    return CropAndFlip(padding=padding, flip=flip)

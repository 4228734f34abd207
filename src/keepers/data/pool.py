"""Pools: encoded inputs in memory (or memory-mapped), addressed by position."""

from __future__ import annotations

from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from keepers.data.arrow import ArrowColumn
from keepers.data.arrow import compute as pc
from keepers.errors import KeepersError, ParameterError

_STATISTICS_BATCH = 256
_BLOCK = 16_384
"""Texts that are counted at a time."""

_copies: WeakKeyDictionary[Any, dict[torch.device, Any]] = WeakKeyDictionary()


class _OnDevice:
    """A pool on one device: the `parts` that another one like it is made of, and what is `held`."""

    def __init__(self, parts: tuple[Any, ...], *held: Tensor) -> None:
        self._parts = parts
        self._held = held

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(each.nbytes for each in self._held)

    @property
    def device(self) -> torch.device:
        """Where `gather` gives its tensors."""
        return self._held[0].device

    def to(self, device: torch.device | str) -> Self:
        """The same pool on a device; it is copied there once, for as long as this one lives."""
        device = torch.device(device)
        if device == self.device:
            return self
        copies = _copies.setdefault(self, {})
        if device not in copies:
            parts = (each.to(device) if isinstance(each, Tensor) else each for each in self._parts)
            make: Any = type(self)  # whose arguments are its parts
            copies[device] = make(*parts)
        return copies[device]


class DensePool(_OnDevice):
    """Pictures, vectors or characters: one row of equal size for each example.

    `rows` is uint8 or float32 pictures (n, channels, height, width), float32 vectors (n, d), or
    uint8 characters (n, length). `gather` gives float32 pictures (uint8 ones scaled to [0, 1],
    channels last in memory), the vectors, or int64 characters.

    >>> pool = DensePool(torch.tensor([[[[0, 255]]], [[[51, 0]]]], dtype=torch.uint8))
    >>> pool.gather(torch.tensor([1]))[0].flatten()
    tensor([0.2000, 0.0000])
    """

    def __init__(self, rows: Tensor) -> None:
        # Pictures lie channels-last, so that gathering rows needs no change of layout.
        pictures = rows.ndim == 4
        self._laid = rows.permute(0, 2, 3, 1).contiguous() if pictures else rows.contiguous()
        self.rows = self._laid.permute(0, 3, 1, 2) if pictures else self._laid
        super().__init__((self.rows,), self._laid)

    def __len__(self) -> int:
        return len(self._laid)

    def gather(self, positions: Tensor) -> tuple[Tensor, ...]:
        """The inputs at `positions` (int64)."""
        chosen = self._laid.index_select(0, positions.to(self.device))
        if chosen.ndim == 4:
            scaled = chosen.mul(1 / 255) if chosen.dtype == torch.uint8 else chosen
            return (scaled.permute(0, 3, 1, 2),)
        return (chosen if chosen.is_floating_point() else chosen.long(),)


def _ragged(starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the concatenated runs [start, start + length), and each run's offset."""
    ends = lengths.cumsum(0)
    offsets = ends - lengths
    total = int(ends[-1]) if len(ends) else 0
    shift = torch.repeat_interleave(starts - offsets, lengths, output_size=total)
    return shift + torch.arange(total, device=starts.device), offsets


class BagPool(_OnDevice):
    """Hashed bags of n-grams for `nn.EmbeddingBag(mode="sum")`.

    `indices` (total,) int32 are the buckets of all documents, one after the other; `lengths`
    (n,) int64 how many belong to each; `buckets` how many there are. `gather` gives (indices,
    offsets, weights): int32, int32 and float32, the weights 1 / length, so that the weighted sum
    is the mean over the n-grams.

    >>> pool = BagPool(torch.tensor([7, 8, 9], dtype=torch.int32), torch.tensor([1, 2]))
    >>> [part.tolist() for part in pool.gather(torch.tensor([1, 0]))]
    [[8, 9, 7], [0, 2], [0.5, 0.5, 1.0]]
    """

    def __init__(self, indices: Tensor, lengths: Tensor, buckets: int = 0) -> None:
        self.indices = indices
        self.lengths = lengths
        self.buckets = buckets
        self._starts = lengths.cumsum(0) - lengths
        self._weights = 1 / lengths.clamp(min=1).float()
        super().__init__((indices, lengths, buckets), indices, lengths, self._starts, self._weights)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, positions: Tensor) -> tuple[Tensor, ...]:
        """Indices, offsets and weights of the documents at `positions` (int64)."""
        positions = positions.to(self.device)
        lengths = self.lengths[positions]
        where, offsets = _ragged(self._starts[positions], lengths)
        weights = torch.repeat_interleave(self._weights[positions], lengths, output_size=len(where))
        return self.indices.index_select(0, where), offsets.int(), weights

    def counts(self, positions: Tensor) -> Any:
        """How often each hashed word occurs in some texts: CSR (n, buckets) of float32, sorted."""
        from scipy import sparse

        lengths, buckets = self.lengths[positions].numpy(), self.buckets
        indices = np.empty(lengths.sum(), np.int32)
        times = np.empty(len(indices), np.float32)
        ends = np.zeros(len(positions) + 1, np.int64)
        done = 0
        # What a block takes is several times its size.
        for start in range(0, len(positions), _BLOCK):
            part = positions[start : start + _BLOCK]
            first = np.arange(len(part)) * buckets  # of each text, in the numbers that follow
            own = np.repeat(first, lengths[start : start + len(part)])
            found = self.gather(part)[0].numpy() + own
            found.sort()
            new = np.flatnonzero(np.diff(found, prepend=-1))
            distinct = found[new]
            before = np.append(np.searchsorted(distinct, first), len(distinct))
            block = slice(done, done + len(distinct))
            indices[block] = distinct - np.repeat(first, np.diff(before))
            times[block] = np.diff(new, append=len(found))
            ends[start : start + len(before)] = done + before
            done = block.stop
        shape = (len(positions), buckets)
        return sparse.csr_matrix((times[:done], indices[:done], ends), shape=shape)


class TokenPool(_OnDevice):
    """Token ids of a sub-word tokeniser, of any length.

    `tokens` (total,) int32 and `lengths` (n,) int64 as in `BagPool`. `gather` gives (input_ids,
    attention_mask), int64, padded with `padding` to the longest of the batch.

    >>> pool = TokenPool(torch.tensor([5, 6, 7], dtype=torch.int32), torch.tensor([1, 2]), 0)
    >>> [part.tolist() for part in pool.gather(torch.tensor([0, 1]))]
    [[[5, 0], [6, 7]], [[1, 0], [1, 1]]]
    """

    def __init__(self, tokens: Tensor, lengths: Tensor, padding: int) -> None:
        self.tokens = tokens
        self.lengths = lengths
        self.padding = padding
        self._starts = lengths.cumsum(0) - lengths
        super().__init__((tokens, lengths, padding), tokens, lengths, self._starts)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, positions: Tensor) -> tuple[Tensor, ...]:
        """Padded token ids and their mask, of the documents at `positions` (int64)."""
        positions = positions.to(self.device)
        lengths = self.lengths[positions]
        where, _ = _ragged(self._starts[positions], lengths)
        longest = max(int(lengths.max()), 1) if len(lengths) else 1
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        padded = torch.full(mask.shape, self.padding, dtype=torch.int64, device=self.device)
        padded[mask] = self.tokens.index_select(0, where).long()
        return padded, mask.long()


class TextPool:
    """Texts as they are, for what splits them into words itself: `texts` in place of `gather`.

    `lengths` (n,) int64 are their bytes.

    >>> pool = TextPool(pa.chunked_array([pa.array(["a", "b"], pa.large_string())]))
    >>> pool.texts(torch.tensor([1]))
    ['b']
    """

    def __init__(self, column: ArrowColumn) -> None:
        self.column = column
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.column)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.column.nbytes

    @property
    def lengths(self) -> Tensor:
        """Bytes of each text."""
        return torch.from_numpy(pc.binary_length(self.column).to_numpy().astype(np.int64))

    def texts(self, positions: Tensor) -> list[str]:
        """The texts at `positions` (int64)."""
        return self.column.take(pa.array(positions.numpy())).to_pylist()

    def gather(self, positions: Tensor) -> tuple[Tensor, ...]:
        """There are no tensors.

        Raises:
            KeepersError: always.
        """
        raise KeepersError("pool: texts as they are have no tensors")

    def to(self, device: torch.device | str) -> TextPool:
        """Itself: what reads texts runs on the CPU."""
        return self


def statistics(pool: DensePool, positions: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of some inputs, for each channel or feature.

    μ = Σ x / m, σ = √(Σ (x − μ)² / m), summed in float64; a σ of 0 becomes 1.

    >>> pool = DensePool(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> statistics(pool, torch.tensor([0, 1]))
    ((2.0, 5.0), (1.0, 1.0))

    Raises:
        ParameterError: there are no positions.
    """
    if not len(positions):
        raise ParameterError("positions", "got none", "Give at least one position")
    channels = pool.rows.shape[1]
    # Sums are taken around a value near the mean, so that large numbers do not cancel.
    centre = _rows(pool, positions[:_STATISTICS_BATCH]).view(-1, channels).mean(0)
    sums = torch.zeros_like(centre)
    squares = torch.zeros_like(centre)
    count = 0
    for batch in positions.split(_STATISTICS_BATCH):
        rows = _rows(pool, batch)
        rows -= centre.repeat(rows.shape[1] // channels)
        sums += rows.sum(0).view(-1, channels).sum(0)
        squares += rows.square_().sum(0).view(-1, channels).sum(0)
        count += rows.numel() // channels
    shift = sums / count
    mean = centre + shift
    std = (squares / count - shift.square()).clamp(min=0).sqrt()
    # A constant feature can leave a rounding error behind instead of an exact zero.
    std = torch.where(std <= 1e-7 * mean.abs(), torch.ones_like(std), std)
    return tuple(mean.tolist()), tuple(std.tolist())


def _rows(pool: DensePool, positions: Tensor) -> Tensor:
    (values,) = pool.gather(positions)
    channels_last = values.permute(0, 2, 3, 1) if values.ndim == 4 else values
    return channels_last.reshape(len(positions), -1).double()

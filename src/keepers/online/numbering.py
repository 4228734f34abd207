"""From the ids in a batch to positions, at a cost that a training step does not notice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.data import open_source, same_item
from keepers.errors import DataError, ParameterError

SHOWN = 5
DENSE = 16
"""Numbers below this many times their count are looked up in a table, others by bisection."""
REMEDY = "Give one integer (of 64 bits) or string for each example"


def number(id: int | str) -> int:
    """A 63-bit number for an id: an integer is its own, text gives a hash of it.

    >>> number(7), number("a") == number("a"), number("a") < 2**63
    (7, True, True)
    """
    if isinstance(id, str):
        digest = hashlib.blake2b(id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1
    return int(id)


class Numbering:
    """Positions of `ids` (n,), integers or strings, by their numbers.

    Numbers are int64 and stay so: they are compared as integers, never as floating-point values.

    Raises:
        DataError: an id that comes twice, or two of the same number (chance 1 in 18 million for a
            million ids).
        ParameterError: ids that are no integers or strings.

    >>> Numbering(np.array(["b", "c"], dtype=object)).positions(["c", "b"])[0].tolist()
    [1, 0]
    """

    def __init__(self, ids: npt.NDArray[Any]) -> None:
        self.ids = ids
        self.numbers = as_numbers(ids)
        in_order, order = self.numbers.sort(stable=True)
        twice = (in_order[1:] == in_order[:-1]).nonzero().squeeze(1)
        if len(twice):
            first, second = ids[order[twice[0] : twice[0] + 2].numpy()].tolist()
            if first == second:
                raise DataError(f"id: {first!r} comes twice. Remove one")
            raise DataError(f"id: {first!r} and {second!r} cannot be told apart. Change one")
        # The first stands at the end again: there an id is looked for that is over all others.
        self._sorted = torch.cat([in_order, in_order[:1]])
        self._order = torch.cat([order, order[:1]])

    @cached_property
    def _table(self) -> Tensor | None:
        """The position of each number from 0 on, -1 for none; None where there are too many."""
        numbers = self.numbers.cpu()
        if not len(numbers) or numbers.min() < 0 or numbers.max() >= DENSE * len(numbers):
            return None
        table = torch.full((int(numbers.max()) + 1,), -1)
        table[numbers] = torch.arange(len(numbers))
        return table

    def positions(self, ids: Any) -> tuple[Tensor, Tensor]:
        """Positions (n,) and whether each id is known (n,), on the device of `ids`.

        Raises:
            ParameterError: ids that are no integers or strings.
        """
        return self._bisected(as_numbers(ids))

    def lookup(self, ids: Any) -> tuple[Tensor, Tensor | None]:
        """The same, and None where every id is known; an accelerator is not asked for that."""
        wanted = as_numbers(ids)
        if not wanted.is_cpu:
            return self._bisected(wanted)
        if self._table is not None and wanted.numel():
            try:
                found = self._table.index_select(0, wanted)
            except IndexError:  # a number over the largest, or below 0
                found = None
            if found is not None and int(found.min()) >= 0:
                return found, None
        found, known = self._bisected(wanted)
        return found, None if known.all() else known

    def _bisected(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        if self._sorted.device != wanted.device:
            self._sorted, self._order = (
                self._sorted.to(wanted.device),
                self._order.to(wanted.device),
            )
        found = torch.searchsorted(self._sorted[:-1], wanted)
        return self._order.index_select(0, found), self._sorted.index_select(0, found) == wanted


def as_numbers(ids: Any) -> Tensor:
    """The numbers of ids (n,) as int64: a tensor or array of integers, or a sequence of ids.

    Raises:
        ParameterError: floating-point ids (which lose exactness), or anything else.

    >>> as_numbers([3, 2**40 + 1]).tolist()
    [3, 1099511627777]
    """
    if isinstance(ids, Tensor) and ids.dtype == torch.int64 and ids.ndim == 1:
        return ids
    if isinstance(ids, Tensor) and ids.dtype == torch.uint64:
        ids = ids.cpu().numpy()
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        if ids.dtype == np.uint64 and ids.size and int(ids.max()) >= 2**63:
            raise ParameterError("ids", f"got {int(ids.max())} among them", REMEDY)
        ids = torch.from_numpy(ids.astype(np.int64))
    if isinstance(ids, Tensor):
        if ids.ndim != 1 or ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
            raise ParameterError("ids", f"got {ids.dtype} of shape {tuple(ids.shape)}", REMEDY)
        return ids.long()
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    if not isinstance(ids, Sequence) or isinstance(ids, str | bytes):
        raise ParameterError("ids", f"got {type(ids).__name__}", REMEDY)
    listed: Sequence[Any] = ids
    for kind in set(map(type, listed)):
        if not issubclass(kind, str | int | np.integer) or kind is bool:
            shown = next(each for each in listed if type(each) is kind)
            raise ParameterError("ids", f"got {shown!r} among them", REMEDY)
    try:
        return torch.from_numpy(np.fromiter(map(number, listed), np.int64, count=len(listed)))
    except OverflowError:
        raise ParameterError("ids", f"got {max(map(number, listed))} among them", REMEDY) from None


class WithIds:
    """A map-style data set whose items include their ids: `item + (id,)`, or the key `id`.

    The id is an int64 number for the example's key, or for the hash of its input; it does not
    depend on the order of the data set. Options are the reading options of `keepers.coreset`.

    Raises:
        ParameterError: items that change each time they are read (random transforms), without
            a key.

    >>> data = [(torch.tensor([0.0]), 0), (torch.tensor([1.0]), 1)]
    >>> WithIds(data)[1][2] == WithIds(data[::-1])[0][2]
    True
    """

    def __init__(self, dataset: Any, **reading: Any) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ParameterError(
                "dataset",
                f"got {type(dataset).__name__}, which has no length and no items by index",
                "Read all of it first, list(dataset), or put an id into its items and pass ids= "
                "to the selector",
            )
        if reading.get("id") is None and len(dataset) and not same_item(dataset[0], dataset[0]):
            raise ParameterError(
                "dataset",
                "gives another item each time it is read, so its ids would change, too",
                "Name a key with id=, or transform the items after with_ids",
            )
        source = open_source(dataset, **reading)
        self.dataset = dataset
        self.numbers = np.full(source.num_rows, -1, dtype=np.int64)
        self.numbers[source.rows] = as_numbers(source.ids).numpy()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        item, own = self.dataset[index], int(self.numbers[index])
        if isinstance(item, Mapping):
            return {**item, "id": own}
        return (*item, own)


with_ids = WithIds

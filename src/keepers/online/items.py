"""Items of a map-style data set as a function of (seed, epoch, row), in whatever process."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset, default_collate, get_worker_info

from keepers.errors import ParameterError
from keepers.files import fingerprint, hash_bytes
from keepers.online.numbering import WithIds
from keepers.random import derived_seed

WEIGHTS = "keepers_weights"
"""The key under which a mapping carries the weights of its examples, where there are any."""

PROBES = 8  # items that stand for the content of a data set, where they can be read twice alike


class Asked(NamedTuple):
    """An example that a batch asks for: its row, in which epoch, and with which weight."""

    row: int
    epoch: int
    weight: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Lot:
    """The items of a batch before they are collated, and their weights (n,)."""

    items: Any
    weights: Tensor | None = None


class Items:
    """A data set that is asked for batches of `Asked`.

    What an item draws from the global generators of torch, numpy and Python is a function of
    (seed, epoch, row): the same in any worker of any process. The main process has its state put
    back.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ParameterError(
                "dataset",
                f"got {type(dataset).__name__}, which has no length and no items by index",
                "Read all of it first, list(dataset): a stream has no random access",
            )
        if not len(dataset):
            raise ParameterError("dataset", "got no example", "Give at least one")
        self.dataset, self.seed, self.fixed = dataset, seed, reads_alike(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, asked: Asked) -> Lot:
        return self.__getitems__([asked])

    def __getitems__(self, asked: Sequence[Asked]) -> Lot:
        weights = None
        if asked[0].weight is not None:
            weights = torch.tensor([each.weight for each in asked])
        return Lot(items=self._read(asked), weights=weights)

    def _read(self, asked: Sequence[Asked]) -> list[Any]:
        dataset = self.dataset
        if self.fixed:
            several = getattr(dataset, "__getitems__", None)
            rows = [each.row for each in asked]
            return several(rows) if several is not None else [dataset[row] for row in rows]
        kept = None if get_worker_info() is not None else _random_state()
        try:
            return [self._drawn(each) for each in asked]
        finally:
            if kept is not None:
                _restore_random_state(*kept)

    def _drawn(self, asked: Asked) -> Any:
        number = derived_seed(self.seed, "item", asked.epoch, asked.row)
        torch.default_generator.manual_seed(number)
        random.seed(number)
        np.random.seed(number % 2**32)  # what transforms of others draw from
        return self.dataset[asked.row]

    @cached_property
    def identity(self) -> str:
        """Of what can be told of the data without reading all of them.

        The number of examples, their ids where `with_ids` gave them, their `targets` as data sets
        of torchvision hold them, and a few items of those that are always read alike.
        """
        dataset, found = self.dataset, list[Any]([len(self.dataset)])
        if isinstance(dataset, WithIds):
            found.append(hash_bytes(dataset.numbers))
        targets = getattr(dataset, "targets", None)
        if isinstance(targets, list | np.ndarray | Tensor) and len(targets) == len(dataset):
            found.append(_content(np.asarray(targets)))
        if self.fixed:
            n = len(dataset)
            rows = sorted({round(part * (n - 1) / (PROBES - 1)) for part in range(PROBES)})
            found.append([_content(dataset[row]) for row in rows])
        return fingerprint(found)


class Collate:
    """A `collate_fn` for `Lot`s: the user's, and the weights at the end of what it gives."""

    def __init__(self, collate: Callable[[Any], Any] | None) -> None:
        self.collate = collate or default_collate

    def __call__(self, lot: Any) -> Any:
        """The batch of a lot."""
        batch = self.collate(lot.items)
        if lot.weights is None:
            return batch
        if isinstance(batch, Mapping):
            whole: Any = batch  # of any type: BatchEncoding of transformers is one
            whole[WEIGHTS] = lot.weights
            return whole
        if isinstance(batch, tuple | list):
            return [*batch, lot.weights]
        return [batch, lot.weights]


def reads_alike(dataset: Any) -> bool:
    """Whether the items of a data set are known to be the same each time they are read.

    >>> reads_alike(TensorDataset(torch.zeros(2))), reads_alike(object())
    (True, False)
    """
    if isinstance(dataset, WithIds | Subset):
        inner: Any = dataset.dataset
        return reads_alike(inner)
    if isinstance(dataset, TensorDataset | Tensor | np.ndarray | list | tuple):
        return True
    kind = type(dataset)
    if kind.__module__.partition(".")[0] == "datasets" and kind.__name__ == "Dataset":
        return getattr(dataset, "_format_type", "custom") != "custom"
    return False


def _random_state() -> tuple[Tensor, Any, Any]:
    state = np.random.get_state()
    return torch.default_generator.get_state(), random.getstate(), state


def _restore_random_state(of_torch: Tensor, of_python: Any, of_numpy: Any) -> None:
    torch.default_generator.set_state(of_torch)
    random.setstate(of_python)
    np.random.set_state(of_numpy)


def _content(value: Any) -> Any:
    """JSON values that are equal for equal items."""
    if isinstance(value, Mapping):
        entries: Mapping[Any, Any] = value
        return {str(key): _content(part) for key, part in entries.items()}
    if isinstance(value, tuple | list):
        parts: Sequence[Any] = value
        return [_content(part) for part in parts]
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        value = value.view(torch.uint8).numpy() if value.ndim else value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        array = np.ascontiguousarray(value)
        return [list(array.shape), str(array.dtype), hash_bytes(array.view(np.uint8))]
    if hasattr(value, "tobytes"):  # a picture, or a number of numpy
        return hash_bytes(value.tobytes())
    if isinstance(value, str | bytes | int | float | bool | None):
        return repr(value)
    return type(value).__name__

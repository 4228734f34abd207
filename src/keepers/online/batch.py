"""Batches of anyone's loop: where their ids, labels and inputs are, and how they are cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.training import Arguments

ID_KEYS = ("id", "ids", "example_id", "idx", "index")
LABEL_KEYS = ("labels", "label", "target", "targets", "y")
REMEDY = (
    "Give (inputs, labels, ids), a dictionary with 'labels' and 'id' (see keepers.with_ids), or "
    "labels= and ids= beside the batch"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The parts of a batch: the model is called with `args` and `keywords`.

    `also` are other parts of the batch with one entry for each example. If `read=` reads the
    batch, only the parts named here are cut.
    """

    ids: Any
    labels: Tensor
    args: tuple[Any, ...] = ()
    keywords: dict[str, Any] | None = None
    also: tuple[Any, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        given = (*self.args, *(self.keywords or {}).values(), self.labels)
        return next(part.device for part in given if isinstance(part, Tensor))

    def within(self, batch: Any, rows: Tensor, on_host: Tensor | None) -> Any:
        """The same container, in which the parts that are named here are cut."""
        n = len(self.labels)
        named = (self.ids, self.labels, *self.args, *(self.keywords or {}).values(), *self.also)
        places = {id(part) for part in named}

        def walked(value: Any) -> Any:
            if id(value) in places:
                return cut(value, rows, n, on_host)
            if isinstance(value, Mapping):
                items: Mapping[Any, Any] = value
                return _copied(items, {key: walked(part) for key, part in items.items()})
            if isinstance(value, tuple | list):
                return _rebuilt(value, [walked(part) for part in value])
            return value

        return walked(batch)

    def cut(self, rows: Tensor) -> Arguments:
        """The model's arguments for some of the rows."""
        n = len(self.labels)
        args = tuple(cut(part, rows, n) for part in self.args)
        return args, {name: cut(part, rows, n) for name, part in (self.keywords or {}).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """The chosen examples to take the step on: `batch` is the batch cut to them.

    `ids` and `labels` are theirs, `rows` (k,) their rows in the batch, and `weights` (k,) the
    factors for their losses: 1 unless the method gives weights (`weighted`).
    `staleness` is the age in steps of the weights that scored: 0, except for a backend that scores
    ahead. `total` is the number chosen by all ranks, if they choose together; the
    weights then correct for this rank's share.
    """

    batch: Any
    ids: Any
    labels: Tensor
    rows: Tensor
    weights: Tensor
    weighted: bool = False
    staleness: int = 0
    total: int | None = None


Read = Callable[[Any], Parts]


def read_batch(batch: Any, *, labels: Any = None, ids: Any = None) -> Parts:
    """Read `(inputs…, labels, ids)` or a mapping with keys for labels and ids.

    If labels and ids are passed beside the batch, the batch may be a tensor. The other values of a
    mapping are the model's arguments: by keyword, or by position if there is only one.

    Labels may have any shape with one entry for each example. Without `loss`, it is cross-entropy,
    which accepts only class numbers.

    Raises:
        ParameterError: ids or labels are missing, or the labels cannot become a tensor.

    >>> read_batch(torch.zeros(2, 3), labels=[0, 1], ids=[7, 8]).labels
    tensor([0, 1])
    """
    several = isinstance(batch, tuple | list)
    if not several and isinstance(batch, Mapping):
        found: Mapping[Any, Any] = batch
        return _read_mapping(found, labels, ids)
    rest: list[Any] = list(batch) if several else [batch]
    missing = (labels is None) + (ids is None)
    if len(rest) <= missing:
        what = f"{len(rest)} parts" if several else type(batch).__name__
        raise ParameterError("batch", f"got {what}, so there is no place for the ids", REMEDY)
    if ids is None:
        ids = rest.pop()
    if labels is None:
        labels = rest.pop()
    return Parts(ids=ids, labels=_labels(labels), args=tuple(rest))


def _read_mapping(batch: Mapping[Any, Any], labels: Any, ids: Any) -> Parts:
    others = dict(batch)
    if ids is None:
        ids = _taken(others, ID_KEYS, "ids")
    if labels is None:
        labels = _taken(others, LABEL_KEYS, "labels")
    if len(others) == 1:
        return Parts(ids=ids, labels=_labels(labels), args=tuple(others.values()))
    return Parts(ids=ids, labels=_labels(labels), keywords=others)


def _taken(values: dict[Any, Any], keys: tuple[str, ...], what: str) -> Any:
    key = next((key for key in keys if key in values), None)
    if key is None:
        raise ParameterError(
            "batch",
            f"got keys {', '.join(map(repr, values))}, but none for {what} ({', '.join(keys)})",
            REMEDY,
        )
    return values.pop(key)


def _labels(labels: Any) -> Tensor:
    if isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.ndim:
        return labels
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(())
    if not found.ndim:
        raise ParameterError(
            "labels",
            f"got {type(labels).__name__}, which cannot become a tensor with a row for each "
            "example",
            "Give one class number for each example, or a tensor of labels with loss=",
        )
    integers = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    return found.long() if integers else found


def cut_batch(batch: Any, rows: Tensor, n: int, on_host: Tensor | None = None) -> Any:
    """The same container with the `rows` of every part that has `n` of them.

    `on_host` are the same rows in the host's memory, so that nothing waits for a device.

    >>> cut_batch({"x": torch.arange(3), "name": "all"}, torch.tensor([2, 0]), 3)
    {'x': tensor([2, 0]), 'name': 'all'}
    """
    if isinstance(batch, tuple | list):  # its parts, even where there are n of them
        return _rebuilt(batch, [cut(part, rows, n, on_host) for part in batch])
    return cut(batch, rows, n, on_host)


def cut(value: Any, rows: Tensor, n: int, on_host: Tensor | None = None) -> Any:
    """The `rows` of one part of a batch: a tensor, array, mapping or sequence.

    A sequence of `n` is one of examples, unless each of them has `n` rows itself; any other is
    one of parts. What has not `n` rows is left as it is.

    >>> cut(["a", "b", "c"], torch.tensor([2, 0]), 3)
    ['c', 'a']
    """
    if isinstance(value, Tensor):
        if not _has_rows(value, n):
            return value
        there = rows if value.device == rows.device else _host(rows, on_host, value)
        return value.index_select(0, there)
    if isinstance(value, np.ndarray):
        return value[_host(rows, on_host).numpy()] if _has_rows(value, n) else value
    if isinstance(value, Mapping):
        items: Mapping[Any, Any] = value
        return _copied(items, {key: cut(part, rows, n, on_host) for key, part in items.items()})
    if isinstance(value, tuple | list):
        if len(value) == n and not all(_has_rows(part, n) for part in value):
            return _rebuilt(value, [value[row] for row in _host(rows, on_host).tolist()])
        return _rebuilt(value, [cut(part, rows, n, on_host) for part in value])
    return value


def _has_rows(value: Any, n: int) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim > 0 and value.shape[0] == n


def _host(rows: Tensor, on_host: Tensor | None, beside: Tensor | None = None) -> Tensor:
    on_host = rows.cpu() if on_host is None else on_host
    return on_host if beside is None else on_host.to(beside.device)


def _rebuilt(old: tuple[Any, ...] | list[Any], parts: list[Any]) -> Any:
    kind: Any = type(old)
    return kind(*parts) if hasattr(old, "_fields") else kind(parts)


def _copied(old: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    """A mapping of the same type, and whatever else it carries, with other values."""
    if type(old) is dict or not isinstance(old, MutableMapping):
        return parts
    new: Any = copy.copy(old)
    for key, part in parts.items():
        new[key] = part
    return new

"""Several processes as one: row i of a batch belongs to process i mod the number of processes.

Without an initialised process group every function here is the identity.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; 0 writes files and speaks to the user."""
    return dist.get_rank() if count() > 1 else 0


def own_rows(rows: Tensor) -> Tensor:
    """The rows of this process."""
    return rows[rank() :: count()] if count() > 1 else rows


def gather_rows(own: Tensor, total: int) -> Tensor:
    """All `total` rows in their order, from what each process made of its own.

    Values travel in their own dtype, so int64 positions stay exact.
    """
    world = count()
    if world == 1:
        return own
    padded = own.new_zeros((-(-total // world), *own.shape[1:]))
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).reshape(-1, *own.shape[1:])[:total]


def agree(value: Any) -> Any:
    """The first process's value, on all of them."""
    if count() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def mean(value: float) -> float:
    """The mean of every process's value, on all of them."""
    if count() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / count()


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        dist.barrier()

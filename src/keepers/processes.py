"""Where a model runs, and several processes as one.

Row i of a batch belongs to process i mod the number of processes. Without an initialised process
group every function here is the identity.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from keepers.errors import KeepersError


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where one model runs: on `device`, under autocast to bfloat16 with `bf16`."""

    device: torch.device
    bf16: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass."""
        if self.bf16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module itself; with several processes, one that averages their gradients."""
        if count() == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)


def started() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ["LOCAL_RANK"])


def join(backend: str) -> None:
    """Become one of the processes that were started, if there are several; once is enough.

    Raises:
        KeepersError: the environment counts several, but does not say which one this is.
    """
    if started() == 1 or dist.is_initialized():
        return
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise KeepersError(
            f"processes: WORLD_SIZE is {started()}, but {', '.join(missing)} is not set. Start "
            "several processes with torchrun, or unset WORLD_SIZE"
        )
    dist.init_process_group(backend)
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in each process, beside WORLD_SIZE."""


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


def sum_of(values: Tensor) -> Tensor:
    """The sum of every process's values, on all of them; the device need not be waited for."""
    if count() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        dist.barrier()


def lengths_of(own: Tensor) -> list[int]:
    """How many rows each process has."""
    if count() == 1:
        return [len(own)]
    mine = torch.tensor([len(own)], device=own.device)
    found = [torch.empty_like(mine) for _ in range(count())]
    dist.all_gather(found, mine)
    return torch.cat(found).tolist()


def gather_parts(own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """The rows of each process, of which there are `lengths`, on all of them."""
    if count() == 1:
        return [own]
    padded = own.new_zeros((max(lengths), *own.shape[1:]))
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in range(count())]
    dist.all_gather(parts, padded)
    return [part[:length] for part, length in zip(parts, lengths, strict=True)]

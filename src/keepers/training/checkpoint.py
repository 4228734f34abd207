"""Checkpoints of a training run in progress, as safetensors: nothing in them can execute."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keepers.errors import DamagedError, KeepersWarning
from keepers.sealed import read_tensors, write_tensors
from keepers.training.observer import Observer


def save(
    path: Path,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    observers: Sequence[Observer],
    facts: dict[str, Any],
) -> None:
    """Write weights, optimiser state, observers, random state and `facts` (JSON), atomically."""
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"optimizer.{k}": v for k, v in optimizer_state(optimizer).items()}
    for number, observer in enumerate(observers):
        for key, value in observer.state_dict().items():
            tensors[f"observer.{number}.{key}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    write_tensors(path, tensors, facts)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as tensors, by `number.name`."""
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and facts of a checkpoint; a damaged one is as good as none."""
    try:
        return read_tensors(path, "checkpoint", "This training begins again")
    except FileNotFoundError:
        return None
    except DamagedError as error:
        warnings.warn(str(error), KeepersWarning, stacklevel=2)
        return None


def restore(
    tensors: dict[str, Tensor],
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    observers: Sequence[Observer],
) -> None:
    """Restore what `save` wrote and `read` gave, in place."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, key = name.partition(".")
        groups.setdefault(group, {})[key] = value
    module.load_state_dict(groups["model"])
    restore_optimizer(optimizer, groups.get("optimizer", {}))
    for name, value in _by_number(groups.get("observer", {})).items():
        observers[name].load_state_dict(value)
    torch.set_rng_state(groups["random"]["cpu"])
    if "cuda" in groups["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(groups["random"]["cuda"])


def _by_number(flat: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    nested: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        number, _, key = name.partition(".")
        nested.setdefault(int(number), {})[key] = value
    return nested


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Restore what `optimizer_state` gave."""
    parameters = _parameters(optimizer)
    for index, entry in _by_number(flat).items():
        parameter = parameters[index]
        for key, value in entry.items():
            if value.shape == parameter.shape:  # the parameter's own memory format
                optimizer.state[parameter][key] = torch.empty_like(parameter).copy_(value)
            else:
                optimizer.state[parameter][key] = value.to(parameter.device)

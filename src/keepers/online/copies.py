"""A copy of what scores, to be sent to another process."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from keepers.online.scorer import InProcess


def copied(here: InProcess) -> InProcess:
    """The same with a copy of the module, in the memory of the host.

    Accelerate patches `forward` of a module that trains in mixed precision, and a patched module
    cannot be pickled. The copy has its own `forward`, and is scored in that precision.
    """
    twin = copy.deepcopy(here.module).cpu()
    cast = patched_cast(twin)
    if cast is None:
        return replace(here, module=twin)
    original = vars(twin).pop("_original_forward")
    if getattr(original, "__func__", None) is type(twin).forward:
        del vars(twin)["forward"]
    else:
        twin.forward = original
    return replace(here, module=twin, autocast=partial(_autocast, twin, cast))


def patched_cast(module: nn.Module) -> torch.dtype | None:
    """The autocast dtype in which accelerate makes a module compute; None where it does not."""
    if "_original_forward" not in vars(module):
        return None
    forward: Any = module.forward
    while forward is not None:
        for cell in getattr(forward, "__closure__", None) or ():
            if isinstance(cell.cell_contents, torch.autocast):
                return cell.cell_contents.fast_dtype
        forward = getattr(forward, "__wrapped__", None) or getattr(forward, "model_forward", None)
    return None


def _autocast(module: nn.Module, dtype: torch.dtype) -> torch.autocast:
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    return torch.autocast(device.type, dtype=dtype)

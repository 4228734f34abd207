"""What a model is beside its name: other weights in a folder, or other code, are another model."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path

import torch
from torch import nn

_KNOWN = ("torch", "keepers", "transformers")


def module_fingerprint(module: nn.Module) -> str:
    """32 hexadecimal digits over the layers, their weights, and the code of the user's own ones.

    >>> torch.manual_seed(0) and None
    >>> first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> module_fingerprint(first) == module_fingerprint(second)
    False
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(repr(module).encode())
    for name, value in module.state_dict().items():
        state.update(name.encode())
        raw = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
        state.update(memoryview(raw.numpy()))
    for path in sorted(_own_code(module)):
        state.update(path.read_bytes())
    return state.hexdigest()


def _own_code(module: nn.Module) -> set[Path]:
    files: set[Path] = set()
    for part in module.modules():
        home = type(part).__module__
        if home.partition(".")[0] not in _KNOWN and home in sys.modules:
            file = inspect.getsourcefile(sys.modules[home])
            if file is not None and Path(file).exists():
                files.add(Path(file))
    return files

"""What a model is beside its name: other weights in a folder, or other code, are another model."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from keepers.code import code_fingerprint
from keepers.files import fingerprint
from keepers.types import Classifier


def module_fingerprint(module: nn.Module, *modules: str) -> str:
    """32 hexadecimal digits over the layers, their weights, and the code of the user's own ones.

    `modules` names Python modules whose code counts too, such as that of a factory.

    >>> torch.manual_seed(0) and None
    >>> first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> module_fingerprint(first) == module_fingerprint(second)
    False
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(repr(module).encode())
    for name, value in module.state_dict().items():
        state.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        raw = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
        state.update(memoryview(raw.numpy()))
    classes = {base for part in module.modules() for base in type(part).__mro__}
    homes = {base.__module__ for base in classes}
    state.update(code_fingerprint({*homes, *modules}).encode())
    return state.hexdigest()


def classifier_fingerprint(made: Classifier) -> str:
    """32 hexadecimal digits over a classifier's parameters, its code, and what embeds its input."""
    from sklearn import __version__

    embedder = "" if made.embedder is None else module_fingerprint(made.embedder, *made.code)
    return fingerprint(__version__, repr(made.make(0)), code_fingerprint(set(made.code)), embedder)

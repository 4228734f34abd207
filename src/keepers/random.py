"""Randomness as explicit generators, derived from (seed, purpose, ...)."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Generator

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: the same words give the same seed, on any machine.

    >>> derived_seed(0, "order", 3) == derived_seed(0, "order", 3)
    True
    >>> derived_seed(0, "order", 3) == derived_seed(0, "order", 4)
    False
    """
    words = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator for one purpose; global random state is neither read nor written."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))


@contextlib.contextmanager
def isolated(seed: int, *purpose: str | int) -> Generator[None]:
    """Seed torch's global generators inside the block (initialisation, dropout), restore after."""
    with torch.random.fork_rng():
        # torch.manual_seed formats the whole stack for devices that are not there, at each call.
        seeded = torch.manual_seed if _is_accelerated() else torch.default_generator.manual_seed
        seeded(derived_seed(seed, *purpose))
        yield


@functools.cache
def _is_accelerated() -> bool:
    devices = (torch.cuda, torch.backends.mps, torch.xpu)
    return any(device.is_available() for device in devices)

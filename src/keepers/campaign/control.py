"""The control slice: a uniform sample of the pool that selection never touches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from keepers.campaign.events import Id
from keepers.errors import ParameterError
from keepers.random import derived_seed

_SCALE = 2.0**-53


def numbers(ids: Iterable[Id], seed: int) -> npt.NDArray[np.float64]:
    """A number u(id) in [0, 1) for each id (n,), uniform, that depends on the id and `seed` alone.

    u is the first 53 bits of a keyed BLAKE2b of the id, so it is the same whatever other rows
    the pool has, today or later.

    >>> bool(numbers(["a", "b"], 0)[1] == numbers(["b"], 0)[0])
    True
    """
    key = derived_seed(seed, "control").to_bytes(8, "big")

    def one(id: Id) -> float:
        kind = "s" if isinstance(id, str) else "i"
        text = f"{kind}:{id}".encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=8, key=key).digest()
        return (int.from_bytes(digest, "big") >> 11) * _SCALE

    return np.fromiter(map(one, ids), dtype=np.float64)


def in_reserve(ids: Iterable[Id], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Whether each id (n,) is held in reserve for control: u(id) < `share`.

    A larger share holds all that a smaller one does. What is in reserve is never selected; the
    control slice of each round takes the next of it by `order`.

    Raises:
        ParameterError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ParameterError("control", f"got the share {share}", "Give one from 0 to 1")
    return numbers(ids, seed) < share


def order(ids: Iterable[Id], seed: int) -> npt.NDArray[np.int64]:
    """The positions of the ids in the order of u (n,): that in which control slices take them."""
    return np.argsort(numbers(ids, seed), kind="stable").astype(np.int64)

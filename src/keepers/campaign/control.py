"""The control slice: a uniform sample of the pool that selection never touches."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from keepers.campaign.events import Id
from keepers.data import Examples
from keepers.errors import ParameterError
from keepers.random import derived_seed
from keepers.sealed import read_tensors, recalled, write_tensors

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


def remembered(examples: Examples, seed: int, memory: Path | None) -> npt.NDArray[np.float64]:
    """`numbers` of all examples (n,), made once in this process, or read from the file `memory`.

    They follow from the ids and the seed alone, and a million take seconds.
    """
    known = _made.setdefault(examples, {})
    if seed not in known:
        made = _remembered(examples, seed, memory)
        made.setflags(write=False)  # everybody is given the same one
        known[seed] = made
    return known[seed]


_made: WeakKeyDictionary[Examples, dict[int, npt.NDArray[np.float64]]] = WeakKeyDictionary()


def _remembered(examples: Examples, seed: int, memory: Path | None) -> npt.NDArray[np.float64]:
    if memory is None:
        return numbers(examples.ids.tolist(), seed)
    note = {"identity": examples.identity, "seed": seed}
    kept = recalled(lambda: read_tensors(memory, "campaign", "It was made again"))
    if kept is not None and kept[1] == note:
        return kept[0]["numbers"].numpy()
    made = numbers(examples.ids.tolist(), seed)
    with contextlib.suppress(OSError):  # a disk that is full or cannot be written to
        write_tensors(memory, {"numbers": torch.from_numpy(made)}, note)
    return made


def in_reserve(numbers: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.bool_]:
    """Whether each example (n,) is held in reserve for control: u < `share`.

    A larger share holds all that a smaller one does. What is in reserve is never selected; the
    control slice of each round takes the next of it in the order of u.

    Raises:
        ParameterError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ParameterError("control", f"got the share {share}", "Give one from 0 to 1")
    return numbers < share

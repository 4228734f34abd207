"""`Examples`: what examples are without their labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data.ids import hash_of, units
from keepers.data.inputs import RawInputs, take_inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Row numbers (n,) in the order of sorted ids, and what goes with them once it is asked for.

    `names` are the ids, as an array or as Arrow strings: a million Python strings take longer to
    make than many commands need for all else. `read_digests` and `read_inputs` give the hashes
    of the raw inputs (n,) and the inputs. `known_units` and `known_identity` are what was
    worked out before, if it was.
    """

    rows: npt.NDArray[np.int64]
    names: Any
    read_digests: Callable[[], npt.NDArray[np.bytes_]]
    read_inputs: Callable[[], RawInputs]
    known_units: npt.NDArray[np.int64] | None = None
    known_identity: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, id: object) -> bool:
        return self.position(id) is not None

    @cached_property
    def ids(self) -> npt.NDArray[Any]:
        """Integers (n,), or strings as objects."""
        if isinstance(self.names, np.ndarray):
            return self.names
        return self.names.to_numpy(zero_copy_only=False)

    @cached_property
    def digests(self) -> npt.NDArray[np.bytes_]:
        """BLAKE2b-128 of each raw input, as 32 hexadecimal digits (n,)."""
        return self.read_digests()

    @cached_property
    def inputs(self) -> RawInputs:
        """The raw inputs."""
        return self.read_inputs()

    @cached_property
    def units(self) -> npt.NDArray[np.int64]:
        """The first position (n,) of the copies of each input."""
        return units(self.digests, None) if self.known_units is None else self.known_units

    @cached_property
    def identity(self) -> str:
        """32 hexadecimal digits over ids and inputs."""
        return self.known_identity or hash_of(self.ids, self.digests)

    @property
    def are_texts(self) -> bool:
        """Whether ids are strings."""
        return not isinstance(self.names, np.ndarray) or self.names.dtype == object

    def id(self, position: int) -> int | str:
        """The id at one position."""
        name = self.names[position]
        if isinstance(name, str):
            return name
        return name.as_py() if self.are_texts else int(name)

    def position(self, id: object) -> int | None:
        """The position of an id, None where there is none.

        >>> from keepers.data import open_source
        >>> examples = open_source("digits").examples
        >>> examples.position(examples.id(5)), examples.position("nobody"), examples.position(5)
        (5, None, None)
        """
        if isinstance(id, bool) or not isinstance(id, str if self.are_texts else int):
            return None
        position = bisect_left(range(len(self)), id, key=self.id)  # pyright: ignore
        return position if position < len(self) and self.id(position) == id else None

    def take(self, chosen: npt.NDArray[np.int64]) -> Examples:
        """Those at some positions, in that order, which has to be the canonical one."""
        digests, inputs = self.digests[chosen], take_inputs(self.inputs, chosen)
        return Examples(
            rows=self.rows[chosen],
            names=self.ids[chosen],
            read_digests=lambda: digests,
            read_inputs=lambda: inputs,
        )

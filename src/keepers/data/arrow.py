"""Names for Arrow's types; Arrow ships no type stubs, so a type checker sees `Any`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow
import pyarrow.compute

_BLOCKS = (16 << 20, 256 << 20, (1 << 31) - 1)

ArrowTable = Any
"""`pyarrow.Table`"""

ArrowColumn = Any
"""`pyarrow.ChunkedArray`"""

ArrowArray = Any
"""`pyarrow.Array`"""

ArrowType = Any
"""`pyarrow.DataType`"""

compute: Any = pyarrow.compute
"""`pyarrow.compute`"""


def floats(column: ArrowColumn) -> ArrowColumn:
    """A column (n,) of numbers in 64-bit floating point; whole ones over 2^53 are rounded.

    >>> floats(pyarrow.chunked_array([[2**53 + 1, None]])).to_pylist()
    [9007199254740992.0, None]
    """
    return column.cast(pyarrow.float64(), safe=False)


def in_blocks(read: Callable[[int], ArrowTable]) -> ArrowTable:
    """What `read` gives with the first size of its blocks, in bytes, that every record fits in."""
    for size in _BLOCKS[:-1]:
        try:
            return read(size)
        except pyarrow.ArrowInvalid as error:
            if "straddling object" not in str(error):
                raise
    return read(_BLOCKS[-1])

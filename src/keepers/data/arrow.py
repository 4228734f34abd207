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


def in_blocks(read: Callable[[int], ArrowTable]) -> ArrowTable:
    """What `read` gives with the first size of its blocks, in bytes, that every record fits in."""
    for size in _BLOCKS[:-1]:
        try:
            return read(size)
        except pyarrow.ArrowInvalid as error:
            if "straddling object" not in str(error):
                raise
    return read(_BLOCKS[-1])

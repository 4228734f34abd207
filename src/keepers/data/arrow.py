"""Names for Arrow's types; Arrow ships no type stubs, so a type checker sees `Any`."""

from __future__ import annotations

from typing import Any

import pyarrow.compute

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

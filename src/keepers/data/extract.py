"""Columns to raw inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowColumn, floats
from keepers.data.arrow import compute as pc
from keepers.data.inputs import PictureFiles, RawInputs, inside, stored
from keepers.data.looks import is_path, split_numbers
from keepers.data.material import Material
from keepers.data.pictures import BadPictureError, header
from keepers.data.values import first_line
from keepers.errors import DataError, ParameterError
from keepers.types import Kind
from keepers.words import counted

_HEADERS = 256
_ROWS = 8192
_FAR = 64  # the area of the largest picture over that of the smallest
SEVERAL_SIZES = 64
LARGE_SIDE = 128  # pictures over this are looked at reduced unless a resolution is given


def raw_inputs(material: Material, columns: tuple[str, ...], kind: Kind) -> RawInputs:
    """The inputs of a material (n,): those it was given, or those in `columns`.

    Raises:
        DataError: vectors of several lengths, or numbers that cannot be read.
    """
    if material.inputs is not None:
        return material.inputs
    parts = [material.table[name] for name in columns]
    if kind == "image":
        return _pictures(parts[0], columns[0], material.root)
    if kind in ("text", "chat"):
        if len(parts) == 1:
            return parts[0].cast(pa.large_string())
        joined = pc.binary_join_element_wise(
            *(part.cast(pa.large_string()) for part in parts),
            pa.scalar("\n", pa.large_string()),
            null_handling="skip",
        )
        return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])
    if len(parts) == 1 and (
        pa.types.is_large_string(parts[0].type) or pa.types.is_nested(parts[0].type)
    ):
        return vectors(parts[0], columns[0])
    return np.stack([_numbers(part) for part in parts], axis=1)


def _pictures(column: ArrowColumn, name: str, root: Path | None) -> RawInputs:
    if is_path(column):
        paths = column.to_pylist()
        _check_inside(paths, name, root or Path())
        names = np.array([path or "" for path in paths], dtype=object)
        return PictureFiles(root=root or Path(), names=names)
    if not pa.types.is_struct(column.type):
        return column.cast(pa.large_binary())
    data = pc.struct_field(column, "bytes").cast(pa.large_binary())
    paths = paths_beside(column)
    if all(path is None for path in paths):
        return data
    if root is not None:
        _check_inside(paths, name, root)
    return pa.chunked_array(
        [[_from_path(d, p, root) for d, p in zip(data.to_pylist(), paths, strict=True)]],
        type=pa.large_binary(),
    )


def paths_beside(column: ArrowColumn) -> list[str | None]:
    """The paths of pictures (n,), of those only whose bytes do not stand in the column."""
    if column.type.get_field_index("path") < 0:
        return [None] * len(column)
    missing = pc.is_null(pc.struct_field(column, "bytes"))
    return pc.if_else(missing, pc.struct_field(column, "path"), None).to_pylist()


def _check_inside(paths: list[str | None], name: str, root: Path) -> None:
    for row, (path, found) in enumerate(zip(paths, inside(root, paths), strict=True)):
        if path and found is None:
            raise DataError(
                f"data: row {row} names the picture {path!r} in column '{name}', which is "
                f"outside the folder of the data, {root}. Put pictures into that folder, and "
                "name them by paths relative to it"
            )


def _from_path(data: bytes | None, path: str | None, root: Path | None) -> bytes | None:
    if data is not None or path is None:
        return data
    try:
        return ((root or Path()) / path).read_bytes()
    except OSError:
        return None  # reported as a missing picture, with its row and id


def _numbers(column: ArrowColumn) -> npt.NDArray[np.float32]:
    return floats(column).to_numpy().astype(np.float32)


def _numbers_in(column: ArrowColumn, name: str, parameter: str) -> ArrowColumn:
    try:
        return split_numbers(column).cast(pa.list_(pa.float64()))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{parameter}: column '{name}' holds lists of numbers as text, and one cannot be read "
            f"({first_line(error)}). Correct it, or name another column with --{parameter}"
        ) from None


def vectors(column: ArrowColumn, name: str, parameter: str = "input") -> npt.NDArray[np.float32]:
    """The vectors (n, d) of a column of lists, or of texts that are lists; NaN where none stands.

    Raises:
        DataError: vectors of several lengths, or texts that are none; the error names `parameter`.
    """
    if pa.types.is_large_string(column.type):
        column = _numbers_in(column, name, parameter)
    lengths = pc.list_value_length(column)
    common = pc.mode(lengths.drop_null())
    width = common[0]["mode"].as_py() if len(common) else 0
    if not width:
        raise DataError(
            f"{parameter}: column '{name}' holds no vector. Name another with --{parameter}"
        )
    other = np.flatnonzero(pc.not_equal(lengths, width).fill_null(False).to_numpy())
    if len(other):
        raise DataError(
            f"{parameter}: column '{name}' holds vectors of several lengths: mostly {width}, but "
            f"{lengths[int(other[0])].as_py()} in row {other[0]}. Give vectors of one length"
        )
    flat = pc.list_flatten(column)
    if not pa.types.is_floating(flat.type):
        flat = floats(flat)
    found = flat.cast(pa.float32()).to_numpy().reshape(-1, width)
    if not column.null_count:
        return found
    values = np.full((len(column), width), np.nan, dtype=np.float32)
    values[column.is_valid().to_numpy()] = found
    return values


def bad_rows(inputs: RawInputs, columns: tuple[str, ...]) -> dict[int, str]:
    """Rows that have no text, or numbers that are missing, NaN or infinite, and why.

    Pictures are judged when they are decoded.
    """
    if isinstance(inputs, PictureFiles):
        return {}
    if isinstance(inputs, pa.ChunkedArray):
        column: ArrowColumn = inputs
        if not pa.types.is_large_string(column.type):
            return {}
        missing = np.flatnonzero(column.is_null().to_numpy()).tolist()
        return dict.fromkeys(missing, f"no text in column '{columns[0]}'")
    if inputs.dtype.kind in "ub":
        return {}
    several = columns if len(columns) == inputs[:1].size else ()

    def where(place: int) -> str:
        return f"column '{several[place] if several else f'{columns[0]}[{place}]'}'"

    return unusable_numbers(inputs, where)


def unusable_numbers(values: npt.NDArray[Any], where: Callable[[int], str]) -> dict[int, str]:
    """Rows of an array (n, ...) with NaN or infinite numbers, and what stands where."""
    problems: dict[int, str] = {}
    for start in range(0, len(values), _ROWS):
        block = values[start : start + _ROWS]
        block = block.reshape(len(block), -1)
        wrong = ~np.isfinite(block)
        for row in np.flatnonzero(wrong.any(axis=1)).tolist():
            place = int(np.argmax(wrong[row]))
            what = "nothing or NaN" if np.isnan(block[row, place]) else "an infinite number"
            problems[start + row] = f"{what} in {where(place)}"
    return problems


def input_shape(inputs: RawInputs, kind: Kind) -> tuple[tuple[int, ...], str]:
    """(channels, height, width), (features,) or (), and a sentence on sizes where there is one.

    Encoded pictures are judged by a sample of their headers, evenly spaced.
    """
    if kind in ("text", "chat"):
        return (), ""
    if isinstance(inputs, np.ndarray):
        shape = tuple(inputs.shape[1:])
        return shape, "×".join(map(str, shape[1:])) + " pixels" if kind == "image" else ""
    places = np.unique(np.linspace(0, len(inputs) - 1, _HEADERS).astype(np.int64))
    found = [size for size in (_header(inputs, place) for place in places.tolist()) if size]
    if not found:
        raise DataError(
            "data: not one picture could be read out of a sample of "
            f"{len(places)}. Check the files, or name the pictures with --input (input=...)"
        )
    channels = max(size[0] for size in found)
    sizes = {size[1:] for size in found}
    if len(sizes) == 1 and max(next(iter(sizes))) > LARGE_SIDE:
        height, width = sizes.pop()
        return (channels, SEVERAL_SIZES, SEVERAL_SIZES), (
            f"{height}×{width} pixels; brought to {SEVERAL_SIZES}×{SEVERAL_SIZES} unless "
            "--resolution says otherwise"
        )
    if len(sizes) == 1:
        height, width = sizes.pop()
        return (channels, height, width), f"{height}×{width} pixels"
    low, *_, high = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    far = high[0] * high[1] > _FAR * low[0] * low[1]
    return (channels, SEVERAL_SIZES, SEVERAL_SIZES), (
        f"of several sizes, from {low[0]}×{low[1]} to {high[0]}×{high[1]} pixels"
        + (" (they differ greatly: look whether they belong together)" if far else "")
        + f"; brought to {SEVERAL_SIZES}×{SEVERAL_SIZES} unless --resolution says otherwise"
    )


def _header(inputs: Any, place: int) -> tuple[int, int, int] | None:
    try:
        return header(stored(inputs, place))
    except (BadPictureError, OSError):
        return None


def describe(kind: Kind, count: int, columns: tuple[str, ...], sizes: str) -> str:
    """The sentence on what was taken as input."""
    if kind == "vector" and len(columns) > 1:
        shown = ", ".join(itertools.islice(columns, 6)) + (", …" if len(columns) > 6 else "")
        return f"{counted(count, 'vector')} of {len(columns)} numbers, from the columns {shown}"
    what = {"image": "picture", "text": "text", "vector": "vector", "chat": "conversation"}[kind]
    names = " and ".join(f"'{name}'" for name in columns)
    return (
        counted(count, what) + (f" from {names}" if names else "") + (f", {sizes}" if sizes else "")
    )


def empty_texts(texts: Any) -> tuple[str, ...]:
    """A sentence on those of an Arrow column that hold nothing but white space, if any do."""
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
    number = pc.sum(blank).as_py() or 0
    if not number:
        return ()
    are = "is" if number == 1 else "are"
    return (f"{counted(number, 'text')} {are} empty: their scores mean nothing",)


def check_same_shape(shape: tuple[int, ...], expected: tuple[int, ...], name: str) -> None:
    """Refuse vectors of another length than the training data's.

    Raises:
        ParameterError: they differ.
    """
    if len(expected) == 1 and shape != expected:
        raise ParameterError(
            "test",
            f"{name} holds vectors of {shape[0]} numbers, the training data of {expected[0]}",
            "Give a test set with the same columns",
        )

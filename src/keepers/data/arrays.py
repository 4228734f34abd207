"""Arrays, tensors and map-style PyTorch data sets to tables."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image

from keepers.data.arrow import ArrowArray
from keepers.data.frames import frame_numbers, is_frame
from keepers.data.inputs import RawInputs
from keepers.data.material import Material
from keepers.data.values import column, first_line, same_item
from keepers.errors import DataError, ParameterError
from keepers.types import Kind, Progress, Silent
from keepers.words import counted

READ_AGAIN = 8
"""So many items of a data set are read twice, to find random transforms."""

PAIR = ("input", "label")
TOKENS = "input_ids"
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)
_SHAPES = "Give vectors (n, d), pictures (n, h, w), (n, c, h, w) or (n, h, w, c), or n texts"


def from_arrays(inputs: Any, labels: Any) -> Material:
    """Inputs (n, ...) and labels (n,) or (n, 1); masked values are missing ones.

    Raises:
        DataError: shapes, types or values that cannot be read, with the first row.
    """
    raw, kind = (frame_numbers(inputs), "vector") if is_frame(inputs) else _raw(inputs)
    if labels is None:
        columns: dict[str, Any] = {"row": np.arange(len(raw))}
    else:
        columns = {"label": _labels(labels, len(raw))}
    return Material(
        name="arrays", table=pa.table(columns), kind=kind, inputs=raw, input_name="input"
    )


def _labels(labels: Any, count: int) -> ArrowArray:
    if isinstance(labels, list | tuple) and any(isinstance(each, list | tuple) for each in labels):  # pyright: ignore[reportUnknownVariableType]
        lists: list[Any] = list(labels)  # pyright: ignore[reportUnknownArgumentType]
        if len(lists) != count:
            raise DataError(
                f"data: {counted(count, 'input')} but {counted(len(lists), 'label')}. Give one "
                "for each"
            )
        return column(lists, "label")
    array = as_array(labels, "label")
    if array.ndim == 0 or len(array) != count:
        found = counted(len(array), "label") if array.ndim else "a single label"
        raise DataError(f"data: {counted(count, 'input')} and {found}. Give one label for each")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 1 or array.dtype.kind not in "fiub" or np.ma.isMaskedArray(array):
        return column(array.tolist(), "label")
    return pa.array(array)


def _raw(inputs: Any) -> tuple[RawInputs, Kind]:
    if isinstance(inputs, Sequence) and len(inputs) and isinstance(inputs[0], Image.Image):  # pyright: ignore[reportUnknownArgumentType]
        pictures = [_encoded(picture, row) for row, picture in enumerate(inputs)]
        return pa.chunked_array([pictures], pa.large_binary()), "image"
    array = as_array(inputs, "input")
    if array.dtype.kind in "OUST" and array.ndim == 1:
        return pa.chunked_array([column(array.tolist(), "input", pa.large_string())]), "text"
    if array.ndim and not len(array):
        raise DataError("data: the inputs hold no row. Give data with rows")
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3, 4) or not array.size:
        raise DataError(
            f"data: inputs are an array of shape {array.shape} and type {array.dtype}. {_SHAPES}"
        )
    if array.ndim == 2:
        vectors = array.astype(np.float32, copy=False)
        return (vectors.filled(np.nan) if isinstance(vectors, np.ma.MaskedArray) else vectors), (
            "vector"
        )
    if isinstance(array, np.ma.MaskedArray):
        rows = np.flatnonzero(np.ma.getmaskarray(array).reshape(len(array), -1).any(1))
        raise DataError(
            f"input: {len(rows):,} of {len(array):,} pictures have masked values (first: row "
            f"{rows[0]}). Fill them with array.filled(...), or leave those rows out"
        )
    return _picture_array(array), "image"


def as_array(values: Any, parameter: str) -> npt.NDArray[Any]:
    """An array, masked only where a value of it is."""
    values = _dense(values, parameter)
    if isinstance(values, list | tuple) and any(isinstance(v, torch.Tensor) for v in values):  # pyright: ignore[reportUnknownVariableType]
        values = [_dense(value, parameter) for value in values]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"{parameter}: {_ragged(values, error)}") from None


def _ragged(values: Any, error: ValueError) -> str:
    lengths = [len(value) if hasattr(value, "__len__") else 0 for value in values]
    (usual, _), *others = Counter(lengths).most_common()
    if not others:
        return f"the values are no array ({first_line(error)}). Give rows of one shape"
    row = next(row for row, length in enumerate(lengths) if length != usual)
    return (
        f"the rows have several lengths: mostly {usual}, but {lengths[row]} in row {row}. "
        "Give rows of one length"
    )


def _dense(value: Any, parameter: str) -> Any:
    """What is no tensor as it is; a tensor as an array."""
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise DataError(
            f"{parameter}: got the sparse matrix {type(value).__name__}, which is not supported. "
            "Give a dense one: .toarray()"
        )
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or value.is_nested:
        what = "nested" if value.is_nested else "sparse"
        raise DataError(
            f"{parameter}: got a {what} tensor ({value.layout}), which is not supported. Give a "
            f"dense one: {'torch.nested.to_padded_tensor' if value.is_nested else '.to_dense()'}"
        )
    value = value.detach()
    if value.dtype.is_floating_point and value.dtype not in _NUMPY_FLOATS:
        value = value.float()  # NumPy has no bfloat16
    try:
        return value.cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"{parameter}: got a tensor of {value.dtype} on {value.device}, which cannot be read "
            f"({first_line(error)}). Give float32"
        ) from None


def _picture_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] in (1, 3, 4) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)[:, :3]  # without transparency
    if array.dtype.kind in "iub" and array.min() >= 0 and array.max() <= 255:
        return np.ascontiguousarray(array.astype(np.uint8))
    return np.ascontiguousarray(array.astype(np.float32))


def _encoded(picture: Any, row: int) -> bytes:
    if not isinstance(picture, Image.Image):
        raise DataError(
            f"input: row {row} is {type(picture).__name__}, but row 0 is a picture. Give only "
            "pictures"
        )
    buffer = io.BytesIO()
    try:
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):  # PNG has no such pixels
            picture = picture.convert("RGB")
        picture.save(buffer, format="PNG", compress_level=1)
    except (OSError, ValueError) as error:
        raise DataError(
            f"input: the picture in row {row} cannot be read ({first_line(error)}). "
            "Repair it or leave it out"
        ) from None
    return buffer.getvalue()


def from_torch(data: Any, progress: Progress | None = None) -> Material:
    """The items of a map-style data set, (input, label) or dictionaries; a few are read twice.

    Raises:
        DataError: an item that is not there, cannot be read, or is something else, with its row;
            items that are others when they are read again.
    """
    name = type(data).__name__
    _dense(data, "data")
    try:
        count = len(data)
    except Exception as error:  # the user's own code may raise anything
        raise DataError(
            f"data: {name} has no length ({_told(error)}). Give a map-style data set, with "
            "__len__ and __getitem__, or (X, y) arrays"
        ) from error
    items: list[dict[Any, Any]] = []
    listener = progress or Silent()
    listener.start("Reading items", count)
    try:
        for row in range(count):
            items.append(_parts(_item(data, row, count), row))
            if row < READ_AGAIN and not same_item(items[row], _parts(_item(data, row, count), row)):
                raise DataError(
                    f"data: item {row} of {name} changes when it is read again. Give the data "
                    "set without random transforms: models need the same inputs at every reading"
                )
            if items[row].keys() != items[0].keys():
                found, first = (", ".join(map(repr, each)) for each in (items[row], items[0]))
                raise DataError(
                    f"data: item {row} of {name} has the parts {found}, but item 0 has {first}. "
                    "Give items of one kind"
                )
            listener.advance(row + 1)
    finally:
        listener.finish()
    if not items:
        raise DataError("data: the data set is empty. Give one with rows")
    columns = {part: [item[part] for item in items] for part in items[0]}
    if tuple(columns) == PAIR:
        inputs, labels = (_stacked(columns[part], f"{part}s") for part in PAIR)
        material = from_arrays(inputs, labels)
    else:
        material = _from_columns(columns)
    return replace(material, name=name, notes=("items read as the data set gives them",))


def _parts(item: Any, row: int) -> dict[Any, Any]:
    """The parts of an item by name, tensors as arrays; those of (input, label) are `PAIR`."""
    named = item if isinstance(item, Mapping) else dict(zip(PAIR, item, strict=False))
    return {part: _dense(value, f"{part}, row {row}") for part, value in named.items()}  # pyright: ignore[reportUnknownVariableType]


def _from_columns(columns: dict[Any, list[Any]]) -> Material:
    """Items that are dictionaries: a table, and beside it the pictures, if they are arrays."""
    if TOKENS in columns and not any(isinstance(v[0], str) for v in columns.values()):
        raise DataError(
            f"data: items hold '{TOKENS}', which are token ids, but no text. Models of keepers "
            "tokenise texts themselves: give the data set with its texts"
        )
    pictures: dict[str, Any] = {}
    table: dict[str, Any] = {}
    for part, values in columns.items():
        dimensions = getattr(values[0], "ndim", 0)
        if isinstance(values[0], Image.Image):
            table[str(part)] = pa.array(
                [_encoded(value, row) for row, value in enumerate(values)], pa.large_binary()
            )
        elif dimensions > 1:
            pictures[str(part)] = _stacked(values, f"'{part}'")
        else:
            plain = [v.tolist() if isinstance(v, np.ndarray | np.generic) else v for v in values]
            table[str(part)] = column(plain, f"data: '{part}' of the items")
    if not pictures:
        return Material(name="", table=pa.table(table))
    if len(pictures) > 1:
        raise ParameterError(
            "data",
            f"items hold several arrays that could be the input: {', '.join(map(repr, pictures))}",
            "Give items with one",
        )
    ((part, array),) = pictures.items()
    raw, kind = _raw(array)
    return Material(name="", table=pa.table(table), kind=kind, inputs=raw, input_name=part)


def _item(data: Any, row: int, count: int) -> Any:
    name = type(data).__name__
    try:
        item = data[row]
    except Exception as error:  # the user's own code may raise anything
        remedy = (
            f"Its len() is {count:,}: correct __len__ or __getitem__"
            if isinstance(error, IndexError)
            else "Correct __getitem__, or leave the item out"
        )
        raise DataError(
            f"data: item {row} of {name} cannot be read ({_told(error)}). {remedy}"
        ) from error
    pair = isinstance(item, tuple | list) and len(item) >= 2  # pyright: ignore[reportUnknownArgumentType]
    if not (pair or (isinstance(item, Mapping) and item)):
        raise DataError(
            f"data: item {row} of the data set is {type(item).__name__}. Give a data set "
            "whose items are (input, label) or dictionaries"
        )
    return item  # pyright: ignore[reportUnknownVariableType]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__


def _stacked(values: list[Any], what: str) -> Any:
    """The values of one column: one array where they are arrays."""
    if not isinstance(values[0], np.ndarray):
        return values
    shapes = {np.shape(value) for value in values}
    if len(shapes) > 1:
        raise DataError(
            f"data: {what} have several shapes ({', '.join(map(str, sorted(shapes)[:3]))}). Give "
            "them one shape in the data set's transform"
        )
    masked = any(isinstance(value, np.ma.MaskedArray) for value in values)
    return np.ma.stack(values) if masked else np.stack(values)

"""Objects in memory to tables: Arrow, pandas, Hugging Face, arrays, PyTorch data sets."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image

from keepers.data.arrow import ArrowTable
from keepers.data.folders import choose_part, missing
from keepers.data.inputs import RawInputs
from keepers.data.material import Material
from keepers.errors import DataError, MissingExtraError, ParameterError
from keepers.types import Kind


def read_object(data: Any, split: str | None, usual: tuple[str, ...]) -> Material:
    """Read what is no path.

    Raises:
        ParameterError: a type that is not known.
        DataError: arrays that do not fit together.
    """
    if hasattr(data, "keys") and hasattr(data, "num_rows") and hasattr(data, "column_names"):
        return _from_dataset_dict(data, split, usual)
    if split is not None:
        raise ParameterError("split", f"got '{split}' for data in memory", "Leave it out")
    if isinstance(data, pa.Table):
        return Material(name="table", table=data)
    if hasattr(data, "features") and hasattr(data, "with_format"):
        return _from_datasets(data)
    if hasattr(data, "to_arrow") and hasattr(data, "columns"):  # polars
        return Material(name="frame", table=data.to_arrow())
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas
        table = pa.Table.from_pandas(data, preserve_index=False)
        return Material(name="frame", table=table.rename_columns([str(n) for n in data.columns]))
    if isinstance(data, tuple) and len(data) == 2:  # pyright: ignore[reportUnknownArgumentType]
        return _from_arrays(data[0], data[1])
    if isinstance(data, np.ndarray | torch.Tensor):
        return _from_arrays(data, None)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, dict):
        return _from_torch(data)
    raise ParameterError(
        "data",
        f"got {type(data).__name__}",
        "Give a path, an Arrow table, a pandas frame, a Hugging Face data set, (X, y) arrays, or "
        "a map-style PyTorch data set of (x, y)",
    )


def _from_datasets(data: Any, name: str = "dataset") -> Material:
    table: ArrowTable = data.with_format("arrow")[:]
    return Material(
        name=name, table=table.replace_schema_metadata(data.features.arrow_schema.metadata)
    )


def _from_dataset_dict(data: Any, split: str | None, usual: tuple[str, ...]) -> Material:
    part = choose_part(list(data), split, usual, "the data set")
    if part is None:
        raise DataError("data: the data set has no parts. Give one with rows")
    return _from_datasets(data[part], part)


def is_saved(path: Path) -> bool:
    """Whether a folder is one that `datasets` wrote with `save_to_disk`."""
    return any((path / f"dataset_{what}.json").is_file() for what in ("info", "dict"))


def read_saved(path: Path, split: str | None, usual: tuple[str, ...]) -> Material:
    """Read a folder that `datasets` wrote with `save_to_disk`."""
    datasets = _datasets(f"data: the folder {path}")
    data = datasets.load_from_disk(str(path))
    return (
        read_object(data, split, usual)
        if hasattr(data, "keys")
        else _from_datasets(data, path.name)
    )


def read_hub(name: str, split: str | None, usual: tuple[str, ...]) -> Material:
    """Read `owner/name` from the Hugging Face hub.

    Raises:
        DataError: it is neither there nor a path here.
        MissingExtraError: `datasets` is not installed.
    """
    datasets = _datasets(f"data: {name} is no path here, and reading it from the Hugging Face hub")
    try:
        data = datasets.load_dataset(name.removeprefix("hf:"), split=split or usual[0])
    except Exception as error:  # network, configuration and script errors are of many types
        here = missing(Path(name))
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{here}. As a data set of the Hugging Face hub it cannot be read ({reason[:200]})"
        ) from None
    return _from_datasets(data, name)


def _datasets(purpose: str) -> Any:
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtraError(purpose, "hf")
    import datasets

    return datasets


def _from_arrays(inputs: Any, labels: Any) -> Material:
    if hasattr(inputs, "iloc") and hasattr(inputs, "columns"):
        table = pa.Table.from_pandas(inputs, preserve_index=False)
        names = [str(name) for name in inputs.columns]
        values = np.stack([table[i].cast(pa.float64()).to_numpy() for i in range(len(names))], 1)
        return _material(values.astype(np.float32), "vector", labels, "arrays")
    raw, kind = _raw(inputs)
    return _material(raw, kind, labels, "arrays")


def _material(raw: RawInputs, kind: Kind, labels: Any, name: str) -> Material:
    columns: dict[str, Any] = {}
    if labels is not None:
        values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
        array = np.asarray(values)
        if len(array) != len(raw):
            raise DataError(
                f"data: {len(raw):,} inputs and {len(array):,} labels. Give one label for each"
            )
        columns["label"] = pa.array(array.tolist() if array.ndim > 1 else array)
    else:
        columns["row"] = np.arange(len(raw))
    return Material(name=name, table=pa.table(columns), kind=kind, inputs=raw, input_name="input")


def _raw(inputs: Any) -> tuple[RawInputs, Kind]:
    if isinstance(inputs, torch.Tensor):
        inputs = inputs.detach().cpu().numpy()
    if isinstance(inputs, Sequence) and len(inputs) and isinstance(inputs[0], Image.Image):  # pyright: ignore[reportUnknownArgumentType]
        return pa.chunked_array([[_encoded(picture) for picture in inputs]], pa.large_binary()), (
            "image"
        )
    array = np.asarray(inputs)
    if array.dtype.kind in "OUS" and array.ndim == 1:
        return pa.chunked_array([pa.array(array.tolist(), pa.large_string())]), "text"
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3, 4):
        raise DataError(
            f"data: inputs are an array of shape {array.shape} and type {array.dtype}. Give "
            "vectors (n, d), pictures (n, h, w), (n, c, h, w) or (n, h, w, c), or n texts"
        )
    if array.ndim == 2:
        return array.astype(np.float32), "vector"
    return _picture_array(array), "image"


def _picture_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] in (1, 3, 4) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)[:, :3]  # without transparency
    if array.dtype.kind in "iub" and array.min() >= 0 and array.max() <= 255:
        return np.ascontiguousarray(array.astype(np.uint8))
    return np.ascontiguousarray(array.astype(np.float32))


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _from_torch(data: Any) -> Material:
    inputs: list[Any] = []
    labels: list[Any] = []
    for row in range(len(data)):
        item = data[row]
        if not (isinstance(item, tuple | list) and len(item) >= 2):  # pyright: ignore[reportUnknownArgumentType]
            raise DataError(
                f"data: item {row} of the data set is {type(item).__name__}. Give a data set "
                "whose items are (input, label)"
            )
        inputs.append(_bare(item[0]))
        labels.append(_bare(item[1]))
    if not inputs:
        raise DataError("data: the data set is empty. Give one with rows")
    shapes = {np.shape(value) for value in inputs} if isinstance(inputs[0], np.ndarray) else {()}
    if len(shapes) > 1:
        raise DataError(
            f"data: inputs have several shapes ({', '.join(map(str, sorted(shapes)[:3]))}). "
            "Resize them to one in the data set's transform"
        )
    material = _from_arrays(
        np.stack(inputs) if isinstance(inputs[0], np.ndarray) else inputs, np.array(labels)
    )
    return Material(
        name=type(data).__name__,
        table=material.table,
        kind=material.kind,
        inputs=material.inputs,
        input_name=material.input_name,
        notes=("items read once, as the data set gave them",),
    )


def _bare(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

"""Objects in memory to tables: Arrow, pandas, Hugging Face, arrays, PyTorch data sets."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import IterableDataset

from keepers.data.arrays import from_arrays, from_torch
from keepers.data.arrow import ArrowTable
from keepers.data.folders import choose_part, missing
from keepers.data.frames import frame_table, is_frame
from keepers.data.material import Material
from keepers.errors import DataError, MissingExtraError, ParameterError
from keepers.types import Progress


def read_object(
    data: Any, split: str | None, usual: tuple[str, ...], progress: Progress | None = None
) -> Material:
    """Read what is no path.

    Raises:
        ParameterError: a type that is not known, or a stream.
        DataError: arrays that do not fit together.
    """
    if _is_stream(data):
        raise ParameterError(
            "data",
            f"got {type(data).__name__}, which can only be read in order",
            "Read all of it first: datasets.Dataset.from_list(list(data)) for a Hugging Face "
            "stream, list(data) for a stream of (x, y), .dataset for a loader",
        )
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
    if is_frame(data):
        return Material(name="frame", table=frame_table(data))
    if isinstance(data, tuple) and len(data) == 2:  # pyright: ignore[reportUnknownArgumentType]
        return from_arrays(data[0], data[1])
    if isinstance(data, np.ndarray | torch.Tensor):
        return from_arrays(data, None)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, dict):
        return from_torch(data, progress)
    raise ParameterError(
        "data",
        f"got {type(data).__name__}",
        "Give a path, an Arrow table, a pandas frame, a Hugging Face data set, (X, y) arrays, or "
        "a map-style PyTorch data set of (x, y) or of dictionaries",
    )


def _is_stream(data: Any) -> bool:
    if isinstance(data, IterableDataset):
        return True
    if isinstance(data, dict):
        parts: Any = data
        return any(_is_stream(part) for part in parts.values())
    whole = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return hasattr(data, "__iter__") and not whole


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
    datasets = _datasets(
        f"data: {name} is not a local path, and reading it from the Hugging Face hub"
    )
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

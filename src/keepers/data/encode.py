"""`encode`: raw inputs to a pool, as an encoder specification says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.choices import OnBadRow
from keepers.data import memory, pictures, text
from keepers.data.arrow import ArrowColumn
from keepers.data.inputs import PictureFiles, RawInputs, digest, stored
from keepers.data.pool import BagPool, DensePool, TextPool, TokenPool
from keepers.data.source import SkippedRow, Source
from keepers.errors import DataError, ParameterError
from keepers.types import EncoderSpec, Pool, Progress, Silent

_BLOCK = 128
_THREADS = 2


def encode(
    source: Source,
    spec: EncoderSpec,
    *,
    on_bad_row: OnBadRow = "error",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Source, Pool]:
    """The inputs of `source` as tensors.

    Pictures that cannot be decoded are an error, or are left out and listed in `skipped`: the
    source that is returned is the one the pool is aligned with. A pool of over half of the free
    memory is memory-mapped from a file in the folder `cache`, where one is given.

    >>> from keepers.data import open_source
    >>> source, pool = encode(open_source("digits"), EncoderSpec(kind="image"))
    >>> pool.gather(torch.tensor([0, 1]))[0].shape
    torch.Size([2, 1, 8, 8])

    Raises:
        DataError: a picture cannot be decoded and `on_bad_row` is `error`.
        ParameterError: `spec` is for another kind of input.
    """
    if spec.kind != source.kind:
        raise ParameterError(
            "proxy",
            f"this model reads {spec.kind} inputs, but {source.name} holds {source.kind} inputs",
            "Choose a model for that kind (keepers models lists them), or name another --input",
        )
    listener = progress or Silent()
    listener.start(f"Reading {source.kind}s", len(source))
    try:
        if source.kind == "image":
            return _encode_pictures(source, spec, on_bad_row, cache, _counter(listener))
        if source.kind == "text":
            return source, _encode_text(source, spec, cache, _counter(listener))
        return source, DensePool(torch.from_numpy(np.asarray(source.inputs, dtype=np.float32)))
    finally:
        listener.finish()


def readable(
    source: Source, *, on_bad_row: OnBadRow = "error", progress: Progress | None = None
) -> Source:
    """The source without the pictures that cannot be decoded, or an error where there are such.

    Raises:
        DataError: as `encode`.
    """
    if source.kind != "image" or isinstance(source.inputs, np.ndarray):
        return source
    small = EncoderSpec(kind="image", size=(8, 8), channels=1)
    return encode(source, small, on_bad_row=on_bad_row, progress=progress)[0]


def undecodable(inputs: RawInputs) -> dict[int, str]:
    """The rows of stored pictures that cannot be decoded, and why."""
    bad: dict[int, str] = {}
    if isinstance(inputs, np.ndarray):
        return bad
    for start in range(0, len(inputs), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(inputs)))
        for row, data in zip(rows, _stored_block(inputs, rows), strict=True):
            try:
                pictures.decode(data, (8, 8), 1)
            except pictures.BadPictureError as error:
                bad[row] = str(error)
    return bad


def check_quantities(source: Source) -> None:
    """Refuse numbers of tokens, which a model of vectors would take for quantities.

    Raises:
        DataError: they look like that, or their column is called so; with the way round it.
    """
    if source.kind != "vector" or not isinstance(source.inputs, np.ndarray):
        return
    if len(source.columns.input) > 1:  # what has a column of its own is a quantity
        return
    named = next((name for name in source.columns.input if name in text.NAMES), None)
    if named is None and not text.are_tokens(source.inputs):
        return
    what = "look like" if named is None else f"of column '{named}' are"
    raise DataError(
        f"data: the inputs {what} token ids (up to {source.inputs.max():,.0f}), which a built-in "
        "model would treat as quantities. Give the raw texts, each with a key: "
        "keepers.irreducible_losses(texts, id='key'). A loop on tokens can use these losses if "
        "its batches have the same keys as ids"
    )


def _counter(listener: Progress) -> Callable[[int], None]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        listener.advance(done)

    return advance


def _encode_pictures(
    source: Source,
    spec: EncoderSpec,
    on_bad_row: OnBadRow,
    cache: Path | None,
    advance: Callable[[int], None],
) -> tuple[Source, Pool]:
    size = spec.size or (source.shape[1], source.shape[2])
    channels = spec.channels or source.shape[0]
    if isinstance(source.inputs, np.ndarray):
        return source, DensePool(_resized(source.inputs, size, channels))
    rows = memory.rows((len(source), *size, channels), np.dtype(np.uint8), cache)
    bad: dict[int, str] = {}
    for start, values, problems in _decoded(source, size, channels):
        rows[start : start + len(values)] = values
        bad.update(problems)
        advance(len(values))
        if bad and on_bad_row == "error":
            raise _bad_picture(source, bad)
    if bad:
        source, good = _without(source, bad)
        # Moved in place: a second array of this size might not fit.
        for start in range(0, len(good), _BLOCK):
            part = good[start : start + _BLOCK]
            rows[start : start + len(part)] = rows[part]
        rows = rows[: len(good)]
    return source, DensePool(torch.from_numpy(rows).permute(0, 3, 1, 2))


def _decoded(
    source: Source, size: tuple[int, int], channels: int
) -> Iterator[tuple[int, npt.NDArray[np.uint8], dict[int, str]]]:
    inputs = source.inputs
    files = inputs if isinstance(inputs, PictureFiles) else None  # all else was read as a whole

    def block(start: int) -> tuple[int, npt.NDArray[np.uint8], dict[int, str]]:
        indices = range(start, min(start + _BLOCK, len(inputs)))
        values = np.zeros((len(indices), *size, channels), dtype=np.uint8)
        problems: dict[int, str] = {}
        for place, (index, data) in enumerate(
            zip(indices, _stored_block(inputs, indices), strict=True)
        ):
            if files and data is not None and digest(data) != source.digests[index].decode():
                raise DataError(
                    f"data: the picture in row {source.rows[index]} ({files.names[index]}) of "
                    f"{source.name} changed since the data were opened. Run the same command "
                    "again"
                )
            try:
                values[place] = pictures.decode(data, size, channels)
            except pictures.BadPictureError as error:
                problems[index] = str(error)
        return start, values, problems

    with ThreadPoolExecutor(_THREADS) as pool:
        # A few blocks at a time: what is decoded must be used before more is.
        starts = range(0, len(inputs), _BLOCK)
        for first in range(0, len(starts), 4 * _THREADS):
            yield from pool.map(block, starts[first : first + 4 * _THREADS])


def _stored_block(inputs: RawInputs, indices: range) -> Iterator[bytes | None]:
    if isinstance(inputs, pa.ChunkedArray):
        column: ArrowColumn = inputs
        part = column.slice(indices.start, len(indices))
        return chain.from_iterable(chunk.to_pylist() for chunk in part.chunks)
    return (_read(inputs, index) for index in indices)


def _read(inputs: RawInputs, index: int) -> bytes | None:
    try:
        return stored(inputs, index)
    except OSError:
        return None


def _bad_picture(source: Source, bad: dict[int, str]) -> DataError:
    position, problem = next(iter(bad.items()))
    inputs = source.inputs
    file = f", {inputs.names[position]}" if isinstance(inputs, PictureFiles) else ""
    return DataError(
        f"data: the picture in row {source.rows[position]} (id {source.ids[position]}{file}) of "
        f"{source.name} cannot be decoded ({problem}). Repair or remove it; or give "
        "--on-bad-row skip (on_bad_row='skip') to the command that opened the data first, which "
        "leaves such rows out and lists them"
    )


def _without(source: Source, bad: dict[int, str]) -> tuple[Source, npt.NDArray[np.int64]]:
    good = np.setdiff1d(np.arange(len(source)), list(bad))
    if not len(good):
        raise DataError(f"data: not one picture of {source.name} can be decoded. Check the files")
    skipped = tuple(
        SkippedRow(row=int(source.rows[p]), id=_plain_id(source.ids[p]), problem=bad[p])
        for p in sorted(bad)
    )
    return replace(source.take(good), skipped=source.skipped + skipped), good


def _plain_id(value: Any) -> int | str:
    return value if isinstance(value, str) else int(value)


def _resized(values_NCHW: npt.NDArray[Any], size: tuple[int, int], channels: int) -> torch.Tensor:
    values = torch.from_numpy(values_NCHW)
    same_channels = values.shape[1] == channels
    if same_channels and tuple(values.shape[2:]) == size:
        return values
    if values.dtype == torch.uint8:
        stack = [pictures.pixels(pictures.image(value), size, channels) for value in values_NCHW]
        return torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2)
    if not same_channels:
        values = values.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if values.shape[2] % size[0] == 0 and values.shape[3] % size[1] == 0:
        return torch.nn.functional.adaptive_avg_pool2d(values, size)
    return torch.nn.functional.interpolate(values, size, mode="bilinear", antialias=True)


def _encode_text(
    source: Source, spec: EncoderSpec, cache: Path | None, advance: Callable[[int], None]
) -> Pool:
    if spec.scheme == "hashed":
        blocks = text.hashed_ngrams(
            source.inputs,
            buckets=spec.buckets,
            ngrams=spec.ngrams,
            apart=spec.apart,
            advance=advance,
        )
        buckets = spec.buckets * (spec.ngrams if spec.apart else 1)
        estimate = 2 * spec.ngrams * source.inputs.nbytes  # pyright: ignore[reportAttributeAccessIssue]
        indices, lengths = memory.appended(blocks, np.dtype(np.int32), estimate, cache)
        return BagPool(torch.from_numpy(indices), torch.from_numpy(lengths), buckets)
    if spec.scheme == "characters":
        encoded = text.characters(source.inputs, length=spec.length or 1014, advance=advance)
        return DensePool(torch.from_numpy(encoded))
    if spec.scheme == "tokens":
        flat, lengths, padding = text.tokens(
            source.inputs, tokenizer=spec.tokenizer, length=spec.length, advance=advance
        )
        return TokenPool(torch.from_numpy(flat), torch.from_numpy(lengths), padding)
    if spec.scheme == "raw":
        advance(len(source))
        return TextPool(source.inputs)  # pyright: ignore[reportArgumentType]
    raise ParameterError(
        "proxy", "the model says no scheme for text", "Use hashed, characters or tokens"
    )

"""An index of a large pool's features: near neighbours without a look at all (extra `ann`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers import processes
from keepers.files import hash_bytes
from keepers.ledger import Ledger
from keepers.random import derived_seed, generator
from keepers.runs import StageRecord
from keepers.workflows.stages import Workplace

INDEX = "neighbour-index"
"""The stage that makes it."""

NEIGHBOURS = "neighbours"
"""The phase under which it, and every search, is booked."""

INDEXED_FROM = 200_000
"""Examples from which on an index is made; fewer are searched as fast without."""

_FILE = "index.faiss"
_FITTED_ON = 64  # examples for each list
_BLOCK = 1 << 16


def made(features: Tensor, place: Workplace, seed: int) -> Path | None:
    """The file of the index, made once for the same features.

    An inverted file: the features (n, d) in about √n lists, by the nearest of as many centres. A
    search reads the lists around an anchor, about 2 n^(1/4) of them. None for a small pool, or
    where faiss is not installed.
    """
    faiss = _faiss()
    if faiss is None or len(features) < INDEXED_FROM:
        return None
    inputs = {
        "features": hash_bytes(features.numpy()),
        "seed": seed,
        "faiss": faiss.__version__,
        "threads": torch.get_num_threads(),
    }

    def compute(folder: Path) -> StageRecord:
        ledger = Ledger()
        with ledger.phase(NEIGHBOURS) as tally, place.under_way("Index of the neighbours"):
            tally.examples = len(features)
            if processes.rank() == 0:
                _write(faiss, features, folder / _FILE, seed)
        return StageRecord(costs=tuple(ledger.costs))

    folder, record = place.run.stage(INDEX, inputs, compute)
    place.book(folder, record)
    return folder / _FILE


def search(path: Path, features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The candidates that it finds among the `count` nearest of any anchor, sorted."""
    faiss = _faiss()
    assert faiss is not None
    index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    allowed = np.zeros(len(features), dtype=bool)
    allowed[candidates.numpy()] = True
    bits = np.packbits(allowed, bitorder="little")
    parameters = faiss.SearchParametersIVF(
        sel=faiss.IDSelectorBitmap(bits), nprobe=round(2 * index.nlist**0.5)
    )
    _, found = index.search(_rows(features, anchors), count, params=parameters)
    near = torch.from_numpy(found).flatten().unique()
    return near[near >= 0]  # -1 where the lists hold fewer


def _write(faiss: Any, features: Tensor, path: Path, seed: int) -> None:
    lists = 1 << round(np.log2(len(features)) / 2)
    centres = faiss.IndexFlatL2(features.shape[1])
    index = faiss.IndexIVFFlat(centres, features.shape[1], lists)
    index.cp.seed = derived_seed(seed, INDEX) % 2**31
    draw = torch.randperm(len(features), generator=generator(seed, INDEX))
    index.train(_rows(features, draw[: _FITTED_ON * lists].sort().values))
    for part in torch.arange(len(features)).split(_BLOCK):
        index.add(_rows(features, part))
    faiss.write_index(index, str(path))


def _rows(features: Tensor, positions: Tensor) -> Any:
    return features[positions].float().contiguous().numpy()


def _faiss() -> Any:
    """The module, as many threads as torch has; None where it is not installed."""
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    module: Any = faiss
    module.omp_set_num_threads(torch.get_num_threads())
    return module

"""An index of a large pool's features: near neighbours without a look at all (extra `ann`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers import processes
from keepers.errors import RunError
from keepers.files import check_room, hash_bytes
from keepers.ledger import Ledger
from keepers.random import derived_seed, generator
from keepers.runs import StageRecord
from keepers.workflows.active.exact_neighbours import by_products
from keepers.workflows.workplace import Workplace

INDEX = "neighbour-index"
"""The stage that makes it."""

NEIGHBOURS = "neighbours"
"""The phase under which it, and every search, is booked."""

INDEXED_FROM = 200_000
"""Examples from which on an index is made; fewer are searched as fast without."""

ENOUGH = 0.95
"""The share of the true neighbours that an index must find to be used."""

_FILE = "index.faiss"
_FITTED_ON = 64  # examples for each list
_MEASURED_ON = 64  # anchors
_LARGEST_PART = 4  # of the lists, one in so many: a search of more is no faster than an exact one
_ALIKE = 1e-4  # neighbours as far as the last true one, but for rounding
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index, and what it is worth: the `share` of the true neighbours that it found.

    That was measured on a sample, looking into `lists` lists for each anchor; it `serves` if the
    share is `ENOUGH`. The file of one that does not is not kept.
    """

    folder: Path
    lists: int
    share: float

    @property
    def serves(self) -> bool:
        """Whether it is to be searched, rather than all candidates."""
        return self.share >= ENOUGH

    def search(self, features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
        """Positions (a, count) of candidates near to each anchor, -1 where it finds no more.

        Raises:
            RunError: the file is damaged.
        """
        faiss = _faiss()
        assert faiss is not None
        path = self.folder / _FILE
        try:
            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
            return _searched(faiss, index, self.lists, features, anchors, candidates, count)
        except RuntimeError as error:
            raise RunError(
                f"campaign: the index {path} cannot be read ({_first_line(error)}). Remove the "
                f"folder {self.folder}: it will be made again"
            ) from None


def made(features: Tensor, place: Workplace, seed: int, count: int) -> Index | None:
    """The index, made and measured once for the same features.

    An inverted file: the features (n, d) in about √n lists, by the nearest of as many centres. A
    search reads the lists around an anchor: about 2 n^(1/4) of them, doubled until it finds
    `ENOUGH` of the `count` true neighbours of a sample, or reads too many to be worth it. Making it
    takes n · d · 4 bytes of memory and of disk. None for a small pool, or where faiss is not
    installed.

    Raises:
        OSError: the disk has no room for it.
        RunError: it cannot be written.
    """
    faiss = _faiss()
    if faiss is None or len(features) < max(INDEXED_FROM, 2 * _MEASURED_ON):
        return None
    inputs = {
        "features": hash_bytes(features.numpy()),
        "seed": seed,
        "count": count,
        "faiss": faiss.__version__,
        "threads": torch.get_num_threads(),
    }

    def compute(folder: Path) -> StageRecord:
        ledger, facts = Ledger(), {}
        with ledger.phase(NEIGHBOURS) as tally, place.under_way("Index of the neighbours"):
            tally.examples = len(features)
            if processes.rank() == 0:
                check_room(folder / _FILE, features.numel() * 4 + len(features) * 8)
                try:
                    facts = _make(faiss, features, folder / _FILE, seed, count)
                except RuntimeError as error:
                    raise RunError(
                        "campaign: the index of the neighbours cannot be written "
                        f"({_first_line(error)}). Remove the folder {folder}, make room on the "
                        "disk, and run the same command again"
                    ) from None
        return StageRecord(facts=facts, costs=tuple(ledger.costs))

    folder, record = place.stage(INDEX, inputs, compute)
    return Index(folder=folder, **record.facts)


def _make(
    faiss: Any, features: Tensor, path: Path, seed: int, count: int
) -> dict[str, int | float]:
    index = _built(faiss, features, seed)
    lists, share = _measured(faiss, index, features, seed, count)
    if share >= ENOUGH:
        faiss.write_index(index, str(path))
    return {"lists": lists, "share": share}


def _built(faiss: Any, features: Tensor, seed: int) -> Any:
    lists = 1 << round(np.log2(len(features)) / 2)
    centres = faiss.IndexFlatL2(features.shape[1])
    index = faiss.IndexIVFFlat(centres, features.shape[1], lists)
    index.cp.seed = derived_seed(seed, INDEX) % 2**31
    draw = torch.randperm(len(features), generator=generator(seed, INDEX))
    index.train(_rows(features, draw[: _FITTED_ON * lists].sort().values))
    for part in torch.arange(len(features)).split(_BLOCK):
        index.add(_rows(features, part))
    return index


def _measured(faiss: Any, index: Any, features: Tensor, seed: int, count: int) -> tuple[int, float]:
    """How many lists to search, and the share of a sample's true neighbours that are found so."""
    draw = torch.randperm(len(features), generator=generator(seed, INDEX, "sample"))
    anchors = draw[:_MEASURED_ON]
    candidates = draw[_MEASURED_ON:].sort().values
    count = min(count, len(candidates))
    exact = candidates[by_products(features, anchors, candidates, count)]
    # By distance: among rows that are as near, which ones are found does not matter.
    reach = _distances(features, anchors, exact).max(1, keepdim=True).values * (1 + _ALIKE)
    lists, share = round(2 * index.nlist**0.5), 0.0
    while True:
        found = _searched(faiss, index, lists, features, anchors, candidates, count)
        near = _distances(features, anchors, found.clamp(min=0)) <= reach
        share = float((near & (found >= 0)).double().mean())
        if share >= ENOUGH or 2 * lists > index.nlist // _LARGEST_PART:
            return lists, share
        lists *= 2


def _distances(features: Tensor, anchors: Tensor, others: Tensor) -> Tensor:
    return (features[others].float() - features[anchors].float()[:, None]).norm(dim=2)


def _searched(
    faiss: Any,
    index: Any,
    lists: int,
    features: Tensor,
    anchors: Tensor,
    candidates: Tensor,
    count: int,
) -> Tensor:
    allowed = np.zeros(len(features), dtype=bool)
    allowed[candidates.numpy()] = True
    bits = np.packbits(allowed, bitorder="little")
    parameters = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(bits), nprobe=lists)
    _, found = index.search(_rows(features, anchors), count, params=parameters)
    return torch.from_numpy(found)


def _rows(features: Tensor, positions: Tensor) -> Any:
    return features[positions].float().contiguous().numpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _faiss() -> Any:
    """The module, as many threads as torch has; None where it is not installed."""
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    module: Any = faiss
    module.omp_set_num_threads(torch.get_num_threads())
    return module

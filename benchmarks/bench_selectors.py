"""Speed and memory of the selectors beside a bare loop, and beside apricot where it is installed.

    python benchmarks/bench_selectors.py [--large | --large-alone | --wide | --sampling | --exact]
        [--beside SRC] [--peer-python PATH] [--out FILE]

Every run is a process of its own on one thread. CPU seconds are those of selecting; extra memory
is the largest resident size while selecting, over the size before it, with the data in memory and
the libraries warmed up; the whole is that size with the data and the libraries. In each repeat the
candidates run one after the other; a ratio is taken within a repeat, and the median over the
repeats is shown. `--peer-python` is the interpreter of an environment with apricot-select; this
file needs NumPy alone there. `--beside` is the `src` of another checkout, whose facility location
stands beside that of this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats, int], "npt.NDArray[np.int64]"]


@dataclass(frozen=True)
class Case:
    """One table: the first candidate is what the others are held against."""

    name: str
    n: int
    d: int
    k: int
    candidates: tuple[str, ...]
    clusters: bool = False

    @property
    def data(self) -> str:
        return "clusters" if self.clusters else "one normal distribution"


K_CENTER = Case("k-center", 200_000, 128, 1_000, ("matrix-vector loop", "k_center_greedy"))
FACILITY = Case(
    "facility location",
    20_000,
    64,
    2_000,
    ("apricot lazy", "apricot stochastic", "facility_location", "stochastic", "random"),
)
SMALL = (K_CENTER, FACILITY)
LARGE = (
    Case("k-center, large", 1_000_000, 64, 1_000, ("matrix-vector loop", "k_center_greedy")),
    Case("facility location, large", 1_000_000, 64, 1_000, ("random", "stochastic")),
)
WIDE = (
    Case("facility location, wide", 200_000, 384, 2_000, ("stochastic", "random"), True),
    Case("facility location, large and wide", 1_000_000, 512, 1_000, ("stochastic", "random")),
)
SAMPLING = (
    Case("facility location by sampling", 100_000, 64, 200, ("stochastic",)),
    Case("facility location by sampling, clusters", 100_000, 64, 200, ("stochastic",), True),
)
EXACT = (Case("facility location, exact", 20_000, 64, 2_000, ("facility_location",)),)
BESIDE = ", beside"
"""Ends the name of what the other checkout holds."""

MEASURES = ("cpu_s", "extra_mb", "whole_mb", "objective")


def matrix_vector_loop(features: Floats, k: int) -> npt.NDArray[np.int64]:
    """Greedy k-center in its least form."""
    norms = np.einsum("nd,nd->n", features, features)
    nearest = np.full(len(features), np.inf, np.float32)
    picks = np.zeros(k, np.int64)
    for pick in range(k):
        position = picks[pick]
        distances = norms + norms[position] - 2 * (features @ features[position])
        np.minimum(nearest, distances, out=nearest)
        nearest[position] = -1
        if pick + 1 < k:
            picks[pick + 1] = nearest.argmax()
    return picks


def random(features: Floats, k: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(1).permutation(len(features))[:k]


def keepers_selector(name: str, **settings: Any) -> Run:
    import torch

    from keepers import selectors

    torch.set_num_threads(1)

    def run(features: Floats, k: int) -> npt.NDArray[np.int64]:
        return getattr(selectors, name)(torch.from_numpy(features), k, **settings).numpy()

    return run


def apricot(optimizer: str) -> Run:
    from apricot import FacilityLocationSelection  # pyright: ignore[reportMissingImports]

    def run(features: Floats, k: int) -> npt.NDArray[np.int64]:
        selection = FacilityLocationSelection(k, metric="euclidean", optimizer=optimizer)
        return selection.fit(features).ranking

    return run


FACTORIES: dict[str, Callable[[], Run]] = {
    "matrix-vector loop": lambda: matrix_vector_loop,
    "random": lambda: random,
    "k_center_greedy": lambda: keepers_selector("k_center_greedy"),
    "facility_location": lambda: keepers_selector("facility_location"),
    "stochastic": lambda: keepers_selector("facility_location", optimizer="stochastic"),
    "apricot lazy": lambda: apricot("lazy"),
    "apricot stochastic": lambda: apricot("stochastic"),
}


class PeakMemory:
    """The largest resident size inside a `with` block, sampled every two milliseconds."""

    def __enter__(self) -> PeakMemory:
        self.before = self.largest = self._resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def extra_mb(self) -> float:
        return (self.largest - self.before) / 1e6

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self.largest = max(self.largest, self._resident())

    def _resident(self) -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def mean_nearest(features: Floats, picks: npt.NDArray[np.int64]) -> float:
    """Mean squared distance to the nearest pick."""
    total, chosen = 0.0, features[picks]
    norms = np.einsum("nd,nd->n", chosen, chosen)
    for start in range(0, len(features), 4096):
        block = features[start : start + 4096]
        least = (norms - 2 * block @ chosen.T).min(1)
        total += float(np.clip(least + np.einsum("nd,nd->n", block, block), 0, None).sum())
    return total / len(features)


def made(n: int, d: int, clusters: bool) -> Floats:
    """Points of one normal distribution, or around 2,000 centres of which few are frequent."""
    rng = np.random.default_rng(0)
    if not clusters:
        return rng.standard_normal((n, d), dtype=np.float32)
    centres = rng.standard_normal((2_000, d), dtype=np.float32)
    share = 1 / np.arange(1, len(centres) + 1)
    features = centres[rng.choice(len(centres), n, p=share / share.sum())]
    spread = rng.standard_normal((n, d), dtype=np.float32)
    return np.asarray(features + np.float32(0.5) * spread, dtype=np.float32)


def work(name: str, n: int, d: int, k: int, clusters: bool) -> dict[str, float]:
    """One measurement, in this process."""
    run = FACTORIES[name.removesuffix(BESIDE)]()
    features = made(n, d, clusters)
    run(features[:3000].copy(), 10)
    with PeakMemory() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        picks = run(features, k)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(set(picks.tolist())) == k
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "extra_mb": memory.extra_mb,
        "whole_mb": memory.largest / 1e6,
        "objective": mean_nearest(features, picks),
    }


def measure(case: Case, name: str, python: str, beside: Path | None) -> dict[str, float]:
    one_thread = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    other = {"PYTHONPATH": str(beside)} if name.endswith(BESIDE) else {}
    size = (case.n, case.d, case.k, int(case.clusters))
    command = [python, __file__, "--work", name, *map(str, size)]
    environment = os.environ | one_thread | other
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(
    case: Case, repeats: int, peer_python: str | None = None, beside: Path | None = None
) -> dict[str, Any]:
    names = [name for name in case.candidates if peer_python or not name.startswith("apricot")]
    if beside:
        names = [
            f"{name}{BESIDE}" for name in ("stochastic", *EXACT[0].candidates) if name in names
        ] + names
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    print(f"\n{case.name}: {case.n:,} × {case.d}, {case.k:,} picks, {case.data}", flush=True)
    for _ in range(repeats):
        for name in names:
            python = peer_python if peer_python and name.startswith("apricot") else sys.executable
            rows[name].append(measure(case, name, python, beside))
    base = rows[names[0]]
    print(f"{'':22}{'CPU s':>9}{'CPU ratio':>11}{'extra MB':>10}{'objective':>11}")
    table: dict[str, Any] = {}
    for name, found in rows.items():
        ratios = [own["cpu_s"] / other["cpu_s"] for own, other in zip(found, base, strict=True)]
        row = {measure: median(run[measure] for run in found) for measure in MEASURES}
        table[name] = row | {"cpu_ratio": median(ratios), "runs": found}
        print(
            f"{name:22}{row['cpu_s']:9.2f}{median(ratios):11.2f}"
            f"{row['extra_mb']:10.0f}{row['objective']:11.3f}",
            flush=True,
        )
    size = {"n": case.n, "d": case.d, "k": case.k, "data": case.data}
    return {"case": case.name, **size, "ratio_to": names[0], "rows": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter that has apricot-select")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also 1,000,000 × 64, once")
    parser.add_argument("--large-alone", action="store_true", help="1,000,000 × 64 alone, once")
    parser.add_argument("--wide", action="store_true", help="384 and 512 numbers alone, once")
    parser.add_argument("--sampling", action="store_true", help="the sampling variant alone")
    parser.add_argument("--exact", action="store_true", help="exact facility location alone")
    parser.add_argument("--beside", type=Path, help="`src` of another checkout")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument(
        "--work", nargs=5, metavar=("NAME", "N", "D", "K", "CLUSTERS"), help=argparse.SUPPRESS
    )
    given = parser.parse_args()
    if given.work:
        n, d, k, clusters = map(int, given.work[1:])
        print(json.dumps(work(given.work[0], n, d, k, bool(clusters))))
        return
    beside = given.beside and given.beside.resolve()
    alone = given.large_alone or given.wide
    small = SAMPLING if given.sampling else EXACT if given.exact else () if alone else SMALL
    tables = [compare(case, given.repeats, given.peer_python, beside) for case in small]
    if given.large or given.large_alone:
        tables += [compare(case, 1, beside=beside) for case in LARGE]
    if given.wide:
        tables += [compare(case, 1) for case in WIDE]
    if given.out:
        note = {"python": platform.python_version(), "machine": platform.machine(), "threads": 1}
        given.out.write_text(json.dumps(note | {"tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()

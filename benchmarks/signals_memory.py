"""Anonymous memory beside n × classes that is mapped from disk, and CPU, beside another checkout.

    python benchmarks/signals_memory.py [--beside SRC] [--rows N] [--classes C] [--out FILE.json]

The log-probabilities (60,000 × 1,000 float32: 240 MB), features (64 of each) and labels stand in
`.npy` files, mapped as a stage's arrays are. Each run is a process of its own on one thread, which
samples `RssAnon` of /proc/self/status every millisecond: pages of the mapped files do not count,
since the system may drop them, and the largest less that before is what keepers itself made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
OURS = str(HERE.parent / "src")
ROWS, CLASSES, FEATURES, PICKS = 60_000, 1_000, 64, 100
CASES = ("entropy", "margin", "badge", "predictions", "predictions of 3 proxies")
GOAL = 0.3


def prepare(folder: Path, rows: int, classes: int) -> None:
    """Predictions that are mostly sure, as a trained network's are."""
    import numpy as np

    draw = np.random.default_rng(0)
    shape = (rows, classes)
    mapped = np.lib.format.open_memmap(folder / "log_probs.npy", "w+", np.float32, shape)
    labels = draw.integers(classes, size=rows)
    for start in range(0, rows, 1000):
        logits = 2 * draw.standard_normal((min(1000, rows - start), classes), np.float32)
        own = labels[start : start + len(logits)]
        logits[np.arange(len(logits)), own] += 8
        logits -= logits.max(1, keepdims=True)
        mapped[start : start + len(logits)] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    mapped.flush()
    np.save(folder / "features.npy", draw.standard_normal((rows, FEATURES), np.float32))
    np.save(folder / "labels.npy", labels)


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status says nothing of RssAnon: this needs Linux")


class Peak:
    """The most anonymous memory inside a `with` block, beyond that before."""

    def __enter__(self) -> Peak:
        self.before = self.most = anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.001):
            self.most = max(self.most, anonymous())


def work(name: str, folder: Path) -> dict[str, Any]:
    """One measurement, in this process."""
    import hashlib

    import torch

    from keepers.methods import choose, get
    from keepers.signals import store
    from keepers.types import Signals
    from keepers.workflows import stages

    torch.set_num_threads(1)
    mapped = store.read(folder)
    size = mapped["log_probs"].nbytes

    def predictions(members: list[Signals]) -> Any:
        found: Any = stages.predictions(members)
        if isinstance(found, torch.Tensor):  # the mean probabilities, of an older checkout
            return found.argmax(1)
        return found.predicted

    def chosen(method: str) -> Callable[[list[Signals], int], Any]:
        return lambda members, k: (
            choose(get(method), members, k, generator=torch.Generator().manual_seed(0))[0].positions
        )

    runs: dict[str, Callable[[list[Signals], int], Any]] = {
        "predictions": lambda members, _: predictions(members),
        "predictions of 3 proxies": lambda members, _: predictions(members * 3),
    }
    run = runs.get(name) or chosen(name)
    few = Signals(**{key: value[:256].clone() for key, value in mapped.items()})
    run([few], 10)
    with Peak() as peak:
        cpu = time.process_time()
        found = run([Signals(**mapped)], PICKS)
        cpu = time.process_time() - cpu
    digest = hashlib.blake2b(found.numpy().tobytes(), digest_size=8).hexdigest()
    return {"cpu_s": cpu, "extra": (peak.most - peak.before) / size, "result": digest}


def measure(name: str, sources: dict[str, str], folder: Path, repeats: int) -> dict[str, Any]:
    row: dict[str, Any] = {side: [] for side in sources}
    for repeat in range(repeats):
        for side in list(sources)[:: 1 if repeat % 2 == 0 else -1]:
            done = subprocess.run(
                [sys.executable, __file__, "--work", name, str(folder)],
                env={**os.environ, "PYTHONPATH": sources[side], "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            row[side].append(json.loads(done.stdout.splitlines()[-1]))
    found: dict[str, Any] = {
        side: {key: median(run[key] for run in runs) for key in ("cpu_s", "extra")}
        for side, runs in row.items()
    }
    if "beside" in row:
        pairs = list(zip(row["ours"], row["beside"], strict=True))
        found["cpu_ratio"] = median(ours["cpu_s"] / other["cpu_s"] for ours, other in pairs)
        found["same"] = all(ours["result"] == other["result"] for ours, other in pairs)
    return {"name": name, **found, "runs": row}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--beside", help="the folder src of another checkout")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(CASES), help=f"some of {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--work", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(work(given.work[0], Path(given.work[1]))))
        return
    sources = {"ours": OURS} | ({"beside": given.beside} if given.beside else {})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        prepare(Path(temporary), given.rows, given.classes)
        for name in given.only.split(","):
            rows.append(measure(name, sources, Path(temporary), given.repeats))
            shown = {side: rows[-1][side] for side in sources}
            print(f"{name:26}", shown, rows[-1].get("cpu_ratio"), rows[-1].get("same"), flush=True)
    if given.out:
        what = {"rows": given.rows, "classes": given.classes, "picks": PICKS, "goal": GOAL}
        given.out.write_text(json.dumps({**what, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

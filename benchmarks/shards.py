"""Selection over shards: time, memory, kills, and what partition rounds lose.

    python benchmarks/shards.py select [--rows 100000000] [--shards 100] [--classes 100]
    python benchmarks/shards.py kills [--kills 20]
    python benchmarks/shards.py cover [--rows 1000000]

Each prints a table and writes `docs/results/benchmarks/shards-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

NOTES = "scored.txt"
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "benchmarks"


class Watch(threading.Thread):
    """What this process and all that it starts use: looked at five times a second.

    Memory is the most that this process, and a worker, have of their own in MB; files that are
    mapped are left aside. CPU seconds are those of all processes, Ray's own included.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: Counter[str] = Counter()
        self._before = self._cpu()
        self._now = dict(self._before)
        self._since = time.perf_counter()
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            self._now |= self._cpu()
            me = psutil.Process()
            for process in (me, *me.children(recursive=True)):
                try:
                    name = process.name()
                    if process == me or name.startswith("ray::"):
                        kind = "driver" if process == me else "worker"
                        about = process.memory_info()
                        held = (about.rss - about.shared) / 1e6
                        self.most[kind] = max(self.most[kind], round(held))
                except psutil.Error:
                    continue

    @staticmethod
    def _cpu() -> dict[int, float]:
        found: dict[int, float] = {}
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                found[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        return found

    def end(self) -> dict[str, Any]:
        """Seconds, CPU seconds, megabytes and the load."""
        seconds = time.perf_counter() - self._since
        self._ended.set()
        self.join()
        self._now |= self._cpu()
        used = sum(self._now.values()) - sum(self._before.values())
        return {
            "seconds": round(seconds, 1),
            "cpu_seconds": round(used, 1),
            "megabytes": dict(self.most),
            "load": round(os.getloadavg()[0], 1),
        }


def write_scores(folder: Path, rows: int, shards: int, classes: int) -> None:
    """Shards of a key, a score and a class, classes of very different sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    size = rows // shards
    names = pa.array([f"class {number}" for number in range(classes)])
    shares = 1 / np.arange(1, classes + 1)
    shares /= shares.sum()
    for number in range(shards):
        path = folder / f"part-{number:05}.parquet"
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        codes = rng.choice(classes, size, p=shares).astype(np.int32)
        table = pa.table(
            {
                "key": np.arange(size, dtype=np.int64) * shards + number,
                "score": rng.normal(size=size).astype(np.float32),
                "label": pa.DictionaryArray.from_arrays(pa.array(codes), names).cast(pa.string()),
            }
        )
        pq.write_table(table, path, compression="zstd")


def select(options: argparse.Namespace) -> dict[str, Any]:
    import ray

    import keepers

    folder = options.folder / f"scores-{options.rows}-{options.shards}-{options.classes}"
    write_scores(folder, options.rows, options.shards, options.classes)
    run = options.folder / "run"
    found: dict[str, Any] = {"rows": options.rows, "shards": options.shards}
    found |= {"classes": options.classes, "workers": options.workers, "ways": []}
    ray.init(
        address="local", num_cpus=options.workers, include_dashboard=False,
        object_store_memory=256 * 1024**2,
        log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    shutil.rmtree(run, ignore_errors=True)
    for keep, balance in ((0.1, "class"), (0.1, None)):
        watch = Watch()
        kept = keepers.coreset_shards(
            str(folder), keep=keep, balance=balance, scores="score", id="key", label="label",
            run=run, workers=options.workers, say=print,
        )  # fmt: skip
        row = {
            "keep": keep,
            "balance": balance,
            "kept": len(kept),
            "phases": {c["phase"]: round(c["seconds"], 1) for c in kept.metadata["costs"]},
            **watch.end(),
        }
        if options.check and balance:
            row["as_one_table"] = _as_one_table(folder, kept)
        print(row, flush=True)
        found["ways"].append(row)
    ray.shutdown()
    return found


def _as_one_table(folder: Path, kept: Any) -> bool:
    """Whether a choice by shares of classes is that of the whole table in memory."""
    import torch

    from keepers.selectors import share_budget, take_turns

    table = pq.read_table(folder)
    order = np.argsort(table["key"].to_numpy())
    scores = table["score"].to_numpy()[order]
    names, codes = np.unique(table["label"].to_numpy()[order].astype(str), return_inverse=True)
    del names, table
    members = [np.flatnonzero(codes == number) for number in range(codes.max() + 1)]
    shares = share_budget([len(each) for each in members], len(kept))
    queues = [
        torch.from_numpy(each[np.argsort(-scores[each], kind="stable")[:share]])
        for each, share in zip(members, shares, strict=True)
    ]
    want = take_turns(queues, [len(each) for each in members]).numpy()
    return bool((want == np.array(kept.table["id"])).all())  # keys count from 0


def note_and_score(work: Any, part: Any) -> Any:
    """Score a shard, and write down when that began and ended, and in which process."""
    from keepers.shards.proxies import score_shard

    def note(what: str) -> None:
        with (work.folder.parent / NOTES).open("a") as file:
            file.write(f"{what} {part.at.shard.name} {os.getpid()} {time.time()}\n")

    note("begun")
    found = score_shard(work, part)
    note("done")
    return found


def being_scored(notes: Path) -> dict[int, str]:
    """The processes that score a shard now, and which."""
    found: dict[int, str] = {}
    for what, shard, pid, _ in map(str.split, notes.read_text().splitlines()):
        if what == "begun":
            found[int(pid)] = shard
        else:
            found.pop(int(pid), None)
    return {pid: shard for pid, shard in found.items() if lives(pid)}


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kills(options: argparse.Namespace) -> dict[str, Any]:
    """Workers killed at random points while they score a shard."""
    import keepers
    from keepers.data import open_source
    from keepers.workflows.shards import proxy

    proxy.score_shard = note_and_score

    source = open_source("digits")
    inputs = source.inputs.reshape(len(source), -1).astype(np.float32)
    folder = options.folder / "digits"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    size, shards = 20_000, 60
    for number in range(shards):
        rows = rng.integers(0, len(source), size)
        noisy = inputs[rows] + rng.normal(scale=0.1, size=(size, 64)).astype(np.float32)
        keys = np.arange(size) * shards + number
        table = pa.table({"key": keys, "x": list(noisy), "label": source.labels[rows]})
        pq.write_table(table, folder / f"part-{number:03}.parquet")
    for name in ("calm", "killed"):
        shutil.rmtree(options.folder / name, ignore_errors=True)
    same = {"keep": 0.1, "method": "entropy", "id": "key", "input": "x", "epochs": 1}
    same |= {"proxy": {"model": "mlp", "options": {"hidden": (1024, 1024)}}, "sample": 5000}
    want = keepers.coreset_shards(folder, run=options.folder / "calm", **same)
    run = options.folder / "killed"
    notes = run / "shards" / NOTES
    draw, ended = random.Random(0), threading.Event()
    killed: list[str] = []

    def kill() -> None:
        """Kill at points drawn from the whole pass: after so many shards, and a part of another."""
        for point in sorted(draw.uniform(0, shards - 2) for _ in range(options.kills)):
            while not ended.is_set():
                time.sleep(0.05)
                if notes.exists() and notes.read_text().count("done") >= int(point):
                    break
            time.sleep(2 * (point % 1))
            while not ended.is_set():
                if busy := being_scored(notes):
                    pid = draw.choice(sorted(busy))
                    os.kill(pid, signal.SIGKILL)
                    # It may have ended that shard, and begun another one, before it was killed.
                    if (shard := last_of(notes, pid)) is not None:
                        killed.append(shard)
                        break
                time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = keepers.coreset_shards(folder, run=run, workers=options.workers, **same)
    ended.set()
    thread.join()
    lines = [each.split() for each in notes.read_text().splitlines()]
    begun = Counter(shard for what, shard, _, _ in lines if what == "begun")
    done = Counter(shard for what, shard, _, _ in lines if what == "done")
    of_shard = Counter(killed)
    began = {(shard, pid): float(at) for what, shard, pid, at in lines if what == "begun"}
    took = [float(at) - began[shard, pid] for what, shard, pid, at in lines if what == "done"]
    return {
        "kills": len(killed),
        "shards": shards,
        "rows": size * shards,
        "workers": options.workers,
        "same_selection": found.table.equals(want.table),
        "seconds_of_a_shard": round(float(np.median(took)), 2),
        "scored_to_the_end": len(list((run / "shards").glob("scores-*/*.json"))),
        "most_often_to_the_end": max(done.values()),
        "begun": dict(sorted(Counter(begun.values()).items())),
        "killed": dict(sorted(Counter(of_shard.values()).items())),
        "begun_once_and_once_more_for_each_kill": all(
            count == 1 + of_shard[shard] for shard, count in begun.items()
        ),
    }


def last_of(notes: Path, pid: int) -> str | None:
    """The shard that a process that was killed had begun and not ended."""
    own = [each.split() for each in notes.read_text().splitlines()]
    own = [each for each in own if int(each[2]) == pid]
    return own[-1][1] if own and own[-1][0] == "begun" else None


def clouds(n: int, number: int, num_clouds: int = 3000, d: int = 64) -> np.ndarray:
    """Points in clouds of very different sizes and widths, the same clouds for each `number`."""
    shape = np.random.default_rng(0)
    centres = shape.normal(size=(num_clouds, d)).astype(np.float32)
    widths = shape.lognormal(-1.2, 0.5, num_clouds).astype(np.float32)
    shares = 1 / np.arange(1, num_clouds + 1) ** 0.7
    rng = np.random.default_rng(1 + number)
    of = rng.choice(num_clouds, n, p=shares / shares.sum())
    return centres[of] + widths[of, None] * rng.normal(size=(n, d)).astype(np.float32)


def pictures(path: Path, d: int = 64) -> np.ndarray:
    """The pixels of a Parquet file of pictures, projected at random."""
    import io

    from PIL import Image

    column = pq.read_table(path, columns=["image"])["image"].to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(each["bytes"]))).reshape(-1) for each in column]
    points = np.stack(pixels).astype(np.float32) / 255
    to = np.random.default_rng(0).normal(size=(points.shape[1], d)) / d**0.5
    return points @ to.astype(np.float32)


def cover(options: argparse.Namespace) -> dict[str, Any]:
    """Partition rounds against the central selectors, by the sum of what is gained."""
    import torch

    import keepers
    from keepers.random import generator
    from keepers.selectors import facility_location, k_center_greedy
    from keepers.shards import covering
    from keepers.shards.covering import nearest

    given = None if options.pictures is None else pictures(options.pictures)
    if given is not None:
        options.rows = len(given) // options.shards * options.shards
    if options.part:  # in this process: workers would not know
        covering.PART, options.workers = options.part, 1
    kind = "clouds" if given is None else options.pictures.parent.name
    folder = options.folder / f"{kind}-{options.rows}-{options.shards}"
    folder.mkdir(parents=True, exist_ok=True)
    size = options.rows // options.shards
    for number in range(options.shards):
        path = folder / f"part-{number:05}.parquet"
        if not path.exists():
            points = (
                clouds(size, number) if given is None else given[number :: options.shards][:size]
            )
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1)), 64)
            keys = np.arange(size) * options.shards + number
            pq.write_table(pa.table({"key": keys, "vector": vectors}), path, compression="none")
    found: dict[str, Any] = {"rows": options.rows, "shards": options.shards, "k": options.k}
    points = None
    if options.central:
        points = np.empty((options.rows, 64), np.float32)
        for number in range(options.shards):
            part = clouds(size, number) if given is None else given[number :: options.shards][:size]
            points[number :: options.shards] = part
        spread = float(np.square(points - points.mean(0, dtype=np.float64)).sum(1).mean())
    for method in options.methods.split(","):
        run = options.folder / "cover-run"
        shutil.rmtree(run, ignore_errors=True)
        watch = Watch()
        kept = keepers.coreset_shards(
            folder, keep=options.k, method=method, features="vector", id="key", run=run,
            workers=options.workers, say=print,
        )  # fmt: skip
        row = {**watch.end(), "workers": options.workers, "how": kept.metadata["how"]}
        row["phases"] = {c["phase"]: round(c["seconds"], 1) for c in kept.metadata["costs"]}
        if points is not None:
            cpu, ours = time.process_time(), np.array(kept.ids)
            draw = generator(0, method)
            if method == "k-center":
                first = torch.from_numpy(ours[:1])
                rest = k_center_greedy(points, options.k - 1, selected=first)
                picks = torch.cat([first, rest])
                row["central_takes_at_the_same_place"] = int((picks.numpy() == ours).sum())
                row["central_takes"] = len(np.intersect1d(picks.numpy(), ours))
            else:
                picks = facility_location(points, options.k, optimizer="stochastic", generator=draw)
            row["central_cpu_seconds"] = round(time.process_time() - cpu, 1)
            for name, at in (("central", picks.numpy()), ("shards", ours)):
                _, squared = nearest(points, points[at])
                row[name] = {
                    "mean_squared": float(squared.mean()),
                    "gained": spread - float(squared.mean()),
                    "radius": float(np.sqrt(squared.max())),
                }
            measure = "radius" if method == "k-center" else "gained"
            central, over = row["central"][measure], row["shards"][measure]
            row["of_central"] = central / over if method == "k-center" else over / central
        print(json.dumps(row, indent=1), flush=True)
        found[method] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("select", "kills", "cover"))
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--k", type=int, default=500)
    parser.add_argument("--methods", default="facility-location,k-center", help="of cover")
    parser.add_argument("--central", action="store_true", help="cover: beside the central choice")
    parser.add_argument("--pictures", type=Path, help="cover: a Parquet file, in place of clouds")
    parser.add_argument("--part", type=int, help="cover: examples of a part")
    parser.add_argument("--check", action="store_true", help="compare with one table in memory")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shards")
    options = parser.parse_args()
    found = globals()[options.what](options)
    found["peak_of_driver_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["versions"] = {"python": sys.version.split()[0], "numpy": np.__version__}
    RESULTS.mkdir(exist_ok=True)
    millions = f"-{options.rows // 1_000_000}m"
    usual = options.what == "kills" or (options.what, options.rows) == ("select", 100_000_000)
    more = "" if usual else millions
    if options.pictures is not None:
        more = f"-{options.pictures.parent.name}"
    path = RESULTS / f"shards-{options.what}{more}.json"
    if options.what == "cover" and path.exists():  # other methods of the same data
        found = json.loads(path.read_text()) | found
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

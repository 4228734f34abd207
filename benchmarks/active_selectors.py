"""Speed and memory of the selectors that choose what to label, beside bare loops.

    python benchmarks/active_selectors.py [--repeats N] [--only NAME,...] [--out FILE]

The parts are `k-center` (1,000 picks from 200,000 × 128, beside a bare NumPy matrix–vector loop),
`badge` (200 from 20,000 examples of 10 classes and 512 features, beside one that builds the
embeddings, n × 5,120 numbers, of a tenth of the examples) and `others` (200 picks of TypiClust,
ProbCover, cluster-margin and BatchBALD from 20,000 × 128). Measured as in bench_selectors.py:
every run is a process of its own on one thread, extra memory is the largest resident size over
that before, and ratios are medians over the repeats. Points lie in 50 groups.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench_selectors import K_CENTER, PeakMemory, compare

N, CLASSES, SAMPLES, WIDE, NARROW, PICKS = 20_000, 10, 10, 512, 128, 200
PARTS = ("k-center", "badge", "others")
GOALS = {"k_center_greedy": "≤ 1.2 times the loop", "badge": "< 200 MB extra"}


def work(name: str, n: int, k: int) -> dict[str, float]:
    """One measurement, in this process."""
    import torch

    from keepers import selectors

    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    groups = torch.randint(50, (n,), generator=draw)
    width = WIDE if name.startswith("badge") else NARROW
    features = 2 * torch.randn(50, width, generator=draw)[groups]
    features += torch.randn(n, width, generator=draw)
    logits = 2 * torch.randn(n, CLASSES, generator=draw)
    log_probs = logits.log_softmax(1)
    noise = torch.randn(n, SAMPLES, CLASSES, generator=draw)
    posterior = (logits[:, None] + noise).log_softmax(2)

    def explicit(rows: int, count: int) -> torch.Tensor:
        errors = log_probs[:rows].exp()
        errors[torch.arange(rows), errors.argmax(1)] -= 1
        embeddings = (errors[:, :, None] * features[:rows, None]).flatten(1)
        norms = embeddings.square().sum(1)
        picks, nearest = [int(norms.argmax())], torch.full((rows,), torch.inf)
        while True:
            to_last = norms + norms[picks[-1]] - 2 * (embeddings @ embeddings[picks[-1]])
            nearest = torch.minimum(nearest, to_last.clamp_(min=0))
            nearest[picks] = 0
            if len(picks) == count:
                return torch.tensor(picks)
            picks.append(int(torch.multinomial(nearest, 1, generator=draw)))

    runs: dict[str, Callable[[int, int], torch.Tensor]] = {
        "badge": lambda rows, count: selectors.badge(
            log_probs[:rows], features[:rows], count, generator=draw
        ),
        "badge, embeddings built": explicit,
        "typiclust": lambda rows, count: selectors.typiclust(
            features[:rows], count, generator=draw
        ),
        "probcover": lambda rows, count: selectors.probcover(
            features[:rows], count, generator=draw
        ),
        "cluster_margin": lambda rows, count: selectors.cluster_margin(
            -log_probs[:rows].amax(1), features[:rows], count
        ),
        "batch_bald": lambda rows, count: selectors.batch_bald(
            posterior[:rows], count, generator=draw
        ),
    }
    run = runs[name]
    run(min(n, 500), 5)
    with PeakMemory() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        picks = run(n, k)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(picks.unique()) == k
    return {"cpu_s": cpu, "wall_s": wall, "extra_mb": memory.extra_mb}


def measure(name: str, n: int, k: int, repeats: int) -> dict[str, Any]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--work", name, str(n), str(k)]
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        done = subprocess.run(
            command, env=os.environ | one_thread, stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    row: dict[str, Any] = {part: median(run[part] for run in found) for part in found[0]}
    print(
        f"{name:26}{n:>9,}{row['cpu_s']:9.2f}{row['wall_s']:9.2f}{row['extra_mb']:10.0f}",
        flush=True,
    )
    return {"name": name, "n": n, "k": k} | row | {"runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--work", nargs=3, metavar=("NAME", "N", "K"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        name, n, k = given.work
        print(json.dumps(work(name, int(n), int(k))))
        return
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: got {', '.join(sorted(unknown))}. Known: {', '.join(PARTS)}")
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": 1,
        "load_before": os.getloadavg()[0],
        "goals": GOALS,
    }
    if "k-center" in parts:
        result["k_center"] = compare(K_CENTER, None, given.repeats)
    cases: list[tuple[str, int]] = []
    if "badge" in parts:
        cases += [
            ("badge", N),
            ("badge", N // 10),
            ("badge, embeddings built", N // 10),
        ]
    if "others" in parts:
        cases += [(name, N) for name in ("typiclust", "probcover", "cluster_margin", "batch_bald")]
    if cases:
        print(f"\n{PICKS} picks\n{'':26}{'n':>9}{'CPU s':>9}{'wall s':>9}{'extra MB':>10}")
        result["rows"] = [measure(name, n, PICKS, given.repeats) for name, n in cases]
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

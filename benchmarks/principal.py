"""Principal axes of the words of texts: exact ones beside a randomised decomposition.

    python benchmarks/principal.py [--data FOLDER] [--repeats 3] [--out FILE.json]

64 axes of TF-IDF rows of real texts (1,000 and 6,000 of SST-2, 5,000 reviews of IMDB), by
`keepers.sparse.principal_axes` and by scikit-learn's `TruncatedSVD`, one after the other in
each repeat, on one thread. `held` is the share of the largest sum of squares that any 64 axes can
hold, which the exact ones are taken to reach.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

AXES = 64
CASES = (("sst2", 1000), ("sst2", 6000), ("imdb", 5000))


def words(folder: Path, limit: int) -> Any:
    from keepers.data import BagPool, encode, open_source
    from keepers.sparse import inverse_frequencies, tf_idf
    from keepers.types import EncoderSpec

    source = open_source(str(folder), limit=limit)
    _, pool = encode(source, EncoderSpec(kind="text", scheme="hashed", buckets=2**18, ngrams=2))
    assert isinstance(pool, BagPool)
    rows = pool.counts(torch.arange(limit))
    rows = rows[:, np.unique(rows.indices)]
    return tf_idf(rows, inverse_frequencies(rows))


def measure(rows: Any, repeats: int) -> dict[str, Any]:
    from sklearn.decomposition import TruncatedSVD

    from keepers.sparse import principal_axes

    ways = {
        "keepers": lambda: principal_axes(rows, AXES),
        "TruncatedSVD": lambda: TruncatedSVD(AXES, random_state=0).fit(rows).components_.T,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    held: dict[str, float] = {}
    for _ in range(repeats):
        for way, function in ways.items():
            start = time.process_time()
            axes = function()
            seconds[way].append(time.process_time() - start)
            held[way] = float(np.linalg.norm(rows @ axes) ** 2)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    return {
        "texts": rows.shape[0],
        "words": rows.shape[1],
        "cpu_s": {way: round(median(each), 3) for way, each in seconds.items()},
        "ratio": round(median(ratios), 3),
        "held": {way: round(each / held["keepers"], 4) for way, each in held.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("KEEPERS_DATA"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name, limit in CASES:
        lines.append({"data": name, **measure(words(args.data / name, limit), args.repeats)})
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text(json.dumps({"threads": 1, "axes": AXES, "lines": lines}, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Believed: after random.seed(0), numpy's and torch's, WebDataset(...).shuffle(1000) gives one order, as a
#   DataLoader or a `datasets` stream does under seeds.
# So: it makes a generator of its own from the process's number and the clock. Two runs, and two passes in one process,
#   differ whatever is seeded. rng=random.Random(0) gives one order.
# Bites: whoever repeats a run over tar shards, compares selections by a shared seed, or resumes by counting samples.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet webdataset==1.0.2 numpy==2.4.6
cat > script.py <<'PYTHON'
import random

import numpy as np
import webdataset

with webdataset.TarWriter("shard.tar") as shard:
    for number in range(50):
        shard.write({"__key__": f"{number:03}", "cls": number})


def order(**given):
    random.seed(0)
    np.random.seed(0)
    data = webdataset.WebDataset("shard.tar", shardshuffle=False).shuffle(50, **given).decode()
    return [sample["cls"] for sample in data]


print("webdataset", webdataset.__version__)
plain, named = [order() for _ in range(2)], [order(rng=random.Random(0)) for _ in range(2)]
print("seeded twice:", *(found[:8] for found in plain))
print("with rng=random.Random(0):", *(found[:8] for found in named))
assert sorted(plain[0]) == sorted(plain[1]) == list(range(50))
assert plain[0] != plain[1]
assert named[0] == named[1]
PYTHON
venv/bin/python script.py

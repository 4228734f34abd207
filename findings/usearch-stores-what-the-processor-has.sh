#!/usr/bin/env bash
# Believed: an index of usearch that is given float32 vectors keeps float32 vectors, and a vector finds itself.
# So: without dtype= it stores the narrowest of bfloat16 and float16 that this processor computes fast, and float32 only
#   where there is neither. In bfloat16 a number has two to three digits: 1000.1, 1001.0 and 1001.9 are one vector, and
#   the file that is saved on one machine holds other numbers than that of another. dtype="f32" keeps them.
# Bites: whoever looks for near duplicates or nearest neighbours of features that are not centred (years, prices,
#   coordinates, pooled activations), or compares distances with those of another index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet usearch==2.26.6 numpy==2.4.6
cat > script.py <<'PYTHON'
import numpy as np
import usearch
from usearch.index import Index

rows = np.array([[1000.1, 0.0], [1001.0, 0.0], [1001.9, 0.0]], np.float32)
print("usearch", usearch.__version__)
own = {}
for dtype in (None, "f32"):
    index = Index(ndim=2, metric="l2sq", dtype=dtype)
    index.add(np.arange(3), rows)
    kept = index.get(np.arange(3))
    own[dtype] = float(np.abs(np.stack(kept) - rows).max())
    print(f"dtype={dtype}: stores {index.dtype}; rows come back as", [row.tolist() for row in kept])
assert own["f32"] == 0 and own[None] > 0.05
PYTHON
venv/bin/python script.py

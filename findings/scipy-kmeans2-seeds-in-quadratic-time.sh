#!/usr/bin/env bash
# Believed: scipy.cluster.vq.kmeans2(minit="++") seeds k clusters of n points as scikit-learn does, with one
#   pass over the points for each seed: k n distances, and n numbers kept.
# So: each seed computes the distances of all points to all seeds before it again: k (k - 1) / 2 · n
#   distances, and a matrix of k × n at the end. The Lloyd iterations after it are n k each: with some
#   hundred clusters nearly all the time goes into the seeds.
# Bites: whoever takes SciPy for k-means to spare the import of scikit-learn: batches for labelling, inverted
#   lists, near-duplicates, anything with hundreds of clusters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import time

import numpy as np
import scipy
from scipy.cluster import vq

points = np.random.default_rng(0).standard_normal((2000, 32))
computed = 0
distances = vq.cdist


def counting(left, right, **settings):
    global computed
    computed += len(left) * len(right)
    return distances(left, right, **settings)


vq.cdist = counting
print("scipy", scipy.__version__)
for k in (100, 200, 400):
    computed, seconds = 0, {}
    for how in ("points", "++"):
        start = time.process_time()
        vq.kmeans2(points, k, iter=10, minit=how, rng=np.random.default_rng(0), missing="warn")
        seconds[how] = time.process_time() - start
    print(
        f"{k} clusters: {computed / (k * len(points)):.1f} times k n distances for the seeds; "
        f"{seconds['++']:.2f} CPU s, {seconds['points']:.2f} with seeds drawn at random"
    )
    assert computed == k * (k - 1) // 2 * len(points)
PYTHON
venv/bin/python -W ignore script.py

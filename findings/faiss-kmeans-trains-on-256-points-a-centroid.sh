#!/usr/bin/env bash
# Believed: faiss.Kmeans(d, k).train(x) runs k-means on the points that it is given, and its objective (`obj`)
#   is the sum of their squared distances.
# So: it draws 256 points for each centroid and trains on those alone: 2,560 of 100,000 for ten clusters. Nothing
#   is printed, and `obj` is the sum over the drawn ones. max_points_per_centroid=len(x) trains on all.
# Bites: whoever clusters embeddings to deduplicate, to stratify or to draw evenly, with few clusters or with small
#   ones that the sample misses; whoever compares objectives between numbers of clusters or with scikit-learn.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet faiss-cpu==1.15.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import faiss
import numpy as np

points = np.random.default_rng(0).standard_normal((100_000, 16)).astype(np.float32)
print("faiss", faiss.__version__)
found = {}
for most in (None, len(points)):
    settings = {} if most is None else {"max_points_per_centroid": most}
    means = faiss.Kmeans(16, 10, niter=10, seed=1, **settings)
    means.train(points)
    whole = float(means.index.search(points, 1)[0].sum())
    found[most] = whole / float(means.obj[-1])
    print(f"{settings or 'as it comes'}: sum over all points / obj = {found[most]:.2f}")
assert 35 < found[None] < 43  # 100,000 / 2,560 = 39.06
assert 0.99 < found[len(points)] < 1.01
PYTHON
venv/bin/python script.py

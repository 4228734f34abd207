#!/usr/bin/env bash
# Believed: scipy.sparse.linalg.svds(A, k, v0=..., rng=...) is a function of its arguments: the start
#   vector and the random generator are both given.
# So: where the rank of A is lower than k, two calls in one process give different vectors, other signs
#   among them. The Lanczos iterations run out of directions and start again from vectors that they draw;
#   svds does not hand its `rng` on to eigsh, which draws them. eigsh with the same v0 and rng on A Aᵀ
#   repeats itself.
# Bites: data with many copies (texts from templates, tables of few codes): selections, clusters and
#   caches that hash what was computed differ from run to run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import numpy as np
import scipy
from scipy import sparse
from scipy.sparse.linalg import eigsh, svds

phrases = sparse.random(10, 2000, 0.05, random_state=1, format="csr")
texts = phrases[np.random.default_rng(0).integers(0, 10, 1000)]  # 1,000 rows, of rank 10
start = np.ones(1000)


def by_svds():
    return svds(texts, 20, v0=start, rng=np.random.default_rng(0))[0][:, -10:]


def by_eigsh():
    return eigsh(texts @ texts.T, 20, v0=start, rng=np.random.default_rng(0))[1][:, -10:]


print("scipy", scipy.__version__)
same = {f.__name__: all(np.array_equal(f(), f()) for _ in range(3)) for f in (by_svds, by_eigsh)}
print("the ten vectors that are determined, equal from call to call:", same)
assert same == {"by_svds": False, "by_eigsh": True}
PYTHON
venv/bin/python script.py

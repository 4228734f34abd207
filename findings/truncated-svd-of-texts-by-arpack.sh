#!/usr/bin/env bash
# Believed: for the leading components of a large sparse matrix of words, the randomised solver, which
#   is scikit-learn's default in TruncatedSVD, is the fast one; ARPACK is exact, and slow.
# So: on TF-IDF rows of a few thousand texts and 64 components ARPACK takes less CPU than the
#   randomised solver with its default of 5 iterations, and is exact; the randomised one misses a part
#   of what 64 components can hold. (Products with blocks of vectors are not cheaper on sparse rows than
#   those with single vectors, and the spectrum of words falls slowly.)
# Bites: whoever embeds texts by LSA for clustering, near-duplicates, core-sets or cold starts, and
#   takes the default for the fast one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
cat > script.py <<'PYTHON'
# The texts are the source files of the packages, in pieces of 40 lines.
import time
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

texts = []
for package in (scipy, sklearn, np):
    for file in sorted(Path(package.__file__).parent.rglob("*.py")):
        lines = file.read_text(errors="ignore").splitlines()
        texts += ["\n".join(lines[at : at + 40]) for at in range(0, len(lines), 40)]
rows = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts[:8000])
print("scikit-learn", sklearn.__version__, "scipy", scipy.__version__, "rows", rows.shape)
found = {}
for solver in ("randomized", "arpack"):
    seconds = []
    for _ in range(3):
        start = time.process_time()
        axes = TruncatedSVD(64, algorithm=solver, random_state=0).fit(rows).components_
        seconds.append(time.process_time() - start)
    found[solver] = sorted(seconds)[1], float((np.linalg.norm(rows @ axes.T)) ** 2)
    print(f"{solver}: {found[solver][0]:.2f} CPU seconds, holds {found[solver][1]:.2f}")
assert found["arpack"][0] < found["randomized"][0]
assert found["arpack"][1] > found["randomized"][1]
PYTHON
venv/bin/python script.py

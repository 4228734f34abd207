#!/usr/bin/env bash
# Believed: scipy's eigsh gives the k largest eigenvalues of a symmetric operator to about its precision,
#   or raises that it did not converge.
# So: where values repeat, as in the Gram matrix of short texts that share few words, it misses some of
#   their copies in float32 through a LinearOperator, and gives smaller values in their place, without a
#   word: the default basis of 2k + 1 vectors is too small. With a basis of 3k they are right. From a
#   start of ones, which is reproducible, it ends in an ArpackError instead.
# Bites: whoever takes leading components of sparse rows (LSA, core-sets, clusters, warm starts): a
#   part of what k components can hold is lost in silence.
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
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

# 400 texts of two words each; most words are rare, a few in very many texts
words = (300 * np.random.default_rng(11).pareto(0.3, 800)).clip(max=999).astype(int)
texts = sparse.csr_matrix((np.ones(800, "f"), (np.arange(400).repeat(2), words)), (400, 1000))
true = np.linalg.eigvalsh((texts @ texts.T).toarray().astype(float))[::-1][:20]
gram = LinearOperator((400, 400), matvec=lambda v: texts @ (texts.T @ v), dtype=np.float32)
start = np.random.default_rng(0).standard_normal(400).astype("f")


def farthest(**given):
    return float(np.abs(np.sort(eigsh(gram, 20, **given)[0])[::-1] - true).max())


print("scipy", scipy.__version__)
print("the 20 largest values:", true.round(2).tolist())
by_default, wider = farthest(v0=start), farthest(v0=start, ncv=60)
print(f"farthest from them: {by_default:.3f} by default, {wider:.3f} with a basis of 60")
try:
    ones = f"{farthest(v0=np.ones(400, 'f')):.3f}"
except ArpackError as error:
    ones = type(error).__name__
print("from a start of ones:", ones)
assert by_default > 0.1
assert wider < 0.01
assert ones == "ArpackError"
PYTHON
venv/bin/python script.py

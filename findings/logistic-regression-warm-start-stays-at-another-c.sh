#!/usr/bin/env bash
# Believed: LogisticRegression(warm_start=True), fitted again with another C, goes from the last optimum to
#   that of the new C: the same answer as from nothing, in fewer iterations.
# So: `tol` bounds the gradient of the mean loss, in which the penalty is divided by the rows. Where C alone
#   changes, the gradient at the old optimum is w (1/C' - 1/C) / n: on 16,000 texts it lies under the default
#   1e-4. The fit takes no iteration, warns of nothing, and hands back the coefficients of the earlier C as those
#   of the new one. With a looser tolerance whole searches over C compare one model with itself.
# Bites: whoever searches the strength of regularisation by warm starts, from weak to strong, on normalised rows
#   (TF-IDF, unit embeddings): the best C looks no better than the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import warnings

import numpy as np
import sklearn
from scipy import sparse
from sklearn.linear_model import LogisticRegression

warnings.simplefilter("error")  # nothing is warned of
draw = np.random.default_rng(0)
n, fitted, words, length = 20_000, 16_000, 5_000, 24
texts = (words * draw.random((n, length)) ** 3).astype(int)
classes = draw.integers(0, 2, n)
texts[:, ::8] = texts[:, ::8] // 2 * 2 + classes[:, None]  # words that tell the class
classes = np.where(draw.random(n) < 0.2, 1 - classes, classes)
place = np.repeat(np.arange(n), length), texts.ravel()
rows = sparse.csr_array((np.full(n * length, length**-0.5), place), shape=(n, words))


def loss(model):
    likely = model.predict_proba(rows[fitted:])[np.arange(n - fitted), classes[fitted:]]
    return -np.log(likely).mean()


print("scikit-learn", sklearn.__version__)
# The first optimum is found to a tenth of the default tolerance, so that nothing hangs on rounding.
warm = LogisticRegression(C=100, warm_start=True, max_iter=1000, tol=1e-5)
warm.fit(rows[:fitted], classes[:fitted])
first = warm.coef_.copy()
warm.set_params(C=20, tol=1e-4).fit(rows[:fitted], classes[:fitted])
cold = LogisticRegression(C=20, max_iter=1000).fit(rows[:fitted], classes[:fitted])
print(f"C=20 after C=100: {warm.n_iter_[0]} iterations, loss held out {loss(warm):.2f}")
print(f"C=20 from nothing: {cold.n_iter_[0]} iterations, loss held out {loss(cold):.2f}")
assert warm.n_iter_[0] == 0
assert np.array_equal(warm.coef_, first)
assert loss(cold) < loss(warm) - 0.1
PYTHON
venv/bin/python script.py

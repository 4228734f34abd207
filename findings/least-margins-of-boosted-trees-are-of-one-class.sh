#!/usr/bin/env bash
# Believed: the examples of least margin lie where classes meet, so they are of both; and the more often a model is right,
#   the better what it is unsure of is to train on.
# So: where one column tells the class (hours worked, and whether somebody works), gradient-boosted trees are right on all
#   of it, out of fold, and the fifth of least margin is of one class alone: the surest leaf is that of the other one.
#   Trained on it, the same trees are wrong on more than half, where a random fifth leads to 1% at most. Logistic
#   regression is right less often, and its least margins are of both classes.
# Bites: uncertainty sampling and core-sets by margin with boosted trees, on tables with such a column (a leak, a status, an
#   amount that is 0). No warning, and the model's own score is perfect.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > script.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print("scikit-learn", version("scikit-learn"))


def table(seed, n):
    draw = np.random.default_rng(seed)
    hours = np.where(draw.random(n) < 0.57, draw.integers(20, 2000, n), 0)
    others = draw.normal(size=(n, 6)) + 0.4 * (hours > 0)[:, None]
    return np.column_stack([hours, others]), (hours > 0).astype(int)


def trees():
    return HistGradientBoostingClassifier(random_state=0)


def wrong(x, y, test):
    return 1 - trees().fit(x, y).score(*test)


for seed in range(3):
    x, y = table(seed, 600)
    test = table(100 + seed, 2000)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for name, model in (("boosted trees", trees()), ("logistic regression", regression)):
        said = cross_val_predict(model, x, y, cv=5, method="predict_proba")
        least = np.argsort(np.abs(said[:, 1] - said[:, 0]), kind="stable")[:120]
        right, share = (said.argmax(1) == y).mean(), y[least].mean()
        error = wrong(x[least], y[least], test)
        print(f"{seed}: {name}, right on {right:.1%}: class 1 is {share:.0%} of the least margins; trees", end=" ")
        print(f"trained on those are wrong on {error:.1%}")
        if name == "boosted trees":
            assert right > 0.99 and share < 0.05 and error > 0.4
        else:
            assert right < 0.99 and 0.3 < share < 0.7 and error < 0.02
    at_random = np.random.default_rng(seed).permutation(600)[:120]
    error = wrong(x[at_random], y[at_random], test)
    print(f"{seed}: trained on a random fifth they are wrong on {error:.1%}")
    assert error < 0.02
PYTHON
venv/bin/python -W ignore script.py

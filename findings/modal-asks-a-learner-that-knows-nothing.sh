#!/usr/bin/env bash
# Believed: an ActiveLearner of modAL that was never taught raises when it is asked what to label, as its estimator
#   does (NotFittedError), or draws at random.
# So: uncertainty sampling takes every example for equally uncertain and returns the first rows of the pool, in their
#   order; random_tie_break=True draws instead. Margin and entropy sampling do the same.
# Bites: cold starts. Files are sorted by class, source or date, so the first labels are of one class, from
#   which the next fit fails or learns little; a simulation on a shuffled pool never shows it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet modAL-python==0.4.2.1 scikit-learn==1.5.2 numpy==1.26.4
cat > script.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from modAL.models import ActiveLearner
from modAL.uncertainty import entropy_sampling, margin_sampling, uncertainty_sampling
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

pool = np.random.default_rng(0).random((1000, 3))
try:
    LogisticRegression().predict_proba(pool)
    raised = False
except NotFittedError:
    raised = True
print("modAL", version("modAL-python"), "scikit-learn", version("scikit-learn"))
print("the estimator itself raises NotFittedError:", raised)
assert raised
for strategy in (uncertainty_sampling, margin_sampling, entropy_sampling):
    learner = ActiveLearner(LogisticRegression(), query_strategy=strategy)
    rows, _ = learner.query(pool, n_instances=5)
    print(f"{strategy.__name__}: rows {rows.tolist()}")
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
PYTHON
venv/bin/python -W ignore script.py

#!/usr/bin/env bash
# Believed: of several labels, the trees and neighbours of scikit-learn give one array (n, 2) for each
#   label in predict_proba, so that the last column is the probability of the label.
# So: a label that no training row has gets an array (n, 1), whose only column is the probability of 0,
#   which is 1. The last column then says that a label that was never seen is certain, without an error;
#   column 1 is an IndexError. One-vs-rest and neural networks give one array (n, labels), and 0 there.
# Bites: whoever stacks the columns in a fold, a batch of active learning or a small core-set, where a
#   rare label has no row.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
cat > script.py <<'PYTHON'
import warnings

import numpy as np
import sklearn
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

warnings.simplefilter("ignore")  # one-vs-rest warns of the label
at = np.random.default_rng(0)
rows = at.normal(size=(60, 3))
labels = np.column_stack([rows[:, 0] > 0, rows[:, 1] > 0, np.zeros(60)]).astype(int)
print("scikit-learn", sklearn.__version__)
for model in (
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(10, random_state=0),
    ExtraTreesClassifier(10, random_state=0),
    KNeighborsClassifier(),
):
    found = model.fit(rows, labels).predict_proba(rows)
    shapes = [each.shape for each in found]
    last = [float(each[:, -1].mean()) for each in found]
    print(type(model).__name__, shapes, "mean of the last column of the label:", last[2])
    assert shapes == [(60, 2), (60, 2), (60, 1)]
    assert last[2] == 1.0
whole = OneVsRestClassifier(LogisticRegression()).fit(rows, labels).predict_proba(rows)
print("OneVsRestClassifier", whole.shape, "mean of the label:", float(whole[:, 2].mean()))
assert whole.shape == (60, 3)
assert float(whole[:, 2].max()) == 0.0
PYTHON
venv/bin/python script.py

#!/usr/bin/env bash
# Believed: modAL's min_confidence and avg_confidence for several labels ask for the rows whose labels are least sure, as
#   the paper that they cite (Esuli and Sebastiani, ECIR 2009) means confidence: how far a probability is from one half.
# So: they rank by the probability itself. min_confidence asks for the row with the smallest probability of any label, the
#   surest absence; avg_confidence for the row with the largest mean, the surest presence. A row of one half each is last.
# Bites: whoever labels tags, topics or emotions with it: labels go to what is known, below random (modAL issue 191).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet modAL-python==0.4.2.1 scikit-learn==1.7.2 numpy==2.3.5
cat > script.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from modAL.multilabel import avg_confidence, min_confidence
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

x = np.linspace(-3, 3, 61)[:, None]
model = OneVsRestClassifier(LogisticRegression()).fit(x, np.column_stack([x > 0, x > 0]))
pool = np.array([[-3.0], [0.0], [3.0]])
print("modAL", version("modAL-python"), "scikit-learn", version("scikit-learn"))
print("probabilities of two labels:", model.predict_proba(pool).round(3).tolist())
asked = {}
for strategy in (min_confidence, avg_confidence):
    found = strategy(model, pool)
    asked[strategy.__name__] = int(np.ravel(found[0])[0])
    print(f"{strategy.__name__} asks for row {asked[strategy.__name__]}")
assert asked == {"min_confidence": 0, "avg_confidence": 2}  # the unsure row is 1
PYTHON
venv/bin/python -W ignore script.py

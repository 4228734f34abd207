#!/usr/bin/env bash
# Believed: scikit-learn's LogisticRegression on a few hundred TF-IDF rows is a matter of a second, as
#   the rows are few and sparse, and what it takes grows with the entries that are not 0.
# So: L-BFGS keeps and combines dense vectors of classes × words: with 500 texts of pairs of words and 40
#   classes they have over a million numbers each, and nearly all of the time goes there. The solution
#   lies in the span of the rows, so fitted on the 500 coordinates of an eigendecomposition of their
#   Gram matrix it is the same model, at the same C, in a small part of the CPU time.
# Bites: whoever fits a linear head on few labelled texts again and again (active learning, folds, pilots,
#   searches over C) with many classes, and puts the time down to their number of texts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import time

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

draw = np.random.default_rng(0)
label = draw.integers(0, 40, 600)
texts = [
    " ".join(f"w{word}" for word in (np.r_[draw.zipf(1.3, 80), draw.zipf(1.3, 20) + 97 * each] % 9999))
    for each in label
]
rows = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
train, test, known = rows[:500], rows[500:], label[:500]
model = LogisticRegression(C=10, tol=1e-6, max_iter=5_000)

began = time.process_time()
plain = model.fit(train, known).predict_proba(test)
seconds = time.process_time() - began

began = time.process_time()
values, vectors = np.linalg.eigh((train @ train.T).toarray())
large = values > 1e-10
scale, basis = np.sqrt(values[large]), vectors[:, large]
model.fit(basis * scale, known)
by_gram = model.predict_proba((test @ train.T) @ basis / scale)
shorter = time.process_time() - began

farthest = float(np.abs(plain - by_gram).max())
print("scikit-learn", sklearn.__version__, "on", train.shape, "with", len(set(known)), "classes")
print(f"CPU seconds: {seconds:.2f} on the words, {shorter:.2f} on the Gram matrix, decomposed")
print(f"probabilities of {len(plain)} other texts differ by {farthest:.0e} at most")
assert seconds > 5 * shorter
assert farthest < 1e-3
PYTHON
venv/bin/python script.py

#!/usr/bin/env bash
# Believed: NeuralNetClassifier of skorch is an estimator of scikit-learn: fit(X, y) fits on all rows of X, as every
#   other one does, so that it can stand beside them in a comparison.
# So: a fifth is held out for validation by default (train_split=ValidSplit(5)) and no gradient step sees it, also in the
#   refit on everything of a grid search and in the last fit of a pipeline. With verbose=0 nothing shows it.
#   train_split=None fits on all rows.
# Bites: whoever compares choices of data, or models, with it: the network has a fifth fewer labels than the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 skorch==1.4.0 scikit-learn==1.9.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import numpy as np
import skorch
import torch
from sklearn.model_selection import GridSearchCV

x = np.arange(1000, dtype=np.float32)[:, None] / 1000
y = (np.arange(1000) % 2).astype(np.int64)
seen = set()


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 2)

    def forward(self, rows):
        if self.training:
            seen.update((rows[:, 0] * 1000).round().int().tolist())
        return self.layer(rows)


def steps_see(**options):
    seen.clear()
    loss = torch.nn.CrossEntropyLoss
    net = skorch.NeuralNetClassifier(Module, criterion=loss, max_epochs=2, verbose=0, **options)
    net.fit(x, y)
    return len(seen), net


print("skorch", skorch.__version__)
default, net = steps_see()
whole, _ = steps_see(train_split=None)
search = GridSearchCV(net, {"lr": [0.1]}, refit=False, cv=2).fit(x, y)
seen.clear()
net.set_params(**search.best_params_).fit(x, y)
print(f"of 1,000 rows, steps see {default} by default, {len(seen)} after a search, {whole} without train_split")
assert (default, len(seen), whole) == (800, 800, 1000)
PYTHON
venv/bin/python -W ignore script.py

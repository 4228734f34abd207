#!/usr/bin/env bash
# Believed: in torchmetrics Accuracy(task="multiclass", num_classes=C) and MulticlassAccuracy(num_classes=C) are one
#   metric under two names, the share of examples that are right; the first makes an object of the second.
# So: the first has average="micro" by default, the second "macro", the mean of the recall of each class. The
#   functional accuracy and multiclass_accuracy differ in the same way, and so do precision, recall and F1.
# Bites: whoever compares runs, papers or training sets whose metrics were written in the two ways. With a rare class
#   a model that always says the common one has 90% by the first and 50% by the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0
cat > script.py <<'PYTHON'
import torch
import torchmetrics
from torchmetrics import Accuracy, F1Score
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional import accuracy
from torchmetrics.functional.classification import multiclass_accuracy

truth = torch.tensor([0] * 90 + [1] * 10)
said = torch.zeros(100, dtype=torch.long)
one = Accuracy(task="multiclass", num_classes=2)
two = MulticlassAccuracy(num_classes=2)
found = {
    'Accuracy(task="multiclass")': one(said, truth),
    "MulticlassAccuracy()": two(said, truth),
    'functional.accuracy(task="multiclass")': accuracy(said, truth, "multiclass", num_classes=2),
    "functional.multiclass_accuracy()": multiclass_accuracy(said, truth, num_classes=2),
    'F1Score(task="multiclass")': F1Score(task="multiclass", num_classes=2)(said, truth),
    "MulticlassF1Score()": MulticlassF1Score(num_classes=2)(said, truth),
}
print("torchmetrics", torchmetrics.__version__, "the same class:", type(one) is type(two))
values = [round(float(value), 3) for value in found.values()]
for name, value in zip(found, values):
    print(f"{name}: {value}")
assert type(one) is type(two)
assert values == [0.9, 0.5, 0.9, 0.5, 0.9, 0.474]
PYTHON
venv/bin/python script.py

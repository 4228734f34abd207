#!/usr/bin/env bash
# Believed: frame.groupby("label").sample(frac=0.1) draws a tenth of each class, so every class is in the sample,
#   and the sample is a tenth of the rows.
# So: the size is rounded in each class by itself, half to even. Of every class with five rows or fewer it draws
#   none, without a word, and the sample is smaller than asked for. scikit-learn's train_test_split(stratify=...)
#   rounds the whole once and shares out what is left among the classes.
# Bites: whoever cuts a training or test set by class in pandas: intents, species, tags and languages with a
#   long tail. The class is gone and no metric by class shows it, as it is gone from both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pandas==3.0.6 scikit-learn==1.9.1
cat > script.py <<'PYTHON'
import pandas as pd
import sklearn
from sklearn.model_selection import train_test_split

sizes = {"large": 300} | {f"small {n}": 4 for n in range(30)}
frame = pd.DataFrame({"label": [name for name, size in sizes.items() for _ in range(size)]})
drawn = frame.groupby("label").sample(frac=0.1, random_state=0)
split, _ = train_test_split(frame, train_size=0.1, stratify=frame["label"], random_state=0)
print("pandas", pd.__version__, "scikit-learn", sklearn.__version__)
print(f"a tenth of {len(frame)} rows of {len(sizes)} classes")
for name, part in (("groupby.sample", drawn), ("train_test_split", split)):
    print(f"{name}: {len(part)} rows of {part['label'].nunique()} classes")
assert len(drawn) == 30 and drawn["label"].unique().tolist() == ["large"]
assert len(split) == 42 and split["label"].nunique() == 13
PYTHON
venv/bin/python script.py

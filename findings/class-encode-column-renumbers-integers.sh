#!/usr/bin/env bash
# Believed: class_encode_column of the datasets library on a column of the integers 0 to n - 1 gives the same integers,
#   now with names.
# So: it sorts the values as strings. With more than ten classes "10" comes before "2": class 2 becomes 3, 10 becomes 2,
#   and only 0 and 1 stay. A number alone says nothing of it; names[number] has the old one.
# Bites: whoever calls it because train_test_split(stratify_by_column=...) asks for a ClassLabel, and trains or tests a
#   model whose classes are the old numbers: most labels are wrong, with ten classes none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import datasets

datasets.disable_progress_bars()
print("datasets", datasets.__version__)
kept = {}
for classes in (10, 20):
    rows = datasets.Dataset.from_dict({"label": list(range(classes))})
    encoded = rows.class_encode_column("label")["label"][:]
    kept[classes] = sum(old == new for old, new in enumerate(encoded))
    print(f"0 to {classes - 1} become {encoded}: {kept[classes]} of {classes} stay")
assert kept == {10: 10, 20: 2}
PYTHON
venv/bin/python script.py

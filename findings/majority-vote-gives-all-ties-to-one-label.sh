#!/usr/bin/env bash
# Believed: where as many people say one class as another, MajorityVote of crowd-kit leaves the item out, or draws, so
#   that ties do not favour a class.
# So: all ties between two labels go to the same one: with pandas 3 to the one that stands first in the table, with
#   pandas 2 to the first by the alphabet. The same answers, sorted otherwise, get the other class on every item on
#   which people disagree.
# Bites: whoever merges labels of two annotators (or four) and trains on what comes out: the shares of the classes and
#   the labels of the hard items are an accident of the export.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet crowd-kit==1.4.2 pandas==3.1.1 numpy==2.4.6
cat > script.py <<'PYTHON'
from importlib.metadata import version

import pandas as pd
from crowdkit.aggregation import MajorityVote

answers = pd.DataFrame(
    [(item, worker, label) for item in range(100) for worker, label in (("a", "cat"), ("b", "dog"))],
    columns=["task", "worker", "label"],
)
print("crowd-kit", version("crowd-kit"))
won = []
for by in ("worker", "label"):
    table = answers.sort_values(["task", by], ascending=[True, by == "worker"], ignore_index=True)
    counted = MajorityVote().fit_predict(table).value_counts().to_dict()
    won.append(counted)
    print(f"100 ties, sorted by item and {by}, first {table['label'][0]}: {counted}")
assert won == [{"cat": 100}, {"dog": 100}]
PYTHON
venv/bin/python script.py

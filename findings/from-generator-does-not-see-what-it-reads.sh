#!/usr/bin/env bash
# Believed: datasets.Dataset.from_generator runs the generator; if it is cached, then by what was read, as
#   load_dataset("json", data_files=...) sees that a file has changed.
# So: the key of the cache is the code of the function and its arguments. If the file whose path is an
#   argument has other rows the next day, the rows of the day before come back, without a word.
# Bites: whoever makes a training set by a generator from files or tables that grow: labels that were
#   mended and rows that were added are not trained on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
cat > build.py <<'PYTHON'
import json

import datasets


def rows(path):
    with open(path) as file:
        yield from map(json.loads, file)


made = datasets.Dataset.from_generator(rows, gen_kwargs={"path": "rows.jsonl"}, cache_dir="cache")
read = datasets.load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")
print("from_generator", made["label"][:], "| load_dataset", read["label"][:])
PYTHON
export HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
venv/bin/python -c 'import datasets; print("datasets", datasets.__version__)'
printf '{"label": "wrong"}\n' > rows.jsonl
venv/bin/python build.py | tee first
printf '{"label": "mended"}\n{"label": "new"}\n' > rows.jsonl
venv/bin/python build.py | tee second
grep -q "from_generator \['wrong'\] | load_dataset \['wrong'\]" first
grep -q "from_generator \['wrong'\] | load_dataset \['mended', 'new'\]" second

#!/usr/bin/env bash
# Believed: load_dataset("json") of the datasets library opens JSON strings as strings; what is a number or a list in
#   the file is one in the table, and a string is a string.
# So: a field whose strings are all dates, or dates with times, becomes timestamps. Rows give datetime objects, and
#   to_json writes integers: "2024-01-02" is 1704153600000. One string that is no date, and the field stays strings.
# Bites: answers to "when?" in sets for tuning or extraction: a template that is handed such a row writes
#   "2024-01-02 00:00:00" or raises, and the file that comes back holds numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
cat > script.py <<'PYTHON'
import json
from pathlib import Path

import datasets

datasets.disable_progress_bars()


def opened(name, answers):
    rows = [{"prompt": "When?", "completion": answer} for answer in answers]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = datasets.load_dataset("json", data_files=name, split="train", cache_dir="cache")
    data.to_json(f"back-{name}")
    back = json.loads(Path(f"back-{name}").read_text().splitlines()[0])["completion"]
    return data.features["completion"].dtype, data[0]["completion"], back


dates = opened("dates.jsonl", ["2024-01-02", "2024-03-04"])
mixed = opened("mixed.jsonl", ["2024-01-02", "in March"])
print("datasets", datasets.__version__)
for name, (kind, row, back) in (("dates alone", dates), ("with words", mixed)):
    print(f"{name}: {kind}, a row holds {row!r}, written back as {back!r}")
assert dates[0] == "timestamp[s]" and dates[2] == 1704153600000
assert mixed == ("string", "2024-01-02", "2024-01-02")
PYTHON
HF_HOME=$PWD/home venv/bin/python script.py

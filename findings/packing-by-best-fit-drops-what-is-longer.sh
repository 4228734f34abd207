#!/usr/bin/env bash
# Believed: packing (SFTConfig(packing=True) of TRL) keeps every token: rows that are longer than a packed one are
#   cut into several.
# So: the default strategy, "bfd", cuts each row at the length of a packed one first and drops the rest, without
#   a word or a count. "bfd_split" and "wrapped" keep all tokens.
# Bites: whoever tunes on long conversations or documents, counts the tokens of the file as those trained on, or
#   compares choices of data "at equal tokens" where one of them holds the longer rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 trl==1.16.0 transformers==5.23.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import datasets
import trl

datasets.disable_progress_bars()
rows = datasets.Dataset.from_dict({"input_ids": [[*range(100)], [*range(7)], [*range(12)]]})
print("trl", trl.__version__)
default = trl.SFTConfig.__dataclass_fields__["packing_strategy"].default
print("default strategy:", default)
kept = {}
for strategy in ("bfd", "bfd_split", "wrapped"):
    packed = trl.pack_dataset(rows, seq_length=10, strategy=strategy)
    kept[strategy] = sum(len(row) for row in packed["input_ids"])
    print(f"{strategy}: {kept[strategy]} of 119 tokens")
assert default == "bfd"
assert kept == {"bfd": 27, "bfd_split": 119, "wrapped": 119}
PYTHON
venv/bin/python script.py

#!/usr/bin/env bash
# Believed: Parquet shards written by `datasets`, each with its own ClassLabel, keep their classes when
#   they are opened together: the names are in every file, so they are matched, or the files refused.
# So: load_dataset("parquet", data_files=[...]) takes the names of the first shard and the numbers of all.
#   Where a shard lists the same names in another order, its labels become other classes, without a
#   word. concatenate_datasets refuses the same two data sets.
# Bites: whoever shards a labelled data set by source, worker or class and lets each writer build its
#   own list of names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
import sys

import datasets

texts = ["a cat", "a dog"]
for number, names in enumerate((["cat", "dog"], ["dog", "cat"])):
    shard = datasets.Dataset.from_dict({"text": texts, "label": ["cat", "dog"]})
    shard = shard.cast_column("label", datasets.ClassLabel(names=names))
    shard.to_parquet(f"shard-{number}.parquet")

print("datasets", datasets.__version__)
together = datasets.load_dataset(
    "parquet", data_files=["shard-0.parquet", "shard-1.parquet"], split="train", cache_dir="cache"
)
name_of = together.features["label"].int2str
seen = [(row["text"], name_of(row["label"])) for row in together]
for text, label in seen:
    print(f"{text!r} is labelled {label!r}")
alone = [
    datasets.Dataset.from_parquet(f"shard-{number}.parquet", cache_dir="cache")
    for number in range(2)
]
right = all(text == f"a {one.features['label'].int2str(label)}"
            for one in alone for text, label in zip(one["text"], one["label"]))
print("each shard alone has the right classes:", right)
try:
    datasets.concatenate_datasets(alone)
    refused = False
except ValueError as error:
    refused = True
    print("concatenate_datasets refuses them: ValueError")

silent = seen == [("a cat", "cat"), ("a dog", "dog"), ("a cat", "dog"), ("a dog", "cat")]
print("both labels of the second shard are wrong, silently:", silent)
sys.exit(not (silent and right and refused))
PYTHON

#!/usr/bin/env bash
# Believed: an IterableDataset of the datasets library that is shuffled and resumed by
#   state_dict()/load_state_dict() goes on with the rows that were not seen yet, each once.
# So: the state holds where the sources stand, not what lies in the buffer. What lay there is never
#   seen, up to buffer_size rows, and as rows are read ahead some others come twice. A line of the log
#   says that the buffer will be refilled, not that rows are lost.
# Bites: whoever streams fine-tuning data with a buffer of 10,000 and is preempted every hour; a
#   selection or a loss by example that expects each row once an epoch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 pyarrow==26.0.1
HF_HUB_OFFLINE=1 venv/bin/python - <<'PYTHON'
import datasets

ROWS, BUFFER, STOP = 1000, 100, 300


def stream():
    whole = datasets.Dataset.from_dict({"row": list(range(ROWS))})
    return whole.to_iterable_dataset(num_shards=4).shuffle(seed=0, buffer_size=BUFFER)


first, before = stream(), []
for example in first:
    before.append(example["row"])
    if len(before) == STOP:
        state = first.state_dict()
        break
second = stream()
second.load_state_dict(state)
after = [example["row"] for example in second]
never, twice = ROWS - len({*before, *after}), len({*before} & {*after})
print("datasets", datasets.__version__)
print(f"{ROWS} rows, buffer of {BUFFER}, resumed after {STOP}: {never} never seen, {twice} seen twice")
assert len([example["row"] for example in stream()]) == ROWS
assert never > 0
PYTHON

#!/usr/bin/env bash
# Believed: the state of torchdata's StatefulDataLoader, taken in the middle of an epoch, goes on with
#   another number of workers, or says that it cannot.
# So: a state saved with 2 workers ends with an AssertionError without a text where it is loaded with 1,
#   and with one about a key of its insides where it is loaded with none. It is raised at the first
#   batch, not where the state is loaded.
# Bites: whoever resumes on a machine with fewer cores, or debugs a checkpoint with num_workers=0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 torchdata==0.11.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import importlib.metadata

import torch
from torchdata.stateful_dataloader import StatefulDataLoader


def loader(workers):
    return StatefulDataLoader(list(range(24)), batch_size=4, num_workers=workers)


def resumed(state, workers):
    """How many batches are left, or what is raised and where."""
    place = "loading"
    try:
        again = loader(workers)
        again.load_state_dict(state)
        place = "the first batch"
        return f"{sum(1 for _ in again)} batches left"
    except Exception as error:
        return f"{type(error).__name__} at {place}: {str(error)[:40]!r}"


if __name__ == "__main__":
    first = loader(2)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    print("torchdata", importlib.metadata.version("torchdata"), "torch", torch.__version__)
    found = {workers: resumed(state, workers) for workers in (2, 1, 0)}
    for workers, said in found.items():
        print(f"saved with 2 workers, loaded with {workers}: {said}")
    assert found[2] == "5 batches left"
    assert found[1] == "AssertionError at the first batch: ''"
    assert found[0].startswith("AssertionError at the first batch") and "_num_yielded" in found[0]
PYTHON
OMP_NUM_THREADS=1 venv/bin/python script.py 2>/dev/null

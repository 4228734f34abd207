#!/usr/bin/env bash
# Believed: MinHashLSH(threshold=0.9) of datasketch finds nearly all pairs with a Jaccard similarity of 0.9 or more, and
#   some below: a missed pair near the threshold is an accident.
# So: bands and rows are chosen so that misses and false alarms weigh alike, and the curve is centred above the threshold
#   where that is high. Of pairs at 0.9 a quarter is found, of pairs at 0.95 four in five; at a threshold of 0.5, half
#   and all. weights=(0.1, 0.9), more permutations or a lower threshold, checked by the estimate, find more.
# Bites: whoever removes near duplicates from texts, or test texts from training data: most copies with a few words
#   changed stay, and nothing says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasketch==2.0.0 numpy==2.4.6
cat > script.py <<'PYTHON'
from importlib.metadata import version

from datasketch import MinHash, MinHashLSH

SIZE, PAIRS = 400, 300


def minhash(words):
    made = MinHash(num_perm=128)
    made.update_batch([word.encode() for word in words])
    return made


def found(threshold, similarity):
    shared = round(2 * SIZE * similarity / (1 + similarity))
    hits = 0
    for pair in range(PAIRS):
        words = [f"{pair} {number}" for number in range(2 * SIZE)]
        index = MinHashLSH(threshold=threshold, num_perm=128)
        index.insert("copy", minhash(words[:SIZE]))
        hits += "copy" in index.query(minhash(words[SIZE - shared : 2 * SIZE - shared]))
    return hits / PAIRS


print("datasketch", version("datasketch"))
shares = {}
for threshold, similarity in ((0.5, 0.5), (0.5, 0.75), (0.9, 0.9), (0.9, 0.95)):
    shares[threshold, similarity] = found(threshold, similarity)
    print(f"threshold {threshold}: of pairs at {similarity}, found {shares[threshold, similarity]:.0%}")
index = MinHashLSH(threshold=0.9, num_perm=128)
print(f"threshold 0.9 is {index.b} bands of {index.r} rows")
assert shares[0.9, 0.9] < 0.4 and shares[0.9, 0.95] < 0.9 < shares[0.5, 0.75]
PYTHON
venv/bin/python script.py

#!/usr/bin/env bash
# Believed: int8 embeddings of sentence-transformers (encode(precision="int8"), quantize_embeddings) are the float ones in
#   256 steps: a text has the same vector whenever it is encoded, give or take a step.
# So: the steps span the smallest and largest value of each dimension among the embeddings of the same call. Queries of
#   one topic are stretched by other ranges than the corpus: a copy of a corpus row, quantised apart, has a cosine of 0.7
#   with it. Hundreds of rows bring no warning. ranges= or calibration_embeddings= of the corpus make them comparable.
# Bites: whoever looks for near duplicates between two files, or for the rows nearest to a few target examples, in int8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 sentence-transformers==6.2.0 transformers==5.23.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import numpy as np
import sentence_transformers
from sentence_transformers.util.quantization import quantize_embeddings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine(rows, others):
    return float((unit(rows.astype(float)) * unit(others.astype(float))).sum(1).mean())


corpus = np.random.default_rng(0).normal(size=(10_000, 64))
corpus[:200] += 1  # a topic: these rows have a mean cosine of 0.5 among each other
corpus = unit(corpus).astype(np.float32)
queries = corpus[:200]
print("sentence-transformers", sentence_transformers.__version__)
whole = quantize_embeddings(corpus, "int8")[:200]
given = cosine(quantize_embeddings(queries, "int8", calibration_embeddings=corpus), whole)
apart = cosine(quantize_embeddings(queries, "int8"), whole)
print(f"200 rows and their copies, with the ranges of the corpus: mean cosine {given:.3f}")
print(f"200 rows and their copies, each call for itself: mean cosine {apart:.3f}")
assert given > 0.999 and apart < 0.8
PYTHON
venv/bin/python script.py

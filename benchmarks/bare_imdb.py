"""The least script that does what `keepers coreset reviews.parquet --proxy fasttext` does.

python benchmarks/bare_imdb.py TRAIN.parquet OUT.parquet [--hashing same|scikit-learn]

Reads the file, hashes words and bigrams into 2^18 buckets, trains the same model by the same
recipe (EmbeddingBag of 10 and a linear layer, AdamW, one cycle, 5 epochs of batches of 64), scores
every review by entropy and writes the rows of the upper half. No ids, checks, report or resuming.
`same` takes the hashing function of keepers, so that both sides train on the same numbers;
`scikit-learn` takes `HashingVectorizer`, which many a person would.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BUCKETS, DIM, EPOCHS, BATCH, LR = 2**18, 10, 5, 64, 1e-2


def hash_same(texts: pa.ChunkedArray) -> tuple[Tensor, Tensor]:
    from keepers.data.text import hashed_ngrams

    blocks = list(hashed_ngrams(texts, buckets=BUCKETS, ngrams=2, advance=lambda done: None))
    indices = np.concatenate([indices for indices, _ in blocks])
    lengths = np.concatenate([lengths for _, lengths in blocks])
    return torch.from_numpy(indices), torch.from_numpy(lengths)


def hash_scikit_learn(texts: pa.ChunkedArray) -> tuple[Tensor, Tensor]:
    """Each n-gram once for each time that it occurs, as the other variant has it."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=BUCKETS,
        ngram_range=(1, 2),
        token_pattern=r"[^\W_]+",
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    counts = vectorizer.transform(texts.to_pylist())
    times = counts.data.astype(np.int64)
    indices = np.repeat(counts.indices.astype(np.int32), times)
    return torch.from_numpy(indices), torch.from_numpy(
        np.add.reduceat(times, counts.indptr[:-1]).astype(np.int64)
    )


class Bag(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(BUCKETS, DIM, mode="mean")
        self.classifier = nn.Linear(DIM, num_classes)
        nn.init.uniform_(self.embedding.weight, -1 / DIM, 1 / DIM)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, indices: Tensor, offsets: Tensor) -> Tensor:
        return self.classifier(self.embedding(indices, offsets))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--hashing", choices=("same", "scikit-learn"), default="same")
    parser.add_argument("--keep", type=float, default=0.5)
    args = parser.parse_args()
    clock = [time.perf_counter()]
    phases: dict[str, float] = {}

    def done(phase: str) -> None:
        clock.append(time.perf_counter())
        phases[phase] = round(clock[-1] - clock[-2], 3)

    torch.manual_seed(0)
    table = pq.read_table(args.data, columns=["text", "label"])
    labels = torch.from_numpy(table["label"].to_numpy())
    done("reading")
    hashing = hash_same if args.hashing == "same" else hash_scikit_learn
    flat, lengths = hashing(table["text"])
    documents = flat.split(lengths.tolist())
    done("encoding")

    def batch(rows: Tensor) -> tuple[Tensor, Tensor]:
        ends = lengths[rows].cumsum(0)
        offsets = (ends - lengths[rows]).int()
        return torch.cat([documents[row] for row in rows.tolist()]), offsets

    n = len(labels)
    model = Bag(num_classes=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
    steps = EPOCHS * -(-n // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(n).split(BATCH):
            loss = F.cross_entropy(model(*batch(rows)), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    done("proxy training")
    model.eval()
    with torch.inference_mode():
        parts = [model(*batch(rows)) for rows in torch.arange(n).split(512)]
        log_probs = F.log_softmax(torch.cat(parts), 1)
    entropy = -(log_probs.exp() * log_probs).sum(1)
    done("scoring")
    kept = entropy.argsort(descending=True, stable=True)[: round(args.keep * n)]
    pq.write_table(pa.table({"row": kept.numpy(), "score": entropy[kept].numpy()}), args.out)
    done("writing")
    accuracy = float((log_probs.argmax(1) == labels).float().mean())
    print(json.dumps({"kept": len(kept), "accuracy": round(accuracy, 4), "phases": phases}))


if __name__ == "__main__":
    main()

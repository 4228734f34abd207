"""Does the command of the README do harm on any texts? Some seventy tasks that nobody chose it by.

The tasks are those of benchmarks/material_texts.py: texts of 1 to 1,000 words in a dozen languages,
2 to 150 classes; and four of them again with a fifth of the labels of training exchanged. Of 1,000
rows, those of classes with fewer than five left out, seven tenths are written to a file (CSV or
JSON lines in turn) under the names that their source gives the columns, and `keepers.coreset` is
called with `keep` and `label` alone. Its part and seven random parts of the same size train
logistic regression on TF-IDF of words and pairs, and a support vector machine on TF-IDF of two to
four characters, which are tested on the other rows: by error, and by the mean error of a class, in
which a class that is gone is seen. If a choice were as good as random, it would be the worst of the
eight in one of eight cells. One JSON file for each draw of a task; a run that is interrupted goes
on.

    python benchmarks/many_texts.py run MORE/texts --out FOLDER
    python benchmarks/many_texts.py summary FOLDER --out docs/results/benchmarks/many-texts.json
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from driver import run_or_summary
from many import RANDOM, beside, counts, farthest, not_measured, tried
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import keepers
from keepers.files import write_json

MOST, LEAST, KEEP, DRAWS = 1_000, 5, (0.1, 0.3), 2
WRONG = 0.2
MADE_WRONG = ("sst2", "emoji-en-group", "wordnet-verb-gloss", "debian-Section")
"""Tasks that are run a second time, with this share of the labels of training exchanged."""

KNOWN = (
    "sst2",
    "cola",
    "imdb",
    "goemotions",
    "brown",
    "mails",
    "fortunes",
    "foods",
    "trump_tweets",
)
"""Tasks whose texts other benchmarks of the repository use; they begin so, as do Debian's."""


NUMBERED = ("sector",)
"""Labels that are whole numbers, of which the command asks whether they are classes."""

MEASURES = ("error", "error of a class")


def errors(model: str, train: tuple[Any, Any], test: tuple[Any, Any]) -> tuple[float, float]:
    """The share of texts that a model of (texts, labels) gets wrong, and its mean over classes."""
    if len(set(train[1])) < 2:
        said = np.full(len(test[1]), train[1][0])
    else:
        made = (
            make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=300)
            )
            if model == "words"
            else make_pipeline(
                TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
                LinearSVC(),
            )
        )
        said = made.fit(*train).predict(test[0])
    recall = recall_score(test[1], said, labels=np.unique(test[1]), average="macro")
    return round(float(np.mean(said != test[1])), 4), round(1 - float(recall), 4)


def exchanged(labels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """Labels of which `WRONG` are those of other rows."""
    at = np.flatnonzero(rng.random(len(labels)) < WRONG)
    found = labels.copy()
    found[at] = labels[rng.permutation(at)]
    return found


def held(frame: Any, draw: int, wrong: bool) -> dict[str, Any]:
    """What is kept of one task, beside random parts, and how good both are."""
    text, label = frame.columns
    frame = frame.sample(min(len(frame), MOST), random_state=draw)
    frame = frame[frame.groupby(label)[label].transform("size") >= LEAST]
    x, y = frame[text].to_numpy(str), frame[label].to_numpy(str)
    rng = np.random.default_rng(draw)
    cut = len(frame) * 7 // 10
    train, test = np.split(rng.permutation(len(frame)), [cut])
    told = exchanged(y[train], rng) if wrong else y[train]
    choices: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        part = pd.DataFrame({text: x[train], label: told})
        file = Path(folder) / ("train.jsonl" if draw % 2 else "train.csv")
        if draw % 2:
            part.to_json(file, orient="records", lines=True, force_ascii=False)
        else:
            part.to_csv(file, index=False)
        asked: dict[str, Any] = {"task": "class"} if label in NUMBERED else {}  # as it asks for
        for keep in KEEP:
            said: list[str] = []
            run = Path(folder) / str(keep)
            found = keepers.coreset(
                file, keep=keep, label=label, seed=draw, run=run, say=said.append, **asked
            )
            rows = found.table.filter(found.table["kept"])["row"].to_numpy()
            parts = [rows, *(rng.permutation(cut)[: len(rows)] for _ in range(RANDOM))]
            measured: dict[str, Any] = {}
            for model in ("words", "characters"):
                pairs = [
                    errors(model, (x[train][at], told[at]), (x[test], y[test])) for at in parts
                ]
                for measure, values in zip(MEASURES, zip(*pairs, strict=True), strict=True):
                    measured[f"{model}, {measure}"] = beside(values)
            choices.append(
                {
                    "keep": keep,
                    "kept": len(rows),
                    "taken": found.metadata["method"],
                    "why": found.metadata.get("auto", {}).get("why"),
                    "classes_kept": [len(set(told[at])) for at in parts],
                    "said": said,
                    "cells": measured,
                }
            )
    largest = Counter(y.tolist()).most_common(1)[0][1] / len(y)
    about = {"rows": cut, "classes": len(set(y.tolist())), "largest_class": round(largest, 3)}
    return (
        about
        | {"words": round(float(np.mean([len(t.split()) for t in x])), 1)}
        | {"choices": choices}
    )


def run(tasks: Path, folder: Path) -> None:
    """All draws of all tasks that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    files = sorted(sorted(tasks.glob("*.parquet")), key=_words)
    asked = [
        (at, wrong) for at in files for wrong in (True, False) if not wrong or at.stem in MADE_WRONG
    ]
    for draw in range(DRAWS):
        for file, wrong in asked:
            name = f"{file.stem}{', labels exchanged' if wrong else ''}"
            out = folder / f"{name}-{draw}.json"
            if out.exists():
                continue
            start = time.perf_counter()
            frame = pd.read_parquet(file)
            result = {"task": name, "draw": draw} | tried(partial(held, frame, draw, wrong))
            write_json(out, result | {"seconds": round(time.perf_counter() - start)})
            print(f"{name}-{draw}: {time.perf_counter() - start:.0f} s", flush=True)


def _words(file: Path) -> float:
    """The words of a text times the classes: what takes least time is run first."""
    frame: Any = pd.read_parquet(file)
    return float(frame.iloc[:, 0].str.split().str.len().mean()) * frame.iloc[:, 1].nunique()


def summary(folder: Path) -> dict[str, Any]:
    """How often the choice was the best and the worst of the eight, and by how much it differs."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    choices = [
        {key: each[key] for key in ("task", "draw", "rows", "classes", "largest_class", "words")}
        | {key: choice[key] for key in choice if key != "said"}
        for each in found
        for choice in each.get("choices", ())
    ]
    cells = [
        {key: choice[key] for key in ("task", "draw", "keep", "taken")} | {"model": name, **cell}
        for choice in choices
        for name, cell in choice["cells"].items()
    ]
    names = sorted({cell["model"] for cell in cells})
    groups = {f"keep {keep}": [c for c in cells if c["keep"] == keep] for keep in KEEP}
    groups |= {
        name: [c for c in cells if c["taken"] == name]
        for name in sorted({c["taken"] for c in cells})
    }
    groups["other benchmarks know"] = [c for c in cells if c["task"].startswith(KNOWN)]
    groups["new"] = [c for c in cells if not c["task"].startswith(KNOWN)]
    return {
        "tasks": len({each["task"] for each in found}),
        **not_measured(found, "task"),
        "taken": Counter(choice["taken"] for choice in choices),
        "counts": {
            f"{group}, {model}": counts([c for c in some if c["model"] == model], "task")
            for group, some in {"all": cells, **groups}.items()
            for model in names
        },
        "farthest_behind": {m: farthest([c for c in cells if c["model"] == m]) for m in names},
        "choices": choices,
    }


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__)
    running.add_argument("tasks", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        run(given.tasks, given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)

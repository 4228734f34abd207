"""Does the command that the README types first do harm? Its part against random parts of one size.

Five times, four fifths of the training data are written to a file, `keepers coreset FILE --keep K
--out KEPT` is typed with nothing else, and another model is trained on what was kept and on three
random parts: for texts TF-IDF of words and pairs and logistic regression, for numbers a
gradient-boosted tree, for pictures a small network. One JSON file for each; a run that is
interrupted goes on. letters, icons and clipart are made by benchmarks/material_pictures.py.

    python benchmarks/by_default.py run imdb digits sst2 tweets mails diamonds jobs --out FOLDER
    python benchmarks/by_default.py summary FOLDER --out docs/results/benchmarks/by-default.json
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import material
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from driver import run_or_summary
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from keepers.files import write_json
from keepers.statistics import paired_difference

SEEDS, RANDOM, KEEP = 5, 3, (0.1, 0.3)
README = ("imdb", "mnist", "digits", "cifar10")
OTHERS = ("sst2", "brown", "tweets", "mails", "diamonds", "jobs")
FILED = ("letters", "icons", "clipart")
PICTURES = ("mnist", "cifar10", *FILED)
STEPS, BATCH = 2_000, 64


def load(name: str) -> tuple[pa.Table, pa.Table]:
    """Training and test data as a person would have them, with `label`."""
    if name in PICTURES:
        root = material.MORE if name in FILED else material.ROOT
        return tuple(pq.read_table(root / name / f"{part}.parquet") for part in material.PARTS)
    parts: list[pa.Table] = []
    for part in material.load(name):
        if isinstance(part, pd.DataFrame):
            table = pa.Table.from_pandas(part[["text", "label"]], preserve_index=False)
        else:
            vectors, labels = part
            table = pa.table({"vector": list(vectors), "label": labels})
        parts.append(table)
    return parts[0], parts[1]


def inputs(table: pa.Table) -> npt.NDArray[Any]:
    """What the target reads: texts (n,), numbers (n, d), or pictures (n, channels, h, w)."""
    column = table.column(next(name for name in table.column_names if name != "label"))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_list(column.type):
        return np.stack(column.to_pylist()).astype(np.float32)
    opened = [np.asarray(Image.open(BytesIO(cell["bytes"]))) for cell in column.to_pylist()]
    pixels = np.stack(opened).astype(np.float32) / 255
    return pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)


def network(channels: int, classes: int) -> torch.nn.Module:
    """Three convolutions and a linear layer."""
    layers: list[torch.nn.Module] = []
    for before, after in ((channels, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after)]
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(256, classes)
    )


def trained(x: npt.NDArray[Any], y: npt.NDArray[Any], seed: int) -> Any:
    """A function from inputs to classes, fitted on (x, y)."""
    if x.ndim == 1:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return make_pipeline(words, LogisticRegression(C=10, max_iter=1_000)).fit(x, y).predict
    if x.ndim == 2:
        return HistGradientBoostingClassifier(random_state=seed).fit(x, y).predict
    torch.manual_seed(seed)
    names, codes = np.unique(y, return_inverse=True)
    net = network(x.shape[1], len(names))
    rows, classes = torch.from_numpy(x), torch.from_numpy(codes)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.005, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(rows), (BATCH,))
        loss = torch.nn.functional.cross_entropy(net(rows[batch]), classes[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    net.eval()

    @torch.no_grad()
    def predict(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = [net(part).argmax(1) for part in torch.from_numpy(x).split(500)]
        return names[torch.cat(found).numpy()]

    return predict


def typed(file: Path, keep: float, kept: Path) -> tuple[npt.NDArray[np.int64], str, float]:
    """The rows that the command keeps, what it said of its choice, and its CPU seconds."""
    command = [str(Path(sys.executable).with_name("keepers")), "coreset", file.name]
    command += ["--keep", str(keep), "--out", kept.name, "--run", f"run-{keep}"]
    before = os.times()
    said = subprocess.run(
        command,
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    table = pq.read_table(kept)
    rows = table.filter(table["kept"])["row"].to_numpy()
    found = re.search(r"^auto takes .*$", said, re.MULTILINE)
    return rows, "" if found is None else found.group(), spent


def draw(name: str, seed: int) -> dict[str, Any]:
    """The test errors of one draw, by what is kept."""
    train, test = load(name)
    rng = np.random.default_rng(seed)
    train = train.take(np.sort(rng.permutation(len(train))[: len(train) * 4 // 5]))
    x, y, asked = inputs(train), np.asarray(train["label"]), inputs(test)
    truth = np.asarray(test["label"])

    def error(rows: npt.NDArray[np.int64]) -> float:
        return float(np.mean(trained(x[rows], y[rows], seed)(asked) != truth))

    found: dict[str, Any] = {"examples": len(train), "everything": error(np.arange(len(train)))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.parquet"
        pq.write_table(train, file)
        for keep in KEEP:
            rows, said, spent = typed(file, keep, Path(folder) / f"kept-{keep}.parquet")
            parts = [rng.permutation(len(train))[: len(rows)] for _ in range(RANDOM)]
            found[str(keep)] = {
                "auto": error(rows),
                "random": [error(np.sort(part)) for part in parts],
                "said": said,
                "cpu_s": spent,
            }
    return found


def run(names: list[str], folder: Path) -> None:
    """All draws that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed in range(SEEDS):
        for name in names:
            file = folder / f"{name}-{seed}.json"
            if not file.exists():
                start = time.perf_counter()
                write_json(file, draw(name, seed))
                print(f"{file.name}: {time.perf_counter() - start:.0f} s", flush=True)


def summary(folder: Path) -> list[dict[str, Any]]:
    """A row for each data set and part kept."""
    rows: list[dict[str, Any]] = []
    for name in (*README, *OTHERS, *FILED):
        files = sorted(folder.glob(f"{name}-?.json"))
        draws = [json.loads(file.read_text()) for file in files]
        if len(draws) < 2:
            continue
        for keep in map(str, KEEP):
            here = [each[keep] for each in draws]
            random = [float(np.mean(each["random"])) for each in here]
            rows.append(
                {
                    "data": name,
                    "keep": float(keep),
                    "draws": here,
                    "examples": draws[0]["examples"],
                    "everything": float(np.mean([each["everything"] for each in draws])),
                    "random": float(np.mean(random)),
                    "auto": float(np.mean([each["auto"] for each in here])),
                    "difference": asdict(
                        paired_difference([each["auto"] for each in here], random)
                    ),
                    "taken": sorted({taken(each["said"]) for each in here}),
                }
            )
    return rows


def taken(said: str) -> str:
    """The method that a sentence of `auto` names."""
    found = re.match(r"auto(?: takes|:) ([^\s:]+)", said)
    return said if found is None else found.group(1)


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__, [*README, *OTHERS, *FILED])
    given = parser.parse_args()
    if given.command == "run":
        run(given.names, given.out)
    else:
        write_json(given.out, {"rows": summary(given.folder)}, overwrite=True)

"""What a labelling round costs with a probe whose features are there, beside scikit-learn.

A pool of 100,000 vectors of 384 numbers stands for an encoder's features; `--labelled` of them have
a label. Keepers fits its linear model on the labelled ones and predicts all, as a round does;
scikit-learn does so with a scaler and logistic regression as they come. CPU seconds, in turn, the
median of `--repeats`. Beside them stands a whole round: `Campaign.query` in one process, once the
encoder's features are there, with all that it reads, checks, chooses, measures and writes.

    python benchmarks/probe_round.py --out docs/results/benchmarks/probe-round.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keepers.campaign import Vote
from keepers.data import DensePool
from keepers.files import write_json
from keepers.models import create_classifier
from keepers.training import fit_classifier, predict
from keepers.types import DataInfo
from keepers.workflows.active import Campaign

CLASSES, WIDTH = 10, 384
ENCODER = """
import torch
from keepers.types import EncoderSpec, Model


def as_they_are(info):
    return Model(module=torch.nn.Identity(), encoder=EncoderSpec(kind="vector"))
"""


def fits(rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], few: Any, repeats: int) -> Any:
    """CPU seconds of fitting on `few` and predicting all: keepers' and scikit-learn's."""
    pool, known = DensePool(torch.from_numpy(rows)), torch.from_numpy(labels)
    info = DataInfo(kind="vector", shape=(WIDTH,), num_classes=CLASSES)
    made: Any = create_classifier("linear", info, {}, "proxy")
    everything = torch.arange(len(rows))

    def ours() -> None:
        fitted = fit_classifier(made, pool, known, torch.from_numpy(few), seed=0)
        predict(fitted, pool, everything, CLASSES)

    found: dict[str, list[float]] = {"keepers": [], "scikit-learn": []}
    for _ in range(repeats):
        for name, run in (("keepers", ours), ("scikit-learn", theirs(rows, labels, few))):
            found[name].append(timed(run))
    return {name: statistics.median(values) for name, values in found.items()}


def theirs(rows: np.ndarray[Any, Any], labels: Any, few: Any) -> Callable[[], Any]:
    """Fit on `few` and predict all, by scikit-learn."""

    def run() -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(rows[few], labels[few]).predict_proba(rows)

    return run


def rounds(
    rows: np.ndarray[Any, Any], labels: Any, few: int, repeats: int
) -> list[dict[str, float]]:
    """CPU seconds of each query of a campaign by a probe, after the first that trained it.

    Beside each stand those of scikit-learn on the same labels.
    """
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("encoders.py").write_text(ENCODER)
        np.save("pool.npy", rows)
        campaign = Campaign.start(
            "pool.npy",
            campaign="campaign",
            classes=[f"class {number}" for number in range(CLASSES)],
            proxy="probe:encoders:as_they_are",
            method="margin",
            control=0.0,
            cold="random",
        )
        at = dict(zip(campaign.holdings.source.ids.tolist(), range(len(rows)), strict=True))
        order = campaign.holdings.source.rows
        found: list[dict[str, float]] = []
        for count in (few, *[100] * (repeats + 1)):
            known = order[[at[item] for item in campaign.state.labels]]
            each = {"labelled": len(known), "round": timed(lambda n=count: campaign.query(n))}
            if len(known):
                each["scikit-learn"] = timed(theirs(rows, labels, known))
                each["ratio"] = each["round"] / each["scikit-learn"]
            found.append(each)
            campaign.record(
                Vote(item=item, annotator="ann", label=f"class {labels[order[at[item]]]}")
                for item in campaign.state.pending()
            )
        return found[2:]


def timed(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--labelled", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, given.pool)
    centres = draw.standard_normal((CLASSES, WIDTH))
    rows = (0.3 * centres[labels] + draw.standard_normal((given.pool, WIDTH))).astype(np.float32)
    result = {"pool": given.pool, "labelled": given.labelled}
    result |= fits(rows, labels, np.arange(given.labelled), given.repeats)
    result["ratio"] = result["keepers"] / result["scikit-learn"]
    whole = rounds(rows, labels, given.labelled, given.repeats)
    result |= {"rounds": whole, "round_ratio": statistics.median(each["ratio"] for each in whole)}
    print(json.dumps(result, indent=2))
    if given.out:
        write_json(given.out, result, overwrite=True)

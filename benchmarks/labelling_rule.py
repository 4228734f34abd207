"""When does it pay to label what a proxy is unsure of, rather than random examples?

For each data set, seed and number of labels n: a random pool, n random labels, the default proxy,
and the next n by each method. Every set of 2n labels trains the model that the proxy is, and of
numbers a random forest, too; both are tested. Beside it stands what the proxy is known to be worth
before the choice is made: its margins and errors on its n labels, out of fold. With `--wrong 0.2`
a fifth of all labels is another class, whoever asks. One JSON file for each draw: a run that is
interrupted goes on.

    python benchmarks/labelling_rule.py run DATA... --out FOLDER
    python benchmarks/labelling_rule.py summary FOLDER \
        --out docs/results/benchmarks/labelling-rule.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import run_or_summary
from material import TEXTS, VECTORS, opened
from scipy import stats

from keepers import methods
from keepers.data import Source
from keepers.files import write_json
from keepers.models.another_kind import another_kind
from keepers.models.factory import default_proxy
from keepers.random import generator
from keepers.roles import Role, encode_like, prepare
from keepers.statistics import roc_auc
from keepers.training import fit_classifier, predict
from keepers.training.classifiers import last_input
from keepers.types import Signals
from keepers.workflows.active.auto import Judged

LABELS, LARGEST, TESTED, FOLDS, DRAWS = (100, 200, 500, 1000), 6_000, 3_000, 3, 2
METHODS = ("margin", "entropy", "badge", "cluster-margin")
DESIGN = ("sst2", "cola", "imdb", "mails", "brown", "churn", "digits", "credit", "spam-words")
"""The data sets on which the rule was made; the others were untouched until it was."""


def one(source: Source, test: Source, seed: int, labelled: int, wrong: float) -> dict[str, Any]:
    """Errors of every choice, and what the proxy is worth on what is labelled before."""
    _, prepared = prepare(Role(model=default_proxy(source.info())), source)
    made, pool = prepared.classifier, prepared.pool
    assert made is not None
    other = another_kind(made, source.info())
    kinds = {"same": made} | ({"other": other[1]} if other else {})
    view, classes = encode_like(prepared, test), prepared.info.num_classes
    labels = prepared.labels.clone()
    turned = torch.rand(len(labels), generator=generator(seed, "wrong")) < wrong
    shift = torch.randint(1, classes, labels.shape, generator=generator(seed, "shift"))
    labels[turned] = (labels + shift)[turned] % classes
    order = torch.randperm(len(source), generator=generator(seed, "first"))
    first, rest = order[:labelled].sort().values, order[labelled:].sort().values

    def fit(members: torch.Tensor, kind: Any = made) -> Any:
        return fit_classifier(kind, pool, labels, members.sort().values, seed=seed)

    def errors(more: torch.Tensor) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for name, kind in kinds.items():
            fitted = fit(torch.cat([first, more]), kind)
            said = predict(fitted, view.pool, torch.arange(len(view.pool)), classes).argmax(1)
            missed = (said != view.labels).double()
            by_class = [float(missed[view.labels == c].mean()) for c in view.labels.unique()]
            found[name] = [float(missed.mean()), float(np.mean(by_class))]
        return found

    fold = torch.arange(labelled)[torch.randperm(labelled, generator=generator(seed, "folds"))]
    fold = fold % FOLDS
    said = torch.empty(labelled, classes)
    for at in range(FOLDS):
        held = first[fold == at]
        said[fold == at] = predict(fit(first[fold != at]), pool, held, classes).exp()
    top = said.topk(2).values
    judged = {
        "right": (said.argmax(1) == labels[first]).int().tolist(),
        "margin": [round(x, 4) for x in (top[:, 0] - top[:, 1]).tolist()],
        "likely": [round(x, 5) for x in said.gather(1, labels[first, None])[:, 0].tolist()],
        "labels": labels[first].tolist(),
    }
    proxy = fit(first)
    log_probs = predict(proxy, pool, rest, classes)
    features = last_input(proxy, pool, rest, seed)
    signals = Signals(log_probs=log_probs, features=features)
    found: dict[str, Any] = {}
    draws = [
        errors(rest[torch.randperm(len(rest), generator=generator(seed, "random", d))[:labelled]])
        for d in range(DRAWS)
    ]
    found["random"] = {k: np.mean([d[k] for d in draws], axis=0).tolist() for k in kinds}
    for name in METHODS:
        picks, _ = methods.choose(
            methods.get(name), [signals], labelled, generator=generator(seed, name)
        )
        found[name] = errors(rest[picks.positions])
    return {"judged": judged, "errors": found}


def run_all(names: Sequence[str], out: Path, seeds: int, wrong: float, counts: Any) -> None:
    """Every draw that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        for name in names:
            source, test = opened(name, TESTED)
            few = np.random.default_rng(seed).permutation(len(source))
            part = source.take(few[:LARGEST])
            for labelled in counts:
                path = out / f"{name}-{labelled}-{wrong}-{seed}.json"
                if path.exists() or 3 * labelled > len(part):
                    continue
                start = time.process_time()
                result = one(part, test, seed, labelled, wrong)
                about = {"data": name, "pool": len(part), "classes": len(part.class_names)}
                about |= {"labelled": labelled, "wrong": wrong, "seed": seed}
                path.write_text(json.dumps(about | result), encoding="utf-8")
                print(path.name, f"{time.process_time() - start:.1f} CPU s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """Points of error beside random by every cell, and what rules would have come to.

    `knew`: what the rule before said, which asked only whether the proxy beats guessing.
    """
    draws = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows: list[dict[str, Any]] = []
    for cell in sorted({(d["data"], d["wrong"], d["labelled"]) for d in draws}):
        here = [d for d in draws if (d["data"], d["wrong"], d["labelled"]) == cell]
        told = [judgement(each["judged"]) for each in here]
        row: dict[str, Any] = dict(zip(("data", "wrong", "labelled"), cell, strict=True))
        row |= {"seeds": len(here), "design": cell[0] in DESIGN}
        row |= {"tells": float(np.mean([each.tells[0] for each in told]))}
        row |= {"trusted": sum(each.is_trusted for each in told)}
        row |= {"knew": sum(each.beats_guessing for each in told)}
        for at, name in enumerate(("random", "random_by_class")):
            row[name] = 100 * float(np.mean([d["errors"]["random"]["same"][at] for d in here]))
        for method in METHODS:
            lost = [gap(each, method, "same", 0) for each in here]
            row[method] = {
                "difference": interval(lost),
                "by_class": interval([gap(each, method, "same", 1) for each in here]),
                "trusted": float(np.mean(np.where([t.is_trusted for t in told], lost, 0))),
                "knew": float(np.mean(np.where([t.beats_guessing for t in told], lost, 0))),
            }
            if "other" in here[0]["errors"][method]:
                row[method]["other"] = interval([gap(each, method, "other", 0) for each in here])
        rows.append(row)
    return {"rows": rows, "together": [together(rows, *part) for part in PARTS]}


PARTS = ((0.0, True), (0.0, False), (0.2, True), (0.2, False))


def judgement(judged: Any) -> Judged:
    """What the rule of campaigns reads of a draw."""
    right = np.array(judged["right"], dtype=bool)
    return Judged(
        correct=int(right.sum()),
        num=len(right),
        largest=float(np.bincount(judged["labels"]).max()) / len(right),
        tells=roc_auc(-np.array(judged["margin"]), ~right),
    )


def gap(draw: Any, method: str, kind: str, at: int) -> float:
    """Points of error of a choice beside random ones."""
    errors = draw["errors"]
    return 100 * (errors[method][kind][at] - errors["random"][kind][at])


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean, and the interval of 95% by Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean}
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": mean, "low": mean - float(half), "high": mean + float(half)}


def together(rows: Sequence[Any], wrong: float, design: bool) -> dict[str, Any]:
    """Means over cells: always, by either rule, and by who knows the cell's mean beforehand."""
    here = [row for row in rows if (row["wrong"], row["design"]) == (wrong, design)]
    found: dict[str, Any] = {"wrong": wrong, "design": design, "cells": len(here)}
    for method in METHODS if here else ():
        always = [row[method]["difference"]["mean"] for row in here]
        by_rule = [row[method]["trusted"] for row in here]
        before = [row[method]["knew"] for row in here]
        found[method] = {
            "hindsight": float(np.minimum(always, 0).mean()),
            **{
                name: {"mean": float(np.mean(values)), "worst": max(values)}
                for name, values in (("always", always), ("rule", by_rule), ("before", before))
            },
        }
    return found


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__, (*TEXTS, *VECTORS))
    running.add_argument("--seeds", type=int, default=5)
    running.add_argument("--wrong", type=float, default=0.0)
    running.add_argument("--labels", type=int, nargs="*", default=LABELS)
    given = parser.parse_args()
    if given.command == "run":
        run_all(given.names, given.out, given.seeds, given.wrong, given.labels)
    else:
        found = summary(given.folder)
        print(json.dumps(found["together"], indent=1))
        write_json(given.out, found, overwrite=True)

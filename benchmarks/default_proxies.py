"""Is the default proxy as good as the field's line, at every size, and at what cost?

Texts: `linear` against scikit-learn's TF-IDF of words and pairs of words with logistic regression,
all as it comes. Vectors: `tabular` against the better of standardised logistic regression and
gradient-boosted trees, as they come; its seconds are those of both. For each number of examples,
several draws; both lines go from the raw inputs to predictions for the same test examples, in turn.

    python benchmarks/default_proxies.py run DATA... --out FOLDER
    python benchmarks/default_proxies.py summary FOLDER --out RESULT.json

With `--probe hf:FOLDER` a run measures `probe:` of that encoder, too, on its features.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import run_or_summary
from material import TEXTS, VECTORS, opened
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keepers.data import DensePool, Source
from keepers.files import write_json
from keepers.roles import Role, encode_like, prepare
from keepers.runs import Run
from keepers.training import Hardware, fit_classifier, predict
from keepers.workflows.probing import embedded
from keepers.workflows.workplace import Workplace

SIZES = (100, 300, 1_000, 3_000, 10_000)
DRAWS = {100: 10, 300: 10, 1_000: 5, 3_000: 3}
TESTED = 3_000


def ours(source: Source, test: Source, name: str, seed: int) -> float:
    """The accuracy of a default proxy."""
    source, prepared = prepare(Role(model=name), source)
    view = encode_like(prepared, test)
    return _accuracy(prepared, prepared.pool, view.pool, torch.arange(len(source)), test, seed)


def _accuracy(
    prepared: Any, pool: Any, tested: Any, members: torch.Tensor, test: Source, seed: int
) -> float:
    fitted = fit_classifier(prepared.classifier, pool, prepared.labels, members, seed=seed)
    said = predict(fitted, tested, torch.arange(len(tested)), prepared.info.num_classes)
    assert test.labels is not None
    return float((said.argmax(1).numpy() == test.labels).mean())


def _plain(source: Source) -> Any:
    given: Any = source.inputs
    return given.to_pylist() if source.kind == "text" else np.asarray(given)


def theirs(source: Source, test: Source, made: Any) -> float:
    """The accuracy of a pipeline of scikit-learn."""
    made.fit(_plain(source), source.labels)
    return float((made.predict(_plain(test)) == test.labels).mean())


def lines(kind: str, seed: int) -> dict[str, Any]:
    """The field's lines, as they come."""
    regression = LogisticRegression(max_iter=1000)
    if kind == "text":
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return {"scikit-learn": make_pipeline(words, regression)}
    return {
        "regression": make_pipeline(StandardScaler(), regression),
        "trees": HistGradientBoostingClassifier(random_state=seed),
    }


def timed(run: Callable[[], float]) -> list[float]:
    """What a run gives, and its CPU seconds."""
    start = time.process_time()
    found = run()
    return [found, time.process_time() - start]


def one(source: Source, test: Source, seed: int) -> dict[str, list[float]]:
    """Accuracy and CPU seconds of each line."""
    default = "linear" if source.kind == "text" else "tabular"
    runs: dict[str, Callable[[], float]] = {"keepers": lambda: ours(source, test, default, seed)}
    for name, made in lines(source.kind, seed).items():
        runs[name] = lambda made=made: theirs(source, test, made)
    order = list(runs) if seed % 2 else list(runs)[::-1]
    return {name: timed(runs[name]) for name in order}


def probed(source: Source, test: Source, encoder: str, place: Workplace) -> dict[str, list[float]]:
    """The accuracy of `probe:` by the number of examples; its features are made once."""
    _, prepared = prepare(Role(model=f"probe:{encoder}"), source)
    view = encode_like(prepared, test)
    start = time.process_time()
    pool = embedded(place, prepared, prepared.pool, source.content)
    found = {"features": [0.0, (time.process_time() - start) / len(source)]}
    tested = embedded(place, prepared, view.pool, test.content)
    assert isinstance(pool, DensePool)
    for n in sizes(len(source)):
        for seed in range(DRAWS.get(n, 1)):
            members = torch.from_numpy(drawn(len(source), n, seed))
            run = lambda: _accuracy(prepared, pool, tested, members, test, seed)  # noqa: B023, E731
            found[f"{n} {seed}"] = timed(run)
    return found


def sizes(n: int) -> list[int]:
    """The numbers of examples that are tried, all of them last."""
    return [*(size for size in SIZES if size < n), n]


def drawn(n: int, size: int, seed: int) -> Any:
    """Positions of a training set of this seed."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def run_all(names: Sequence[str], out: Path, encoder: str | None, least: int) -> None:
    """Every data set; a size that is there already is not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        source, held = opened(name, TESTED)
        if encoder:
            folder = Path(tempfile.mkdtemp(dir=out))
            with Run(folder / "run", {"data": source.fingerprint}) as run:
                place = Workplace(run=run, hardware=Hardware())
                found = probed(source, held, encoder, place)
            shutil.rmtree(folder)
            (out / f"{name}-probe.json").write_text(json.dumps(found), encoding="utf-8")
            continue
        for n in sizes(len(source)):
            for seed in range(DRAWS.get(n, 1)):
                path = out / f"{name}-{n}-{seed}.json"
                if path.exists() or n < least:
                    continue
                result = one(source.take(drawn(len(source), n, seed)), held, seed)
                about = {"data": name, "kind": source.kind, "n": n, "seed": seed}
                path.write_text(json.dumps(about | {"lines": result}), encoding="utf-8")
                print(
                    path.name, {k: f"{a:.3f} {s:.1f}s" for k, (a, s) in result.items()}, flush=True
                )


def summary(folder: Path) -> list[dict[str, Any]]:
    """For each data set and number of examples: means of accuracy and of CPU seconds."""
    draws = [json.loads(path.read_text()) for path in sorted(folder.glob("*-*-*.json"))]
    rows: list[dict[str, Any]] = []
    for name, kind, n in sorted({(d["data"], d["kind"], d["n"]) for d in draws}):
        here = [d["lines"] for d in draws if (d["data"], d["n"]) == (name, n)]
        row: dict[str, Any] = {"data": name, "kind": kind, "n": n, "draws": len(here)}
        row["lines"] = {
            line: dict(
                zip(("accuracy", "seconds"), np.mean([d[line] for d in here], 0), strict=True)
            )
            for line in here[0]
        }
        others = [value for line, value in row["lines"].items() if line != "keepers"]
        mine = row["lines"]["keepers"]
        row["points"] = 100 * (mine["accuracy"] - max(each["accuracy"] for each in others))
        row["seconds_ratio"] = mine["seconds"] / sum(each["seconds"] for each in others)
        beside = folder / f"{name}-probe.json"
        if beside.exists():
            found = json.loads(beside.read_text())
            own = [value for key, value in found.items() if key.split()[0] == str(n)]
            row["lines"]["probe"] = dict(zip(("accuracy", "seconds"), np.mean(own, 0), strict=True))
            row["features_seconds"] = found["features"][1] * n
        rows.append(row)
    return rows


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__, [*TEXTS, *VECTORS])
    running.add_argument("--probe")
    running.add_argument("--least", type=int, default=0, help="examples")
    given = parser.parse_args()
    if given.command == "run":
        run_all(given.names, given.out, given.probe, given.least)
    else:
        rows = summary(given.folder)
        write_json(given.out, {"rows": rows}, overwrite=True)
        for row in rows:
            print(
                row["data"], row["n"], f"{row['points']:+.1f} points", f"{row['seconds_ratio']:.2f}"
            )

"""Does iterative stratification keep the shares of labels, and is anything gained by that?

    python benchmarks/label_shares.py [--data FOLDER] [--out FILE.json] [--seeds 20]

GoEmotions and the tags of Debian's packages (68 that are common, and all that stand twice). Three
ways to draw a part: at random; each rarest label of an example in its proportion (`rarest`, what
keepers did before); and iterative stratification. Of parts of 1,000 and 6,000 examples: how many
examples each label is off its share, on average and at most, and how many labels have none. Then
what it is good for: a logistic regression for each label over TF-IDF is trained on parts of 6,000
examples, and measured on 4,000 others (`trained`); and one is measured on parts of these 4,000
(`measured`: the root mean square of what the estimate is off).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import task_data
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier

from keepers.data import open_source
from keepers.files import write_json
from keepers.selectors import random_subset, stratified
from keepers.tasks import Labels, Tags

DATA = os.environ.get("KEEPERS_DATA", "data")
WAYS = ("random", "rarest", "iterative")
SIZES = (1000, 6000)
PARTS = (0.1, 0.3)
LEARNT, HELD = 6000, 4000


def drawn(way: str, tags: Tags, share: float, seed: int) -> Any:
    """The positions of a part."""
    draw, k = torch.Generator().manual_seed(seed), round(share * len(tags))
    if way == "random":
        return random_subset(len(tags), k, generator=draw)
    if way == "iterative":
        return stratified(tags, k, generator=draw)
    names = tuple(map(str, range(tags.num_labels)))
    return stratified(Labels.fitted(names, tags).strata(tags), k, generator=draw)


def shares(tags: Tags, seeds: int) -> list[dict[str, Any]]:
    """How far labels are off their share, by each way."""
    found: list[dict[str, Any]] = []
    for size in (*SIZES, len(tags)):
        some = tags.take(torch.from_numpy(np.random.default_rng(0).permutation(len(tags))[:size]))
        there = some.counts()
        for share in PARTS:
            for way in WAYS:
                began, parts = (
                    time.process_time(),
                    [some.take(drawn(way, some, share, seed)).counts() for seed in range(seeds)],
                )
                seconds = (time.process_time() - began) / seeds
                off = [(part - there * share).abs()[there > 0] for part in parts]
                none = [int(((part == 0) & (there > 0)).sum()) for part in parts]
                row: dict[str, Any] = {"n": size, "labels": int((there > 0).sum()), "share": share}
                row |= {"way": way, "off": float(torch.stack(off).mean())}
                row |= {"most": float(torch.stack(off).amax(1).mean())}
                row |= {"none": float(np.mean(none)), "seconds": seconds}
                found.append(row)
                print(row, flush=True)
    return found


def learnt(texts: Any, tags: Tags, seeds: int) -> list[dict[str, Any]]:
    """Models trained on parts, and a model measured on parts."""
    order = np.random.default_rng(1).permutation(len(texts))[: LEARNT + HELD]
    mine, held = torch.from_numpy(order[:LEARNT]), torch.from_numpy(order[LEARNT:])
    own, others = tags.take(mine), tags.take(held)
    there = (own.counts() > 0).numpy()
    words = TfidfVectorizer(min_df=2, sublinear_tf=True).fit(texts[order[:LEARNT]])
    rows, asked = words.transform(texts[order[:LEARNT]]), words.transform(texts[order[LEARNT:]])
    y, truth = own.sparse().toarray(), others.sparse().toarray()

    def said_after(part: Any) -> Any:
        model = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=10))
        return model.fit(rows[part], y[part]).predict_proba(asked)

    def measured(said: Any, truth: Any) -> tuple[float, float]:
        known = there & (truth.sum(0) > 0)
        macro = average_precision_score(truth[:, known], said[:, known], average="macro")
        return float(average_precision_score(truth, said, average="micro")), float(macro)

    found: list[dict[str, Any]] = []
    whole = said_after(np.arange(LEARNT))
    exact = measured(whole, truth)
    for share in PARTS:
        for way in WAYS:
            after = [
                measured(said_after(drawn(way, own, share, seed).numpy()), truth)
                for seed in range(seeds)
            ]
            parts = [drawn(way, others, share, 1000 + seed).numpy() for seed in range(10 * seeds)]
            gaps = [np.subtract(measured(whole[part], truth[part]), exact) for part in parts]
            off = np.sqrt(np.square(gaps).mean(0))
            row: dict[str, Any] = {"share": share, "way": way, "trained": after}
            row |= {"micro": float(np.mean(after, 0)[0]), "macro": float(np.mean(after, 0)[1])}
            row |= {"spread": np.std(after, 0, ddof=1).tolist(), "measured": off.tolist()}
            found.append(row)
            print({name: value for name, value in row.items() if name != "trained"}, flush=True)
    return found


def main() -> None:
    """Draw parts of the sets by each way, and write what they hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="Label")
    result: dict[str, Any] = {}
    for name in ("goemotions", "debian", "debian, rare tags"):
        rare = name.endswith("rare tags")
        given = task_data.debian(asked.data, 2) if rare else getattr(task_data, name)(asked.data)
        options: dict[str, Any] = {**given[1], "limit": None}
        source = open_source(given[0], **options)
        tags, texts = (
            source.targets,
            np.array([source.preview(at) for at in range(len(source))], object),
        )
        assert isinstance(tags, Tags)
        result[name] = {"n": len(source), "labels": tags.num_labels}
        result[name]["shares"] = shares(tags, asked.seeds)
        if not rare:
            result[name]["learnt"] = learnt(texts, tags, asked.seeds)
    if asked.out:
        write_json(asked.out, result, overwrite=True)


if __name__ == "__main__":
    main()

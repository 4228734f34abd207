"""What could a pilot know at best? As much as the whole experiment, run once on other data.

From the truths of benchmarks/pilot.py, each a mean over whole experiments with other training sets:
their interval gives the standard deviation of one experiment, and that the chance that one, or the
mean of several, has the sign of the truth, and that it is far enough from 0 to be told at 95% by
one who knows the standard deviation. The mean is taken for the truth: it holds noise of its own, so
both chances are, if anything, too high.

    python benchmarks/pilot_ceiling.py docs/results/benchmarks/pilot.json --out FILE.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from pilot import GROUPS
from scipy.stats import norm, t

from keepers.files import write_json

TIMES, SURE = (1, 2, 3, 5), 0.95


def ceilings(truths: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Chances by the number of whole experiments; the sign's where the truth is clear."""
    mean, low, high, pairs = (
        np.array([each[key] for each in truths]) for key in ("mean", "low", "high", "pairs")
    )
    deviation = (high - low) / 2 / t.ppf(1 - (1 - SURE) / 2, pairs - 1) * np.sqrt(pairs)
    clear = (low > 0) | (high < 0)
    found: list[dict[str, float]] = []
    for times in TIMES:
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.nan_to_num(np.abs(mean) / (deviation / np.sqrt(times)), posinf=1e9)
        told = norm.cdf(away - norm.ppf(SURE)) + norm.cdf(-away - norm.ppf(SURE))
        found.append(
            {
                "experiments": times,
                "sign_right": float(norm.cdf(away)[clear].mean()),
                "answered": float(told.mean()),
                "answered_clear": float(told[clear].mean()),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = json.loads(given.file.read_text())["rows"]
    found: dict[str, Any] = {}
    for group, names in GROUPS.items():
        truths = {
            tuple(row[key] for key in ("data", "noise", "target", "keep", "method")): row["truth"]
            for row in rows
            if row["data"] in names
        }
        if truths:
            found[group] = {"truths": len(truths), "ceilings": ceilings(list(truths.values()))}
    write_json(given.out, found, overwrite=True)


if __name__ == "__main__":
    main()

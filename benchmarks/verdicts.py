"""How often a report on methods that do nothing claims something: verdicts alone and together.

Every row, random's too, has errors from one normal distribution, so each claim is false. "Alone" is
the rule of one interval for each row (95%, from five seeds on); "together" is what
`keepers compare` says.

    python benchmarks/verdicts.py --out docs/results/benchmarks/verdicts.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from keepers.experiments.summary import random_of, with_differences
from keepers.files import write_json

TABLES = ((1, 1), (1, 3), (3, 3), (8, 3), (16, 3))


def claims(methods: int, fractions: int, seeds: int, reports: int) -> dict[str, float]:
    """The share of `reports` that say of any row that it differs from random."""
    draw = np.random.default_rng(methods * 1000 + fractions * 100 + seeds)
    alone = together = 0
    for _ in range(reports):
        rows = [
            {"method": name, "k": k, "errors": draw.normal(0.2, 0.01, seeds).tolist()}
            for name in ("random", *map(str, range(methods)))
            for k in range(fractions)
        ]
        told = with_differences(rows, difference=random_of(rows))
        found = [row["difference"] for row in told if row["difference"]]
        alone += any(one.low > 0 or one.high < 0 for one in found)
        together += any(one.verdict != "inconclusive" for one in found)
    return {"alone": alone / reports, "together": together / reports}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = [
        {"methods": methods, "fractions": fractions, "seeds": seeds}
        | claims(methods, fractions, seeds, options.reports)
        for seeds in (5, 3, 10)
        for methods, fractions in TABLES
    ]
    for row in rows:
        print(row)
    if options.out:
        write_json(options.out, {"reports": options.reports, "rows": rows})


if __name__ == "__main__":
    main()

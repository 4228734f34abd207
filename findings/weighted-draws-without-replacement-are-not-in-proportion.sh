#!/usr/bin/env bash
# Believed: rng.choice(n, k, replace=False, p=p) of NumPy takes each row with probability k·p (where none
#   is over 1), so a mean over the drawn rows, each divided by k·p, is unbiased.
# So: it draws one row after another among those that are left. Likely rows are taken less often than
#   k·p and unlikely ones more often, here by a quarter; the mean that is corrected by k·p is off by a
#   fifth, however many draws are made. Drawn with replacement the same correction is right, and so is
#   systematic sampling without.
# Bites: whoever draws a batch or a subset by scores (importance sampling, data selection, active
#   learning) and weights its rows by 1/p.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np

weight = np.array([6.0, 5, 4, 3, 2, 1, 1, 1, 1, 1])
p, k, draws = weight / weight.sum(), 4, 40_000
value = 1 / weight  # what is rare is large
draw = np.random.default_rng(0)


def without():
    return draw.choice(len(p), k, replace=False, p=p)


def replaced():
    return draw.choice(len(p), k, replace=True, p=p)


def systematic():
    order = draw.permutation(len(p))
    return order[np.searchsorted(np.cumsum(k * p[order]), draw.random() + np.arange(k))]


print("numpy", np.__version__, "| rows", len(p), "| drawn", k, "| largest k·p", round(k * p.max(), 2))
off = {}
for way in (without, replaced, systematic):
    taken, mean = np.zeros(len(p)), 0.0
    for _ in range(draws):
        rows = way()
        np.add.at(taken, rows, 1 / draws)
        mean += (value[rows] / (k * p[rows])).sum() / len(p) / draws
    off[way.__name__] = mean / value.mean() - 1
    print(f"{way.__name__:>10}: row 0 {taken[0]:.3f} times, the last {taken[-1]:.3f};", end=" ")
    print(f"mean by 1/(k·p) off by {off[way.__name__]:+.1%}")
print(f"       k·p: row 0 {k * p[0]:.3f}, the last {k * p[-1]:.3f}")
assert off["without"] > 0.15
assert abs(off["replaced"]) < 0.02
assert abs(off["systematic"]) < 0.02
PYTHON

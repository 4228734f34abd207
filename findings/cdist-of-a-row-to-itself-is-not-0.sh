#!/usr/bin/env bash
# Believed: torch.cdist(x, x) has zeros on its diagonal, and a distance does not depend on how many other
#   rows were handed over.
# So: from 26 rows on it takes the square root of |a|² + |b|² - 2ab in the type of the rows. In float32
#   the distance of a row to itself, or to its copy, is then up to a thousandth of its length, and for
#   features whose mean is far from 0 larger than any bar for duplicates; with 25 rows it is 0.
# Bites: whoever finds near-duplicates by a small distance, covers a set by k-center or asks for the
#   nearest neighbour of embeddings, and tested it on a handful of rows.
#   compute_mode="donot_use_mm_for_euclid_dist" gives 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch

print("torch", torch.__version__)
draw = torch.Generator().manual_seed(0)
rows = {
    "of length 1": torch.nn.functional.normalize(torch.randn(1000, 384, generator=draw), dim=1),
    "around 10": torch.randn(1000, 64, generator=draw) + 10,
}
for name, x in rows.items():
    for count in (25, 26, 1000):
        copies = torch.cat([x[: count // 2], x[: count - count // 2]])
        far = torch.cdist(copies, copies)
        exact = torch.cdist(copies, copies, compute_mode="donot_use_mm_for_euclid_dist")
        itself, right = far.diagonal().max().item(), exact.diagonal().max().item()
        print(f"rows {name}, {count:>4} of them: at most {itself:.1e} from themselves, exact {right:.0e}")
        assert (itself == 0) == (count == 25)
        assert right == 0
assert far.diagonal().max() > 0.01
PYTHON

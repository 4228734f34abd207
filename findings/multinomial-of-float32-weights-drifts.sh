#!/usr/bin/env bash
# Believed: torch.multinomial(weights, k, replacement=True) draws each row in proportion to its weight, in float32
#   to about seven digits: with weight 1 for a rare class and 0.1 for the rest, classes come out as computed.
# So: on the CPU it adds the weights up one by one in their own type. In float32 the sum stops taking 0.1 as 0.1: a
#   class whose share is 40% is drawn 42% of the time among 2 million rows, 35% among 8 million, 50% among 16 million.
#   Nothing is said. In float64 it is 40%; WeightedRandomSampler holds its weights in float64 and is right, too.
# Bites: whoever draws by class weights, losses or source weights, which are float32 as they come, from millions of rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import torch

print("torch", torch.__version__)
found = {}
for rows in (500_000, 2_000_000, 8_000_000, 2**24):
    rare = torch.arange(rows) < rows // 16
    for kind in (torch.float32, torch.float64):
        weights = torch.where(rare, 1.0, 0.1).to(kind)
        at = torch.Generator().manual_seed(0)
        drawn = torch.multinomial(weights, 400_000, replacement=True, generator=at)
        found[rows, kind] = float(rare[drawn].double().mean())
        print(f"{rows:,} rows, {kind}: {found[rows, kind]:.1%} are of the class whose share is 40.0%")
sampler = torch.utils.data.WeightedRandomSampler(torch.where(rare, 1.0, 0.1), 400_000)
print(f"WeightedRandomSampler, {rows:,} rows: {float(rare[list(sampler)].double().mean()):.1%}")
assert all(abs(share - 0.4) < 0.005 for (_, kind), share in found.items() if kind == torch.float64)
assert found[2_000_000, torch.float32] > 0.41
assert found[8_000_000, torch.float32] < 0.37
assert found[2**24, torch.float32] > 0.48
PYTHON
venv/bin/python -W ignore script.py

#!/usr/bin/env bash
# Believed: `torch.manual_seed(s)` costs about what it costs to seed a generator, a microsecond, so a
#   training may seed anew at every step to have its dropout repeat after a restart.
# So: where no accelerator has been initialised, it formats the whole Python stack, with the source lines,
#   for devices that are not there. The cost grows with the depth of the caller: hundreds of times that
#   of `torch.default_generator.manual_seed(s)`, with which the same numbers are drawn.
# Bites: whoever seeds globally in a loop on the CPU: with small models it takes longer than the step,
#   and in a framework, a notebook or a test runner longer than in a script.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
cat > seeds.py <<'PYTHON'
import time

import torch


def below(depth, seed_by, seed):
    return below(depth - 1, seed_by, seed) if depth else seed_by(seed)


def microseconds(depth, seed_by, count=2000):
    below(depth, seed_by, 0)
    before = time.process_time()
    for seed in range(count):
        below(depth, seed_by, seed)
    return (time.process_time() - before) / count * 1e6


torch.manual_seed(7)
drawn = torch.rand(5)
torch.default_generator.manual_seed(7)
assert torch.equal(torch.rand(5), drawn)
found = {}
for depth in (0, 60):
    found[depth] = microseconds(depth, torch.manual_seed)
    alone = microseconds(depth, torch.default_generator.manual_seed)
    print(f"{depth} calls deep: torch.manual_seed {found[depth]:.0f} us, the generator {alone:.1f} us")
    assert found[depth] > 20 * alone
assert found[60] > 2 * found[0]
PYTHON
venv/bin/pip list 2>/dev/null | grep -E "^torch "
CUDA_VISIBLE_DEVICES="" venv/bin/python seeds.py

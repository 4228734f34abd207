#!/usr/bin/env bash
# Believed: krippendorff.alpha(reliability_data) on the class numbers that people gave is alpha of nominal data, as the
#   data are classes, or asks which level of measurement they have.
# So: the default is "interval": a disagreement counts by the squared distance of the class numbers. Renumbering the same
#   classes changes the value, from near 0 to over 0.6 here; level_of_measurement="nominal" does not depend on it.
# Bites: whoever reports how far annotators agree, or drops items and annotators by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet krippendorff==0.9.0 numpy==2.4.6
cat > script.py <<'PYTHON'
from importlib.metadata import version

import krippendorff
import numpy as np

classes = np.array([[0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2], [1, 0, 0, 1, 2, 2, 0, 1, 2, 1, 0, 2]])
print("krippendorff", version("krippendorff"))
alpha = {}
for numbers in ((0, 1, 2), (0, 2, 1)):
    answers = np.array(numbers)[classes]
    alpha[numbers] = krippendorff.alpha(reliability_data=answers)
    nominal = krippendorff.alpha(reliability_data=answers, level_of_measurement="nominal")
    print(f"classes numbered {numbers}: default {alpha[numbers]:.2f}, nominal {nominal:.2f}")
assert abs(alpha[0, 1, 2] - alpha[0, 2, 1]) > 0.3
PYTHON
venv/bin/python script.py

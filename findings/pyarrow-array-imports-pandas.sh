#!/usr/bin/env bash
# Believed: pyarrow imports pandas when it is handed a data frame, or asked for one.
# So: the first pa.array([1]) or pa.scalar(1), and so the first pc function that is given a Python number
#   (equal, add, fill_null), imports pandas where it is installed: to see whether the value is one of its
#   own. That is a good part of a second in a program that uses no pandas.
# Bites: command-line tools and workers that read Parquet and have to start quickly; tests that count
#   imports pass in an environment without pandas and fail in one with it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cat > script.py <<'PYTHON'
import sys
import time

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

print("pyarrow", pa.__version__)
before = "pandas" in sys.modules
start = time.process_time()
pa.array([1])
seconds = time.process_time() - start
after = "pandas" in sys.modules
print(f"pandas imported before pa.array([1]): {before}; after: {after}, {seconds:.2f} CPU seconds")
assert (before, after) == (False, True)
PYTHON
venv/bin/python script.py

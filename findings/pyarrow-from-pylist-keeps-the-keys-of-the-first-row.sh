#!/usr/bin/env bash
# Believed: pyarrow.Table.from_pylist makes a column of every key that a record has, as pandas,
#   polars and pyarrow's own reader of JSON lines do.
# So: of the keys of the first record alone. What stands in later records under other keys is left out
#   without a word; with an empty first record all of it is.
# Bites: whoever turns a list of chats into a table: tools, system prompts or labels that the first
#   row lacks are lost, and the rows that had them look as if they never did.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 pandas==3.0.6
cat > script.py <<'PYTHON'
import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.json

rows = [{"prompt": "a"}, {"prompt": "b", "tools": "c"}, {"prompt": "d", "system": "e"}]
lines = io.BytesIO("\n".join(map(json.dumps, rows)).encode())
found = {
    "from_pylist": pa.Table.from_pylist(rows).column_names,
    "pyarrow.json": pyarrow.json.read_json(lines).column_names,
    "pandas": list(pd.DataFrame(rows).columns),
}
print("pyarrow", pa.__version__, "pandas", pd.__version__)
for name, columns in found.items():
    print(f"{name}: {columns}")
assert found["from_pylist"] == ["prompt"]
assert found["pyarrow.json"] == found["pandas"] == ["prompt", "tools", "system"]
PYTHON
venv/bin/python script.py

#!/usr/bin/env bash
# Believed: a checkpoint with a damaged byte does not load. torch.save writes a zip archive with a CRC32
#   of every tensor (and has an option to leave that out), so torch.load would notice; and safetensors
#   checks what it reads.
# So: torch.load does not compare the CRC32, neither with nor without mmap: one flipped bit in a tensor is
#   loaded without a word, while Python's zipfile names the damaged record of the same file.
#   safetensors holds no checksum and loads it as well.
# Bites: whoever resumes from a checkpoint after a bad disk, a torn copy or a faulty upload.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import sys
import zipfile

import safetensors
import safetensors.torch
import torch

tensor = torch.arange(1000.0)
torch.save({"weight": tensor}, "model.pt")
safetensors.torch.save_file({"weight": tensor}, "model.safetensors")
needle = tensor[500:504].numpy().tobytes()
for name in ("model.pt", "model.safetensors"):
    raw = bytearray(open(name, "rb").read())
    raw[raw.index(needle) + 2] ^= 0x40
    open(f"damaged-{name}", "wb").write(raw)

print("torch", torch.__version__, "safetensors", safetensors.__version__)
loads = {
    "torch.load": lambda: torch.load("damaged-model.pt", weights_only=True),
    "torch.load, mmap": lambda: torch.load("damaged-model.pt", weights_only=True, mmap=True),
    "safetensors": lambda: safetensors.torch.load_file("damaged-model.safetensors"),
}
silent = []
for name, load in loads.items():
    found = load()["weight"]
    silent.append(not torch.equal(found, tensor))
    print(f"{name}: loaded, element 500 is {found[500].item():g} in place of 500")
bad = zipfile.ZipFile("damaged-model.pt").testzip()
print("zipfile.testzip names a damaged record:", bad is not None)
sys.exit(not (all(silent) and bad is not None))
PYTHON

#!/usr/bin/env bash
# Believed: Image.convert("RGB") brings a picture with more than 8 bits a pixel to 8 bits by scaling it.
# So: it clips. Of a 16-bit grey PNG everything from 256 on becomes white (of an even ramp 99.6%); a float
#   TIFF with values between 0 and 1, as image tools for science write it, becomes black but for the
#   pixels at 1. No warning.
# Bites: loaders that open a folder with convert("RGB") (torchvision's ImageFolder among
#   them) on microscopy, X-ray, satellite or depth pictures: the model trains on blank pictures.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

ramp = np.linspace(0, 1, 4096).reshape(64, 64)
Image.fromarray((65535 * ramp).astype(np.uint16)).save("grey.png")
Image.fromarray(ramp.astype(np.float32)).save("grey.tiff")
print("Pillow", PIL.__version__)
blank = []
for name, value in (("grey.png", 255), ("grey.tiff", 0)):
    picture = Image.open(name)
    share = float((np.asarray(picture.convert("RGB")) == value).mean())
    blank.append(share > 0.99)
    print(f"{name}, mode {picture.mode}: {share:.1%} of the pixels are {value} after convert('RGB')")
sys.exit(not all(blank))
PYTHON

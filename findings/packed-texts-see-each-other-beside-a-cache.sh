#!/usr/bin/env bash
# Believed: texts that are packed into one row and told apart by position_ids that begin anew (a batch
#   without padding) are kept apart by a causal model of transformers, which is what the library's
#   collator for such batches relies on.
# So: only where no cache is made. The model looks for the places where positions begin anew only if
#   there are no past keys, and by default (use_cache) it makes an empty cache first, in training mode
#   as well. Then each text attends to those before it, and nothing is said. With use_cache=False the
#   logits are those of the texts by themselves.
# Bites: whoever scores or trains on packed rows in a loop of their own, or computes losses by a
#   reference model; the Trainer sets use_cache off and is not concerned.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import torch
import transformers

torch.manual_seed(0)
config = transformers.LlamaConfig(
    vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
)
model = transformers.LlamaForCausalLM(config)
tokens = torch.randint(0, 50, (2, 6))
packed = {"input_ids": tokens.view(1, -1), "position_ids": torch.arange(6).repeat(2)[None]}
print("transformers", transformers.__version__, "torch", torch.__version__)
found = {}
for training in (False, True):
    model.train(training)
    with torch.no_grad():
        apart = model(input_ids=tokens).logits.view(1, 12, 50)
        for name, more in (("default", {}), ("use_cache=False", {"use_cache": False})):
            far = float((model(**packed, **more).logits - apart).abs().max())
            found[training, name] = far
            print(f"training={training}, {name}: logits differ by up to {far:.2e}")
assert all(far > 1e-3 for (_, name), far in found.items() if name == "default")
assert all(far < 1e-5 for (_, name), far in found.items() if name != "default")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python script.py 2>/dev/null

#!/usr/bin/env bash
# Believed: torch.inference_mode() is about what is computed inside it; moving a module to another device or
#   dtype there, say by a helper that evaluates it, leaves it the module that it was.
# So: where .to() has to copy, it puts inference tensors into the module's own parameters, for good. They
#   still say requires_grad, the module still predicts, and a later training raises only at its first forward
#   pass: "Inference tensors cannot be saved for backward". Under no_grad() the same is harmless.
# Bites: whoever moves a model lazily, at its first use, and uses it first for an evaluation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import torch


def after(mode):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    with mode():
        module.to(torch.float64)
        module(torch.ones(2, 3, dtype=torch.float64))
    weight = module[0].weight
    try:
        module(torch.ones(2, 3, dtype=torch.float64)).sum().backward()
        outcome = "trains"
    except RuntimeError as error:
        outcome = str(error)[:47]
    return weight.requires_grad, weight.is_inference(), outcome


print("torch", torch.__version__)
for mode in (torch.no_grad, torch.inference_mode):
    print(f"moved under {mode.__name__}: requires_grad, is_inference, then:", after(mode))
assert after(torch.no_grad) == (True, False, "trains")
assert after(torch.inference_mode) == (True, True, "Inference tensors cannot be saved for backward.")
PYTHON
venv/bin/python -W ignore script.py

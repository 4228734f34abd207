#!/usr/bin/env bash
# Believed: a Trainer told to show no bars (disable_tqdm=True), to log nothing (logging_strategy="no") and to
#   report nowhere (report_to="none"), with transformers' verbosity at error, is silent.
# So: taking away the bars brings in a callback that prints, and the summary at the end of a training is
#   logged whatever the strategy: a Python dict, which is no JSON, on standard output.
# Bites: whoever trains inside a command whose standard output is read by a program. Removing
#   transformers.PrinterCallback from the Trainer silences it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import contextlib
import io

import torch
import transformers

transformers.logging.set_verbosity_error()


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, x, labels):
        return {"loss": (self.line(x).squeeze(1) - labels).square().mean()}


def printed(remove):
    arguments = transformers.TrainingArguments(
        output_dir="out",
        max_steps=1,
        disable_tqdm=True,
        logging_strategy="no",
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    rows = [{"x": torch.ones(2), "labels": torch.tensor(1.0)}] * 8
    trainer = transformers.Trainer(model=Model(), args=arguments, train_dataset=rows)
    if remove:
        trainer.remove_callback(transformers.PrinterCallback)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        trainer.train()
    return out.getvalue()


print("transformers", transformers.__version__)
loud, silent = printed(False), printed(True)
print("printed:", loud.strip())
print("printed without the callback:", repr(silent))
assert "'train_runtime'" in loud
assert not silent
PYTHON
venv/bin/python -W ignore script.py

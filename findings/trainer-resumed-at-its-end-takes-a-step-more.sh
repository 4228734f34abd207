#!/usr/bin/env bash
# Believed: a Trainer of transformers that resumes from the checkpoint of its last step (max_steps reached, save_steps
#   divides it) has nothing left to do: the weights are those of the checkpoint.
# So: where max_steps ends inside an epoch it trains on one more batch and ends at max_steps + 1. A schedule that has
#   fallen to a rate of nothing hides it; a constant one moves the weights.
# Bites: jobs that are killed after their last checkpoint and before their end (while they save or evaluate) and are
#   started again: the model is another than that of a run that was not killed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import torch
import transformers


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, labels=None):
        return {"loss": (self.slope * x - 1).square().mean()}


def trained(start=None):
    arguments = transformers.TrainingArguments(
        "out",
        max_steps=3,
        save_steps=1,
        per_device_train_batch_size=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    rows = [{"x": torch.ones(1)} for _ in range(8)]
    trainer = transformers.Trainer(Line(), arguments, train_dataset=rows)
    trainer.train(resume_from_checkpoint=start)
    return trainer.state.global_step, float(trainer.model.slope.detach()[0])


whole, again = trained(), trained("out/checkpoint-3")
print("transformers", transformers.__version__)
print("steps and weight of the run:", whole)
print("resumed from its last checkpoint:", again)
assert whole[0] == 3
assert again[0] == 4
assert again[1] != whole[1]
PYTHON
venv/bin/python script.py 2>&1 | grep -v "^{"

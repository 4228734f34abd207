#!/usr/bin/env bash
# Believed: a Lightning training that resumes from a checkpoint of the last step of an epoch runs the next
#   epoch as any other: on_train_epoch_start, then its batches.
# So: the first epoch after the resume has all its batches and no on_train_epoch_start; the one after it has
#   both. A checkpoint by steps counts as one from within an epoch, also where no batch of it was left.
# Bites: whoever sets something up once an epoch in that hook: what gives batches their order, a sampler's
#   epoch, a selection for the epoch, counters that are to begin at nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 lightning==2.6.6 numpy==2.4.6
cat > script.py <<'PYTHON'
import logging

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        return self.line(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Watcher(lightning.Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_start(self, trainer, module):
        self.seen.append(f"epoch {trainer.current_epoch}")

    def on_train_batch_start(self, trainer, module, batch, index):
        self.seen.append(f"{trainer.current_epoch}.{index}")


def seen(epochs, checkpoint=None):
    watcher = Watcher()
    keep = ModelCheckpoint(dirpath="kept", filename="{step}", every_n_train_steps=2, save_top_k=-1)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watcher, keep],
    )
    trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2), ckpt_path=checkpoint)
    return watcher.seen


print("lightning", lightning.__version__)
first, after = seen(1), seen(3, "kept/step=2.ckpt")
print("first run:", first)
print("resumed at the end of epoch 0:", after)
assert first == ["epoch 0", "0.0", "0.1"]
assert after == ["1.0", "1.1", "epoch 2", "2.0", "2.1"]
PYTHON
venv/bin/python -W ignore script.py

#!/usr/bin/env bash
# Believed: with the Trainer of transformers, 8 examples at once and 8 examples in 2 accumulated batches
#   of 4 make the same step; since the library counts what is in a batch (num_items_in_batch), that
#   was put right.
# So: for BertForSequenceClassification the accumulated step is as many times as long as there are
#   batches in it, and so is the loss that is logged. The Trainer divides by the number of batches only
#   where a model takes no keywords for its loss. This one takes them, and then averages over each
#   batch by itself.
# Bites: whoever fine-tunes a classifier with gradient_accumulation_steps: the learning rate is in truth
#   so many times higher, unless gradients are clipped or the optimiser divides their size away (Adam
#   does in part). Losses of two settings cannot be compared either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import torch
import transformers

draw = torch.Generator().manual_seed(1)
tokens = torch.randint(1, 30, (8, 6), generator=draw).tolist()
rows = [{"input_ids": row, "attention_mask": [1] * 6, "label": n % 3} for n, row in enumerate(tokens)]


def step(batch: int, batches: int) -> tuple[float, float]:
    """The length of one step of plain gradient descent, and the loss that is logged."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    model = transformers.BertForSequenceClassification(config)
    before = model.classifier.weight.detach().clone()
    arguments = transformers.TrainingArguments(
        "out", per_device_train_batch_size=batch, gradient_accumulation_steps=batches, max_steps=1,
        optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0.0,
        report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, logging_steps=1,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=rows)
    trainer.train()
    moved = float((model.classifier.weight - before).norm())
    return moved, float(trainer.state.log_history[0]["loss"])


whole, loss = step(8, 1)
print("transformers", transformers.__version__)
print(f"1 batch of 8: a step of {whole:.5f}, loss {loss:.4f}")
for batches in (2, 4):
    moved, logged = step(8 // batches, batches)
    print(f"{batches} batches of {8 // batches}: {moved / whole:.3f} times that, loss {logged:.4f}")
    assert abs(moved / whole - batches) < 0.01 and abs(logged / loss - batches) < 0.01
PYTHON
export OMP_NUM_THREADS=1
venv/bin/python script.py 2>/dev/null | grep -v "^{"

#!/usr/bin/env bash
# Believed: DataCollatorForLanguageModeling(tokenizer, mlm=False) makes labels where rows bring none; rows whose
#   labels hold -100 for the prompt keep them.
# So: it makes labels of the input ids in any case. Rows of one length (packed ones) lose theirs silently, and the
#   prompts are trained on; of several lengths it raises that `labels` cannot be made a tensor.
# Bites: whoever masks prompts in `labels` and takes the collator for causal models that its name suggests.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6
cat > script.py <<'PYTHON'
import transformers
from tokenizers import Tokenizer, models

words = {"<pad>": 0, "<eos>": 1, "why": 2, "so": 3}
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="why")),
    pad_token="<pad>",
    eos_token="<eos>",
)
collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
row = {"input_ids": [2, 3, 1], "labels": [-100, 3, 1]}
batch = collate([dict(row), dict(row)])
print("transformers", transformers.__version__)
print("labels given", row["labels"], "and in the batch", batch["labels"].tolist()[0])
assert batch["labels"].tolist() == [[2, 3, 1], [2, 3, 1]]
try:
    collate([dict(row), {"input_ids": [2, 1], "labels": [-100, 1]}])
except ValueError as error:
    print("of two lengths:", str(error)[:80])
else:
    raise AssertionError
PYTHON
venv/bin/python script.py

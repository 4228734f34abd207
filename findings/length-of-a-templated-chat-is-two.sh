#!/usr/bin/env bash
# Believed: tokenizer.apply_chat_template(messages) gives the token ids, so its len() is the number of tokens, as it
#   was for years.
# So: since transformers 5 it gives a BatchEncoding, and len() counts its keys: 2, whatever the chat. Nothing is
#   raised. return_dict=False gives the ids.
# Bites: whoever filters a file by length, sorts by it, budgets tokens or reports a context's use: every chat is of
#   length 2, so that all fit and none is sorted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6
cat > script.py <<'PYTHON'
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

words = Tokenizer(models.WordLevel({"unknown": 0, "word": 1}, unk_token="unknown"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
tokenizer.chat_template = "{% for turn in messages %}{{ turn.content }} {% endfor %}"
print("transformers", transformers.__version__)
for count in (1, 500):
    messages = [{"role": "user", "content": "word " * count}]
    given = tokenizer.apply_chat_template(messages)
    ids = tokenizer.apply_chat_template(messages, return_dict=False)
    print(f"{count} words: {type(given).__name__} of length {len(given)}, {len(ids)} ids")
    assert len(given) == 2
    assert len(ids) == count
PYTHON
venv/bin/python -W ignore script.py 2> errors || (cat errors; exit 1)

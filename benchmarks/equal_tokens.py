"""Tuning on as many tokens of each choice: what beats random, and the longest answers?

python benchmarks/equal_tokens.py small FOLDER TEXTS.jsonl
python benchmarks/equal_tokens.py gsm8k TRAIN.jsonl FILE.jsonl [--rows 1000]
python benchmarks/equal_tokens.py targets POOL FOLDER [--test 32] [--count 16]
python benchmarks/equal_tokens.py tuned POOL FOLDER --target hf:PATH --lr RATE [--test 32]
python benchmarks/equal_tokens.py cell POOL --name NAME --target hf:PATH --runs FOLDER [options]
    [--out FILE.json]
python benchmarks/equal_tokens.py table FILE.json

`small` trains a model of half a million weights from scratch on web pages: a tokenizer of 2,048
byte pairs, 3 layers, 96 wide. `gsm8k` writes rows of grade-school-math, its calculator's marks
left out. `targets` draws target examples from the rows of a pool that a cell does not hold out.
`tuned` tunes a model on a random twentieth of such rows, as LESS does before it reads gradients.
`cell` is `keepers.compare` on one pool and target; it goes on where it was stopped, and puts its
result among those in FILE.json. `table` prints them for the documentation.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch

import keepers
from keepers.data import export, open_source
from keepers.files import write_json
from keepers.models import language_model
from keepers.processes import Runtime
from keepers.random import generator
from keepers.reports.tuning import loss
from keepers.training import TuningRecipe, tune
from keepers.training.optim import one_cycle
from keepers.workflows.conversations import as_tokens, token_counts
from keepers.workflows.options.shared import Shared
from keepers.workflows.tested import with_test

TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
VOCABULARY, LENGTH, BATCH, PASSES = 2048, 512, 8, 3


def small(folder: Path, texts: Path) -> None:
    """Train the small model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pages = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    made.decoder = decoders.ByteLevel()  # pyright: ignore
    made.train_from_iterator(
        pages,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    ids = torch.tensor([i for page in pages for i in [0, *made.encode(page).ids, 1]])
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    piece = LENGTH // 2
    steps = PASSES * len(ids) // (BATCH * piece)
    for step in range(steps):
        starts = torch.randint(len(ids) - piece, (BATCH,))
        batch = torch.stack([ids[start : start + piece] for start in starts.tolist()])
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * one_cycle(step / steps, warmup=0.05)
        found = model(input_ids=batch, labels=batch, use_cache=False).loss
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step} of {steps}: {found.item():.3f}", flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def gsm8k(path: Path, out: Path, rows: int) -> None:
    """Write the first rows as instructions, without `<<48/2=24>>`."""
    lines = path.read_text().splitlines()[:rows]
    found = [json.loads(line) for line in lines]
    with out.open("w") as file:
        for row in found:
            answer = re.sub(r"<<.*?>>", "", row["answer"])
            file.write(json.dumps({"instruction": row["question"], "output": answer}) + "\n")


def targets(pool: str, folder: Path, test: str, count: int) -> None:
    """Export some of the rows that are not held out, for methods that compare with targets."""
    source = open_source(pool, task="tokens")
    left, _, _ = with_test(source, test, Shared(), print)
    drawn = torch.randperm(len(left), generator=generator(0, "targets"))[:count]
    export(pool, left.rows[drawn.numpy()], folder)


def tuned(args: argparse.Namespace) -> None:
    """Tune a model on a random twentieth of the tokens that are not held out, three passes."""
    pool, _, _ = with_test(open_source(args.pool, task="tokens"), args.test, Shared(), print)
    model = language_model(args.target, "target", length=args.length)
    _, sequences = as_tokens(pool, model, "error", print)
    tokens = token_counts(sequences)
    order = torch.randperm(len(tokens), generator=generator(0, "tuned first"))
    members = order[tokens[order].cumsum(0) <= 0.05 * tokens.sum()]
    recipe = TuningRecipe(lr=args.lr, batch_tokens=args.batch_tokens)
    cpu = Runtime(device=torch.device("cpu"))
    total = 3 * int(tokens[members].sum())
    found = tune(model, sequences, members, total, recipe, seed=0, runtime=cpu).model
    found.module.save_pretrained(args.folder)  # pyright: ignore
    found.tokenizer.save_pretrained(args.folder)


def cell(args: argparse.Namespace) -> None:
    """One pool and target."""
    target: dict[str, Any] = {
        "model": args.target,
        "options": {"length": args.length, "batch_tokens": args.batch_tokens},
    }
    if args.lr:
        target["lr"] = args.lr
    found = keepers.compare(
        args.pool,
        test=args.test,
        methods=args.methods.split(","),
        keep_tokens=[args.keep_tokens],
        target=target,
        target_epochs=args.epochs,
        proxy=args.proxy and {"model": args.proxy, "options": {"length": args.length}},
        similar_to=args.similar_to,
        seeds=args.seeds,
        run=Path(args.runs) / args.name,
        device="cpu",
        say=lambda sentence: print(sentence, flush=True),
    ).result
    if args.out:
        known = json.loads(args.out.read_text()) if args.out.exists() else {}
        for name in ("target", "proxy"):  # no paths
            role = found["config"][name]
            if isinstance(role, dict):
                role["model"] = Path(role["model"]).name
            elif role:
                found["config"][name] = Path(role).name
        write_json(args.out, {**known, args.name: found}, overwrite=True)


def table(path: Path) -> None:
    """Print a table in Markdown."""
    print("| pool | target | tuned on | loss | against random | against the longest | told apart |")
    print("|---|---|---|---|---|---|---|")
    for name, found in json.loads(path.read_text()).items():
        pool, _, target = name.partition("-on-")
        for row in found["rows"]:
            gaps = [gap(row.get(key)) for key in ("difference", "from_longest")]
            print(
                f"| {pool} | {target} | {row['method']} | {loss(row['loss_mean'], 3)} "
                f"| {gaps[0]} | {gaps[1]} | {row['told_apart_mean']:.1%} |"
            )
            pool = target = ""


def gap(found: dict[str, Any] | None) -> str:
    """A difference, its interval and verdict."""
    if found is None:
        return "–"
    mean, low, high = (loss(found[key], 3, signed=True) for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high}) {found['verdict']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    ways = parser.add_subparsers(dest="way", required=True)
    way = ways.add_parser("small")
    way.add_argument("folder", type=Path)
    way.add_argument("texts", type=Path)
    way = ways.add_parser("gsm8k")
    way.add_argument("path", type=Path)
    way.add_argument("out", type=Path)
    way.add_argument("--rows", type=int, default=1000)
    way = ways.add_parser("targets")
    way.add_argument("pool")
    way.add_argument("folder", type=Path)
    way.add_argument("--test", default="32")
    way.add_argument("--count", type=int, default=16)
    way = ways.add_parser("tuned")
    way.add_argument("pool")
    way.add_argument("folder", type=Path)
    way.add_argument("--target", required=True)
    way.add_argument("--lr", type=float, required=True)
    way.add_argument("--test", default="32")
    way.add_argument("--length", type=int, default=512)
    way.add_argument("--batch-tokens", type=int, default=1024)
    way = ways.add_parser("cell")
    way.add_argument("pool")
    way.add_argument("--name", required=True)
    way.add_argument("--target", required=True)
    way.add_argument("--runs", required=True)
    way.add_argument("--proxy")
    way.add_argument("--similar-to")
    way.add_argument("--methods", default="ifd")
    way.add_argument("--keep-tokens", default="5%")
    way.add_argument("--epochs", type=int, default=3)
    way.add_argument("--seeds", type=int, default=5)
    way.add_argument("--test", default="0.1")
    way.add_argument("--lr", type=float)
    way.add_argument("--length", type=int, default=512)
    way.add_argument("--batch-tokens", type=int, default=1024)
    way.add_argument("--out", type=Path)
    way = ways.add_parser("table")
    way.add_argument("path", type=Path)
    args = parser.parse_args()
    if args.way == "small":
        small(args.folder, args.texts)
    elif args.way == "gsm8k":
        gsm8k(args.path, args.out, args.rows)
    elif args.way == "targets":
        targets(args.pool, args.folder, args.test, args.count)
    elif args.way == "tuned":
        tuned(args)
    elif args.way == "cell":
        cell(args)
    else:
        table(args.path)


if __name__ == "__main__":
    main()

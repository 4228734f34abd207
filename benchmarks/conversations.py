"""What reading conversations by a language model costs and tells.

python benchmarks/conversations.py FILE --model hf:PATH [--rows 200] [--rounds 3] [--out FILE.json]

Throughput: `read_through` against a bare loop of transformers that sorts by length and pads to the
longest of each batch (batches of 8, whole logits, a mask), by CPU time, side by side. Damage: a
fifth of the answers are exchanged among each other, at random; how well each score tells those
from the others (area under the ROC curve; 0.5 tells nothing). Gradients: CPU seconds over those of
a reading without, and how far cosines of projected gradients of some conversations are from those
of whole ones (root mean square over pairs).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from keepers.data import open_source
from keepers.data.conversations import answers
from keepers.models import (
    LanguageModel,
    TokenSequence,
    language_model,
    padded,
    summed_losses,
)
from keepers.processes import Runtime
from keepers.scores import instruction_following_difficulty
from keepers.signals import ProjectedGradients, read_through
from keepers.statistics import spearman
from keepers.workflows.conversations import conversation
from keepers.workflows.readings import alone, cosines

CPU = Runtime(device=torch.device("cpu"))
BATCH = 8
SHARE = 0.2


def bare(model: LanguageModel, sequences: list[TokenSequence]) -> list[float]:
    """The mean losses by a loop that anybody would write."""
    order = sorted(range(len(sequences)), key=lambda at: -len(sequences[at].ids))
    losses = [0.0] * len(sequences)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(sequences[row].ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for place, row in enumerate(rows):
            each = sequences[row]
            ids[place, : len(each.ids)] = each.ids
            mask[place, : len(each.ids)] = 1
            labels[place, : len(each.ids)] = each.ids.masked_fill(~each.learnt, -100)
        with torch.inference_mode():
            logits = model.module(input_ids=ids, attention_mask=mask).logits[:, :-1]
            found = F.cross_entropy(
                logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none", ignore_index=-100
            ).view(len(rows), -1)
        counts = (labels[:, 1:] != -100).sum(1)
        for row, loss in zip(rows, (found.sum(1) / counts).tolist(), strict=True):
            losses[row] = loss
    return losses


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came of it."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def throughput(model: LanguageModel, sequences: list[TokenSequence], rounds: int) -> dict[str, Any]:
    """The ratio of tokens a CPU second, ours over the bare loop's."""
    ratios, difference = list[float](), 0.0
    for _ in range(rounds):
        theirs, losses = timed(lambda: bare(model, sequences))
        ours, read = timed(lambda: read_through(model, sequences, runtime=CPU))
        ratios.append(theirs / ours)
        difference = float((read.sums / read.counts - torch.tensor(losses)).abs().max())
    tokens = sum(len(each.ids) for each in sequences)
    return {
        "tokens": tokens,
        "ratios": ratios,
        "median": statistics.median(ratios),
        "largest_difference": difference,
        "tokens_a_cpu_second": tokens / ours,
    }


def gradients(model: LanguageModel, sequences: list[TokenSequence], exact: int) -> dict[str, Any]:
    """What projected gradients cost, and how near they come."""
    plain, _ = timed(lambda: read_through(model, sequences, runtime=CPU))
    slopes, _ = timed(lambda: read_through(model, sequences, runtime=CPU, gradients=True))
    few, pairs = sequences[:exact], torch.triu_indices(exact, exact, 1)
    whole = torch.stack([whole_gradient(model, each) for each in few])
    goal = cosines(whole, whole)[pairs[0], pairs[1]]
    errors: dict[str, float] = {}
    for rank in (16, 32, 64):
        reader = ProjectedGradients(model.module, CPU, rank=rank)
        vectors = torch.cat([reader.read(*padded([each])[:2])[1] for each in few])
        found = cosines(vectors, vectors)[pairs[0], pairs[1]]
        errors[str(rank)] = float((found - goal).square().mean().sqrt())
    return {
        "timed": len(sequences),
        "cpu_seconds_over_a_reading": slopes / plain,
        "conversations": exact,
        "spread_of_cosines": float(goal.std()),
        "error_by_rank": errors,
    }


def whole_gradient(model: LanguageModel, each: TokenSequence) -> torch.Tensor:
    """The gradient of the mean loss by the matrices of all layers inside the model."""
    ids, learnt, _ = padded([each])
    model.module.zero_grad()
    loss = summed_losses(model.module, ids, learnt, CPU.device).sum() / int(learnt.sum())
    loss.backward()
    base: Any = model.module.base_model
    inside = [weight for name, weight in base.named_parameters() if "emb" not in name]
    found = [each.grad.flatten() for each in inside if each.grad is not None and each.ndim == 2]
    model.module.zero_grad()
    return torch.cat(found)


def damaged(chats: list[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The conversations with a share of the last answers moved on by one, and which those are."""
    drawn = np.random.default_rng(seed).permutation(len(chats))[: int(SHARE * len(chats))]
    found = json.loads(json.dumps(chats))
    for place, row in enumerate(drawn):
        other = chats[drawn[place - 1]]["messages"][-1]["content"]
        found[row]["messages"][-1]["content"] = other
    wrong = np.zeros(len(chats), dtype=bool)
    wrong[drawn] = True
    return found, wrong


def told(model: LanguageModel, chats: list[dict[str, Any]], wrong: np.ndarray) -> dict[str, float]:
    """How well scores tell damaged conversations: areas under the ROC curve."""
    sequences = [model.sequence(each) for each in chats]
    read = read_through(model, sequences, runtime=CPU)
    parts = [alone(each) for each in sequences]
    apart = read_through(model, [each for some in parts for each in some], runtime=CPU)
    at = torch.tensor([row for row, some in enumerate(parts) for _ in some])
    sums, counts = torch.zeros(2, len(chats), dtype=torch.float64)
    sums.index_add_(0, at, apart.sums)
    counts.index_add_(0, at, apart.counts.double())
    losses, without = read.sums / read.counts, sums / counts.clamp_min(1)
    ifd = instruction_following_difficulty(losses, without)
    lengths = [sum(map(len, answers(each))) for each in chats]
    right = torch.from_numpy(~wrong)
    both = [values[right].numpy() for values in (losses / without, read.counts.double())]
    top = ifd.topk(len(chats) // 10).indices
    return {
        "ratio of ifd and answer tokens, of the others: rank correlation": float(
            spearman(both)[0, 1]
        ),
        "answer tokens, median": float(read.counts.double().quantile(0.5)),
        "answer tokens, median of the top tenth of ifd": float(
            read.counts[top].double().quantile(0.5)
        ),
        "perplexity": float(roc_auc_score(wrong, losses)),
        "ratio of ifd": float(roc_auc_score(wrong, losses / without)),
        "length": float(roc_auc_score(wrong, lengths)),
        "over 1 among the damaged": float(
            (losses / without > 1)[torch.from_numpy(wrong)].double().mean()
        ),
        "over 1 among the others": float(
            (losses / without > 1)[torch.from_numpy(~wrong)].double().mean()
        ),
        "damaged in the top tenth of ifd": float(wrong[top].mean()),
        "damaged in the top tenth of perplexity": float(
            wrong[losses.topk(len(chats) // 10).indices].mean()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timed", type=int, default=64)
    parser.add_argument("--exact", type=int, default=8)
    parser.add_argument("--out")
    args = parser.parse_args()
    source = open_source(args.data, limit=args.rows)
    model = language_model(args.model, "model", length=512)
    chats = [dict(conversation(source, at)) for at in range(len(source))]
    sequences = [model.sequence(each) for each in chats[: args.timed]]
    found = {
        "data": Path(args.data).name,
        "model": Path(args.model).name,
        "rows": len(chats),
        "damage": told(model, *damaged(chats, 0)),
        "throughput": throughput(model, sequences, args.rounds),
        "gradients": gradients(model, sequences, args.exact),
    }
    print(json.dumps(found, indent=1))
    if args.out:
        Path(args.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

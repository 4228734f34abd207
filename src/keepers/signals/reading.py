"""`read_through`: what a causal language model says of sequences, in batches of like length."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from keepers.errors import DamagedError, KeepersError
from keepers.ledger import Tally
from keepers.models import LanguageModel, TokenSequence, batched, padded, summed_losses
from keepers.processes import Runtime
from keepers.sealed import read_tensors, write_tensors
from keepers.signals.gradients import ProjectedGradients
from keepers.types import Progress, Silent

LOGITS = {"cpu": 1 << 26}
"""Logits of a batch at most, by device; `MANY` on others."""
MANY = 1 << 30
AT_ONCE = {"cpu": 1 << 12}
"""Tokens of a batch at most, for any vocabulary, by device; `MANY_AT_ONCE` on others."""
MANY_AT_ONCE = 1 << 16
TOKENS = {"cpu": 1 << 10}
"""Tokens of a batch with gradients at most, by device; `MANY_TOKENS` on others."""
MANY_TOKENS = 1 << 14
_PART = "part-{:07d}.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """Of each sequence the `sums` (n,) of the losses of what is learnt, and `counts` (n,) of it.

    `features` (n, d) are the mean of the last hidden states, later tokens weighing more (token i
    of t weighs i / (1 + ... + t)), or projected gradients, where they are asked for.
    """

    sums: Tensor
    counts: Tensor
    features: Tensor | None = None


@torch.inference_mode()
def read_through(
    model: LanguageModel,
    sequences: Sequence[TokenSequence],
    *,
    runtime: Runtime,
    features: bool = False,
    gradients: bool = False,
    folder: Path | None = None,
    every: float = 30.0,
    tally: Tally | None = None,
    progress: Progress | None = None,
    what: str = "reading",
) -> Read:
    """Losses, and features if wanted, of each sequence, padded to the longest of its batch.

    A batch holds sequences of similar length, and their number keeps its logits within bounds.
    Padding is on the right, where a causal model does not look back at it: the result of a sequence
    does not depend on the others in its batch, up to rounding. If `folder` is given, finished
    batches are saved there every `every` seconds, and reused.

    With `gradients` the features are those of `ProjectedGradients` in place of hidden states.

    Raises:
        KeepersError: a loss that is not a number, or no layer to take gradients by.
    """
    progress = progress or Silent()
    lengths = torch.tensor([len(each.ids) for each in sequences])
    device = runtime.device
    most = tokens_at_once(model.module, device)
    if gradients:
        most = min(most, TOKENS.get(device.type, MANY_TOKENS))
    batches = list(batched(lengths, most=most))
    with torch.inference_mode(False):  # weights that are moved inside it have no gradients behind
        module = model.module.to(device)
    sums = torch.zeros(len(sequences), dtype=torch.float64)
    vectors: Tensor | None = None
    counts = torch.tensor([int(each.learnt.sum()) for each in sequences])
    start = 0
    for first, stored in _parts(folder):
        if first != start:
            break
        at, stop = stored["positions"], start + int(stored["batches"])
        if not torch.equal(at, torch.cat([at[:0], *batches[start:stop]])):
            break  # other batches were read then
        sums[at] = stored["sums"]
        if features or gradients:
            vectors = _room(vectors, len(sequences), stored["features"])
            vectors[at] = stored["features"]
        start = stop
    progress.start(what, len(sequences))
    done = sum(len(rows) for rows in batches[:start])
    since, began, tapped = start, time.monotonic(), _Tap(module) if features else None
    slopes = ProjectedGradients(module, runtime) if gradients else None
    try:
        for number in range(start, len(batches)):
            rows = batches[number]
            ids, learnt, length = padded([sequences[row] for row in rows.tolist()])
            found = None
            if slopes is not None:
                sums[rows], found = slopes.read(ids, learnt)
            else:
                with runtime.autocast():
                    sums[rows] = summed_losses(module, ids, learnt, device)
            if tapped is not None:
                found = _weighted_means(tapped.hidden, length.to(device)).cpu()
            if found is not None:
                vectors = _room(vectors, len(sequences), found)
                vectors[rows] = found
            done += len(rows)
            progress.advance(done)
            last = number + 1 == len(batches)
            if folder is not None and not last and time.monotonic() - began >= every:
                _keep(folder, since, batches[since : number + 1], sums, vectors)
                since, began = number + 1, time.monotonic()
    finally:
        if tapped is not None:
            tapped.remove()
    progress.finish()
    if not bool(sums.isfinite().all()):
        raise KeepersError(
            f"signals: {int((~sums.isfinite()).sum())} losses are not finite. Use another model, "
            "or --precision fp32"
        )
    if tally is not None:
        passes = 2.0 if gradients else 1.0
        tally.flops += (
            passes * 2.0 * sum(each.numel() for each in module.parameters()) * int(lengths.sum())
        )
    return Read(sums=sums, counts=counts, features=vectors)


def forget_parts(folder: Path) -> None:
    """Remove what `read_through` kept in a folder."""
    for path in folder.glob("part-*.safetensors"):
        path.unlink()


def tokens_at_once(module: nn.Module, device: torch.device) -> int:
    """Tokens of a batch, padding included, at most `AT_ONCE`, with at most `LOGITS` logits."""
    width = int(module.get_output_embeddings().weight.shape[0])  # pyright: ignore
    most = min(AT_ONCE.get(device.type, MANY_AT_ONCE), LOGITS.get(device.type, MANY) // width)
    return max(1, most)


class _Tap:
    """The last hidden states (n, length, d) of a model's most recent pass."""

    def __init__(self, module: nn.Module) -> None:
        self.hidden = torch.empty(0)
        base: nn.Module = module.base_model  # pyright: ignore[reportAssignmentType]

        def note(_: nn.Module, given: object, said: object) -> None:
            self.hidden = said[0] if isinstance(said, tuple) else said.last_hidden_state  # pyright: ignore[reportAttributeAccessIssue]

        self.remove = base.register_forward_hook(note).remove


def _weighted_means(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Means (n, d) of hidden states (n, length, d) up to each length, token i weighing i."""
    place = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=torch.float32)
    weights = place * (place <= lengths[:, None])
    weights = weights / weights.sum(1, keepdim=True)
    return (weights[:, None] @ hidden.float()).squeeze(1)


def _room(vectors: Tensor | None, n: int, found: Tensor) -> Tensor:
    return torch.empty(n, found.shape[1]) if vectors is None else vectors


def _parts(folder: Path | None) -> Iterator[tuple[int, dict[str, Tensor]]]:
    for path in sorted(folder.glob("part-*.safetensors")) if folder is not None else ():
        try:
            yield (
                int(path.stem.partition("-")[2]),
                read_tensors(path, "part", "It is read again")[0],
            )
        except DamagedError:
            return


def _keep(
    folder: Path, first: int, batches: Sequence[Tensor], sums: Tensor, vectors: Tensor | None
) -> None:
    at = torch.cat([*batches])
    arrays = {"positions": at, "sums": sums[at], "batches": torch.tensor(len(batches))}
    if vectors is not None:
        arrays["features"] = vectors[at]
    write_tensors(folder / _PART.format(first), arrays, {})

"""`extract`: one inference pass over an evaluation view."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from keepers import processes
from keepers.errors import KeepersError
from keepers.ledger import Tally
from keepers.models import FeatureTap, count_flops
from keepers.signals.store import allocate
from keepers.types import EvalView, Progress, Signals, Silent

FLOPS_SAMPLE = 32  # examples on which the FLOPs of one are measured
PASS_SIGNALS = frozenset({"log_probs", "losses", "features"})
"""The signals that an inference pass gives."""


@torch.inference_mode()
def extract(
    module: nn.Module,
    view: EvalView,
    *,
    fabric: Fabric,
    wanted: Collection[str] = ("log_probs",),
    positions: Tensor | None = None,
    batch_size: int = 512,
    folder: Path | None = None,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> Signals:
    """Signals of every example of `view`, in evaluation mode, on inputs that are not augmented.

    With `positions` (n,), of those alone, in their order.

    `log_probs` (n, classes) is log-softmax in float32, whatever the precision of the model;
    `losses` (n,) is the cross-entropy of the labels; `features` (n, d) is the input of the last
    layer. Arrays over 256 MiB are memory-mapped under `folder`. Labels are passed on. The module
    is left in the mode it was in.

    Raises:
        KeepersError: losses without labels, or log-probabilities that are not finite.
    """
    progress, device = progress or Silent(), fabric.device
    asked = torch.arange(len(view)) if positions is None else positions.cpu()
    labels = None if view.labels is None else view.labels.cpu()[asked]
    n = len(asked)
    if "losses" in wanted and view.labels is None:
        raise KeepersError("signals: losses need labels, and the view has none")
    pool = view.pool.to(device)
    was_training = module.training
    module.to(device).eval()
    arrays: dict[str, Tensor] = {}
    if tally is not None:
        few = asked[:FLOPS_SAMPLE]
        tally.flops += count_flops(module, pool.gather(few.to(device))) / len(few) * n
        tally.examples += n
    progress.start("scoring", n)
    tap = FeatureTap(module) if "features" in wanted else contextlib.nullcontext()
    with tap as features:
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            rows = processes.own_rows(asked[start:stop])
            inputs = pool.gather(rows.to(device))
            with fabric.autocast():
                logits = module(*inputs)
            found = {"log_probs": F.log_softmax(logits.float(), dim=1)}
            if features is not None:
                found["features"] = features.features.float()
            for name, value in found.items():
                if name not in arrays:
                    shape = (n, *value.shape[1:])
                    arrays[name] = allocate(shape, name=name, folder=folder)
                arrays[name][start:stop] = processes.gather_rows(value, stop - start).cpu()
            progress.advance(stop)
    progress.finish()
    module.train(was_training)
    log_probs = arrays["log_probs"]
    if bool(log_probs.isnan().any()):
        raise KeepersError(
            "signals: the model gives NaN. Train it with a lower lr, or with precision fp32"
        )
    if "losses" in wanted and labels is not None:
        arrays["losses"] = -log_probs.gather(1, labels[:, None])[:, 0]
    return Signals(
        **{name: value for name, value in arrays.items() if name in wanted}, labels=labels
    )

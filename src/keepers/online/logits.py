"""From a model's output to the loss of each example, and what is wrong with output or labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.errors import ParameterError

LANES = 16
"""Under 16 classes a CPU takes losses faster with the examples innermost; rounding may differ."""
PROBABILITY = 0.01
"""How far from 1 probabilities may sum: those of bfloat16 are that far."""
NONE = torch.iinfo(torch.int64).min
"""The label to ignore: none that anybody has, so that -100 is out of range like any other."""


def check_logits(output: Any, labels: Tensor, version: int = 0) -> Tensor:
    """The logits (n, classes) in a model's output: a tensor, or what carries one as `logits`.

    Raises:
        ParameterError: there are none, they are not of the labels' width, or they are
            probabilities; or the labels (n,) are no class numbers.
    """
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise ParameterError(
            "labels",
            f"got {labels.dtype} of shape {tuple(labels.shape)}",
            "Give one class number for each example, or loss= for labels of another kind",
        )
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if logits is None and isinstance(output, Mapping):
        logits = output.get("logits")
    remedy = "Return logits (n, classes), or give a function of your own as loss="
    if not isinstance(logits, Tensor):
        raise ParameterError("model", f"got {type(output).__name__} from the model", remedy)
    if logits.ndim != 2 or logits.shape[0] != labels.shape[0]:
        raise ParameterError(
            "model",
            f"got an output of shape {tuple(logits.shape)} for {len(labels)} examples",
            remedy,
        )
    # Asking an accelerator for its values waits for it, so that is done at the first step alone.
    if version == 0 and len(labels):
        check_range(labels, logits.shape[1])
        if _are_probabilities(logits.detach().float()):
            raise ParameterError(
                "model", "got probabilities: none is under 0, and each row sums to 1", remedy
            )
    return logits


def _are_probabilities(output: Tensor) -> bool:
    """Whether softmax was taken; of one row or one class that is not said."""
    if min(output.shape) < 2:
        return False
    sums = output.sum(1)
    return bool((output >= 0).all() & ((sums - 1).abs() < PROBABILITY).all())


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The losses (n,) of logits (n, classes), in float32.

    They are `torch.nn.functional.cross_entropy` up to float32 rounding: the order of its sums
    depends on the processor. The same logits give the same bits again on one processor.

    Raises:
        ParameterError: a label that is out of range; on an accelerator its loss is NaN.
    """
    logits = logits.float()
    if not logits.is_cpu:
        outside = (labels < 0) | (labels >= logits.shape[1])
        losses = F.cross_entropy(logits, labels.masked_fill(outside, 0), reduction="none")
        return losses.masked_fill(outside, torch.nan)
    try:
        if logits.shape[1] < LANES:
            log_probs = F.log_softmax(logits.t(), 0).t()
        else:
            log_probs = F.log_softmax(logits, 1)
        return F.nll_loss(log_probs, labels, reduction="none", ignore_index=NONE)
    except IndexError:
        check_range(labels, logits.shape[1])
        raise


def check_range(labels: Tensor, width: int) -> None:
    """Refuse labels (n,) that are no numbers of `width` classes.

    Raises:
        ParameterError: a label under 0, or at or over the width.
    """
    least, most = (int(value) for value in labels.aminmax())
    if most >= width:
        raise ParameterError(
            "model",
            f"got logits of {width} classes, but a label is {most}",
            "Return logits (n, classes) for all classes",
        )
    if least < 0:
        raise ParameterError("labels", f"got {least}", "Give class numbers from 0")

"""The state a module is in while it scores, and how it is left as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from keepers.choices import BatchNorm

WITH_DROPOUT = (
    _DropoutNd,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)
"""Layers whose dropout goes by their own mode; in evaluation mode some skip that of their parts."""


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """The module is in evaluation mode inside the block, and in its own mode afterwards."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@contextlib.contextmanager
def scoring_mode(
    module: nn.Module,
    *,
    batch_norm: BatchNorm = "batch",
    dropout: bool = False,
    seed: int | None = None,
) -> Generator[None]:
    """Score inside the block: evaluation mode, but for what is said here.

    Batch normalisation takes its statistics from the candidates (`batch`), the same and moves its
    running ones (`batch-and-update`), or takes the running ones (`eval`); a layer that is frozen
    (in evaluation mode, in a module that trains) always takes the running ones. `seed` is that of
    whatever is drawn. Modes, running statistics (but for `batch-and-update`) and the random state
    are as before afterwards.

    >>> norm = nn.BatchNorm1d(2)
    >>> with scoring_mode(norm):
    ...     scored = norm(torch.tensor([[0.0, 4.0], [2.0, 8.0]]))
    >>> scored[0].tolist() != [0.0, 4.0], norm.running_mean.tolist(), norm.training
    (True, [0.0, 0.0], True)
    """
    whole = module.training
    changed: list[nn.Module] = []
    untracked: list[_BatchNorm] = []
    for part in module.modules():
        wanted = False
        if isinstance(part, WITH_DROPOUT):
            wanted = dropout
        elif isinstance(part, _BatchNorm) and batch_norm != "eval" and part.training >= whole:
            wanted = True
            if batch_norm == "batch" and part.track_running_stats:
                untracked.append(part)  # its own statistics, none of them kept
        if part.training != wanted:
            changed.append(part)
    device = _cuda_device(module)
    state = torch.default_generator.get_state()
    on_cuda = None if device is None else torch.cuda.get_rng_state(device)
    if seed is not None:
        torch.default_generator.manual_seed(seed)
        if device is not None:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
    try:
        _flip(changed, untracked)
        yield
    finally:
        _flip(changed, untracked)
        torch.default_generator.set_state(state)
        if device is not None and on_cuda is not None:
            torch.cuda.set_rng_state(on_cuda, device)


def _flip(modes: list[nn.Module], tracking: list[_BatchNorm]) -> None:
    # Past the module's own __setattr__, which would take as long as sorting the candidates.
    for part in modes:
        object.__setattr__(part, "training", not part.training)
    for part in tracking:
        object.__setattr__(part, "track_running_stats", not part.track_running_stats)


def uses_batch_statistics(module: nn.Module, batch_norm: BatchNorm) -> bool:
    """Whether the score of a candidate depends on the others that are scored with it.

    >>> norm = nn.Sequential(nn.BatchNorm1d(2))
    >>> frozen = nn.Sequential(nn.BatchNorm1d(2).eval())
    >>> uses_batch_statistics(norm, "batch"), uses_batch_statistics(frozen, "batch")
    (True, False)
    """
    whole = module.training
    return batch_norm != "eval" and any(
        isinstance(part, _BatchNorm) and part.training >= whole for part in module.modules()
    )


def _cuda_device(module: nn.Module) -> torch.device | None:
    if not torch.cuda.is_initialized():
        return None
    parameter = next(module.parameters(), None)
    on_cuda = parameter is not None and parameter.device.type == "cuda"
    return parameter.device if parameter is not None and on_cuda else None

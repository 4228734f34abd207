"""Posterior samples by dropout: each sample is one draw of the weights, the same for all examples.

Samples are drawn in two halves, each evenly: over a half, a unit is dropped as often as its rate
says, rather than by luck (Latin hypercube sampling), while the masks of one sample are what dropout
draws. So scores vary less from seed to seed, and two halves differ as two seeds would.

Shape suffixes: N examples, K samples, C classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from keepers.choices import BatchNorm
from keepers.errors import ParameterError
from keepers.models.mode import scoring_mode
from keepers.random import generator

_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def sample_posterior(
    module: nn.Module,
    forward: Callable[[], Tensor],
    *,
    samples: int,
    seed: int,
    batch_norm: BatchNorm = "eval",
) -> Tensor:
    """log p_k of `samples` passes with dropout on: (n, samples, classes), in float32.

    `forward` runs the module and gives its logits (n, classes). Sample k has one dropout mask for
    all examples, which `seed`, k and `samples` alone decide: passes over other batches sample the
    same weights, as the joint predictions of a batch of labels need it. The first dimension of what
    a dropout layer sees is taken to be the examples. Dropout that a layer keeps to itself (that of
    attention weights, of recurrent layers, alpha dropout) is drawn for each example.

    Weights, modes and the global random state are left as they were.

    Example:
        >>> module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        >>> inputs = torch.ones(4, 3)
        >>> found = sample_posterior(module, lambda: module(inputs), samples=5, seed=0)
        >>> found.shape, torch.equal(found[0], found[3]), torch.equal(found[0, 0], found[0, 1])
        (torch.Size([4, 5, 2]), True, False)

    Paper:
        Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016. One mask for all:
        Kirsch, van Amersfoort and Gal, BatchBALD, NeurIPS 2019. Even draws: McKay, Beckman and
        Conover, Latin hypercube sampling, Technometrics 1979.
    """
    found: Tensor | None = None
    with (
        scoring_mode(module, batch_norm=batch_norm, dropout=True, seed=seed),
        _OneMask(module, seed, samples) as mask,
    ):
        for sample in range(samples):
            mask.begin(sample)
            log_probs = F.log_softmax(forward().float(), dim=1)
            if found is None:  # a list of them and their stack would be twice the size
                found = log_probs.new_empty(len(log_probs), samples, *log_probs.shape[1:])
            found[:, sample] = log_probs
    assert found is not None
    return found


def check_dropout(module: nn.Module, remedy: str) -> None:
    """Refuse a module without dropout where posterior samples are asked for.

    Raises:
        ParameterError: no dropout layer with a rate over 0.
    """
    rates = [getattr(part, "p", getattr(part, "dropout", 0.0)) for part in module.modules()]
    if not any(isinstance(rate, float | int) and rate > 0 for rate in rates):
        raise ParameterError(
            "model",
            "the method samples the posterior by dropout, but the model has no dropout layer",
            remedy,
        )


def check_samples_differ(posterior_log_probs: Tensor) -> None:
    """Refuse a posterior whose first two samples are equal: its dropout does nothing.

    Raises:
        ParameterError: they are.
    """
    log_probs_NKC = posterior_log_probs
    if log_probs_NKC.shape[1] > 1 and torch.equal(log_probs_NKC[:, 0], log_probs_NKC[:, 1]):
        raise ParameterError(
            "model",
            "the method samples the posterior by dropout, but dropout changes nothing here",
            "Give the model dropout layers (nn.Dropout) between its others",
        )


class _OneMask:
    """Inside the block, dropout layers multiply all examples with one mask."""

    def __init__(self, module: nn.Module, seed: int, samples: int) -> None:
        plain = (nn.Dropout, *_WHOLE_CHANNELS)
        self._layers = [part for part in module.modules() if type(part) in plain]
        self._modes = [layer.training for layer in self._layers]
        self._seed, self._half = seed, -(-samples // 2)
        self._prime = next(p for p in itertools.count(max(2, self._half)) if _is_prime(p))
        self._sample = self._call = 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for layer in self._layers:
            layer.training = False  # what it gives is replaced, and drawing it would be for nothing
            self._handles.append(layer.register_forward_hook(self._masked))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for layer, training in zip(self._layers, self._modes, strict=True):
            layer.training = training

    def begin(self, sample: int) -> None:
        """The passes that follow are those of this sample."""
        self._sample, self._call = sample, 0

    def _masked(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        rate: float = layer.p  # pyright: ignore[reportAssignmentType]
        half, at = divmod(self._sample, self._half)
        draw = generator(self._seed, "dropout", half, self._call)
        self._call += 1
        if not rate:
            return output
        shape = (1, *output.shape[1:])
        if isinstance(layer, _WHOLE_CHANNELS):
            shape = (1, output.shape[1], *(1 for _ in output.shape[2:]))
        # A unit's levels of [0, 1) over a half: each of `prime` strata at most once, in the order
        # step · at + start mod prime, which is uniform for a sample and independent of other units.
        step = torch.randint(1, self._prime, shape, generator=draw)
        stratum = (torch.randint(self._prime, shape, generator=draw) + step * at) % self._prime
        kept = (stratum + torch.rand(shape, generator=draw)) / self._prime >= rate
        scaled = kept.to(output.dtype) / (1 - rate) if rate < 1 else kept.to(output.dtype)
        return output * scaled.to(output.device, non_blocking=True)


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))

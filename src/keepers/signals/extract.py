"""`extract`: one inference pass over an evaluation view."""

from __future__ import annotations

import functools
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keepers import methods, processes
from keepers.configuration import SAMPLES
from keepers.data import TextPool
from keepers.errors import KeepersError, ParameterError
from keepers.ledger import Tally
from keepers.models import FeatureTap, count_flops
from keepers.models.imported import telling
from keepers.models.mode import evaluating
from keepers.models.posterior import check_dropout, check_samples_differ, sample_posterior
from keepers.processes import Runtime
from keepers.signals.store import allocate
from keepers.tasks import Measured, Targets, Task, gradients_of, labels_at
from keepers.types import EvalView, Pool, Progress, Signals, Silent

FLOPS_SAMPLE = 32  # examples on which the FLOPs of one are measured
OF_TARGETS = frozenset({"losses", "gradients", "gradient_norms"})
"""The signals that compare what a model says with the targets."""
PASS_SIGNALS = methods.signals_made_by("pass")
"""The signals that inference passes give."""


@torch.inference_mode()
def extract(
    module: nn.Module,
    view: EvalView,
    *,
    runtime: Runtime,
    wanted: Collection[str] | None = None,
    positions: Tensor | None = None,
    batch_size: int = 512,
    samples: int = SAMPLES,
    seed: int = 0,
    folder: Path | None = None,
    keep: bool = True,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> Signals:
    """Signals of every example of `view`, in evaluation mode, on inputs that are not augmented.

    With `positions` (n,), of those alone, in their order. What is wanted is by default what the
    task of the view predicts: `log_probs` (n, classes), log-softmax in float32 whatever the
    precision of the model; `log_odds` (n, labels); or `predictions` (n, numbers).

    `losses` (n,) are those of the task, `gradients` (n, outputs) theirs by the model's output, and
    `gradient_norms` (n,) the lengths of those; `features` (n, d) is the input of the last
    layer. `posterior_log_probs` (n, samples, classes) is log-softmax of `samples` passes with
    dropout on: sample k has one mask for all examples, drawn by `seed`, and batch normalisation
    takes its running statistics. Arrays over 256 MiB are memory-mapped under `folder`; without
    `keep`, as in all but one of several processes, no array is made. Labels are passed on. All
    passes are booked on `tally`. The module is left in the mode it was in.

    Raises:
        KeepersError: losses or gradients without labels, or log-probabilities that are not finite.
        ParameterError: posterior samples of a model without dropout, or fewer than 1.
    """
    progress, device, task = progress or Silent(), runtime.device, view.task
    wanted = (task.said,) if wanted is None else wanted
    sampled = "posterior_log_probs" in wanted
    plain = not sampled or bool(set(wanted) - {"posterior_log_probs", "labels"})
    if sampled:
        check_dropout(
            module,
            "Give a model with dropout, such as mlp with the option dropout=0.1, or an ensemble",
        )
        if samples < 1:
            raise ParameterError("samples", f"got {samples}", "Give 1 or more")
    asked = torch.arange(len(view)) if positions is None else positions.cpu()
    labels = None if view.labels is None else labels_at(view.labels.cpu(), asked)
    n = len(asked)
    against = sorted(OF_TARGETS & set(wanted))
    if against and view.labels is None:
        raise KeepersError(f"signals: {against[0]} need labels, and the view has none")
    pool = view.pool.to(device)
    module.to(device)
    arrays: dict[str, Tensor] = {}
    if tally is not None:
        few = asked[:FLOPS_SAMPLE]
        passes = plain + samples * sampled
        tally.flops += passes * count_flops(module, pool.gather(few.to(device))) / len(few) * n
        tally.examples += n
    progress.start("scoring", n)
    tap = FeatureTap(module) if "features" in wanted else nullcontext()
    with evaluating(module), tap as features:
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            rows = processes.own_rows(asked[start:stop])
            inputs = pool.gather(rows.to(device))
            found: dict[str, Tensor] = {}
            if plain:
                with runtime.autocast():
                    logits = module(*inputs)
                found[task.said] = task.say(logits)
            if features is not None:
                found["features"] = features.features.float()
            if sampled:
                with runtime.autocast():
                    found["posterior_log_probs"] = sample_posterior(
                        module, functools.partial(module, *inputs), samples=samples, seed=seed
                    )
            if not start and against and labels is not None:
                task.check_width(found[task.said], labels)
            for name, value in found.items():
                whole = processes.gather_rows(value, stop - start).cpu()
                _check_pass(name, whole, first=start == 0)
                if keep and name not in arrays:
                    arrays[name] = allocate((n, *whole.shape[1:]), name=name, folder=folder)
                if keep:
                    arrays[name][start:stop] = whole
            progress.advance(stop)
    progress.finish()
    if against and labels is not None and keep:
        arrays |= of_targets(task, arrays[task.said], labels, against)
    signals = Signals(**{name: value for name, value in arrays.items() if name in wanted})
    return signals if labels is None else signals.knowing(task, labels)


def of_targets(
    task: Task, said: Tensor, targets: Targets, wanted: Collection[str]
) -> dict[str, Tensor]:
    """The signals that compare what a model says (n, outputs) with the targets of n examples."""
    found: dict[str, Tensor] = {}
    if "losses" in wanted:
        found["losses"] = task.losses_of(said, targets)
    if "gradients" in wanted:
        found["gradients"] = gradients_of(task, said, targets, norms=False)
    if "gradient_norms" in wanted:
        found["gradient_norms"] = gradients_of(task, said, targets, norms=True)
    return found


def measure(
    module: nn.Module,
    view: EvalView,
    *,
    runtime: Runtime,
    positions: Tensor | None = None,
    tally: Tally | None = None,
) -> Measured:
    """How good a model is on labelled data, or on those at `positions`: one inference pass.

    Raises:
        KeepersError: the view has no labels, or the model gives NaN.
    """
    if view.labels is None:
        raise KeepersError("signals: a measurement needs labels, and the view has none")
    task = view.task
    signals = extract(
        module, view, runtime=runtime, wanted=(task.said,), positions=positions, tally=tally
    )
    labels = view.labels.cpu()
    if positions is not None:
        labels = labels_at(labels, positions.cpu())
    return task.measure(signals.get(task.said), labels)


@torch.inference_mode()
def embed(
    module: nn.Module,
    pool: Pool,
    *,
    runtime: Runtime,
    name: str = "probe",
    batch_size: int = 64,
    folder: Path | None = None,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """What an encoder gives of every example: (n, d) float32, in evaluation mode.

    Texts of like length are taken together, so that little is padded; of texts as they are the
    module gets a list of strings. FLOPs are those of the batch in the middle for all of them.
    `name` is what errors call the encoder.

    Raises:
        ParameterError: the encoder raises, or gives another shape, NaN or infinite numbers.
    """
    progress, device, n = progress or Silent(), runtime.device, len(pool)
    module.to(device)
    lengths = getattr(pool, "lengths", None)
    order = torch.arange(n) if lengths is None else lengths.cpu().argsort(stable=True)
    found: Tensor | None = None
    progress.start("features", n)
    with evaluating(module):
        for start in range(0, n, batch_size):
            part = order[start : start + batch_size]
            inputs = _inputs(pool, processes.own_rows(part), device)
            with telling(name, "probe", _EMBEDS):
                with runtime.autocast():
                    own: Any = module(*inputs)
                values = _checked_features(own, len(processes.own_rows(part)), found, name)
                if tally is not None and start <= n // 2 < start + batch_size:
                    tally.flops += count_flops(module, inputs) / max(1, len(values)) * n
            if found is None:
                found = allocate((n, values.shape[1]), name="features", folder=folder)
            found[part] = processes.gather_rows(values, len(part)).cpu()
            progress.advance(start + len(part))
    progress.finish()
    assert found is not None
    if tally is not None:
        tally.examples += n
    return found


_EMBEDS = "It is called with an encoded batch, and must return one row (n, d) for each example"


def _inputs(pool: Pool, positions: Tensor, device: torch.device) -> tuple[Any, ...]:
    if isinstance(pool, TextPool):
        return (pool.texts(positions),)
    return tuple(value.to(device) for value in pool.gather(positions))


def _checked_features(given: Any, n: int, before: Tensor | None, name: str) -> Tensor:
    """The features of a batch in float32, fit to stand below those before."""
    wrong = ""
    if not isinstance(given, Tensor):
        wrong = f"a {type(given).__name__}, no tensor"
    elif given.ndim != 2 or len(given) != n or not given.shape[1]:
        wrong = f"shape {tuple(given.shape)} of {n} examples"
    elif before is not None and given.shape[1] != before.shape[1]:
        wrong = f"{given.shape[1]} numbers of an example, and {before.shape[1]} of others"
    elif not bool(given.isfinite().all()):
        wrong = "numbers that are not finite"
    if wrong:
        raise ParameterError("probe", f"'{name}' gives {wrong}", _EMBEDS)
    return given.float()


def _check_pass(name: str, value: Tensor, *, first: bool) -> None:
    """Refuse NaN in a batch, and a posterior that shows no dropout in the first one."""
    if name != "features" and bool(value.isnan().any()):
        raise KeepersError(
            "signals: the model gives NaN. Train it with a lower lr, or with precision fp32"
        )
    if first and name == "posterior_log_probs":
        check_samples_differ(value)

"""Scoring candidates: the seam between choosing and the model, and its in-process side."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers import processes
from keepers.choices import BatchNorm
from keepers.errors import KeepersError, ParameterError, unknown_name
from keepers.models import FeatureTap
from keepers.models.mode import scoring_mode, uses_batch_statistics
from keepers.models.posterior import check_dropout, check_samples_differ, sample_posterior
from keepers.random import derived_seed
from keepers.tasks import CLASSES, Task
from keepers.tasks.classes import check_logits, check_range
from keepers.training import Candidates, Feed
from keepers.types import Signals

ScoringPrecision = Literal["same", "fp32", "bf16"]
Autocast = Callable[[], contextlib.AbstractContextManager[Any]]

LossFunction = Callable[[Any, Tensor], Tensor]
"""From a model's output and the labels (n, ...) to the losses (n,)."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How candidates are scored. Each way to make scoring cheaper has its own option.

    `batch_norm` and `dropout`: see `scoring_mode`. `precision`: that of the training (`same`), or
    autocast. `resolution`: the side in pixels to which pictures are first scaled down. `part`: the
    share of the candidates to score, drawn at random. `max_age`: losses up to this many steps old
    are reused; a model with batch normalisation then needs `batch_norm` `eval`, because its
    statistics would be those of the other candidates only. `samples`: posterior samples, for
    methods that need them. `max_staleness`: a backend that scores ahead may use weights up to this
    many steps old. `shortlist`: the share of the candidates that such scores shortlist (by default
    twice what is kept); the current weights choose among these. 0 lets the older scores choose.

    Raises:
        ParameterError: a value out of range.
    """

    batch_norm: BatchNorm = "batch"
    dropout: bool = False
    precision: ScoringPrecision = "same"
    resolution: int | None = None
    part: float = 1.0
    max_age: int = 0
    samples: int = 10
    max_staleness: int = 0
    shortlist: float | None = None

    def __post_init__(self) -> None:
        for name, known in (("batch_norm", BatchNorm), ("precision", ScoringPrecision)):
            if getattr(self, name) not in get_args(known):
                raise unknown_name(name, str(getattr(self, name)), get_args(known))
        if not 0 < self.part <= 1:
            raise ParameterError("part", f"got {self.part}", "Give a fraction in (0, 1]")
        for name, least in (("max_age", 0), ("samples", 1), ("max_staleness", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ParameterError(name, f"got {value!r}", f"Give {least} or more")
        short: Any = self.shortlist
        if short is not None and not (isinstance(short, int | float) and 0 <= short < 1):
            raise ParameterError(
                "shortlist", f"got {short!r}", "Give a share of the candidates in [0, 1)"
            )
        if self.shortlist is not None and not self.max_staleness:
            raise ParameterError(
                "shortlist", "got without max_staleness", "It is made by older weights: give both"
            )
        if self.resolution is not None and self.resolution < 1:
            raise ParameterError("resolution", f"got {self.resolution}", "Give a side in pixels")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What scoring gives: signals (n,), of which examples, and by which weights.

    `version` is that of the candidates, or an earlier one where older weights scored.
    """

    positions: Tensor
    version: int
    signals: Signals


class Scorer:
    """Where candidates are scored: here, or ahead of the training somewhere else.

    One that does not look ahead has `score` alone to say. `lookahead` is how many steps ahead
    candidates are announced.
    """

    lookahead: int = 0

    def begin(self, *, needs: frozenset[str], keep: float | None, feed: Feed | None = None) -> None:
        """A training begins, in which `needs` are the signals that each step asks for.

        `keep` is the share of the candidates that is trained on, where it is one; `feed` gives the
        inputs of any step, where they are not those of somebody's own loop.
        """

    def announce(self, positions: Tensor, step: int, now: int, of: Candidates | None) -> None:
        """The examples at `positions` (n,) are candidates of a step to come, `now` is this one.

        `of` holds their inputs, where there is no feed.
        """

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """The signals that are needed, of these candidates, in their order."""
        raise NotImplementedError

    def again(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """The same by the current weights, whatever was announced."""
        return self.score(candidates, needs)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of what is on its way."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""

    @property
    def notes(self) -> list[str]:
        """What happened to it, in sentences."""
        return []

    def close(self) -> None:
        """The training is over."""


def scored_by(scorer: Scorer, candidates: Candidates, needs: frozenset[str]) -> Scored:
    """What the scorer says of the candidates.

    Raises:
        KeepersError: it is of other examples, or by weights that are still to come.
    """
    scored, n = scorer.score(candidates, needs), len(candidates)
    asked, found = candidates.positions, scored.positions
    same = found is asked or (found.shape == asked.shape and torch.equal(found.to(asked), asked))
    if not same or len(scored.signals) not in (0, n):
        raise KeepersError(
            f"backend: step {candidates.version + 1} asked for {n} candidates, but it scored "
            f"{len(scored.signals)}, of other positions or in another order. Return the signals "
            "of the candidates in their order, with their positions"
        )
    if scored.version > candidates.version:
        raise KeepersError(
            f"backend: step {candidates.version + 1} was scored with weights of version "
            f"{scored.version}, which do not exist yet. Return the version that scored"
        )
    return scored


@dataclass(frozen=True, kw_only=True, eq=False)
class InProcess(Scorer):
    """Scores with the module in training, in the same process."""

    module: nn.Module
    scoring: Scoring
    seed: int = 0
    autocast: Autocast = contextlib.nullcontext
    loss: LossFunction | None = None
    task: Task = CLASSES

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """One pass over all candidates, in one piece; several where the posterior is sampled.

        Raises:
            ParameterError: the output of the model is no logits of the labels' width, it has no
                dropout to sample, or it cannot take smaller pictures.
        """
        arrays: dict[str, Tensor] = {}
        scoring = self.scoring
        if scoring.max_age and uses_batch_statistics(self.module, scoring.batch_norm):
            raise ParameterError(
                "max_age",
                f"got {scoring.max_age} and batch_norm '{scoring.batch_norm}', whose statistics "
                "would be those of the few candidates scored again",
                "Give batch_norm 'eval', or leave max_age at 0",
            )
        with torch.no_grad(), self._cast(candidates.labels.device.type):
            args, keywords = self._inputs(candidates)
            if needs - {"labels", "irreducible_losses", "posterior_log_probs"}:
                tap = FeatureTap(self.module) if "features" in needs else contextlib.nullcontext()
                with self._mode(candidates, scoring.dropout), tap as features:
                    output = self._forward(args, keywords)
                    if features is not None:
                        arrays["features"] = features.features.float()
                arrays |= self._signals(output, candidates, needs)
            if "posterior_log_probs" in needs:
                arrays["posterior_log_probs"] = self._posterior(candidates, args, keywords)
        if "labels" in needs:
            arrays["labels"] = candidates.labels
            if candidates.labels.device.type == "cpu":
                for name in ("log_probs", "posterior_log_probs"):
                    if name in arrays:
                        check_range(candidates.labels, arrays[name].shape[-1])
        return Scored(
            positions=candidates.positions, version=candidates.version, signals=Signals(**arrays)
        )

    def _mode(
        self, candidates: Candidates, dropout: bool
    ) -> contextlib.AbstractContextManager[None]:
        seed = derived_seed(self.seed, "dropout", candidates.version) if dropout else None
        return scoring_mode(
            self.module, batch_norm=self.scoring.batch_norm, dropout=dropout, seed=seed
        )

    def _forward(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        try:
            return self.module(*args, **keywords)
        except TypeError as error:
            unknown = _refused(self.module, keywords, error)
            if unknown is None:
                raise
            raise ParameterError(
                "batch",
                f"the model has no argument '{unknown}', which is in the batch",
                "Leave it out of the batch, or define the model's arguments with read=",
            ) from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ParameterError(
                "batch",
                "got one example, but batch normalisation needs several",
                "Leave such a batch out (drop_last=True), or score with batch_norm 'eval'",
            ) from error
        except RuntimeError as error:
            if self.scoring.resolution is None or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ParameterError(
                "resolution",
                f"the model cannot take pictures of {self.scoring.resolution} pixels: {error}",
                "Leave it out, or give a model that takes any size",
            ) from error

    def _signals(
        self, output: Any, candidates: Candidates, needs: frozenset[str]
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        labels = candidates.labels
        if "losses" in needs and self.loss is not None:
            losses: Any = self.loss(output, labels)
            if not isinstance(losses, Tensor) or losses.shape != (len(labels),):
                shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
                raise ParameterError(
                    "loss",
                    f"got {shape} for {len(labels)} examples, not ({len(labels)},)",
                    "Return one loss for each example (reduction='none', then a mean over the "
                    "dimensions of each example)",
                )
            found["losses"] = losses.detach().float()
        task = self.task
        if needs & {"losses", "gradients", "gradient_norms", task.said} - found.keys():
            checked = task.check(output, labels, candidates.version)
            if task.said in needs:
                found[task.said] = task.say(checked)
            if "losses" in needs and self.loss is None:
                found["losses"] = task.losses(checked, labels)
            if needs & {"gradients", "gradient_norms"}:
                gradients = task.gradients(task.say(checked), labels)
                made = {"gradients": gradients, "gradient_norms": gradients.norm(dim=1)}
                found |= {name: value for name, value in made.items() if name in needs}
        return found

    def _posterior(
        self, candidates: Candidates, args: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> Tensor:
        check_dropout(
            self.module,
            "Give the model dropout, or choose a method that needs none, such as rho-loss",
        )

        def forward() -> Tensor:
            output = self._forward(args, keywords)
            return check_logits(output, candidates.labels, candidates.version)

        found = sample_posterior(
            self.module,
            forward,
            samples=self.scoring.samples,
            seed=derived_seed(self.seed, "dropout", candidates.version),
            batch_norm=self.scoring.batch_norm,
        )
        if not candidates.version:  # once, since on an accelerator to ask is to wait
            check_samples_differ(found)
        return found

    def _cast(self, device: str) -> contextlib.AbstractContextManager[Any]:
        precision = self.scoring.precision
        if precision == "same":
            return self.autocast()
        if precision == "fp32" and not torch.is_autocast_enabled(device):
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")

    def _inputs(self, candidates: Candidates) -> tuple[tuple[Any, ...], dict[str, Any]]:
        side = self.scoring.resolution
        if side is None:
            return candidates.args, candidates.keywords
        if not any(map(_is_picture, (*candidates.args, *candidates.keywords.values()))):
            raise ParameterError(
                "resolution",
                f"got {side}, but no input is a picture (n, channels, height, width)",
                "Leave it out",
            )
        args = tuple(_shrunk(value, side) for value in candidates.args)
        keywords = {name: _shrunk(value, side) for name, value in candidates.keywords.items()}
        return args, keywords


@dataclass(frozen=True, kw_only=True, eq=False)
class AcrossProcesses(Scorer):
    """Each of several processes scores its own rows; all get the signals of all.

    Where the score of a candidate depends on the others (`together`), each scores all of them.
    Positions and versions are the same in all processes; the values travel in their own dtype.
    """

    scorer: Scorer
    together: bool = False

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """As `Scorer.score`, the passes shared out."""
        rows = processes.own_rows(torch.arange(len(candidates), device=candidates.positions.device))
        if self.together:
            scored = scored_by(self.scorer, candidates, needs)
            own = scored.signals.at(rows)  # rounding must not part the processes
        else:
            scored = scored_by(self.scorer, candidates.take(rows), needs)
            own = scored.signals
        gathered = {
            name: processes.gather_rows(value, len(candidates)) for name, value in own.items()
        }
        return Scored(
            positions=candidates.positions, version=scored.version, signals=Signals(**gathered)
        )


def _refused(module: nn.Module, keywords: Mapping[str, Any], error: TypeError) -> str | None:
    """The argument that the module does not take, if that is what the error says."""
    taken = inspect.signature(module.forward).parameters
    for name in keywords.keys() - taken.keys():
        if f"unexpected keyword argument '{name}'" in str(error):
            return name
    return None


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4 and value.is_floating_point()


def _shrunk(value: Any, side: int) -> Any:
    if not _is_picture(value) or min(value.shape[2:]) <= side:
        return value
    return F.interpolate(value, size=(side, side), mode="area")

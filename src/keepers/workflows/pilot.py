"""The pilot: the whole experiment at a small scale, before anything is selected in earnest.

Part of the data is split into folds. In each, a cheap model is trained on the part that is not
held out, every method chooses from it at every budget, the same cheap model is trained on each
choice, and what is held out judges it: selection against a random choice of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from keepers import methods
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.ledger import Cost, Ledger
from keepers.methods import Method
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.scores import LabelNoise, label_noise
from keepers.selectors import folds, random_subset, stratified_units
from keepers.workflows.fresh import gain_of_fresh
from keepers.workflows.stages import Trained, Training, train
from keepers.workflows.workplace import Workplace

RANDOM, EVERYTHING, FRESH = "random", "everything", "fresh-random"
FOLDS = 5
LARGEST = 2_000
"""Examples that a pilot looks at, at most."""

FEWEST = 100
"""Examples under which a pilot says nothing."""

DRAWS = 2
"""Random choices in each fold: their mean is what a method is held against."""

PREDICTIONS = frozenset({"log_probs"})


@dataclass(frozen=True, kw_only=True)
class Held:
    """How one model did on the held-out part of a fold."""

    error: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a pilot saw.

    `found[method, keep]` are the results of each fold, in their order; random choices are the
    mean of `DRAWS`, and fresh ones every epoch that with what `gain_of_fresh` finds. `examples`
    were looked at. `overlap` is those left out over those trained on,
    in each fold; `costs` is all that it cost. `noise` is how many labels are wrong, by the
    predictions for what each fold held out.
    """

    found: dict[tuple[str, float], tuple[Held, ...]]
    examples: int
    overlap: float
    costs: tuple[Cost, ...]
    noise: LabelNoise | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock seconds, those of stages found again included."""
        return sum(cost.seconds for cost in self.costs)


def part_of(source: Source, seed: int, largest: int = LARGEST) -> Source:
    """The part of the data that a pilot looks at, each class in its proportion.

    Raises:
        ParameterError: under `FEWEST` examples.
    """
    if len(source) < FEWEST:
        raise ParameterError(
            "data",
            f"got {len(source)} examples, and a pilot needs {FEWEST} or more",
            "Train on everything: with so few it costs little",
        )
    if len(source) <= largest:
        return source
    assert source.labels is not None
    labels, units = torch.from_numpy(source.labels), torch.from_numpy(source.units)
    drawn = stratified_units(labels, units, largest, generator=generator(seed, "pilot"))
    return source.take(drawn.numpy())


def run_pilot(
    prepared: Prepared,
    source: Source,
    place: Workplace,
    *,
    methods_: Sequence[Method],
    keep: Sequence[float],
    seed: int,
    epochs: int | None = None,
) -> Pilot:
    """Try every method at every fraction kept.

    Args:
        prepared: the cheap model, joined with `source`.
        source: the part of the data that is looked at (`part_of`).
        methods_: rows whose signals that model gives.
        keep: fractions kept, in (0, 1).
        epochs: of the target, for fresh random subsets in each; None where it has none.
    """
    labels, units = prepared.labels, torch.from_numpy(source.units)
    inner = replace(place, ledger=Ledger(), booked=set())
    at = generator(seed, "pilot folds")
    fold_of = folds(labels, units, FOLDS, generator=at)
    found: dict[tuple[str, float], list[Held]] = {}
    unseen: list[tuple[Tensor, Tensor]] = []
    wanted = frozenset().union(*(method.needs for method in methods_)) - {"labels"} | PREDICTIONS
    wanted |= {"features"} if epochs else set()
    with place.under_way("pilot") as report:
        for fold in range(FOLDS):
            report("folds", fold, FOLDS)
            members, held = ((fold_of != fold).nonzero()[:, 0], (fold_of == fold).nonzero()[:, 0])

            def tell(
                positions: Tensor,
                settled: Mapping[str, float] | None,
                held: Tensor = held,
                fold: int = fold,
            ) -> tuple[Held, Mapping[str, float] | None]:
                found = _trained(
                    prepared, source, inner, positions, PREDICTIONS, held, seed, fold, settled
                )
                return _measured(found.signals.get("log_probs"), labels[held]), found.settled

            both = torch.cat([members, held])
            signals = _trained(prepared, source, inner, members, wanted, both, seed, fold).signals
            said = signals.get("log_probs")[len(members) :]
            found.setdefault((EVERYTHING, 1.0), []).append(_measured(said, labels[held]))
            unseen.append((labels[held], said))
            inside = replace(signals.at(torch.arange(len(members))), labels=labels[members])
            for fraction in keep:
                k = max(1, math.floor(fraction * len(members) + 0.5))
                draws: list[Held] = []
                settled = None  # by the first draw, for all choices of this size
                for draw in range(DRAWS):
                    at = generator(seed, "pilot", fold, "random", draw)
                    drawn = members[random_subset(len(members), k, generator=at)]
                    result, found_settled = tell(drawn, settled)
                    settled = settled or found_settled
                    draws.append(result)
                random = _mean(draws)
                found.setdefault((RANDOM, fraction), []).append(random)
                if epochs:
                    gain = gain_of_fresh(
                        signals.get("features"),
                        labels[both],
                        len(members),
                        k,
                        epochs,
                        derived_seed(seed, "pilot", fold, FRESH),
                    )
                    fresh = replace(random, error=max(0.0, random.error + gain))
                    found.setdefault((FRESH, fraction), []).append(fresh)
                for method in methods_:
                    picks, _ = methods.choose(
                        method,
                        [inside],
                        k,
                        generator=generator(seed, "pilot", fold, method.name),
                        num_classes=prepared.info.num_classes,
                        floor=methods.Floor(labels[members], 1),
                    )
                    result, _ = tell(members[picks.positions], settled)
                    found.setdefault((method.name, fraction), []).append(result)
        report("folds", FOLDS, FOLDS)
    return Pilot(
        found={key: tuple(results) for key, results in found.items()},
        examples=len(source),
        overlap=1 / (FOLDS - 1),
        costs=tuple(inner.ledger.by_phase()),
        noise=label_noise(*(torch.cat(parts) for parts in zip(*unseen, strict=True))),
    )


def _trained(
    prepared: Prepared,
    source: Source,
    place: Workplace,
    members: Tensor,
    wanted: frozenset[str],
    scored: Tensor,
    seed: int,
    fold: int,
    settled: Mapping[str, float] | None = None,
) -> Trained:
    return train(
        place,
        Training(
            prepared=prepared,
            source=source,
            members=members.sort().values,
            seed=derived_seed(seed, "pilot", fold),
            wanted=wanted,
            scored=scored,
            role="pilot",
            settled=settled,
        ),
    )


def _measured(log_probs: Tensor, labels: Tensor) -> Held:
    own = log_probs.double().gather(1, labels[:, None])
    wrong = log_probs.argmax(1) != labels
    return Held(error=float(wrong.double().mean()), loss=-float(own.mean()))


def _mean(results: Sequence[Held]) -> Held:
    return Held(
        error=float(np.mean([each.error for each in results])),
        loss=float(np.mean([each.loss for each in results])),
    )

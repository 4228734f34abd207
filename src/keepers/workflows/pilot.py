"""The pilot: the whole experiment at a small scale, before anything is selected in earnest.

Part of the data is split into folds, and pieces are made of five of them each: as different ones as
there are. In each piece a cheap model is trained on four, every method chooses from them at every
budget, the same cheap model is trained on each choice, and the fifth judges it: selection against a
random choice of the same size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from keepers.baselines import EVERYTHING, FRESH, RANDOM
from keepers.ledger import Cost
from keepers.methods import Method
from keepers.random import derived_seed, generator
from keepers.scores import LabelNoise, label_noise
from keepers.selectors import folds, random_subset
from keepers.statistics import overlap_of
from keepers.types import Signals
from keepers.workflows.fresh import gain_of_fresh
from keepers.workflows.judge import Held, Judge
from keepers.workflows.looked_at import FOLDS, LARGEST
from keepers.workflows.probing import embedded

SEEN = 10
"""Examples of a class that random choices keep in all pieces if its share is measured."""

DRAWS = 2
"""Random choices in each fold: their mean is what a method is held against."""

PREDICTIONS = frozenset({"log_probs"})

Results = dict[tuple[str, float], Held]
"""Of one piece, by method and fraction kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Positions of one piece: what was `chosen` of its `members`, and what judged, `held`.

    Choices stand by method and fraction: `DRAWS` random ones, and one of each method.
    """

    members: Tensor
    held: Tensor
    chosen: dict[tuple[str, float], tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a pilot saw.

    `found[method, keep]` are the results of each fold, in their order; random choices are the
    mean of `DRAWS`, and fresh ones every epoch that with what `gain_of_fresh` finds. `least` is the
    class of which most was left out, and how much of it was kept, over a random choice's part
    (`least_of`). `examples` were looked at, and `judged` of them held out in one piece or another.
    `overlap` is by how much the variance of a mean is more than that of so many folds that share
    nothing; `costs` is all that it cost. `noise` is how many labels are wrong, by the predictions
    for what each fold held out. `smaller`: pieces are smaller than the data that something is
    chosen of. `pieces` are for another model to be trained on (`second_look`), which is called
    `other`. `guessing` is the error of always naming the largest class, 1 where targets are no
    classes.
    """

    found: dict[tuple[str, float], tuple[Held, ...]]
    examples: int
    judged: int
    overlap: float
    costs: tuple[Cost, ...]
    noise: LabelNoise | None = None
    smaller: bool = False
    pieces: tuple[Piece, ...] = ()
    other: str = ""
    guessing: float = 1.0
    least: dict[tuple[str, float], tuple[str, float]] = field(
        default_factory=dict[tuple[str, float], tuple[str, float]]
    )

    @property
    def seconds(self) -> float:
        """Wall-clock seconds, those of stages found again included."""
        return sum(cost.seconds for cost in self.costs)


def run_pilot(
    judge: Judge,
    methods: Sequence[Method],
    keep: Sequence[float],
    *,
    drawn: bool,
    epochs: int | None = None,
) -> Pilot:
    """Try every method at every fraction kept, in each of `FOLDS` pieces.

    Args:
        judge: the cheap model, joined with the part of the data that is looked at (`looked_at`).
        methods: rows whose signals that model gives.
        keep: fractions kept, in (0, 1).
        drawn: whether it is but a part of the data.
        epochs: of the target, for fresh random subsets in each; None where it has none.
    """
    prepared, source, place, seed = judge.prepared, judge.source, judge.place, judge.seed
    labels, units, task = prepared.strata, torch.from_numpy(source.units), prepared.task
    of_classes = task.said in PREDICTIONS
    epochs = epochs if of_classes else None  # what fresh parts gain is estimated of classes alone
    inner = place.aside()
    embedded(inner, prepared, prepared.pool, source.content)  # says how far it is itself
    judge = replace(judge, place=replace(inner, progress=None))
    at = generator(seed, "pilot folds")
    count = min(FOLDS * FOLDS, max(FOLDS, -(-len(source) * FOLDS // LARGEST)))
    fold_of = folds(prepared.proportions, units, count, generator=at)
    pieces = windows(count)
    wanted = frozenset().union(*(method.needs for method in methods)) - {"labels"} | {task.said}
    wanted |= {"features"} if epochs else set()
    trainings, done = FOLDS * (1 + len(keep) * (DRAWS + len(methods))), itertools.count(1)
    results: list[Results] = []
    unseen: list[tuple[Tensor, Tensor]] = []
    tried: list[Piece] = []
    with place.under_way("pilot") as report:

        def trained() -> None:
            report("trainings", next(done), trainings)

        for fold, (judging, *others) in enumerate(pieces):
            members = torch.isin(fold_of, torch.tensor(others)).nonzero()[:, 0]
            held = (fold_of == judging).nonzero()[:, 0]
            both = torch.cat([members, held])
            signals = judge.trained(members, fold, wanted=wanted, scored=both).signals
            trained()
            unseen.append((labels[held], signals.get(task.said)[len(members) :]))
            tried.append(Piece(members=members, held=held, chosen={}))
            whole = {(EVERYTHING, 1.0): judge.measured(unseen[-1][1], held)}
            chosen = _chosen(judge, tried[-1], fold, signals, methods, keep, epochs, trained)
            results.append(whole | chosen)
    names = task.strata_names
    least = {
        key: (names[each], share)
        for key in tried[0].chosen
        for each, share in [least_of(labels, [(p.members, p.chosen[key][0]) for p in tried])]
    }
    return Pilot(
        least=least,
        found={key: tuple(each[key] for each in results) for key in results[0]},
        examples=len(source),
        judged=sum(len(held) for held, _ in unseen),
        overlap=overlap_of([set(others) for _, *others in pieces]),
        costs=tuple(inner.ledger.by_phase()),
        smaller=drawn or count > FOLDS,
        pieces=tuple(tried),
        guessing=1 - float(labels.bincount().max()) / len(labels) if of_classes else 1.0,
        noise=wrong_labels(unseen) if of_classes else None,
    )


def _chosen(
    judge: Judge,
    piece: Piece,
    fold: int,
    signals: Signals,
    methods: Sequence[Method],
    keep: Sequence[float],
    epochs: int | None,
    trained: Callable[[], None],
) -> Results:
    """Choose in a piece by chance and by every method, and say how the judge does after each.

    `signals` are those of its members and of what it holds out; choices are written down in the
    piece, and `trained` is called after each training.
    """
    members, held, found = piece.members, piece.held, Results()
    inside = signals.at(torch.arange(len(members)))
    for fraction in keep:
        k = max(1, math.floor(fraction * len(members) + 0.5))
        seeds = (generator(judge.seed, "pilot", fold, "random", draw) for draw in range(DRAWS))
        piece.chosen[RANDOM, fraction] = tuple(
            members[random_subset(len(members), k, generator=at)] for at in seeds
        )
        draws: list[Held] = []
        settled = None  # by the first draw, for all choices of this size
        for at_random in piece.chosen[RANDOM, fraction]:
            result, found_settled = judge.judged(at_random, held, fold, settled)
            trained()
            settled = settled or found_settled
            draws.append(result)
        random = found[RANDOM, fraction] = _mean(draws)
        if epochs:
            labels = judge.prepared.strata[torch.cat([members, held])]
            seed = derived_seed(judge.seed, "pilot", fold, FRESH)
            features = signals.get("features")
            gain = gain_of_fresh(features, labels, len(members), k, epochs, seed)
            found[FRESH, fraction] = replace(random, error=max(0.0, random.error + gain))
        for method in methods:
            picks = judge.chosen(method, inside, members, k, fold)
            piece.chosen[method.name, fraction] = (picks,)
            found[method.name, fraction], _ = judge.judged(picks, held, fold, settled)
            trained()
    return found


def least_of(labels: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[int, float]:
    """The class that some choices keep least of, and how much over what random ones would keep.

    labels (n,); parts are positions to choose from (m,) and the choice (k,). Classes of which
    random choices would keep under `SEEN` in all are not looked at: (0, 1.0) where all are so.

    >>> labels = torch.tensor([0, 1]).repeat(20)
    >>> least_of(labels, [(torch.arange(40), torch.tensor([*range(0, 40, 2), 1]))])
    (1, 0.0952...)
    """
    num = int(labels.max()) + 1
    kept, usual = torch.zeros(num, dtype=torch.float64), torch.zeros(num, dtype=torch.float64)
    for members, chosen in parts:
        kept += labels[chosen].bincount(minlength=num)
        usual += labels[members].bincount(minlength=num) * (len(chosen) / len(members))
    return least_share(kept, usual)


def least_share(kept: Tensor, usual: Tensor) -> tuple[int, float]:
    """The class of which least was `kept` (c,) over what is `usual` (c,), and that share."""
    shares = torch.where(usual >= SEEN, kept / usual, torch.inf)
    least = int(shares.argmin())
    return (least, float(shares[least])) if shares[least].isfinite() else (0, 1.0)


def windows(count: int) -> list[list[int]]:
    """The folds of each piece, of so many in all: the first one judges.

    Those of a piece lie apart, as examples of a class are dealt to folds that lie side by side.

    >>> windows(5)[:2], windows(25)[:2]
    ([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]], [[0, 6, 12, 18, 24], [5, 11, 17, 23, 4]])
    """
    step = next(each for each in range(count // FOLDS, count) if math.gcd(each, count) == 1)
    order = [place * step % count for place in range(count)]
    starts = [piece * count // FOLDS for piece in range(FOLDS)]
    return [[order[(start + fold) % count] for fold in range(FOLDS)] for start in starts]


def wrong_labels(unseen: Sequence[tuple[Tensor, Tensor]]) -> LabelNoise:
    """How many labels are wrong, by labels (h,) and predictions (h, classes) of held-out parts."""
    return label_noise(*(torch.cat(parts) for parts in zip(*unseen, strict=True)))


def _mean(results: Sequence[Held]) -> Held:
    return Held(
        error=float(np.mean([each.error for each in results])),
        loss=float(np.mean([each.loss for each in results])),
    )

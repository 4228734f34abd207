"""Training data made wrong, rare or redundant on purpose, and what was done to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from keepers.data import (
    Source,
    corrupt_confused,
    corrupt_labels,
    corrupt_targets,
    duplicate,
    relevance_subset,
)
from keepers.errors import ParameterError
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.selectors import stratified_units
from keepers.words import counted
from keepers.workflows.options.compare_online import Corruption
from keepers.workflows.options.shared import Say
from keepers.workflows.stages import Training, train
from keepers.workflows.workplace import Workplace

CONFUSED = 4  # classes whose labels structured noise exchanges
RARE = 0.06  # kept of each class of low relevance

Partners = Callable[[Source], Mapping[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrupted:
    """The data as they are trained on and tested on.

    `holdout` are the data of the irreducible-loss model, their labels changed alike, or a fraction
    as it was given. `marks` are masks (n,) of what was changed, by name; `facts` say it in numbers.
    """

    source: Source
    test: Source
    holdout: Any
    marks: dict[str, Tensor]
    facts: dict[str, Any]


def corrupt(
    source: Source,
    test: Source,
    holdout: Any,
    corruption: Corruption,
    partners: Partners,
    say: Say,
) -> Corrupted:
    """Do all but the duplicates, which are repeated positions: see `duplicated`.

    `partners` names for each of the most confused classes the one it is confused with. Holdout
    data get the same noise, by a draw of their own: were they clean, the irreducible-loss model
    would know more than there is to know. They keep all classes whole.
    """
    marks: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for name in ("structured_noise", "relevance"):
        if getattr(corruption, name) and source.other_task is not None:
            raise ParameterError(
                name, f"got a value, but the targets are {source.task.plural}", "Give noise"
            )
    if corruption.relevance is not None:
        source, test, marks["low_relevance"], named = _rare(source, test, corruption.relevance)
        rare = int(marks["low_relevance"].sum())
        facts |= {"relevant_classes": named, "low_relevance": rare}
        say(
            f"Kept {counted(len(named), 'class', 'classes')} whole and {RARE:.0%} of the others: "
            f"{counted(rare, 'example')}"
        )
        if isinstance(holdout, Source):
            facts["holdout_relevance"] = "as it was"
            say("The holdout data keep all of every class")
    pairs = partners(source) if corruption.structured_noise else {}
    if pairs:
        names = source.class_names
        facts["confused"] = {names[a]: names[b] for a, b in sorted(pairs.items())}
    if corruption.noise or pairs:
        draw = generator(0, "noise")
        source, marks["corrupted"] = noisy(source, corruption, pairs, draw)
        facts["corrupted"] = int(marks["corrupted"].sum())
        say(f"Changed {counted(facts['corrupted'], 'training label')} {into(source)}")
        if isinstance(holdout, Source):
            draw = generator(0, "noise", "holdout")
            holdout, changed = noisy(holdout, corruption, pairs, draw)
            facts["holdout_corrupted"] = int(changed.sum())
            say(f"Changed {counted(facts['holdout_corrupted'], 'label')} of the holdout data too")
    return Corrupted(source=source, test=test, holdout=holdout, marks=marks, facts=facts)


def noisy(
    source: Source, corruption: Corruption, pairs: Mapping[int, int], draw: torch.Generator
) -> tuple[Source, Tensor]:
    """The data with changed labels, and which were changed (n,), bool."""
    if source.other_task is not None and source.targets is not None:
        targets, changed = corrupt_targets(source.targets, corruption.noise, generator=draw)
        labels = targets.numpy() if isinstance(targets, Tensor) else targets
        return replace(source, labels=labels), changed
    labels = torch.from_numpy(source.labels)
    if pairs:
        labels, changed = corrupt_confused(
            labels, pairs, corruption.structured_noise, generator=draw
        )
    else:
        classes = len(source.class_names)
        labels, changed = corrupt_labels(labels, classes, corruption.noise, generator=draw)
    return replace(source, labels=labels.numpy()), changed


def into(source: Source) -> str:
    """What `noisy` changes targets to, in words."""
    return "to another class" if source.other_task is None else "to those of other examples"


def _rare(source: Source, test: Source, relevant: int) -> tuple[Source, Source, Tensor, list[str]]:
    classes = len(source.class_names)
    if relevant >= classes:
        raise ParameterError(
            "relevance", f"got {relevant} of {classes} classes", "Leave some to be rare"
        )
    whole = torch.randperm(classes, generator=generator(0, "relevance"))[:relevant].tolist()
    found: list[tuple[Source, Tensor]] = []
    for part, name in ((source, "train"), (test, "test")):
        kept, low = relevance_subset(
            torch.from_numpy(part.labels),
            classes,
            whole,
            RARE,
            generator=generator(0, "relevance", name),
        )
        found.append((part.take(kept.numpy()), low))
    (source, low), (test, _) = found
    return source, test, low, sorted(source.class_names[number] for number in whole)


def duplicated(members: Tensor, corruption: Corruption) -> tuple[Tensor, Tensor]:
    """The members with their copies, and which members are there more than once (m,), bool.

    A copy is the same position once more, so that no model whose losses count as held out has
    seen it.

    >>> repeated, copied = duplicated(torch.tensor([3, 5]), Corruption(duplicate=0.5))
    >>> len(repeated), int(copied.sum())
    (3, 1)
    """
    if not corruption.duplicate:
        return members, torch.zeros(len(members), dtype=torch.bool)
    repeated, copies = duplicate(
        members,
        corruption.duplicate,
        corruption.duplicate_times,
        generator=generator(0, "duplicate"),
    )
    return repeated, torch.isin(members, repeated[copies])


def confusion(prepared: Prepared, source: Source, place: Workplace) -> Tensor:
    """How often each class is taken for each other: (classes, classes) counts.

    A model is trained on a random half, balanced by class, and confuses the other half.
    """
    labels = prepared.strata
    units, half = torch.from_numpy(source.units), len(labels) // 2
    drawn = stratified_units(labels, units, half, generator=generator(0, "confusion"))
    trained = train(
        place,
        Training(
            prepared=prepared,
            source=source,
            members=drawn.sort().values,
            seed=derived_seed(0, "confusion"),
            wanted=frozenset({"log_probs"}),
            role="confusion",
        ),
    )
    held_out = torch.ones(len(labels), dtype=torch.bool)
    held_out[drawn] = False
    classes = prepared.info.num_classes
    taken_for = trained.signals.get("log_probs")[held_out].argmax(1)
    pairs = labels[held_out] * classes + taken_for
    return pairs.bincount(minlength=classes * classes).reshape(classes, classes)

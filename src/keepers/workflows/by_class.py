"""What a selection does to each class: what is lost, uneven, or another share than before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from keepers.baselines import SAFE
from keepers.words import counted, listed
from keepers.workflows.options.coreset import CoresetOptions

OF_CLASSES = ("class", "classes")
EXTREME = 4.0
CHANGED = 0.15
BALANCED = "with equal shares it was wrong more often on 6 of 10 data sets, by up to 31 points"
"""What equal shares did to the error on data with the classes as they come (class_shares.py)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ByClass:
    """How many examples each class has, `sizes` (c,), and `keeps` (c,).

    There are `num` examples, of which `num_kept` are kept: fewer than the classes have together
    where one may have several. `of` is what one class is called, and several.
    """

    sizes: Tensor
    keeps: Tensor
    num: int
    num_kept: int
    names: Sequence[str]
    of: tuple[str, str] = OF_CLASSES

    @classmethod
    def count(
        cls,
        labels: Tensor,
        kept: Tensor,
        names: Sequence[str],
        of: tuple[str, str] = OF_CLASSES,
        *,
        at: Tensor | None = None,
    ) -> Self:
        """From the class of each example (n,), and whether it is kept (n,).

        `at` (m,) are the examples that classes (m,) are of, where one may have several, or none.
        """
        kept_at = kept if at is None else kept[at]
        examples = kept if at is None else kept[at.unique()]
        sizes, keeps = (part.bincount(minlength=len(names)) for part in (labels, labels[kept_at]))
        num, num_kept = len(examples), int(examples.sum())
        return cls(sizes=sizes, keeps=keeps, num=num, num_kept=num_kept, names=names, of=of)

    def lost(self) -> list[str]:
        """Warnings of classes that keep nothing."""
        gone = (self.sizes > 0) & (self.keeps == 0)
        lost = [f"'{name}'" for name, is_gone in zip(self.names, gone, strict=True) if is_gone]
        if not lost:
            return []
        there = int((self.sizes > 0).sum())
        remedy = "--min-per-class 1 keeps one of each"
        if self.num_kept < there:
            remedy = f"Keep {there:,} or more"
        told = counted(len(lost), f"{self.of[0]} loses all its", f"{self.of[1]} lose all their")
        return [f"{told} examples: {listed(lost, 3)}. {remedy}"]

    def few(self, least: int) -> list[str]:
        """Warnings of a budget that does not reach `least` of each class."""
        floors = self.sizes.clamp(max=least)
        if least < 2 or not bool((self.keeps < floors).any()):
            return []
        return [
            f"{self.num_kept:,} examples are too few for {least:,} of each {self.of[0]} (or all "
            f"that it has): the budget is shared evenly. At least {int(floors.sum()):,} are needed"
        ]

    def uneven(self) -> list[str]:
        """Warnings of classes that are too small for their equal share, and so are kept whole."""
        sizes, keeps = self.sizes.tolist(), self.keeps.tolist()
        share = max(keeps)
        short = [
            f"'{name}' ({size:,})"
            for name, size, keep in zip(self.names, sizes, keeps, strict=True)
            if 0 < size == keep < share - 1
        ]
        if not short or keeps == sizes:
            return []
        has = "has fewer examples than an equal share and is"
        have = "have fewer examples than an equal share and are"
        few = counted(len(short), f"{self.of[0]} {has}", f"{self.of[1]} {have}")
        shown = listed(short, 3)
        return [f"--balance class: {few} kept whole: {shown}. The others keep up to {share:,} each"]

    def changed(self, option: str = "--balance class", remedy: str = "Leave it out") -> list[str]:
        """Warnings of an `option` that changes how often classes occur, and the `remedy`.

        It does where over `CHANGED` of what is kept is more than its class has of all.
        """
        before, after = (
            part.double() / max(1, int(part.sum())) for part in (self.sizes, self.keeps)
        )
        if float((after - before).clamp(min=0).sum()) <= CHANGED:
            return []
        most = int((after - before).abs().argmax())
        return [
            f"{option} makes '{self.names[most]}' {float(after[most]):.1%} of what is kept, and it "
            f"is {float(before[most]):.1%} of all: a model trained on it finds more of the rare "
            f"classes, but {BALANCED}. {remedy} if all errors count alike, or measure it: keepers "
            "compare"
        ]

    def extreme(self, *, least: int = 0) -> list[str]:
        """Warnings of classes whose kept share is extreme.

        It is where it is under half of that of all examples, or what is dropped is under half, and
        more than `EXTREME` standard deviations of a random draw of that size away. A class of
        which no more than the floor `least` is kept is not kept too often: the floor keeps it.
        """
        there = self.sizes > 0
        sizes, keeps = self.sizes[there], self.keeps[there]
        share, overall = keeps / sizes, self.num_kept / max(1, self.num)
        chance = (overall * (1 - overall) / sizes).sqrt()
        far = (share - overall).abs() > EXTREME * chance
        much = (1 - share < (1 - overall) / 2) & (keeps > least)
        if not bool((far & ((share < overall / 2) | much)).any()):
            return []
        low, high = int(share.argmin()), int(share.argmax())
        known = [name for name, here in zip(self.names, there.tolist(), strict=True) if here]
        return [
            f"the kept share of '{known[low]}' is {float(share[low]):.1%} and of '{known[high]}' "
            f"{float(share[high]):.1%}, against {overall:.1%} of all: the selection changes the "
            f"frequency of each {self.of[0]}. --method {SAFE} keeps it"
        ]


def tell_floor(
    labels: torch.Tensor,
    names: Sequence[str],
    config: CoresetOptions,
    of: tuple[str, str] = OF_CLASSES,
) -> str:
    """What the floor did, in a sentence: labels (f,) of the examples that it put in."""
    found = [f"'{names[label]}'" for label in labels.unique().tolist()]
    return (
        f"--min-per-class {config.least()} added {counted(len(labels), 'example')} of "
        f"{counted(len(found), *of)} that {config.method} keeps too few of ({listed(found, 3)}), "
        "in place of its last picks of others"
    )

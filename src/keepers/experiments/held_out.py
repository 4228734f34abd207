"""What a tuned language model is measured on: held-out answers, and telling them from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from keepers.files import fingerprint, hash_bytes
from keepers.models import LanguageModel, TokenSequence
from keepers.processes import Runtime
from keepers.random import generator
from keepers.signals import read_through

OTHERS = 3
"""Answers of other conversations beside which the true one stands."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How good a model is on held-out conversations.

    `loss` is the mean in nats over all tokens of the answers; `loss_by_conversation` the mean over
    conversations of theirs. `told_apart` is the share of the last answers that are likelier per
    token than each of `OTHERS` answers to other prompts; None where nobody asked.
    """

    loss: float
    loss_by_conversation: float
    told_apart: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Held-out conversations as tokens.

    `others` (n, m) are those whose last answers stand beside the true one, drawn once, so that all
    models answer the same questions; m is 0 where nothing is to be told apart.
    """

    sequences: Sequence[TokenSequence]
    others: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], *, choices: bool) -> HeldOut:
        """Held-out sequences; with `choices`, others are drawn beside each, at most all others.

        Others with the same last answer are drawn only where too few have another: nothing tells
        two equal answers apart.
        """
        n = len(sequences)
        m = min(OTHERS, n - 1) if choices else 0
        if not m:
            return cls(sequences=sequences, others=torch.empty(n, 0, dtype=torch.int64))
        draw = generator(0, "others")
        said = torch.tensor(_numbered([_answer(each) for each in sequences]))
        others: list[Tensor] = []
        for at in range(n):
            found = torch.randperm(n - 1, generator=draw)
            found += (found >= at).long()  # not the conversation itself
            same = said[found] == said[at]
            others.append(torch.cat([found[~same], found[same]])[:m])
        return cls(sequences=sequences, others=torch.stack(others))

    @cached_property
    def fingerprint(self) -> str:
        """Of the tokens, what is learnt of them, and the others."""
        parts = [hash_bytes(torch.stack([s.ids, s.learnt.long()]).numpy()) for s in self.sequences]
        return fingerprint(parts, self.others.tolist())

    def measure(self, model: LanguageModel, runtime: Runtime) -> Measure:
        """How good a model is on them."""
        read = read_through(model, self.sequences, runtime=runtime)
        means = read.sums / read.counts
        told_apart = None
        if self.others.numel():
            told_apart = float(self._told_apart(model, runtime, means).double().mean())
        return Measure(
            loss=float(read.sums.sum() / read.counts.sum()),
            loss_by_conversation=float(means.mean()),
            told_apart=told_apart,
        )

    def _told_apart(self, model: LanguageModel, runtime: Runtime, means: Tensor) -> Tensor:
        """Whether (n,) the last answer of each is the likeliest, per token, of all beside it.

        A conversation of one answer was read already, with the mean loss that is given.
        """
        n, m = self.others.shape
        losses = torch.empty(n, 1 + m, dtype=torch.float64)
        losses[:, 0] = means
        places: list[tuple[int, int]] = []
        asked: list[TokenSequence] = []
        for at, row in enumerate(self.others.tolist()):
            own = self.sequences[at]
            for place, by in enumerate([at, *row]):
                found = answered(own, self.sequences[by], model.length)
                same = place == 0 and torch.equal(found.ids, own.ids[: len(found.ids)])
                if not (same and int(found.learnt.sum()) == int(own.learnt.sum())):
                    places.append((at, place))
                    asked.append(found)
        read = read_through(model, asked, runtime=runtime)
        rows, columns = torch.tensor(places).T
        losses[rows, columns] = read.sums / read.counts
        return losses[:, 0] < losses[:, 1:].amin(1)


def answered(asked: TokenSequence, by: TokenSequence, length: int) -> TokenSequence:
    """A conversation up to its last answer, and the last answer of another in place of it.

    What is over `length` tokens is cut at the beginning, up to half of it at the end.

    >>> learnt = torch.tensor([0, 1, 0, 1, 1]).bool()
    >>> one = TokenSequence(ids=torch.arange(5), learnt=learnt)
    >>> other = TokenSequence(ids=torch.arange(10, 15), learnt=torch.tensor([0, 0, 1, 1, 0]).bool())
    >>> answered(one, other, 99).ids.tolist()
    [0, 1, 2, 12, 13]
    """
    prompt = asked.ids[: _last(asked)[0]]
    start, stop = _last(by)
    answer = by.ids[start:stop][: max(1, length // 2)]
    prompt = prompt[-(length - len(answer)) :]
    learnt = torch.zeros(len(prompt) + len(answer), dtype=torch.bool)
    learnt[len(prompt) :] = True
    return TokenSequence(ids=torch.cat([prompt, answer]), learnt=learnt)


def _answer(sequence: TokenSequence) -> tuple[int, ...]:
    start, stop = _last(sequence)
    return tuple(sequence.ids[start:stop].tolist())


def _numbered(values: Sequence[tuple[int, ...]]) -> list[int]:
    """A number for each value, the same for equal ones."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [numbers[value] for value in values]


def _last(sequence: TokenSequence) -> tuple[int, int]:
    """Where the last answer begins and ends."""
    told = sequence.learnt.nonzero().squeeze(1)
    stop = int(told[-1]) + 1
    gaps = (~sequence.learnt[:stop]).nonzero().squeeze(1)
    return int(gaps[-1]) + 1, stop

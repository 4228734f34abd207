"""The conversations that a target is tuned on, as its tokens, and where that is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from torch import Tensor

from keepers.data import Source
from keepers.experiments.tuning_target import target_of
from keepers.models import LanguageModel, TokenSequence, language_model
from keepers.roles import Role
from keepers.workflows.conversations import as_tokens, token_counts
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.workplace import Workplace

EPOCHS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningPool:
    """The pool as tokens of the target, what a comparison of it asks for, and where stages run."""

    options: CompareOptions
    place: Workplace
    source: Source
    target: LanguageModel
    role: Role
    sequences: Sequence[TokenSequence]

    @classmethod
    def open(cls, source: Source, options: CompareOptions, place: Workplace) -> Self:
        """Open the target, and write the conversations as its tokens.

        Raises:
            ParameterError: no target that is a causal language model, or options that it does not
                take.
            DataError: conversations that its template cannot write.
        """
        role = target_of(options)
        target = language_model(role.model, "target", length=role.options.get("length"))
        source, sequences = as_tokens(source, target, place.on_bad_row, place.say, "target")
        return cls(
            options=options,
            place=place,
            source=source,
            target=target,
            role=role,
            sequences=sequences,
        )

    @cached_property
    def tokens(self) -> Tensor:
        """Of each conversation (n,)."""
        return token_counts(self.sequences)

    @property
    def epochs(self) -> int:
        """How often a choice that fills its budget is seen."""
        return self.role.epochs or EPOCHS

"""`train` of conversations: what a language model is tuned on, and what chooses, checked."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from keepers import processes
from keepers.baselines import UNIFORM
from keepers.data import Source
from keepers.errors import DataError, MissingExtraError, ParameterError, renamed
from keepers.files import hash_bytes
from keepers.models import (
    ChatTokenizer,
    LanguageModel,
    TokenSequence,
    chat_tokenizer,
    language_model,
)
from keepers.online import IrreducibleLosses, TokenSelector
from keepers.options import cut
from keepers.roles import Role
from keepers.types import Budget
from keepers.words import counted
from keepers.workflows.conversations import as_tokens, conversation
from keepers.workflows.language_roles import language_role
from keepers.workflows.online.selections import AUTO, RHO_LOSS, TOKENS, check_used
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.irreducible import IrreducibleOptions
from keepers.workflows.options.shared import HardwareOptions
from keepers.workflows.options.training import TrainOptions
from keepers.workflows.reference import reference_losses
from keepers.workflows.workplace import Workplace

TAKEN = (AUTO, UNIFORM, TOKENS, RHO_LOSS)
"""What can be selected by; `auto` is uniform here, as nothing was measured to be better."""
EPOCHS, BATCH, LR = 3, 8, 2e-5
OF_TRAINING = ("batch_size", "epochs", "lr", "weight_decay")
"""What can be said of the training of a language model; the optimiser is AdamW."""
SAMPLE = 20
"""Conversations in which a reference is compared with the target."""
EVALUATIONS = 10  # of a training, and checkpoints
_OF_OTHERS = (
    *("seconds", "until", "stand_in", "max_age", "score_part", "score_resolution", "scorers"),
    *("max_staleness", "shortlist", "ray", "holdout", "il_epochs", "folds", "batch_norm"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """A target, what it is tuned on, and what chooses.

    `values` (n,) are the losses of a reference model, for rho-loss; `reference` is that model, for
    tokens. `held_out` are conversations that judge.
    """

    target: LanguageModel
    role: Role
    sequences: Sequence[TokenSequence]
    options: TrainOptions
    select: str
    held_out: Sequence[TokenSequence] = ()
    values: Tensor | None = None
    reference: LanguageModel | None = None

    @property
    def batch(self) -> int:
        """Conversations of a step, before anything is chosen."""
        size = self.role.batch_size or BATCH
        size = round(size / self.options.keep) if self.select == RHO_LOSS else size
        return min(size, len(self.sequences))

    @property
    def epochs(self) -> int:
        """Passes over the conversations, or over the candidates."""
        return self.options.epochs or self.role.epochs or EPOCHS

    @property
    def lr(self) -> float:
        """The learning rate at its highest."""
        return self.role.lr or LR

    @property
    def weight_decay(self) -> float:
        """Of the optimiser; none where nobody asks for it."""
        return self.role.weight_decay or 0.0

    def settings(self) -> dict[str, Any]:
        """The target, and how it is tuned, defaults filled in."""
        return {
            "model": self.role.model,
            "length": self.target.length,
            "batch_size": self.role.batch_size or BATCH,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "optimizer": "adamw",
            "schedule": "cosine",
            "steps": self.steps,
        }

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.options.steps or self.epochs * -(-len(self.sequences) // self.batch)

    @property
    def step_words(self) -> str:
        """What a step is on."""
        if self.select != RHO_LOSS:
            return f"{self.batch}"
        chosen = Budget.parse(self.options.keep).resolve(self.batch)
        return f"{chosen} of {counted(self.batch, 'candidate')}"

    @property
    def seen(self) -> int:
        """Conversations of all steps; the last batch of a pass holds what is left."""
        passes, left = divmod(self.steps, -(-len(self.sequences) // self.batch))
        return passes * len(self.sequences) + min(left * self.batch, len(self.sequences))

    @property
    def keep(self) -> float:
        """The share of the tokens that has a say in a step."""
        return float(self.options.select_options.get("keep", TokenSelector().budget.value))

    def inputs(self, hardware: Mapping[str, Any], content: str) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "data": content,
            "model": self.target.fingerprint,
            "role": asdict(self.role),
            "select": self.select,
            "steps": self.steps,
            "epochs": self.epochs,
            "keep": self.keep if self.select == TOKENS else self.options.keep,
            "seed": self.options.seed,
            "values": None if self.values is None else hash_bytes(self.values.numpy()),
            "reference": None if self.reference is None else self.reference.fingerprint,
            "held out": [hash_bytes(each.ids.numpy()) for each in self.held_out],
            "every": self.every,
            "hardware": hardware,
        }

    @property
    def every(self) -> int:
        """Steps between measurements, and between checkpoints."""
        return self.options.evaluate_every or max(1, self.steps // EVALUATIONS)


def tuning_of(
    source: Source, test: Source | None, options: TrainOptions, place: Workplace
) -> tuple[Source, Tuning, IrreducibleLosses | None]:
    """Everything opened and checked: the data, the tuning, and losses of a reference, if any.

    Raises:
        ParameterError: no target, a selection or an option that is not for conversations, or no
            reference for a selection that needs one.
        MissingExtraError: transformers or accelerate are not installed.
    """
    select = _selection(options)
    role = language_role(options.model, "model", takes=OF_TRAINING)
    _check(options, select)
    target = language_model(role.model, "model", length=role.options.get("length"))
    source, sequences = as_tokens(source, target, place.on_bad_row, place.say, "model")
    say_skipped(source, place.say)
    found = Tuning(target=target, role=role, sequences=sequences, options=options, select=select)
    if test is not None:
        _, held_out = as_tokens(test, target, place.on_bad_row, place.say, "model")
        found = replace(found, held_out=held_out)
    losses = None
    if select != UNIFORM and options.il_model is not None:
        given = language_role(options.il_model, "il_model")
        length = given.options.get("length")
        if select == TOKENS:
            reference = language_model(given.model, "il_model", length=length)
            found = replace(found, reference=reference)
        else:
            reference = chat_tokenizer(given.model, "il_model", length=length)
        _check_same_tokens(found, reference)
        _check_written_alike(source, found, reference, place)
    if select == RHO_LOSS:
        losses = _losses(source, options, place)
        _check_whole(losses, max(len(each.ids) for each in sequences))
        found = replace(found, values=losses.of(source))
    return source, found, losses


def _check_same_tokens(tuning: Tuning, reference: ChatTokenizer) -> None:
    """Refuse a reference with another tokenizer: its losses are of other tokens."""
    used = torch.cat([each.ids for each in tuning.sequences]).unique().tolist()
    for number in used:
        own, other = (
            each.tokenizer.convert_ids_to_tokens(number) for each in (tuning.target, reference)
        )
        if own != other:
            raise ParameterError(
                "il_model",
                f"its token {number} is {other!r}, and that of the model {own!r}",
                "Name a reference with the same tokens: losses of others cannot be compared",
            )


def _check_written_alike(
    source: Source, tuning: Tuning, reference: ChatTokenizer, place: Workplace
) -> None:
    """Compare what a reference makes of a few conversations, and of the longest, with the target.

    Losses of a reference are of what it makes of them: others than the target's are refused. Where
    it reads what the target reads, a warning tells that it was tuned on something else.

    Raises:
        ParameterError: other tokens, or conversations that are too long for the reference.
    """
    sizes = [len(each.ids) for each in tuning.sequences]
    longest = sizes.index(max(sizes))
    if sizes[longest] > reference.length:
        raise ParameterError(
            "il_model",
            f"reads at most {reference.length:,} tokens, but the model {sizes[longest]:,}",
            "Give both the same length: --set model.options.length=N and il_model.options.length=N",
        )
    for at in (*range(min(SAMPLE, len(sizes))), longest):
        try:
            written = reference.sequence(conversation(source, at)).ids
        except DataError:
            written = torch.empty(0)
        if torch.equal(written, tuning.sequences[at].ids):
            continue
        found = f"formats conversations in another way than the model (row {source.rows[at]})"
        remedy = "Use a reference that was tuned with the chat template of the model"
        if tuning.select == RHO_LOSS:
            raise ParameterError("il_model", found, remedy)
        place.say(f"Warning: il_model {found}. {remedy}")
        return


def _selection(options: TrainOptions) -> str:
    """What chooses: by default conversations of a step, where there is a reference to choose by."""
    if options.select == AUTO or (
        options.select is None and options.il is None and options.il_model is None
    ):
        return UNIFORM
    return options.select or RHO_LOSS


def _check(options: TrainOptions, select: str) -> None:
    if select not in TAKEN:
        raise ParameterError(
            "select", f"got '{select}', which chooses no conversations", f"Give one of {TAKEN}"
        )
    check_used(select, options)
    for name in _OF_OTHERS:
        if getattr(options, name) != getattr(TrainOptions, name):
            raise ParameterError(
                name,
                f"got {getattr(options, name)}, but the data are conversations",
                "Leave it out",
            )
    if processes.started() > 1:
        raise ParameterError(
            "data",
            "got conversations in several processes",
            "keepers train tunes in one; SelectingTrainerMixin works in a Trainer of several",
        )
    if select in (TOKENS, UNIFORM) and options.il is not None:
        raise ParameterError(
            "il", f"got {options.il}, but '{select}' does not use losses", "Leave it out"
        )
    if select == TOKENS and options.il_model is None:
        raise ParameterError(
            "il_model",
            "got none, but tokens are chosen by their excess loss over a reference model",
            "Name a causal language model that was tuned on good data: --il-model hf:PATH",
        )
    if select == RHO_LOSS and options.il_model is None and options.il is None:
        raise ParameterError(
            "il",
            "got none, but conversations are chosen by their excess loss over a reference model",
            "Give the file of 'keepers il --model hf:PATH', or name the model with --il-model "
            "hf:PATH; --select uniform chooses nothing",
        )
    for name in ("transformers", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError("keepers train of conversations", "hf")


def _check_whole(losses: IrreducibleLosses, longest: int) -> None:
    """Refuse losses of the beginnings of conversations that are trained on for longer."""
    made = losses.metadata.get("model")
    length = made.get("length") if isinstance(made, Mapping) else None
    if length is not None and longest > length:
        raise ParameterError(
            "il",
            f"holds losses of the first {length:,} tokens, but the model reads {longest:,}",
            "Give both the same length: --set model.options.length=N",
        )


def _losses(source: Source, options: TrainOptions, place: Workplace) -> IrreducibleLosses:
    if options.il is not None:
        given = options.il
        return given if isinstance(given, IrreducibleLosses) else IrreducibleLosses.load(given)
    reading = IrreducibleOptions(model=options.il_model, **vars(cut(options, HardwareOptions)))
    with renamed({"model": "il_model"}):
        return reference_losses(source, reading, place)

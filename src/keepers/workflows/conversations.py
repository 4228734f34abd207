"""Scoring what language models are tuned on: a model reads it as it is, and is not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from keepers import methods as table
from keepers.choices import OnBadRow
from keepers.data import SkippedRow, Source, answers, open_source
from keepers.errors import DataError, ParameterError, about, first_few
from keepers.methods import Method, in_words
from keepers.models import (
    PROBE,
    ChatTokenizer,
    LanguageModel,
    TokenSequence,
    chat_tokenizer,
    language_model,
)
from keepers.roles import Role
from keepers.types import Signals
from keepers.words import counted, listed
from keepers.workflows.encoder_readings import check_gives, encoder_signals
from keepers.workflows.language_roles import language_role
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.options.shared import AUTO, Say
from keepers.workflows.readings import COMPARED, Targets, read_signals
from keepers.workflows.workplace import Workplace


def conversation(source: Source, position: int) -> Mapping[str, Any]:
    """One example."""
    return json.loads(source.inputs[position].as_py())  # pyright: ignore


def lengths(source: Source) -> Tensor:
    """Characters (n,) of the answers."""
    found = [sum(map(len, answers(conversation(source, at)))) for at in range(len(source))]
    return torch.tensor(found, dtype=torch.float32)


def language_signals(
    source: Source,
    method: Method,
    needs: frozenset[str],
    config: CoresetOptions,
    place: Workplace,
    model: LanguageModel | None = None,
) -> tuple[Source, Signals, Tensor | None]:
    """What a method `needs` of a language model, of the conversations that it could read.

    Beside those conversations and their signals, their tokens (n,); None where the proxy is an
    encoder. `model` is the proxy, where it is open already.

    Raises:
        ParameterError: no proxy, or one that does not give what the method needs; no target
            examples for a method that compares with them.
        DataError: conversations that the template of the model cannot write.
    """
    if config.proxy is None:
        raise ParameterError(
            "proxy",
            f"got none, but '{method.name}' needs a language model for {in_words(needs)}",
            "Name one with --proxy hf:PATH: a folder, a GGUF file or a hub name. Without one: "
            "random, longest, and with --label stratified",
        )
    _check_as_it_is(config)
    encoder = Role.parse(config.proxy, "hf:")
    if encoder.model.startswith(PROBE):
        check_gives(encoder, method, needs)
        if config.keep_tokens is not None:
            raise ParameterError(
                "keep_tokens",
                f"got {config.keep_tokens}, but the proxy '{encoder.model}' is an encoder: its "
                "tokens are not those of the model that you will tune",
                "Give a number of rows with --keep, or name a causal language model",
            )
        targets = opened_targets(config, needs)
        return source, encoder_signals(source, targets, encoder, place), None
    role = language_role(config.proxy, "proxy")
    if model is None:
        model = language_model(role.model, "proxy", length=role.options.get("length"))
    likened = opened_targets(config, needs)
    source, sequences = as_tokens(source, model, place.on_bad_row, place.say)
    tokens = token_counts(sequences)
    like = None
    if likened is not None:
        of_targets = place.saying(lambda told: place.say(f"Targets: {told}"))
        with about("similar_to"):
            like = Targets(*as_tokens(likened, model, place.on_bad_row, of_targets.say))
    place.say(f"Proxy: {role.model} reads {int(tokens.sum()):,} tokens, without training")
    return source, read_signals(source, model, sequences, needs, place, like), tokens


def counted_tokens(
    source: Source, config: CoresetOptions, place: Workplace
) -> tuple[Source, Tensor]:
    """The conversations that the tokenizer of the proxy can write, and their tokens (n,).

    Those of prompts and answers, as a trainer sees them.

    Raises:
        ParameterError: no proxy, or none that has such a tokenizer.
        DataError: as `language_signals`.
    """
    if config.proxy is None:
        raise ParameterError(
            "keep_tokens",
            f"got {config.keep_tokens}, but there is no tokenizer to count tokens with",
            "Name the model that you will tune with --proxy hf:PATH (only its tokenizer is "
            "read), or give a number of rows with --keep",
        )
    _check_as_it_is(config)
    role = language_role(config.proxy, "proxy")
    tokenizer = chat_tokenizer(role.model, "proxy", length=role.options.get("length"))
    source, sequences = as_tokens(source, tokenizer, place.on_bad_row, place.say)
    return source, token_counts(sequences)


def say_unused(
    names: Sequence[str], say: Say, *, similar_to: Any = None, quality: str | None = None
) -> None:
    """Say so where none of the methods uses --similar-to or --quality."""
    needs = frozenset[str]().union(*(table.get(name).needs for name in names if name != AUTO))
    who = listed([f"'{name}'" for name in names], 5)
    verb = "does" if len(names) == 1 else "do"
    if similar_to is not None and not needs & COMPARED:
        say(f"Warning: {who} {verb} not use target examples: --similar-to has no effect")
    if quality is not None and "qualities" not in needs:
        say(f"Warning: {who} {verb} not use quality scores: --quality has no effect")


def token_counts(sequences: Sequence[TokenSequence]) -> Tensor:
    """How many tokens (n,) sequences have."""
    return torch.tensor([len(each.ids) for each in sequences], dtype=torch.int64)


def _check_as_it_is(config: CoresetOptions) -> None:
    """Refuse what is for models that are trained."""
    for name, given in (("epochs", config.epochs), ("ensemble", config.ensemble)):
        if given is not None:
            raise ParameterError(
                name, f"got {given}, but a language model is used without training", "Leave it out"
            )


def opened_targets(config: CoresetOptions, needs: frozenset[str]) -> Source | None:
    """The target examples, for signals that compare with them.

    Raises:
        ParameterError: none are given.
    """
    if not needs & COMPARED:
        return None
    if config.similar_to is None:
        raise ParameterError(
            "similar_to",
            f"got none, but '{config.method}' needs target examples to compare with",
            "Give a file of target examples with --similar-to (similar_to=...)",
        )
    with about("similar_to"):
        return open_source(config.similar_to, task="tokens", on_bad_row=config.on_bad_row)


def as_tokens(
    source: Source,
    model: ChatTokenizer,
    on_bad_row: OnBadRow,
    say: Say,
    parameter: str = "proxy",
) -> tuple[Source, list[TokenSequence]]:
    """The conversations that a model can read, as tokens; `parameter` is what names the model.

    Raises:
        DataError: as `language_signals`.
    """
    found: list[TokenSequence] = []
    bad: dict[int, str] = {}
    for at in range(len(source)):
        try:
            found.append(model.sequence(conversation(source, at)))
        except DataError as error:
            bad[at] = str(error)
    rows = source.rows.tolist()
    if bad and (on_bad_row == "error" or not found):
        raise DataError(
            f"data: {counted(len(bad), 'conversation')} cannot be read by the {parameter} "
            f"({first_few([f'row {rows[at]}: {why}' for at, why in bad.items()])}). Correct them, "
            "leave them out with --on-bad-row skip (on_bad_row='skip'), or take another "
            f"--{parameter}"
        )
    if bad:
        skipped = [SkippedRow(row=rows[at], id=source.ids[at], problem=bad[at]) for at in bad]
        good = [at for at in range(len(source)) if at not in bad]
        source = replace(source.take(good), skipped=(*source.skipped, *skipped))
    cut = sum(each.cut for each in found)
    changed = [row for row, each in zip(source.rows.tolist(), found, strict=True) if each.changed]
    if not model.has_template:
        say(f"The tokenizer of the {parameter} has no chat template: chats are read as plain texts")
    if changed:
        say(
            f"The chat template of the {parameter} leaves out or rewrites turns of "
            f"{counted(len(changed), 'conversation')} (first: row {changed[0]})"
        )
    if cut:
        say(
            f"{counted(cut, 'conversation is', 'conversations are')} truncated at "
            f"{model.length:,} tokens ({parameter} option length)"
        )
    return source, found

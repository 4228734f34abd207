"""Irreducible losses of conversations: those of a reference model, which is read as it is."""

from __future__ import annotations

from typing import Any

from keepers.data import Source
from keepers.errors import ParameterError
from keepers.files import plain
from keepers.models import language_model
from keepers.online import IrreducibleLosses
from keepers.words import counted
from keepers.workflows.conversations import as_tokens
from keepers.workflows.language_roles import language_role
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.irreducible import IrreducibleOptions
from keepers.workflows.readings import read_signals
from keepers.workflows.workplace import Workplace


def reference_losses(
    source: Source, options: IrreducibleOptions, place: Workplace
) -> IrreducibleLosses:
    """The mean loss of each conversation's answers under a reference model.

    Raises:
        ParameterError: no reference model, or options of models that are trained.
        DataError: conversations that its template cannot write.
    """
    given: Any = options.model
    if given is None:
        raise ParameterError(
            "model",
            f"got none, but {source.name} holds conversations",
            "Name a causal language model that was tuned on other data of the same kind: "
            "--model hf:PATH (model='hf:PATH')",
        )
    for name, value in (("holdout", options.holdout), ("epochs", options.epochs)):
        if value is not None:
            raise ParameterError(
                name,
                f"got {value}, but the reference of conversations must be tuned already",
                "Leave it out; tune a model on held-out data, and name it with --model",
            )
    role = language_role(given, "model")
    model = language_model(role.model, "model", length=role.options.get("length"))
    source, sequences = as_tokens(source, model, place.on_bad_row, place.say, "model")
    say_skipped(source, place.say)
    place.say(f"Reference: {role.model} reads {counted(len(source), 'conversation')}, as it is")
    found = read_signals(
        source,
        model,
        sequences,
        frozenset({"answer_losses"}),
        place,
        what="reading by the reference",
    )
    return IrreducibleLosses(
        ids=source.ids,
        values=found.get("answer_losses"),
        metadata=plain(
            {
                "kind": "irreducible-losses",
                "data": source.fingerprint,
                "task": source.task.facts(),
                "model": {"model": role.model, "length": model.length},
                "model_fingerprint": model.fingerprint,
                "costs": place.ledger.by_phase(),
            }
        ),
    )

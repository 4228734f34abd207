"""The role of a causal language model: what it takes, and nothing that would be left aside."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from keepers.errors import ParameterError
from keepers.roles import Role
from keepers.words import listed


def language_role(
    given: Any,
    parameter: str,
    *,
    takes: Collection[str] = (),
    options: Collection[str] = ("length",),
) -> Role:
    """The role of a causal language model.

    Args:
        given: as `Role.parse` takes it; None is refused.
        parameter: what errors call it.
        takes: the fields of a role that mean something here, beside `model` and `options`.
        options: the options of the model that do.

    Raises:
        ParameterError: no model, or a field or an option that would have no effect.
    """
    if given is None:
        raise ParameterError(
            parameter,
            "got none, but conversations need a language model to tune",
            f"Name one with --{parameter} hf:PATH: a folder, a GGUF file or a hub name",
        )
    role = Role.parse(given, "hf:", parameter)
    for name in sorted(set(role.options) - {*options}):
        raise ParameterError(
            f"{parameter}.options",
            f"got {name!r}",
            f"A language model takes {listed(sorted(options))}",
        )
    known = [f"options.{name}" for name in sorted(options)]
    meant = {"model", "options", *takes}
    for name in (field.name for field in fields(Role) if field.name not in meant):
        if (value := getattr(role, name)) is not None:
            raise ParameterError(
                f"{parameter}.{name}",
                f"got {value}, which a language model does not use here",
                f"It takes {listed([*sorted(takes), *known], len(takes) + len(known))}",
            )
    return role

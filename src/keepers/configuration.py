"""Configurations checked by type: what a YAML file or a `--set` gives is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

from keepers.errors import KeepersError, ParameterError

T = TypeVar("T")

SAMPLES = 100
"""Passes with dropout on that score a pool: see docs/benchmarks.md for the choice."""


def validated(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """An instance of the dataclass `kind` from `values`, each checked against its type.

    Raises:
        ParameterError: a value of another type; what `kind` itself refuses passes through.
    """
    from pydantic import TypeAdapter, ValidationError

    for name in ("keep", "seed", "limit", "epochs", "seeds"):
        if isinstance(values.get(name), bool):
            raise ParameterError(f"{prefix}{name}", f"got {values[name]!r}", "Give a number")

    try:
        return TypeAdapter(kind).validate_python({k: _plain(v) for k, v in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, KeepersError):
            raise cause from None
        where = [str(part) for part in first["loc"]]
        name = f"{prefix}{where[0]}" if where else prefix.rstrip(".")
        raise ParameterError(name, f"got {first['input']!r}", first["msg"]) from None


def is_own_code(name: str) -> bool:
    """Whether a name of a model is a function to import and call, rather than a built-in or `hf:`.

    >>> is_own_code("package.module:function"), is_own_code("hf:folder"), is_own_code("mlp")
    (True, False, False)
    >>> is_own_code("sklearn:package.module:function"), is_own_code("probe:hf:folder")
    (True, False)
    """
    name = name.removeprefix("probe:")
    return ":" in name and not name.startswith("hf:")


def model_named(given: Any) -> str:
    """The model that a role names, given as itself, as a mapping or as the name; "" for none."""
    if isinstance(given, Mapping):
        given = cast("Mapping[str, Any]", given).get("model")
    return str(getattr(given, "model", given) or "")


def picked(kind: type[T], arguments: Mapping[str, Any]) -> T:
    """An instance of the dataclass `kind` from a function's own arguments, checked as above.

    Arguments that `kind` has no field for are left to others.
    """
    known = {each.name for each in fields(cast(Any, kind))}
    return validated(kind, {name: value for name, value in arguments.items() if name in known})


def _plain(value: Any) -> Any:
    """NumPy's and torch's scalars as Python's own: an integer must stay a count."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value

"""Configurations checked by type: what a YAML file or a `--set` gives is not trusted."""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar, cast

from keepers.errors import ParameterError, unknown_name

T = TypeVar("T")

SAMPLES = 100
"""Passes with dropout on that score a pool: see docs/benchmarks.md for the choice."""


class _Names(dict[str, Any]):
    """The names of a module; one that it imports for type checkers alone is any type."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def hints(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass and of its bases, with what `Annotated` adds, by name."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        names = _Names(vars(sys.modules[base.__module__]))
        for name, text in vars(base).get("__annotations__", {}).items():
            found[name] = eval(text, {}, names) if isinstance(text, str) else text
    return found


def taken(converter: Any) -> Any:
    """The annotation of what a function, or a partial one, takes first."""
    function = getattr(converter, "func", converter)
    first = next(iter(inspect.signature(converter).parameters.values()))
    names = _Names(vars(sys.modules[function.__module__]))
    text: Any = first.annotation
    return eval(text, {}, names) if isinstance(text, str) else text


@cache
def _adapters(kind: type) -> dict[str, Any]:
    """What checks the type of each field; one with a converter is checked by that."""
    from pydantic import TypeAdapter

    found = hints(kind)
    names = [each.name for each in fields(cast(Any, kind)) if "converter" not in each.metadata]
    return {name: TypeAdapter(found[name]) for name in names}


def validated(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """An instance of the dataclass `kind` from `values`, each checked against its type.

    Raises:
        ParameterError: a value of another type; what `kind` itself refuses passes through.
    """
    from pydantic import ValidationError

    adapters, checked = _adapters(kind), dict(values)
    for name, value in values.items():
        if isinstance(value, bool) and name in ("keep", "seed", "limit", "epochs", "seeds"):
            raise ParameterError(f"{prefix}{name}", f"got {value!r}", "Give a number")
        checked[name] = _plain(value)
        if name not in adapters:
            continue
        try:
            checked[name] = adapters[name].validate_python(checked[name])
        except ValidationError as error:
            first = error.errors()[0]
            told = f"got {first['input']!r}"
            raise ParameterError(f"{prefix}{name}", told, first["msg"]) from None
    every = fields(cast(Any, kind))
    for name in checked.keys() - {each.name for each in every}:
        raise unknown_name(f"{prefix}{name}", name, [each.name for each in every])
    for each in every:
        if each.default is MISSING and each.default_factory is MISSING and each.name not in checked:
            raise ParameterError(f"{prefix}{each.name}", "is missing")
    return kind(**checked)


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


def _plain(value: Any) -> Any:
    """NumPy's and torch's scalars as Python's own: an integer must stay a count."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value

"""Options, each declared once: a field says its name, type, default and help.

From the fields of an `Options` class come the keywords of a function (`taking`), the command line
(`keepers.cli.commands`), what a file may hold, and the documentation. Modules that declare options
import neither torch nor anything that does: what a check needs, it imports when it is made.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import (
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    dataclass_transform,
    overload,
)

from keepers.configuration import hints, taken, validated
from keepers.errors import ParameterError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
D = TypeVar("D")
S = TypeVar("S")
T = TypeVar("T")
O = TypeVar("O", bound="Options")  # noqa: E741
O_co = TypeVar("O_co", bound="Options", covariant=True)


@dataclass(frozen=True)
class Option:
    """What a field's annotation says of it, beside its type and functions that check a value.

    `help` is one line for the command line, "" for what only Python and files have. `more` follows
    it in the documentation. `after` names the option that stands before it and the fields below,
    where that is not the field above. `typed` is the default on the command line, where that is
    another. `also` are other spellings there.
    """

    help: str = ""
    more: str = ""
    after: str = ""
    typed: str | None = None
    metavar: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """One option as a class declares it."""

    name: str
    type: Any
    written: str
    default: Any
    about: Option
    checks: tuple[Callable[[str, Any], None], ...]


def read(*, default: Any = MISSING, converter: Callable[[S], T]) -> T:
    """A field that holds what `converter` makes of the value that is given."""
    return field(default=default, metadata={"converter": converter})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(read,))
class Options:
    """A frozen, keyword-only dataclass of options: whoever inherits is one.

    A subclass checks in its own `__post_init__`, after that of its bases.
    """

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for each in fields(cast(Any, self)):
            if "converter" in each.metadata:
                value = each.metadata["converter"](getattr(self, each.name))
                object.__setattr__(self, each.name, value)
        for name, option in declared(type(self)).items():
            value = getattr(self, name)
            for check in option.checks if value is not None else ():
                check(name, value)


def cut(options: O, kind: type[O]) -> O:
    """The part of the options that `kind`, a base of their class, declares.

    >>> class Size(Options):
    ...     width: int = 1
    >>> class Box(Size):
    ...     colour: str = "red"
    >>> cut(Box(width=2), Size)
    Size(width=2)
    """
    return kind(**{each.name: getattr(options, each.name) for each in fields(cast(Any, kind))})


def at_least(least: int) -> Callable[[str, Any], None]:
    """A check that a number is `least` or more."""

    def check(name: str, value: Any) -> None:
        if value < least:
            raise ParameterError(name, f"got {value}", f"Give {least} or more")

    return check


def parquet(instead: str = "") -> Callable[[str, Any], None]:
    """A check that a file of Parquet is not named as one of text; `instead` is another remedy."""

    def check(name: str, value: Any) -> None:
        path = Path(value)
        whole = path.with_suffix("") if path.suffix in (".gz", ".bz2", ".zst") else path
        if whole.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl"):
            better = f"Name it {whole.with_suffix('.parquet')}"
            raise ParameterError(name, f"got {value}, but the file is Parquet", better + instead)

    return check


def share(name: str, value: Any) -> None:
    """Check that a number is a fraction of something that something is left of."""
    if not 0 <= value < 1:
        raise ParameterError(name, f"got {value}", "Give a fraction in [0, 1)")


def above_zero(name: str, value: Any) -> None:
    """Check that a number is over 0.

    Raises:
        ParameterError: it is not.
    """
    if not value > 0:
        raise ParameterError(name, f"got {value}", "Give a number over 0")


@cache
def declared(*kinds: type[Options]) -> Mapping[str, Declared]:
    """Every option by its name, in the order in which they are shown.

    The fields of a class come before those of its bases, those of the first class before others.
    """
    found: dict[str, Declared] = {}
    parts: list[tuple[str, list[str]]] = []
    for kind in kinds:
        annotated, known = hints(kind), {each.name: each for each in fields(cast(Any, kind))}
        homes = {name: base for base in kind.__mro__ for name in inspect.get_annotations(base)}
        for base in kind.__mro__:
            parts.append(("", []))
            for name in inspect.get_annotations(base):
                if name not in known or homes[name] is not base or name in found:
                    continue
                hint = annotated[name]
                extra = getattr(hint, "__metadata__", ())
                if after := _about(hints(base)[name]).after:
                    parts.append((after, []))
                parts[-1][1].append(name)
                found[name] = Declared(
                    name=name,
                    type=_held(hint, known[name]),
                    written=_written(inspect.get_annotations(base)[name], known[name]),
                    default=known[name].default,
                    about=_about(hint),
                    checks=tuple(each for each in extra if inspect.isfunction(each)),
                )
    order = [name for after, names in parts if not after for name in names]
    waiting = [part for part in parts if part[0]]
    while waiting:  # until that which a part follows stands
        after, names = next((part for part in waiting if part[0] in order), waiting[0])
        place = order.index(after) + 1 if after in order else len(order)
        order[place:place] = names
        waiting.remove((after, names))
    return {name: found[name] for name in order}


def _about(hint: Any) -> Option:
    extra = getattr(hint, "__metadata__", ())
    return next((each for each in extra if isinstance(each, Option)), Option())


def _held(hint: Any, declaration: Field[Any]) -> Any:
    """The type of what may be given: of what a converter takes, where there is one."""
    if "converter" in declaration.metadata:
        return taken(declaration.metadata["converter"])
    return getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint


def _written(annotation: str, declaration: Field[Any]) -> str:
    """The type of what may be given, as it stands in the code."""
    if "converter" in declaration.metadata:
        first = next(iter(inspect.signature(declaration.metadata["converter"]).parameters.values()))
        return str(first.annotation)
    tree = ast.parse(annotation, mode="eval").body
    if isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Tuple):
        tree = tree.slice.elts[0] if ast.unparse(tree.value) == "Annotated" else tree
    return ast.unparse(tree)


class Taking(Protocol[P, O_co]):
    """What makes keywords of options: for functions of data, and for class methods of data."""

    @overload
    def __call__(self, function: Callable[[D, O_co], R]) -> Callable[Concatenate[D, P], R]: ...
    @overload
    def __call__(
        self, function: Callable[[type[C], D, O_co], R]
    ) -> Callable[Concatenate[type[C], D, P], R]: ...


def taking(kind: Callable[P, O]) -> Taking[P, O]:
    """Let a function of data and options take each option by keyword, checked and explained."""

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)
        *first, _ = own.parameters.values()
        described = declared(cast("type[Options]", kind))
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if each.default is MISSING else each.default,
                annotation=each.written,
            )
            for name, each in described.items()
        ]
        signature = own.replace(parameters=[*first, *keywords])

        @functools.wraps(function)
        def call(*data: Any, **given: Any) -> R:
            try:
                bound = signature.bind(*data, **given)
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            return function(*bound.args, validated(cast("type[O]", kind), bound.kwargs))

        call.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        call.__doc__ = _explained(inspect.getdoc(function) or "", described)
        return call

    return cast("Taking[P, O]", decorate)


def _explained(text: str, described: Mapping[str, Declared]) -> str:
    """A docstring whose `Args:` name every option."""
    lines: list[str] = []
    for name, each in described.items():
        told = ". ".join(filter(None, (each.about.help, each.about.more)))
        if told:
            lines.append(textwrap.indent(textwrap.fill(f"{name}: {told}", 88), " " * 8)[4:])
    head, args, rest = text.partition("Args:\n")
    if not args:
        head, args, rest = text.partition("\n\nRaises:")
        return f"{head}\n\nArgs:\n" + "\n".join(lines) + args + rest
    own, gap, rest = rest.partition("\n\n")
    return f"{head}{args}{own}\n" + "\n".join(lines) + gap + rest

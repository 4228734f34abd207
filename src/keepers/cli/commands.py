"""Commands made of declared options."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args, get_origin

import typer

from keepers.cli.settings import completed, is_list, settings
from keepers.errors import ParameterError
from keepers.options import Declared, Option, Options, declared
from keepers.workflows.options.shared import Listening

O = TypeVar("O", bound=Options)  # noqa: E741

ONLY_PYTHON = frozenset(each.name for each in fields(cast(Any, Listening)))

DATA = typer.Argument(
    help="Parquet, CSV, JSONL, a folder of pictures, .npy, 'digits', or a Hugging Face hub id"
)
Config = Annotated[Path | None, typer.Option(help="YAML file with any of these options")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Set one option, also nested: proxy.lr=0.05"),
]
Json = Annotated[bool, typer.Option("--json", help="Print only one JSON object on stdout")]


@dataclass(frozen=True)
class Request(Generic[O]):
    """What a command was asked: the data, the options of one kind that were given, and how."""

    data: str
    kind: type[O]
    given: Mapping[str, Any]
    as_json: bool = False


def command(
    kind: type[Options],
    *,
    argument: Any = DATA,
    usual: str = "",
    **switches: tuple[type[Options], str],
) -> Callable[[Callable[[Request[Any]], None]], Callable[..., None]]:
    """Make a command of a function that answers a request with options of `kind`.

    Each of `switches` is an option that asks another question, by the name of the switch: the
    options that are taken then, and the help of the switch. `usual` names the question that is
    asked without.
    """
    kinds = {"": kind, **{name: taken for name, (taken, _) in switches.items()}}
    words = {name: f"--{name}" if name else usual for name in kinds}
    asking = {name: _switch(name, about) for name, (_, about) in switches.items()}
    every = asking | {n: e for n, e in declared(*kinds.values()).items() if n not in ONLY_PYTHON}

    def decorate(run: Callable[[Request[Any]], None]) -> Callable[..., None]:
        hints: dict[str, Any] = {"context": typer.Context, "data": Annotated[str, argument]}
        defaults: dict[str, Any] = {}
        for name, each in every.items():
            if each.about.help:
                of = [] if name in asking else [w for w in kinds if name in declared(kinds[w])]
                hints[name], defaults[name] = shown(each, "" if "" in of else ", ".join(of))
        hints |= {"config": Config, "set_": Assignments, "json_": Json}
        defaults |= {"config": None, "set_": None, "json_": False}

        def command(context: typer.Context, **line: Any) -> None:
            given = settings(context, every, line["config"], line["set_"] or ())
            asked = [name for name in switches if _is_on(name, given.pop(name, False))]
            if len(asked) > 1:
                told = f"got together with --{asked[0]}"
                raise ParameterError(asked[1], told, "Give one of them")
            question = asked[0] if asked else ""
            for name in sorted(given):
                of = [words[each] for each in kinds if name in declared(kinds[each])]
                if words[question] not in of:
                    told = f"got a value, but it works only with {' and '.join(of)}"
                    raise ParameterError(name, told, "Leave it out" if asked else f"Add {of[0]}")
            given = completed(given, declared(kinds[question]))
            for name in ("out", "export"):
                if line["config"] is not None and given.get(name) is not None:
                    _spare(line["config"], given[name], name)
            run(Request(line["data"], kinds[question], given, as_json=line["json_"]))

        command.__doc__, command.__annotations__ = run.__doc__, hints
        command.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=defaults.get(name, inspect.Parameter.empty),
                    annotation=hint,
                )
                for name, hint in hints.items()
            ]
        )
        return command

    return decorate


def _is_on(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ParameterError(name, f"got {value!r}", "Give true or false")
    return value


def _switch(name: str, help: str) -> Declared:
    about = Option(help)
    return Declared(name=name, type=bool, written="bool", default=False, about=about, checks=())


def _spare(config: Path, output: Any, name: str) -> None:
    """Refuse an output that would replace the file of options."""
    from keepers.data import check_own

    check_own(output, name, run=None, config=config)


def shown(each: Declared, word: str = "") -> tuple[Any, Any]:
    """The type of an option on the command line, with its help, and its default there.

    Help of what is taken only together with a switch begins with the `word` of that.
    """
    about, default = each.about, each.default
    told = about.help
    if word:
        first = told[0].lower() if told[1].islower() else told[0]
        told = f"{word.capitalize()}: {first}{told[1:]}"
    kind = _on_the_line(each)
    if about.typed is not None:
        default = about.typed or None
    elif isinstance(default, tuple):
        default = ",".join(map(str, cast("tuple[Any, ...]", default)))
    elif default is MISSING:
        default = inspect.Parameter.empty
    elif kind is str and default is not None:
        default = str(default)
    names = [f"--{each.name.replace('_', '-')}", *about.also]
    if about.also or default is False:
        option = typer.Option(*names, help=told, metavar=about.metavar)
    else:
        option = typer.Option(help=told, metavar=about.metavar)
    return Annotated[kind if default is not None else kind | None, option], default


def _on_the_line(each: Declared) -> Any:
    """What a word on the command line is read as: a choice, a path, a number, or text."""
    if is_list(each.type):
        return str
    parts = get_args(each.type) if get_origin(each.type) is not Literal else [each.type]
    parts = [part for part in parts or [each.type] if part is not types.NoneType]
    if get_origin(parts[0]) is Literal:
        words = cast("tuple[str, ...]", get_args(parts[0]))
        return StrEnum(each.name, {word: word for word in words})
    if Path in parts:
        return Path
    return parts[0] if len(parts) == 1 and parts[0] in (bool, int, float) else str

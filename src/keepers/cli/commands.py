"""Commands made of declared options."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import typer

from keepers.cli.settings import settings
from keepers.options import Declared, Options, declared
from keepers.workflows.options.shared import Listening

F = TypeVar("F", bound=Callable[..., None])

ONLY_PYTHON = frozenset(each.name for each in fields(cast(Any, Listening)))

DATA = typer.Argument(
    help="Parquet, CSV, JSONL, a folder of pictures, .npy, 'digits', or a Hugging Face hub id"
)
Config = Annotated[Path | None, typer.Option(help="YAML file with any of these options")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Set one, also nested: proxy.lr=0.05"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, no more")]


def command(
    *kinds: type[Options], argument: Any = DATA, **words: str
) -> Callable[[Callable[[Any, dict[str, Any], bool], None]], Callable[..., None]]:
    """Make a command of a function of its argument, the options that were given, and `--json`.

    Options of a class that `words` names, by the class, are explained after that word.
    """
    every = {name: each for name, each in declared(*kinds).items() if name not in ONLY_PYTHON}

    def decorate(run: Callable[[Any, dict[str, Any], bool], None]) -> Callable[..., None]:
        first = next(iter(inspect.signature(run).parameters))
        hints: dict[str, Any] = {"context": typer.Context, first: Annotated[str, argument]}
        defaults: dict[str, Any] = {}
        for name, each in every.items():
            if each.about.help:
                hints[name], defaults[name] = shown(each)
        hints |= {"config": Config, "set_": Assignments, "json_": Json}
        defaults |= {"config": None, "set_": None, "json_": False}

        def command(context: typer.Context, **given: Any) -> None:
            config, assignments = given["config"], given["set_"] or ()
            chosen = settings(context, every, config, assignments)
            for name in ("out", "export"):
                if config is not None and chosen.get(name) is not None:
                    _spare(config, chosen[name], name)
            run(given[first], chosen, given["json_"])

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


def _spare(config: Path, output: Any, name: str) -> None:
    """Refuse an output that would replace the file of options."""
    from keepers.data import check_own

    check_own(output, name, run=None, config=config)


def shown(each: Declared) -> tuple[Any, Any]:
    """The type of an option on the command line, with its help, and its default there."""
    about, default = each.about, each.default
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
        option = typer.Option(*names, help=about.help, metavar=about.metavar)
    else:
        option = typer.Option(help=about.help, metavar=about.metavar)
    return Annotated[kind if default is not None else kind | None, option], default


def _on_the_line(each: Declared) -> Any:
    """What a word on the command line is read as: a choice, a path, a number, or text."""
    parts = get_args(each.type) if get_origin(each.type) is not Literal else [each.type]
    parts = [part for part in parts or [each.type] if part is not types.NoneType]
    if get_origin(parts[0]) is Literal:
        words = cast("tuple[str, ...]", get_args(parts[0]))
        return StrEnum(each.name, {word: word for word in words})
    if Path in parts:
        return Path
    return parts[0] if len(parts) == 1 and parts[0] in (bool, int, float) else str

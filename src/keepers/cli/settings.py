"""Where an option comes from: the command line, then --set, then --config, then its default."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from typer import Context

from keepers.configuration import is_own_code, model_named
from keepers.errors import ParameterError, unknown_name
from keepers.options import Declared

MODELS = ("proxy", "target", "targets", "model", "il_model", "stand_in", "features")
"""Options that name models."""


def settings(
    context: Context,
    options: Mapping[str, Declared],
    config: Path | None,
    assignments: Sequence[str],
) -> dict[str, Any]:
    """What was given of the options of a command, by their Python names.

    Raises:
        ParameterError: the file or an assignment cannot be read, or names what is no option.
    """
    given: dict[str, Any] = {}
    if config is not None:
        given = _read(config)
        typed = {name.partition("=")[0].strip().removesuffix(".model") for name in assignments}
        _refuse_code(context, config, {k: v for k, v in given.items() if k not in typed})
    for assignment in assignments:
        _assign(given, assignment)
    for name in given:
        if name not in options:
            raise unknown_name("set" if config is None else f"config {config}", name, options)
    for name in options:
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, Enum):
            value = value.value
        if isinstance(given.get(name), dict):  # the model, and its settings
            value = {**given[name], "model": value}
        given[name] = value
    return given


def completed(given: Mapping[str, Any], options: Mapping[str, Declared]) -> dict[str, Any]:
    """What was given, lists taken apart at their commas, and the defaults of the command line."""
    every: dict[str, Any] = {
        name: each.about.typed for name, each in options.items() if each.about.typed
    }
    every |= given
    for name, value in every.items():
        if isinstance(value, str) and is_list(options[name].type):
            every[name] = [part.strip() for part in value.split(",") if part.strip()]
    return every


def is_list(kind: Any) -> bool:
    """Whether an option takes several values, and not one alone."""
    parts = get_args(kind) if get_origin(kind) is not Sequence else (kind,)
    return str not in parts and any(get_origin(part) is Sequence for part in parts)


def _refuse_code(context: Context, config: Path, given: Mapping[str, Any]) -> None:
    """A file may come from anywhere: models in it that are code have to be typed."""
    for option in MODELS:
        source = context.get_parameter_source(option)
        if option not in given or (source is not None and source.name == "COMMANDLINE"):
            continue
        values: Any = given[option]
        for name in map(model_named, values if isinstance(values, list) else [values]):
            if is_own_code(name):
                raise ParameterError(
                    option,
                    f"{config} names '{name}', which is code; a file may not run code by itself",
                    f"If you trust it, add it to the command: --{option.replace('_', '-')} {name}",
                )


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError("config", f"cannot read {path} ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError("config", f"{path} is not YAML ({reason})") from None
    if not isinstance(found, dict):
        raise ParameterError("config", f"{path} holds no options", "Write lines like 'keep: 0.5'")
    return {str(name): value for name, value in found.items()}


def _assign(values: dict[str, Any], assignment: str) -> None:
    import yaml

    name, equals, text = assignment.partition("=")
    if not equals or not name:
        raise ParameterError("set", f"got {assignment!r}", "Write --set proxy.epochs=10")
    *path, last = name.strip().split(".")
    inner = values
    for part in path:
        at: Any = inner.get(part)
        if not isinstance(at, dict):
            at = {} if at is None else {"model": at}
            inner[part] = at
        inner = at
    try:
        inner[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ParameterError("set", f"got {assignment!r}, whose value is not YAML") from None


def echo(sentence: str) -> None:
    """A sentence for the person, on stderr: stdout holds the result alone."""
    sys.stderr.write(f"{sentence}\n")  # not typer.echo, which would write into a progress bar

"""The user's own code: imported by name, and what it raises told as a fault of what was given."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keepers.errors import ParameterError, unknown_name

_CALLED = "It is imported, then called as function(info, **options)"


@contextmanager
def imported(name: str, parameter: str) -> Generator[Callable[..., Any]]:
    """What `package.module:function` names; the working directory can be imported from meanwhile.

    Raises:
        ParameterError: no such module or attribute, or it cannot be called.
    """
    with _working_directory_importable():
        yield _find(name, parameter)


def check_options(function: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that are no keywords of a builder.

    Raises:
        ParameterError: an unknown option.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return
    known = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            if not known:
                raise ParameterError(
                    "options", f"got '{option}', but '{name}' takes none", "Leave it out"
                )
            raise unknown_name(f"options of '{name}'", option, known)


@contextmanager
def telling(name: str, parameter: str, how: str = _CALLED) -> Generator[None, None, None]:
    """Say of what the user's own code raises where it did."""
    try:
        yield
    except ParameterError as error:
        if error.parameter == parameter:
            raise
        raise ParameterError(parameter, f"'{name}' failed: {error}") from error
    except SyntaxError as error:  # says itself where it is
        raise ParameterError(parameter, f"'{name}' failed: SyntaxError: {error}") from error
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [f for f in frames if f.filename != __file__ and "<frozen" not in f.filename]
        at = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
        raise ParameterError(
            parameter,
            f"'{name}' failed: {type(error).__name__}: {error}{at}",
            how,
        ) from error


def _find(name: str, parameter: str) -> Callable[..., Any]:
    path, _, attribute = name.partition(":")
    remedy = "Give package.module:function, importable from here"
    if not path or not attribute:
        raise ParameterError(parameter, f"got '{name}'", remedy)
    with telling(name, parameter):
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not (path + ".").startswith(error.name + "."):
                raise
            raise ParameterError(
                parameter, f"got '{name}', but there is no module '{error.name}'", remedy
            ) from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [each for each in vars(module) if not each.startswith("_")]
            raise unknown_name(f"{parameter} '{name}', attribute", part, public)
        found = getattr(found, part)
    if not callable(found):
        raise ParameterError(
            parameter, f"'{name}' is {type(found).__name__}, not a function", remedy
        )
    return found


@contextmanager
def _working_directory_importable() -> Generator[None, None, None]:
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)

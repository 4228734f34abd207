"""Errors that a user meets: each names the parameter, what was got, and the remedy."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

from keepers.words import remedy


class KeepersError(ValueError):
    """Base class of the errors that keepers raises about arguments, data and files."""


class ParameterError(KeepersError):
    """A parameter has an invalid value."""

    def __init__(self, parameter: str, problem: str, remedy: str = "") -> None:
        self.parameter = parameter
        super().__init__(f"{parameter}: {problem}" + (f". {remedy}" if remedy else ""))


class DataError(KeepersError):
    """The data are invalid; the message names the file, column, row or picture."""


class UnlabelledError(ParameterError, DataError):
    """Labels are needed, and the data have none."""


class AmbiguousError(ParameterError):
    """Several columns could be meant."""

    def __init__(self, parameter: str, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(parameter, problem, remedy)


class RunError(KeepersError):
    """A run directory or an output file cannot be used."""


class DamagedError(DataError, RunError):
    """A file is not as keepers wrote it: its checksum is wrong or missing."""


class KeepersWarning(UserWarning):
    """A warning while the work continues, for example about repaired damage or weak evidence."""


class ExistsError(RunError):
    """An output file already exists."""


def first_few(problems: Sequence[str], shown: int = 5) -> str:
    """The first few of many problems, for a message of limited length.

    >>> first_few(["a", "b", "c"], shown=2)
    'a; b; …'
    """
    return "; ".join(problems[:shown]) + ("; …" if len(problems) > shown else "")


@contextmanager
def about(parameter: str) -> Generator[None]:
    """Let errors raised inside begin with `parameter`, instead of or before "data" or "test".

    >>> try:
    ...     with about("test"):
    ...         raise DataError("data: x.csv does not exist")
    ... except DataError as error:
    ...     print(error)
    test: x.csv does not exist
    """
    try:
        yield
    except KeepersError as error:
        text = str(error)
        head, _, rest = text.partition(": ")
        if head != parameter:
            text = rest if head in ("data", "test") else text
            error.args = (f"{parameter}: {text}", *error.args[1:])
        raise


@contextmanager
def renamed(names: Mapping[str, str]) -> Generator[None]:
    """Let errors about parameters raised inside use the caller's names for them.

    >>> try:
    ...     with renamed({"epochs": "il_epochs"}):
    ...         raise ParameterError("epochs", "got 0")
    ... except ParameterError as error:
    ...     print(error)
    il_epochs: got 0
    """
    try:
        yield
    except ParameterError as error:
        old = error.parameter
        head, dot, rest = old.partition(".")
        if head in names and str(error).startswith(old):
            error.parameter = names[head] + dot + rest
            error.args = (error.parameter + str(error).removeprefix(old), *error.args[1:])
        raise


class MissingExtraError(KeepersError, ImportError):
    """An optional dependency is missing; the message names the extra that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}'. pip install 'keepers[{extra}]'")


def unknown_name(parameter: str, name: str, known: Iterable[str]) -> ParameterError:
    """The error for an unknown name, with the nearest known one.

    >>> print(unknown_name("method", "entropi", ["entropy", "margin"]))
    method: got 'entropi', which is not known. Did you mean 'entropy'? Known: entropy, margin
    """
    return ParameterError(parameter, f"got '{name}', which is not known", remedy(name, known))


def ambiguous(parameter: str, names: Sequence[str], flags: Sequence[str] = ()) -> AmbiguousError:
    """That several columns could be meant; of a label, `flags` of 0 and 1 may be several labels."""
    quoted = ", ".join(f"'{name}'" for name in names)
    remedy = f"Name one with --{parameter} ({parameter}=...)"
    if len(flags) > 1:
        remedy += (
            f", or columns of 0 and 1 for several labels: --label {shlex.quote(','.join(flags))}"
        )
    return AmbiguousError(parameter, f"several columns could be the {parameter}: {quoted}", remedy)

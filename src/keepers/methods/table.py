"""Looking methods up: the built-in rows and those of installed packages.

A package adds rows by naming `Method` objects in its entry points of the group
`keepers.methods`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from types import MappingProxyType

from keepers.errors import KeepersError, ParameterError, unknown_name
from keepers.methods.composed import REMEDY, Band, compose, read
from keepers.methods.method import COMMANDS, Method, in_words, workflows
from keepers.methods.rows import METHODS
from keepers.plugins import check_free, loaded

ENTRY_POINT_GROUP = "keepers.methods"


def get(name: str, supplied: Collection[str] | None = None, *, replacement: bool = False) -> Method:
    """A row of the table.

    Args:
        name: of the row, or of several: `el2n:0-90%+k-center` is k-center among all but the tenth
            that el2n scores highest.
        supplied: the fields of `Signals` that the caller has; None asks for nothing but the name.
        replacement: the caller takes picks that may repeat; regarded with `supplied` only.

    Raises:
        ParameterError: no such row, and the nearest name is given; or the row is not among those
            `offered`: what it needs, and where that is to be had.
    """
    found = table().get(name) or _composed(name)
    if supplied is None:
        if found is None:
            raise unknown_name("method", name, table())
        return found
    rows = offered(supplied, replacement=replacement)
    if found is not None and _is_offered(found, supplied, replacement=replacement):
        return found
    if found is None:
        raise unknown_name("method", name, rows)
    raise _not_offered(found, supplied, rows)


def names() -> tuple[str, ...]:
    """All names, the built-in ones first."""
    return tuple(table())


def offered(supplied: Collection[str], *, replacement: bool) -> Mapping[str, Method]:
    """The rows for which the signals suffice.

    Args:
        supplied: the fields of `Signals` that the caller has.
        replacement: the caller takes picks that may repeat, with their weights.

    Example:
        >>> list(offered({"losses"}, replacement=False))
        ['random', 'loss', 'selective-backprop']
    """
    return {
        name: row
        for name, row in table().items()
        if _is_offered(row, supplied, replacement=replacement)
    }


def _is_offered(row: Method, supplied: Collection[str], *, replacement: bool) -> bool:
    return row.needs <= set(supplied) and (replacement or not row.replacement)


def is_composed(name: str) -> bool:
    """Whether a name is one of several rows, such as `el2n:0-90%+k-center`, right or wrong."""
    return "+" in name or ":" in name


def _composed(name: str) -> Method | None:
    """The row of several steps that a name like `el2n:0-90%+k-center` says; None of a plain name.

    Raises:
        ParameterError: one of its parts is no row, or no band.
    """
    if not is_composed(name):
        return None
    *steps, last = name.split("+")
    bands: list[Band] = []
    for step in steps:
        by, colon, ends = step.partition(":")
        if not colon:
            raise ParameterError("method", f"got '{step}' before a +", REMEDY)
        bands.append(read(ends, get(by)))
    if ":" in last:
        raise ParameterError("method", f"got '{last}' without a method after it", REMEDY)
    return compose(*bands, then=get(last))


@functools.cache
def table() -> Mapping[str, Method]:
    """The built-in rows and those of installed packages.

    Raises:
        KeepersError: an entry point that does not load, is no `Method`, or takes a name in use.
    """
    rows = dict(METHODS)
    for where, row in loaded(ENTRY_POINT_GROUP):
        if not isinstance(row, Method):
            raise KeepersError(f"{where}: got {type(row).__name__}. Name a keepers.methods.Method")
        check_free(row.name, rows, where)
        rows[row.name] = row
    return MappingProxyType(rows)


def _not_offered(
    row: Method, supplied: Collection[str], rows: Mapping[str, Method]
) -> ParameterError:
    missing = row.needs - set(supplied)
    if missing:
        problem, which = f"it needs {in_words(missing)}", "has"
    else:
        problem, which = "it draws with replacement, so it may pick an example twice", "takes"
    commands = [f"'{COMMANDS[workflow].format(row.name)}'" for workflow in workflows(row)]
    where = f", which {' or '.join(commands)} {which}" if commands else ""
    return ParameterError(
        "method",
        f"got '{row.name}', which is not offered here: {problem}{where}",
        f"Offered here: {', '.join(sorted(rows))}",
    )

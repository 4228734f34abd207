"""Looking methods up: the built-in rows and those of installed packages.

A package adds rows by naming `Method` objects in its entry points of the group
`keepers.methods`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from keepers.errors import KeepersError, ParameterError, unknown_name
from keepers.methods.method import COMMANDS, Method, in_words, workflows
from keepers.methods.rows import METHODS

ENTRY_POINT_GROUP = "keepers.methods"


def get(name: str, supplied: Collection[str] | None = None, *, replacement: bool = False) -> Method:
    """A row of the table.

    Args:
        name: of the row.
        supplied: the fields of `Signals` that the caller has; None asks for nothing but the name.
        replacement: the caller takes picks that may repeat; regarded with `supplied` only.

    Raises:
        ParameterError: no such row, and the nearest name is given; or the row is not among those
            `offered`: what it needs, and where that is to be had.
    """
    found = table().get(name)
    if supplied is None:
        if found is None:
            raise unknown_name("method", name, table())
        return found
    rows = offered(supplied, replacement=replacement)
    if name in rows:
        return rows[name]
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
        if row.needs <= set(supplied) and (replacement or not row.replacement)
    }


@functools.cache
def table() -> Mapping[str, Method]:
    """The built-in rows and those of installed packages.

    Raises:
        KeepersError: an entry point that does not load, is no `Method`, or takes a name in use.
    """
    rows = dict(METHODS)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        where = f"entry point '{entry.name}' of group '{ENTRY_POINT_GROUP}' ({entry.value})"
        try:
            row = entry.load()
        except Exception as error:
            raise KeepersError(f"{where}: does not load: {error}. Update or remove it") from error
        if not isinstance(row, Method):
            raise KeepersError(f"{where}: got {type(row).__name__}. Name a keepers.methods.Method")
        if row.name in rows:
            raise KeepersError(f"{where}: the name '{row.name}' is in use. Choose another")
        rows[row.name] = row
    return MappingProxyType(rows)


def _not_offered(
    row: Method, supplied: Collection[str], rows: Mapping[str, Method]
) -> ParameterError:
    missing = row.needs - set(supplied)
    if missing:
        problem, which = f"it needs {in_words(missing)}", "has"
    else:
        problem, which = "it draws with replacement, so that its picks are no set", "takes"
    commands = [f"'{COMMANDS[workflow].format(row.name)}'" for workflow in workflows(row)]
    where = f", which {' or '.join(commands)} {which}" if commands else ""
    return ParameterError(
        "method",
        f"got '{row.name}', which is not offered here: {problem}{where}",
        f"Offered here: {', '.join(sorted(rows))}",
    )

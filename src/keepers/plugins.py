"""What installed packages add, by their entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from keepers.errors import KeepersError


def loaded(group: str) -> Iterator[tuple[str, Any]]:
    """Each object that installed packages name in a group, and where it is named, in words.

    Raises:
        KeepersError: an entry point that does not load.
    """
    for entry in entry_points(group=group):
        where = f"entry point '{entry.name}' of group '{group}' ({entry.value})"
        try:
            found = entry.load()
        except Exception as error:
            raise KeepersError(f"{where}: does not load: {error}. Update or remove it") from error
        yield where, found


def check_free(name: str, taken: Any, where: str) -> None:
    """Refuse a name that is in use.

    Raises:
        KeepersError: it is.
    """
    if name in taken:
        raise KeepersError(f"{where}: the name '{name}' is in use. Choose another")

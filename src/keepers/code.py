"""Fingerprints of the code of models and methods, and the versions of installed packages."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

_NEVER_OWN = {"torch", "keepers", "transformers", *sys.stdlib_module_names}


def code_fingerprint(modules: Iterable[str]) -> str:
    """A hash of the source of `modules` and of all that they import of the user's own.

    The standard library and installed packages are not followed: the version of an installed
    package stands for what its own modules import. Torch, transformers and keepers never count.
    An import inside a function counts like any other, whether it has run or not.
    """
    sources: dict[str, bytes] = {}
    waiting = [name for name in modules if _top(name) not in _NEVER_OWN]
    while waiting:
        name = waiting.pop()
        file = _source_file(name)
        if name in sources or file is None:
            continue
        sources[name] = file.read_bytes()
        if _is_installed(file):
            sources[name] += installed_version(_top(name)).encode()
            continue
        found = {name.rpartition(".")[0], *_imports(name, file, sources[name])} - sources.keys()
        waiting += [other for other in found if _is_own(other)]
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(sources):
        state.update(f"{name}\x1f{len(sources[name])}\x1f".encode() + sources[name])
    return state.hexdigest()


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_own(name: str) -> bool:
    """Whether a module is neither of the standard library nor of an installed package."""
    file = None if _top(name) in _NEVER_OWN else _source_file(name)
    return file is not None and not _is_installed(file)


def _is_installed(file: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


@cache
def installed_version(name: str) -> str:
    """The version of an installed package, "" where there is none; its metadata are read once."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _source_file(name: str) -> Path | None:
    """The file of a module, loaded or not; None where it has none. Nothing is imported."""
    module, package = sys.modules.get(name), sys.modules.get(_top(name))
    if module is not None:
        places = [getattr(module, "__file__", None) or ""]
    else:
        inside = package and [os.path.dirname(path) for path in getattr(package, "__path__", ())]
        stem = name.replace(".", "/")
        places = [
            os.path.join(home, stem + end)
            for home in (inside or sys.path)
            for end in ("/__init__.py", ".py")
        ]
    return next((Path(place) for place in places if os.path.isfile(place)), None)


@lru_cache(maxsize=256)
def _imports(name: str, file: Path, source: bytes) -> frozenset[str]:
    """Every name that the import statements of a module may mean as a module."""
    if file.suffix != ".py":
        return frozenset()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # changed since it was loaded, and half done
        return frozenset()
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")
            home = up[: len(up) - node.level + 1] if node.level else []
            base = ".".join([*home, *filter(None, [node.module])])
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return frozenset(found)

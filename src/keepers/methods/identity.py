"""What functions do, beside their names: a score that was changed is another score."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from keepers.code import code_fingerprint
from keepers.files import fingerprint, hash_bytes


def code_of(*values: Any) -> str:
    """A fingerprint that differs where functions, or what they hold, differ.

    It is over the code of each function, its defaults, its closure, and the arguments of a partial
    one; attributes of an object that is called; and the source of the modules of all of them. A
    function that no file holds, as in a notebook, brings the functions and values it refers to.

    >>> def power(exponent): return lambda x: x**exponent
    >>> code_of(power(2)) == code_of(power(2)), code_of(power(2)) == code_of(power(3))
    (True, False)
    """
    reader = _Reader()
    return fingerprint(*map(reader.read, values), code_fingerprint(reader.modules))


class _Reader:
    """Reads values into JSON values, and notes the modules whose code they run."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._seen: dict[int, tuple[int, Any]] = {}

    def read(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return repr(value)
        if isinstance(value, tuple | list):
            return [self.read(each) for each in value]
        if isinstance(value, set | frozenset):
            return sorted(str(self.read(each)) for each in value)
        if isinstance(value, Mapping):
            return [[self.read(key), self.read(each)] for key, each in value.items()]
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray) and value.dtype != object:
            return [str(value.dtype), value.shape, hash_bytes(np.ascontiguousarray(value))]
        if id(value) in self._seen:  # it refers to itself
            return self._seen[id(value)][0]
        self._seen[id(value)] = len(self._seen), value  # held, so that its id stays its own
        return self._read_object(value)

    def _read_object(self, value: Any) -> Any:
        if isinstance(value, CodeType):
            return [value.co_code.hex(), self.read(value.co_consts), value.co_names]
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, functools.partial):
            return [self.read(part) for part in (value.func, value.args, value.keywords)]
        if isinstance(value, MethodType):
            return [self.read(value.__func__), self.read(value.__self__)]
        if isinstance(value, ModuleType):
            self.modules.add(value.__name__)
            return value.__name__
        if isinstance(value, type):
            return self._class(value)
        name = getattr(value, "__qualname__", None)
        if name is not None:  # built in, or wrapped
            return [name, self.read(getattr(value, "__wrapped__", None))]
        return [self.read(type(value)), self.read(_attributes(value))]

    def _function(self, function: FunctionType) -> Any:
        self.modules.add(function.__module__)
        closure = [_content(cell) for cell in function.__closure__ or ()]
        holds = [function.__defaults__, function.__kwdefaults__, closure]
        if not _in_file(function.__module__):
            names = sorted(_names(function.__code__) & function.__globals__.keys())
            holds.append({name: function.__globals__[name] for name in names})
        return [function.__qualname__, self.read(function.__code__), self.read(holds)]

    def _class(self, kind: type) -> Any:
        homes = [base for base in kind.__mro__ if base is not object]
        self.modules |= {base.__module__ for base in homes}
        own = [
            [name, self.read(each)]
            for base in homes
            if not _in_file(base.__module__)
            for name, each in sorted(vars(base).items())
            if inspect.isroutine(each)
        ]
        return [kind.__module__, kind.__qualname__, own]


def _in_file(module: str) -> bool:
    """Whether a file holds the module, so that its source tells all."""
    found = sys.modules.get(module)
    return module == "builtins" or getattr(found, "__file__", None) is not None


def _names(code: CodeType) -> set[str]:
    """The names that a function and those within it refer to."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _attributes(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name, None) for each in fields(value)}
    return dict(getattr(value, "__dict__", {}))

"""The page that every report is written into: templates, autoescaped, one file."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined

from keepers.files import plain, write_text
from keepers.reports import describe, quantities
from keepers.words import counted


def write_page(path: Path, template: str, *, overwrite: bool, **context: Any) -> Path:
    """Render a template and write the page atomically.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    text = _environment().get_template(template).render(**context)
    write_text(path, text, overwrite=overwrite)
    return path


def as_yaml(value: Any) -> str:
    """A configuration as a person would write it.

    >>> print(as_yaml({"method": "entropy", "keep": 0.5}), end="")
    method: entropy
    keep: 0.5
    """
    exact = json.loads(json.dumps(plain(value)))  # torch's version is a str of its own class
    return yaml.safe_dump(exact, sort_keys=False, allow_unicode=True, width=100)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_read_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "percent", "points", "duration", "flops", "score", "times"):
        environment.filters[name] = getattr(quantities, name)
    filters: dict[str, Any] = environment.filters
    filters["counted"] = counted
    filters["targets"] = describe.targets
    return environment


def _read_template(name: str) -> str:
    folder = resources.files("keepers.reports") / "templates"
    return (folder / name).read_text(encoding="utf-8")

"""What was run, from the metadata of a selection or of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepers.words import counted

_SHOWN_ELSEWHERE = ("costs", "warnings", "versions", "data")


def model_name(role: Any) -> str:
    """The model in a role: its name, or the mapping that `Role` becomes in JSON.

    >>> model_name("preact8"), model_name({"model": "mlp", "epochs": 5}), model_name(None)
    ('preact8', 'mlp', '')
    """
    if isinstance(role, Mapping):
        return str(role.get("model") or role.get("name") or "")
    return str(role) if role else ""


def targets(data: Mapping[str, Any]) -> str:
    """How many classes, labels or numbers a model of the data has, in words.

    >>> targets({"num_classes": 2}), targets({"num_classes": 1, "task": "number"})
    ('2 classes', '1 number')
    """
    one, *several = {
        "class": ("class", "classes"),
        "labels": ("label",),
        "number": ("number",),
    }.get(data.get("task", "class"), ("output",))
    return counted(data["num_classes"], one, *several)


def configuration(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was asked for: `config` where there is one, else all that has no place of its own."""
    config = metadata.get("config")
    if config:
        return config
    return {name: value for name, value in metadata.items() if name not in _SHOWN_ELSEWHERE}


def accuracy(metadata: Mapping[str, Any], validation_accuracy: float | None) -> tuple[str, Any]:
    """On what the proxy's accuracy was measured, in words, and the accuracy (None: unknown)."""
    if validation_accuracy is not None:
        return "on its validation part", validation_accuracy
    return "on the examples it was trained on", metadata.get("proxy_training_accuracy")

"""`keepers methods` and `keepers models`: the tables."""

from __future__ import annotations

from keepers.cli.commands import Json


def methods(json_: Json = False) -> None:
    """List the selection methods: what each needs, its paper, and when to use it."""
    from keepers.cli.running import print_methods

    print_methods(as_json=json_)


def models(json_: Json = False) -> None:
    """List the built-in models and their default training."""
    from keepers.cli.running import print_models

    print_models(as_json=json_)

"""The command line."""

from keepers.cli.app import app, main

__all__ = ["app", "main"]

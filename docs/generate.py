"""Write the reference pages from the code; with `--check`, fail where they differ from it."""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import results

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code; edit there, then `make reference`. -->\n"

WIDTH = {"COLUMNS": "88"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report differences")
    check = parser.parse_args().check
    differences = "".join(update(REFERENCE / name, PAGES[name](), check=check) for name in PAGES)
    if differences:
        sys.exit(f"{differences}\nThe reference pages differ from the code. Run: make reference")


def update(page: Path, text: str, *, check: bool) -> str:
    """Write `page`; or only compare, and return the difference."""
    text = f"{NOTE}\n{text.strip()}\n"
    if not check:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
        return ""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    lines = (part.splitlines(keepends=True) for part in (old, text))
    return "".join(difflib.unified_diff(*lines, f"{page.name} (file)", f"{page.name} (code)"))


def cli_page() -> str:
    from typer.main import get_command
    from typer.testing import CliRunner

    from keepers.cli import app

    blocks = ["# Commands", "What `--help` says, command by command."]
    for path in command_paths((), get_command(app)):
        shown = CliRunner().invoke(app, [*path, "--help"], env=WIDTH, prog_name="keepers")
        if shown.exit_code != 0:
            raise RuntimeError(f"keepers {' '.join(path)} --help: {shown.output}")
        blocks += [f"## {' '.join(('keepers', *path))}", f"```text\n{tidy(shown.output)}\n```"]
    return "\n\n".join(blocks)


def command_paths(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    """Every command that is not hidden, groups before their members, in the order of `--help`."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from command_paths((*path, name), child)


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def methods_page() -> str:
    from keepers.baselines import ONLY_COMPARED
    from keepers.methods import METHODS, workflows
    from keepers.workflows.online import POLICIES

    methods = list(METHODS.values())
    rows = [
        (f"[`{m.name}`](#{m.name})", m.summary, needs(m), ", ".join(workflows(m))) for m in methods
    ]
    blocks = [
        "# Methods",
        "A method is a row of one table: the signals it needs, the score, the selector. "
        "Whatever is scored, a higher score is selected first, and ties go to the example whose "
        "id sorts first. `keepers methods` prints this table. `--method` and `method=` take the "
        "names that are offered for core-sets, `--select` those offered online, and the `--method` "
        "of `keepers active start` those offered for active learning: each workflow offers the "
        "methods whose needs it can supply. An ensemble stands in for dropout: the predictions of "
        "its members are then those that a method compares.",
        table(("method", "what it keeps", "needs", "offered"), rows),
        "Beside the table, `--select` and `compare --online` take:",
        table(
            ("selection", "what it trains on", "offered"),
            [(f"`{name}`", summary, "online") for name, summary in POLICIES.items()]
            + [(f"`{n}`", words, "`compare --online`") for n, words in ONLY_COMPARED.items()],
        ),
    ]
    for method in methods:
        facts = {"When": method.when, "Needs": needs(method), "Paper": method.paper}
        if method.options:
            facts["Options"] = ", ".join(f"`{n}` = `{v}`" for n, v in method.options.items())
        if method.default_ensemble > 1:
            facts["Proxies"] = f"{method.default_ensemble}, unless told otherwise"
        blocks += [f"## {method.name}", f"{method.summary[0].upper()}{method.summary[1:]}."]
        blocks.append("\n".join(f"- **{name}:** {fact}" for name, fact in facts.items() if fact))
    return "\n\n".join(blocks)


def needs(method: Any) -> str:
    from keepers.methods import in_words

    return in_words(method.needs) or "nothing"


def models_page() -> str:
    from keepers.models import MODELS

    models = list(MODELS.values())
    rows = [
        (f"`{m.name}`", ", ".join(m.kinds), m.summary, training(m.defaults), m.paper or "")
        for m in models
    ]
    return "\n\n".join(
        [
            "# Models",
            "Any of these can be the proxy or the target: those are roles, not kinds of model. "
            "The training recipe is what a role takes for the model unless told otherwise.",
            table(("model", "for", "what it is", "trained by default", "paper"), rows),
            "Beside the table, `hf:PATH` is any sequence or image classifier of the "
            "`transformers` library (a local folder or a hub id; extra `hf`), and "
            "`package.module:function` is your own: a function that takes a "
            "[`DataInfo`](python.md#keepers.types.DataInfo) and returns a `torch.nn.Module`, or a "
            "[`Model`](python.md#keepers.types.Model) that also says how its input is encoded. "
            "Features are read from the input of the last layer with parameters, so nobody has "
            "to name it.",
        ]
    )


def training(recipe: Any) -> str:
    augmented = ", augmented" if recipe.augment else ""
    return (
        f"{recipe.epochs} epochs and {recipe.min_steps} steps at least, batch {recipe.batch_size}, "
        f"{recipe.optimizer} at {recipe.lr:g}, {recipe.schedule}{augmented}"
    )


PYTHON = {
    "keepers": "The names below are attributes of `keepers` itself.",
    "keepers.scores": "Pure functions from signals to one score per example, higher first.",
    "keepers.selectors": "Pure functions from scores or features to positions in pick order.",
    "keepers.types": "The vocabulary that travels between the parts.",
    "keepers.errors": "All of them are a `ValueError`.",
}


def python_page() -> str:
    blocks = ["# Python"]
    documented: set[str] = set()
    for name, text in PYTHON.items():
        blocks += [f"## {name}", text]
        for identifier in public_objects(importlib.import_module(name)):
            if identifier not in documented:
                blocks.append(f"::: {identifier}")
                documented.add(identifier)
    return "\n\n".join(blocks)


def public_objects(module: Any) -> Iterator[str]:
    """Where the functions and classes of `__all__` are defined; without it, all public classes."""
    if hasattr(module, "__all__"):
        values = [getattr(module, name) for name in module.__all__]
        values = [v for v in values if inspect.isclass(v) or inspect.isfunction(v)]
    else:
        own = [v for n, v in vars(module).items() if not n.startswith("_")]
        values = [v for v in own if inspect.isclass(v) and v.__module__ == module.__name__]
    for value in values:
        yield f"{value.__module__}.{value.__qualname__}"


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "methods.md": methods_page,
    "models.md": models_page,
    "python.md": python_page,
    **results.pages(),
}

if __name__ == "__main__":
    main()

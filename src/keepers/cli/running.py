"""What the commands do once their options are read: run, print, write."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keepers import processes
from keepers.cli.progress import TerminalProgress
from keepers.cli.settings import echo
from keepers.data import check_apart, check_destination, is_within
from keepers.data import export as export_rows
from keepers.errors import RunError
from keepers.files import check_output, plain, write_json
from keepers.ledger import peak_memory_mib
from keepers.methods import table as methods_table
from keepers.models import MODELS
from keepers.reports import compare_report, report
from keepers.reports.terminal import WIDTH, compare_table, coreset_summary
from keepers.selection import Selection
from keepers.workflows.coreset import coreset
from keepers.workflows.score import score

DEMO: Mapping[str, Any] = {
    "test": 0.3,
    "methods": ("entropy",),
    "keep": (0.5,),
    "proxy": {"model": "mlp", "options": {"hidden": [32]}},
    "target": "mlp",
    "seeds": 3,
}


def run_coreset(
    data: str, values: dict[str, Any], outputs: Mapping[str, Any], *, as_json: bool
) -> None:
    """Select, then write the selection, the kept rows and the report, and say so."""
    out, export, overwrite = (outputs[name] for name in ("out", "export", "overwrite"))
    _check_outputs(data, {**outputs, "run": values["run"]})
    selection = coreset(data, **_quiet(values))
    if processes.rank() != 0:
        return
    run: Path = selection.evidence.run
    written = {"selection": selection.to_parquet(run / "selection.parquet", overwrite=True)}
    if out is not None:
        written["out"] = selection.to_parquet(out, overwrite=overwrite)
    if export is not None:
        rows = sorted(selection.indices.tolist())
        export_rows(data, rows, export, split=values["split"], overwrite=overwrite)
        written["export"] = Path(export)
    written["report"] = report(selection)
    if as_json:
        _print_json(_facts(selection, written))
        return
    _console().print(coreset_summary(selection))
    _say_written(written)


def _facts(selection: Selection, written: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "kept": len(selection),
        "counts": {
            "rows": selection.metadata["data"]["rows"],
            "candidates": selection.metadata["n"],
            "kept": len(selection),
            "validation": selection.metadata["validation"],
            "skipped": selection.metadata["skipped"],
        },
        **selection.metadata,
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "files": {name: str(path) for name, path in written.items()},
    }


def run_score(
    data: str, values: dict[str, Any], outputs: Mapping[str, Any], *, as_json: bool
) -> None:
    """Score, and write the scores."""
    out: Path = outputs["out"]
    _check_outputs(data, outputs)
    scores = score(data, **_quiet(values))
    if processes.rank() != 0:
        return
    scores.to_parquet(out, overwrite=outputs["overwrite"])
    if as_json:
        _print_json({**scores.metadata, "files": {"scores": str(out)}})
        return
    _console().print(f"Scored {scores.table.num_rows:,} examples by {scores.metadata['method']}")
    _say_written({"scores": out})


def run_compare(
    data: str, values: dict[str, Any], outputs: Mapping[str, Any], *, as_json: bool
) -> None:
    """Compare, and write the result and the report."""
    from keepers.experiments import compare  # its statistics take half a second to import

    out: Path | None = outputs["out"]
    _check_outputs(data, outputs)
    _check_outputs(values["test"], outputs)
    values = {**values}
    for name in ("methods", "keep"):
        if isinstance(values[name], str):
            values[name] = [part.strip() for part in values[name].split(",") if part.strip()]
    comparison = compare(data, **_quiet(values))
    if processes.rank() != 0:
        return
    written = {"result": comparison.run / "compare.json"}
    if out is not None:
        write_json(out, comparison.result, overwrite=outputs["overwrite"])
        written["out"] = out
    written["report"] = compare_report(comparison.result, comparison.run / "report.html")
    if as_json:
        files = {name: str(path) for name, path in written.items()}
        _print_json({**comparison.result, "peak_memory_mib": peak_memory_mib(), "files": files})
        return
    _console().print(compare_table(comparison.result))
    _say_written(written)


def print_methods(*, as_json: bool) -> None:
    """The methods table."""
    rows = methods_table().values()
    if as_json:
        names = ("name", "summary", "needs", "when", "paper", "options", "default_ensemble")
        _print_json([{name: plain(getattr(row, name)) for name in names} for row in rows])
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("method", "needs", "when to use it", "paper"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(row.name, ", ".join(sorted(row.needs)) or "–", row.when, row.paper or "–")
    _console().print(shown)


def print_models(*, as_json: bool) -> None:
    """The models table."""
    if as_json:
        names = ("name", "kinds", "summary", "paper", "defaults")
        _print_json(
            [{name: plain(getattr(row, name)) for name in names} for row in MODELS.values()]
        )
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "for", "what it is", "epochs"):
        shown.add_column(name, overflow="fold")
    for row in MODELS.values():
        shown.add_row(row.name, ", ".join(row.kinds), row.summary, str(row.defaults.epochs))
    shown.add_row("hf:PATH", "image, text", "a transformers classifier, local or by hub id", "3")
    shown.add_row("package.module:function", "any", "your own", "10")
    _console().print(shown)


def _quiet(values: dict[str, Any]) -> dict[str, Any]:
    """The values with plain strings for enumerations, and where to report."""
    plain_values = {
        name: str(value) if hasattr(value, "value") else value for name, value in values.items()
    }
    first = processes.rank() == 0
    return {**plain_values, "progress": TerminalProgress() if first else None, "say": echo}


def _check_outputs(data: Any, outputs: Mapping[str, Any]) -> None:
    """Refuse, before anything is trained, outputs that cannot be written or would harm the data."""
    overwrite, export = outputs["overwrite"], outputs.get("export")
    if outputs["out"] is not None:
        check_apart(data, outputs["out"], "out")
        check_output(Path(outputs["out"]), overwrite=overwrite)
    if export is None:
        return
    check_destination(data, export, overwrite)
    for name in ("out", "run"):
        if outputs[name] is not None and is_within(Path(outputs[name]), Path(export)):
            raise RunError(
                f"{name}: {outputs[name]} lies in {export}, which --export writes as a whole. "
                f"Name another with --{name}"
            )


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else WIDTH, highlight=False, soft_wrap=False)


def _say_written(written: Mapping[str, Path]) -> None:
    for name, path in written.items():
        sys.stdout.write(f"{name}: {path}\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")

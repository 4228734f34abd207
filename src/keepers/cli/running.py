"""What the commands do once their options are read: run, print, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from rich.table import Table

import keepers
from keepers import processes
from keepers.cli.commands import Request
from keepers.cli.outputs import console, print_json, reported, say_written, work
from keepers.cli.settings import echo
from keepers.errors import KeepersError
from keepers.files import plain
from keepers.ledger import peak_memory_mib
from keepers.methods import in_words, workflows
from keepers.methods import table as methods_table
from keepers.models import CLASSIFIERS, MIN_STEPS, MODELS
from keepers.online import InfoBatch
from keepers.reports.coreset import report
from keepers.reports.terminal import coreset_summary
from keepers.selection import Selection
from keepers.words import changed, counted
from keepers.workflows.coreset import coreset, write_selection
from keepers.workflows.online import INFOBATCH, ORIGINAL, POLICIES
from keepers.workflows.options.advise import (
    AdviseOnlineOptions,
    AdviseOptions,
    LabellingOptions,
)
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.compare_online import CompareOnlineOptions
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions
from keepers.workflows.options.shared import Shared
from keepers.workflows.options.simulate import SimulateOptions
from keepers.workflows.outcome import Outcome
from keepers.workflows.score import score

DEMO: Mapping[str, Any] = {
    "test": 0.3,
    "methods": ("entropy",),
    "keep": (0.5,),
    "proxy": {"model": "mlp", "options": {"hidden": [32]}},
    "target": {"model": "mlp", "options": {"hidden": [128]}},
    "target_epochs": 20,
    "seeds": 5,
}

CHOSEN_BY = (
    *("method", "method_options", "keep", "seed", "proxy", "ensemble", "balance", "min_per_class"),
    *("near_duplicates", "validation", "data"),
)

ANSWERS: Mapping[type[Shared], str] = {
    AdviseOptions: "advise",
    AdviseOnlineOptions: "advise_online",
    LabellingOptions: "advise_labelling",
    CompareOptions: "compare",
    CompareOnlineOptions: "compare_online",
    SimulateOptions: "simulate",
}
"""The function that answers, by its options; imported when it is asked: statistics take long."""

POLICY_OPTIONS = {
    INFOBATCH: {name: each.default for name, each in signature(InfoBatch).parameters.items()}
}


def run_coreset(request: Request[CoresetOptions]) -> None:
    """Select, then write the selection, the kept rows and the report, and say so."""
    with work(request) as options:
        selection = coreset(request.data, **vars(replace(options, out=None, export=None)))
    if processes.rank() != 0:
        return
    run: Path = selection.evidence.run
    table = run / "selection.parquet"
    before = _choice(table)
    written = {"selection": selection.to_parquet(table, overwrite=True)}
    if before is not None and not before.table.equals(selection.table):
        told = changed(before.metadata, selection.metadata, CHOSEN_BY)
        echo(
            f"{table} had an earlier selection{told and f', with {told}'}; it is replaced. Use "
            "--out to keep each"
        )
    written |= write_selection(selection, request.data, options)
    written["report"] = reported(run, lambda _: report(selection))
    if request.as_json:
        print_json(_facts(selection, written))
        return
    console().print(coreset_summary(selection))
    say_written(written)


def _choice(table: Path) -> Selection | None:
    """The selection in a file, if one can be read there."""
    try:
        return Selection.read_parquet(table)
    except KeepersError:
        return None


def _facts(selection: Selection, written: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "kept": len(selection),
        "counts": {
            "rows": selection.metadata["data"]["rows"],
            "candidates": selection.metadata["n"],
            "kept": len(selection),
            "validation": selection.metadata["validation"],
            "near_duplicates": selection.metadata["num_near_duplicates"],
            "skipped": selection.metadata["skipped"],
        },
        **selection.metadata,
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "files": {name: str(path) for name, path in written.items()},
    }


def run_advise(request: Request[Any]) -> None:
    """Run the pilot of a question, and write what it says and the report."""
    from keepers.reports.advise import advice_report, advice_table

    _run(request, advice_report, advice_table)


def run_score(request: Request[ScoreOptions]) -> None:
    """Score, and write the scores."""
    with work(request) as options:
        scores = score(request.data, **vars(options))
    if processes.rank() != 0:
        return
    if request.as_json:
        print_json({**scores.metadata, "files": {"scores": str(options.out)}})
        return
    console().print(
        f"Scored {counted(scores.table.num_rows, 'example')} by {scores.metadata['method']}"
    )
    say_written({"scores": Path(str(options.out))})


def run_compare(request: Request[Any]) -> None:
    """Compare core-sets, or online selection, and write the result and the report."""
    from keepers.reports.compare import compare_report, compare_table

    _run(request, compare_report, compare_table)


def run_simulate(request: Request[SimulateOptions]) -> None:
    """Simulate campaigns, and write the result and the report."""
    from keepers.reports.simulate import simulate_report, simulate_table

    _run(request, simulate_report, simulate_table)


def _run(
    request: Request[Any],
    report_of: Callable[[Mapping[str, Any], Path], Path],
    table_of: Callable[[Mapping[str, Any]], Any],
) -> None:
    with work(request) as options:
        outcome: Outcome = getattr(keepers, ANSWERS[request.kind])(request.data, **vars(options))
    if processes.rank() != 0:
        return
    written = {"result": outcome.run / outcome.file}
    if options.out is not None:
        written["out"] = Path(options.out)
    written["report"] = reported(outcome.run, partial(report_of, outcome.result))
    if request.as_json:
        files = {name: str(path) for name, path in written.items()}
        print_json({**outcome.result, "peak_memory_mib": peak_memory_mib(), "files": files})
        return
    console().print(table_of(outcome.result))
    for sentence in outcome.result.get("sentences", ()):
        console().print(sentence, soft_wrap=True, markup=False)
    say_written(written)


def print_methods(*, as_json: bool) -> None:
    """The methods table."""
    rows = methods_table().values()
    if as_json:
        names = ("name", "summary", "needs", "when", "paper", "options", "default_ensemble")
        found = [
            {name: plain(getattr(row, name)) for name in names} | {"offered": workflows(row)}
            for row in rows
        ]
        print_json(found + _policies())
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column("method", no_wrap=True)
    for name in ("offered", "needs", "when to use it", "paper"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        offered, needs = ", ".join(workflows(row)), in_words(row.needs)
        shown.add_row(row.name, offered, needs or "–", row.when, row.paper or "–")
    for policy in _policies():
        offered, needs = ", ".join(policy["offered"]), in_words(policy["needs"])
        shown.add_row(policy["name"], offered, needs or "–", policy["summary"], "–")
    console().print(shown)


def _policies() -> list[dict[str, Any]]:
    """What online selection offers beside the table, with the keys of its rows."""
    from keepers.baselines import ONLY_COMPARED

    offered = dict.fromkeys(POLICIES, "online") | dict.fromkeys(ONLY_COMPARED, "compare --online")
    return [
        {
            "name": name,
            "summary": summary,
            "needs": ["irreducible_losses"] if name == ORIGINAL else [],
            "when": "",
            "paper": "",
            "options": POLICY_OPTIONS.get(name, {}),
            "default_ensemble": 1,
            "offered": [offered[name]],
        }
        for name, summary in {**POLICIES, **ONLY_COMPARED}.items()
    ]


def print_models(*, as_json: bool) -> None:
    """The models table."""
    if as_json:
        names = ("name", "kinds", "summary", "paper", "defaults")
        rows = [*MODELS.values(), *CLASSIFIERS.values()]
        print_json([{name: plain(getattr(row, name, None)) for name in names} for row in rows])
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "for", "what it is", "epochs"):
        shown.add_column(name, overflow="fold")
    for row in MODELS.values():
        shown.add_row(row.name, ", ".join(row.kinds), row.summary, f"{row.defaults.epochs}*")
    for fitted in CLASSIFIERS.values():
        shown.add_row(fitted.name, ", ".join(fitted.kinds), fitted.summary, "–")
    shown.add_row("sklearn:package.module:function", "any", "a scikit-learn classifier", "–")
    shown.add_row(
        "probe:hf:PATH", "image, text, chat", "linear on a frozen encoder's features", "–"
    )
    shown.add_row("probe:package.module:function", "any", "the same on an encoder of yours", "–")
    shown.add_row("hf:PATH", "image, text", "a transformers classifier, local or by hub id", "3*")
    shown.add_row("package.module:function", "any", "your own", "10*")
    console().print(shown)
    console().print(f"* and {MIN_STEPS} optimiser steps at least, unless --epochs is given")

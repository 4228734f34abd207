"""How every workflow begins: the data are opened, and there is a place to work on them."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keepers.data import (
    Source,
    check_apart,
    check_destination,
    check_own,
    check_run,
    is_within,
    may_replace,
    open_source,
)
from keepers.errors import ExistsError, ParameterError, RunError
from keepers.files import check_output
from keepers.ledger import Ledger
from keepers.options import cut
from keepers.runs import Run
from keepers.types import Budget
from keepers.words import counted
from keepers.workflows.options.shared import Reading, Say, Shared
from keepers.workflows.workplace import Workplace

RUNS = Path("keepers-runs")


def about(source: Source, **more: Any) -> dict[str, Any]:
    """What the data are, and `more` of them, for the result of advice or of an experiment.

    Where the targets are no classes it says what they are, and what their score and strata are
    called.
    """
    task, of_task = source.task, {}
    if source.other_task is not None:
        of_task = {
            "task": task.name,
            "targets": task.plural,
            "score": task.score_words,
            "stratum": task.stratum[0],
            "right": task.right_words,
        }
    return {
        "name": source.name,
        "kind": source.kind,
        "n": len(source),
        "num_classes": task.num_outputs,
        **of_task,
        **more,
        "fingerprint": source.fingerprint,
    }


def default_run(source: Source, purpose: str = "coreset") -> Path:
    """Where a run on these data is kept unless a directory is named."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", source.name).strip("-.")
    return RUNS / f"{purpose}-{name}-{source.fingerprint[:8]}"


def read_data(data: Any, options: Shared, **more: Any) -> Source:
    """The data, opened as the options say, and `more`."""
    reading, progress = vars(cut(options, Reading)), options.progress
    reading["quality"] = getattr(options, "quality", None)
    source = open_source(data, **reading, limit=options.limit, progress=progress, **more)
    if source.kind == "chat" and not options.reads_conversations:
        raise ParameterError(
            "data",
            f"{source.name} holds conversations ({source.found[0]}), which only keepers coreset, "
            "score, compare, advise, il and train take",
            "To classify their texts name a column of them with --input and the classes with "
            "--label",
        )
    return source


@contextmanager
def workplace(
    data: Any, options: Shared, *, purpose: str, seed: int = 0, **reading: Any
) -> Generator[tuple[Source, Workplace]]:
    """The data, opened and described to a person, and a place to work on them."""
    ledger = Ledger()
    options.hardware.join_processes()
    check_run(data, options.run)
    with ledger.phase("reading") as tally:
        source = read_data(data, options, seed=seed, **reading)
        tally.examples = len(source)
    with placed(options, purpose, data=source) as place:
        place.ledger.book(ledger.costs)
        for sentence in source.found:
            place.say(sentence)
        yield source, place


@contextmanager
def placed(
    options: Shared, purpose: str, mark: str = "", *, data: Source, **others: Source
) -> Generator[Workplace]:
    """A place to work on data, in a run directory that is theirs and that of the others.

    `mark` ends its name where the options name none.
    """
    path = Path(options.run or f"{default_run(data, purpose)}{mark}")
    identity = {name: each.fingerprint for name, each in {"data": data, **others}.items()}
    with Run(path, identity, resume=options.resume) as opened:
        yield Workplace.of(opened, options)


def check_outputs(data: Any, options: Shared) -> None:
    """Refuse, before anything is trained, outputs that cannot be written or would harm the data.

    Raises:
        ExistsError: those that are there already, all of them in one error.
    """
    out, overwrite = options.out, options.overwrite
    export: str | Path | None = getattr(options, "export", None)
    check_run(data, options.run)
    met: list[ExistsError] = []
    if out is not None:
        check_own(out, "out", run=options.run)
        check_apart(data, out, "out")
        try:
            if options.leaves_folder and may_replace(Path(out)):
                check_destination(data, out, overwrite, "out")
            else:
                check_output(Path(out), overwrite=overwrite)
        except ExistsError as error:
            met.append(error)
    if export is not None:
        try:
            check_destination(data, export, overwrite)
        except ExistsError as error:
            met.append(error)
        for name, path in (("out", out), ("run", options.run)):
            if path is not None and is_within(Path(path), Path(export)):
                raise RunError(
                    f"{name}: {path} is inside {export}, which --export writes as a whole. Name "
                    f"another with --{name}"
                )
        check_own(export, "export", run=options.run)
    if len(met) > 1:
        raise ExistsError(
            f"out, export: {out} and {export} exist. Pass --overwrite (overwrite=True) to replace "
            "both"
        )
    if met:
        raise met[0]


def share(given: Any, parameter: str) -> Budget | None:
    """The fraction or count of the data that is meant, or None where other data are named.

    Raises:
        ParameterError: it is out of range.
    """
    if isinstance(given, float | int) and not isinstance(given, bool):
        return Budget.parse(given, parameter)
    if not isinstance(given, str) or Path(given).exists() or not given.rstrip("%").strip():
        return None
    try:
        float(given.rstrip("%"))
    except ValueError:
        return None
    return Budget.parse(given, parameter)


def say_skipped(source: Source, say: Say, *, shown: int = 5) -> None:
    """Count and list the rows that were left out."""
    if not source.skipped:
        return
    rows = [
        f"row {row.row}{'' if row.id is None else f' (id {row.id})'}: {row.problem}"
        for row in source.skipped[:shown]
    ]
    more = [f"and {len(source.skipped) - shown:,} more"] if len(source.skipped) > shown else []
    say(
        f"Skipped {counted(len(source.skipped), 'row')} that cannot be used: "
        f"{'; '.join(rows + more)}"
    )

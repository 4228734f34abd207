"""How work by shard begins: the shards are found and indexed, and there is a place to work on."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepers import processes
from keepers.data.folders import find_files
from keepers.data.guesses import other_than_classes
from keepers.data.readers import not_read
from keepers.data.sentences import repeating
from keepers.errors import ParameterError
from keepers.files import check_folder, fingerprint
from keepers.runs import Run
from keepers.shards.executor import Executor, InProcess, executor
from keepers.shards.indexed import Indexed, index_all
from keepers.shards.places import Named, Shard, find_shards, folders_of, is_meant
from keepers.shards.reading import Reading, settle
from keepers.words import counted
from keepers.workflows.opening import RUNS
from keepers.workflows.options.shards import Sharded
from keepers.workflows.workplace import Workplace, say_or_not


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """Where work by shard is done: the shards, what runs tasks, and the run directory."""

    shards: tuple[Shard, ...]
    run: Executor
    place: Workplace
    options: Sharded

    @property
    def folder(self) -> Path:
        """Where results by shard are kept."""
        return self.place.run.path / "shards"

    def index(
        self,
        *,
        needs_inputs: bool,
        needs_labels: bool,
        features: str | None = None,
        scores: str | None = None,
        distinct: bool = False,
        unlabelled: str = "",
    ) -> Indexed:
        """Index the shards, and say what was found; `unlabelled` as in `settle`."""
        options = self.options
        reading: Reading = settle(
            self.shards,
            input=options.input,
            label=options.label,
            id=options.id,
            features=features,
            scores=scores,
            header=options.header,
            on_bad_row=options.on_bad_row,
            needs_inputs=needs_inputs or distinct,
            needs_labels=needs_labels,
            unlabelled=unlabelled,
        )
        with self.place.ledger.phase("indexing") as tally:
            found = index_all(
                self.run,
                self.shards,
                reading,
                self.folder,
                require=needs_labels,
                distinct=distinct,
                resume=options.resume,
                progress=options.progress,
            )
            tally.examples = found.num_rows
        say = self.place.say
        say(_told(found))
        if other := other_than_classes(found.class_names, found.num_rows):
            say(
                f"Warning: '{found.reading.columns.label}' may hold {other}, but by shard each of "
                "its values is a class. Leave --shards out to read them as such"
            )
        for note in reading.notes:
            say(note)
        if repeats := found.num_repeats:
            say(repeating(repeats))
        if found.empty:
            say(f"No row in {', '.join(shard.name for shard in found.empty[:5])}")
        if found.num_skipped:
            say(f"Skipped {counted(found.num_skipped, 'row')} that cannot be used")
        if distinct:
            say(f"Set aside {counted(found.num_copies, 'copy', 'copies')} of other inputs")
        return found


@contextmanager
def site(data: Named, options: Sharded, name: str) -> Generator[Site]:
    """The shards that `data` names, a run directory, and what runs tasks.

    Raises:
        KeepersError: no shard, a directory of other data, or a cluster that cannot be used.
    """
    say = say_or_not(options.say)
    if processes.started() > 1:
        raise ParameterError(
            "workers",
            f"torchrun started {processes.started()} processes",
            "By shard, start one and give --workers (workers=...) or --ray",
        )
    shards = find_shards(data, options.split)
    for folder in folders_of(data):
        for note in not_read(find_files(folder, options.split)):
            say(note)
    path = Path(options.run or _default_run(data, shards, name)).absolute()
    check_folder(path, "run")
    gpus = 1 if options.hardware.kind == "cuda" else 0
    with executor(options.workers, options.ray, gpus) as run:
        if not isinstance(run, InProcess):
            say(f"Ray: {counted(run.workers, 'worker')}")
        given = [str(each) for each in ([data] if isinstance(data, str | Path) else data)]
        with Run(path, {"shards": fingerprint(given)[:16]}, resume=options.resume) as opened:
            place = Workplace.of(opened, options)
            yield Site(shards=shards, run=run, place=place, options=options)


def check_apart(out: Path, data: Named, split: str | None, shards: Sequence[Shard]) -> None:
    """Refuse an output, a file or a folder of files, that is among the data or would be.

    Raises:
        ParameterError: it is a shard, holds shards, or would be read with them.
    """
    place = out.expanduser().resolve()
    addresses = [Path(shard.address) for shard in shards]
    whole = [each for each in folders_of(data) if find_files(each, split).split is None]
    if place in addresses:
        problem = "is one of the shards"
    elif any(place in each.parents for each in addresses):
        problem = "holds shards"
    elif any(each.resolve() in place.parents for each in whole) or is_meant(place, data):
        problem = "would be read as a shard by the next command on the same data"
    else:
        return
    raise ParameterError("out", f"{out} {problem}", "Name another place")


def _told(found: Indexed) -> str:
    columns = found.reading.columns
    words = [f"{counted(found.num_rows, 'row')} in {counted(len(found.indexes), 'shard')}"]
    if columns.input:
        words.append(f"{found.reading.kind} '{', '.join(columns.input)}'")
    if columns.label is not None:
        words.append(
            f"label '{columns.label}', {counted(len(found.class_names), 'class', 'classes')}"
        )
    by = f"key '{columns.id}'" if columns.id is not None else "ids from the inputs"
    return "; ".join([*words, by])


def _default_run(data: Any, shards: Sequence[Shard], name: str) -> Path:
    first = Path(str(data)).name if isinstance(data, str | Path) else shards[0].name
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", first).strip("-.")
    return RUNS / f"{name}-{plain}-{fingerprint([shard.address for shard in shards])[:8]}"

"""What the commands of `keepers active` do once their options are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from keepers.campaign import Id, Recorded, State, read_returned, read_votes
from keepers.cli.commands import Request
from keepers.cli.outputs import console, listening, print_json, say_written, work
from keepers.cli.settings import echo
from keepers.data import is_within
from keepers.errors import ParameterError, RunError, renamed
from keepers.reports.active import active_report
from keepers.reports.active_answers import next_query, next_step
from keepers.reports.active_terminal import active_summary, batch_table
from keepers.tasks.question import Answer
from keepers.words import counted
from keepers.workflows.active import Campaign
from keepers.workflows.active.batches import write_batch
from keepers.workflows.active.drift import FOLDER as POOLS
from keepers.workflows.active.labelled import check_no_data, check_table, row_check
from keepers.workflows.active.work import WORK
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.active import StartOptions


def _opened(
    folder: Path, arguments: Mapping[str, Any], named: Mapping[str, str | None] | None = None
) -> Campaign:
    models = named or {}
    return Campaign.open(
        folder,
        proxy=models.get("proxy"),
        target=models.get("target"),
        features=models.get("features"),
        progress=arguments["progress"],
        say=arguments["say"],
    )


def run_start(request: Request[StartOptions]) -> None:
    """Begin a campaign."""
    with work(request) as options:
        campaign = Campaign.start(request.data, **vars(options))
        facts = campaign.status()
    if request.as_json:
        print_json(facts)
        return
    for sentence in campaign.holdings.source.found:
        echo(sentence)
    say_skipped(campaign.holdings.source, echo)
    console().print(
        f"Started a campaign on {counted(facts.pool, 'example')} with {_asked(campaign)}; "
        f"{sum(facts.parts.values()):,} already labelled"
    )
    _say_next(f"Next: {next_query(facts)}" if facts.left else next_step(facts))


def _asked(campaign: Campaign) -> str:
    """What is labelled, in words."""
    question = campaign.state.question
    number = len(question.names)
    return f"{number} {question.one if number == 1 else question.option}"


def run_query(
    folder: Path,
    count: int,
    named: Mapping[str, str | None],
    *,
    new: bool,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Plan a batch and show it."""
    written: dict[str, Path] = {}
    with listening() as arguments:
        campaign = _opened(folder, arguments, named)
        if out is not None:
            _check_out(campaign, out, overwrite)
        batch = campaign.query(count, new=new)
        if out is not None:
            written["out"] = write_batch(campaign.state, campaign.holdings, batch, out, overwrite)
    if as_json:
        print_json({**asdict(batch), "files": written})
        return
    console().print(batch_table(campaign, batch))
    campaign.desk.remember()
    say_written(written)
    _say_next(next_step(campaign.status()))


def _check_out(campaign: Campaign, out: Path, overwrite: bool) -> None:
    """Refuse, before anything is planned, a file that cannot be written or would harm the data."""
    check_no_data(campaign.state, out)
    for name in (WORK, POOLS):
        if is_within(out, campaign.path / name):
            raise RunError(f"out: {out} is a place where the campaign itself writes. Name another")
    check_table(out, campaign.holdings.source, overwrite=overwrite)


def _say_next(words: str) -> None:
    """The next command, on one line however long, to be copied."""
    console().print(Text(words), soft_wrap=True)


def run_import(
    folder: Path, file: Path, *, annotator: str | None, partial: bool, as_json: bool
) -> None:
    """Take a file of labels in: those of `annotator`, or of whoever the file is named after."""
    unsure = None if annotator is not None else file.stem.strip() or "file"
    annotator = annotator or unsure or "file"
    malformed: Sequence[str] = ()
    with listening() as arguments:
        campaign = _opened(folder, arguments)
        reading: dict[str, Any] = {
            "annotator": annotator,
            "check": row_check(campaign.holdings.source),
            "question": campaign.state.asked_ever,
            "key": campaign.holdings.source.columns.id,
        }
        if partial:
            returned = read_returned(file, **reading)
            votes, malformed = returned.votes, returned.malformed
        else:
            votes = read_votes(file, **reading)
        recorded = campaign.record(votes, partial=partial, unsure=unsure)
    say_recorded(recorded, malformed, as_json=as_json, one=campaign.state.question.one)


def say_recorded(
    recorded: Recorded, malformed: Sequence[str], *, as_json: bool, one: str = "class"
) -> None:
    """What became of labels that came back."""
    if as_json:
        print_json({**asdict(recorded), "malformed": list(malformed)})
        return
    console().print(
        f"{recorded.new:,} new, {recorded.changed:,} changed, {recorded.repeated:,} already known"
    )
    if recorded.quarantined:
        console().print(
            f"Of these, {counted(recorded.quarantined, 'names', 'name')} a {one} that the "
            "campaign does not have: they are kept, and count once it does (keepers active "
            "classes)"
        )
    for sentence in (*malformed, *recorded.refused):
        console().print(f"Left out: {sentence}")


def run_label(folder: Path, *, host: str, port: int) -> None:
    """Serve the labelling page until it is stopped."""
    from keepers.integrations.labelling import serve

    with listening() as arguments:
        campaign = _opened(folder, arguments)
    serve(campaign.desk, host=host, port=port)


def run_label_studio(
    folder: Path, url: str, *, variable: str, poll: float | None, as_json: bool
) -> None:
    """Send the batch to a Label Studio server and bring back what is labelled there."""
    from keepers.integrations.label_studio import exchange

    with listening() as arguments, renamed({"every": "poll"}):
        campaign = _opened(folder, arguments)
        done = exchange(
            campaign.desk,
            url,
            variable=variable,
            every=poll,
            predictions=_predictions(campaign.state),
            say=echo,
        )
    if as_json:
        print_json(done)


def _predictions(state: State) -> dict[Id, tuple[Answer, float | None]]:
    """The proxy's predictions for the waiting items, by the current names."""
    waiting = frozenset(state.pending())
    found: dict[Id, tuple[Answer, float | None]] = {}
    for planned in state.rounds:
        for item, name, probability in planned.facts.get("predictions", ()):
            predicted = state.today(name)
            if item in waiting and predicted is not None:
                found[item] = predicted, probability
    return found


def run_status(
    folder: Path,
    named: Mapping[str, str | None],
    *,
    train: bool,
    goal: float | None,
    as_json: bool,
) -> None:
    """Show where the campaign stands, and write it as a report."""
    with listening() as arguments:
        campaign = _opened(folder, arguments, named)
        if train and campaign.measure() is None:
            why = campaign.status().too_few
            echo(f"{why[:1].upper()}{why[1:]}: there is no proxy to measure yet")
        facts = campaign.status(goal=goal)
    written = {} if campaign.journal.read_only else {"report": active_report(campaign, facts)}
    if as_json:
        print_json({**vars(facts), "files": written})
        return
    for warning in facts.warnings:
        if warning not in campaign.drift.sentences():  # those were said when it was opened
            echo(f"Note: {warning}")
    console().print(active_summary(facts))
    _say_next(next_step(facts))
    say_written(written)


def run_export(folder: Path, out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write the labelled examples."""
    with listening() as arguments:
        campaign = _opened(folder, arguments)
        _check_out(campaign, out, overwrite)
        written = campaign.export(out, overwrite=overwrite)
    if as_json:
        print_json({"labels": len(campaign.state.labels), "files": {"out": written}})
        return
    console().print(f"Wrote {counted(len(campaign.state.labels), 'labelled example')}")
    say_written({"out": written})


def run_classes(folder: Path, names: str, rename: Sequence[str], *, as_json: bool) -> None:
    """Change the classes."""
    renamed: dict[str, str] = {}
    for pair in rename:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise ParameterError("rename", f"got {pair!r}", "Give OLD=NEW")
        renamed[old] = new
    with listening() as arguments:
        campaign = _opened(folder, arguments)
        schema = campaign.reclassify(class_names(names), renamed)
        what = campaign.state.question.option
    if as_json:
        print_json(schema)
        return
    console().print(f"Version {schema.version} of the {what}: {', '.join(schema.classes)}")


def run_moved(folder: Path, data: Mapping[str, str | None], *, as_json: bool) -> None:
    """Write down where the data are now."""
    with listening() as arguments:
        paths = Campaign.move(folder, **data, progress=arguments["progress"])
    if as_json:
        print_json(paths)
        return
    for name, path in paths.items():
        console().print(Text(f"The {name} data of this campaign are now {path}"), soft_wrap=True)


def class_names(names: str) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in names.split(",")]

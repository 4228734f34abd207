"""A campaign's folder: made once, and come back to."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from keepers import methods
from keepers.campaign import (
    BROUGHT,
    NAME,
    Event,
    Journal,
    Moved,
    Schema,
    Started,
    State,
    Vote,
    now,
)
from keepers.configuration import is_own_code, model_named, validated
from keepers.data import check_apart, readable
from keepers.errors import DataError, ParameterError, RunError, about, renamed
from keepers.files import check_folder, plain
from keepers.models import default_target
from keepers.models.posterior import check_dropout
from keepers.options import Options, cut, declared
from keepers.roles import Role, made_by
from keepers.tasks import CLASSES
from keepers.types import Model, Progress
from keepers.workflows.active.drift import FOLDER, is_new, measure_event, pool_event
from keepers.workflows.active.opening import (
    Holdings,
    location,
    no_names,
    open_holdings,
    refuse_conversations,
)
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.active import CampaignConfig, StartOptions
from keepers.workflows.options.shared import Rows
from keepers.workflows.workplace import say_or_not

O = TypeVar("O", bound=Options)  # noqa: E741

DATA = ("pool", "labelled", "test")
DROPOUT = "Give a --proxy with dropout, such as mlp with the option dropout=0.1, or an --ensemble"


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A campaign's journal, what it stands on, and how it was told to choose."""

    path: Path
    journal: Journal
    holdings: Holdings
    config: CampaignConfig
    reading: Rows
    untrusted: Mapping[str, str] = field(default_factory=dict[str, str])


def begin(pool: str | Path, options: StartOptions) -> Opened:
    """Make a campaign's folder; everything is read and checked before anything is written."""
    path = Path(options.campaign)
    config, reading = cut(options, CampaignConfig), cut(options, Rows)
    check_folder(path, "campaign")
    if (path / NAME).is_file():
        Journal.create(path).close()  # refuses what was begun; a start that was killed was not
    given = {"pool": pool, "labelled": options.labelled, "test": options.test}
    told = (config.names, options.labelled, options.test) != (None, None, None)
    if reading.label is None and not told:
        refuse_conversations(pool, reading)
        raise no_names(config.task)
    where = {name: location(data, name) for name, data in given.items()}
    for data in where.values():
        check_apart(data, path, "campaign")
    holdings = open_holdings(
        pool,
        reading=reading,
        names=config.names,
        task=config.task,
        labelled=options.labelled,
        test=options.test,
        features=config.features,
        progress=options.progress,
    )
    _check_models(config, holdings)
    _ = holdings.source.inputs  # two files whose inputs cannot stand together are refused here
    _check_pictures(holdings, reading, options)
    config = config.named(holdings.source.task.names)
    events: list[Event] = [
        Started(
            settings={**where, **plain(asdict(config)), "reading": plain(asdict(reading))},
            campaign=secrets.token_hex(8),
        ),
        Schema(version=1, classes=holdings.source.task.names),
    ]
    events += [
        Vote(item=item, annotator=BROUGHT, label=name, source=BROUGHT, schema=1)
        for item, name in holdings.brought.items()
    ]
    path.mkdir(parents=True, exist_ok=True)
    opened, _ = pool_event(path, holdings, State.empty())
    found = (opened, measure_event(holdings, State.empty()))
    journal = Journal.create(path)
    with journal.lock("starting"):
        if journal.read():
            raise RunError(f"campaign: another process has just started one in {path}. Continue it")
        journal.append([*events, *filter(None, found)])
    return Opened(path=path, journal=journal, holdings=holdings, config=config, reading=reading)


def _check_pictures(holdings: Holdings, reading: Rows, options: StartOptions) -> None:
    """Refuse pictures that cannot be decoded, or say which a campaign does without."""
    say = say_or_not(options.say)
    for what, source in (("pool", holdings.source), ("test", holdings.test)):
        if source is not None and source.kind == "image":
            with about(what):
                found = readable(source, on_bad_row=reading.on_bad_row, progress=options.progress)
            say_skipped(found, lambda sentence, what=what: say(f"{what}: {sentence}"))


def _check_models(config: CampaignConfig, holdings: Holdings) -> None:
    """Refuse models that a later round could not train: what is begun cannot be told otherwise."""
    source = holdings.source
    roles = {"proxy": config.role(source.info(config.resolution))}
    if config.target is not None:
        roles["target"] = Role.parse(config.target, default_target(source.info()), "target")
    if ":" in config.features and holdings.features is None:
        roles["features"] = Role(model=config.features)
    for parameter, role in roles.items():
        info = source.info(role.resolution)
        made = made_by(role, info, parameter)
        if made.encoder.kind != source.kind:
            raise ParameterError(
                parameter,
                f"'{role.model}' reads {made.encoder.kind}s, but {source.name} holds "
                f"{source.kind}s",
                "Choose a model for that kind (keepers models lists them)",
            )
        role.recipe()
        method = methods.get(config.asking)
        ensemble = config.ensemble or method.default_ensemble
        if parameter == "proxy" and "posterior_log_probs" in method.needs and ensemble == 1:
            assert isinstance(made, Model)  # a classifier of scikit-learn is refused before
            with renamed({"model": "proxy"}):
                check_dropout(made.module, DROPOUT)


def come_back(path: Path, progress: Progress | None, named: Mapping[str, str | None]) -> Opened:
    """Open a campaign's folder, with the data that it was begun on.

    `named` are the models that whoever opens it names, by parameter: only these may be code.

    Raises:
        RunError: the folder holds none, or its journal cannot be read.
        DataError: the data are gone, or are others.
    """
    journal = Journal.open(path)
    try:
        state = _begun(journal, path)
        config = _stored(CampaignConfig, state.settings)
        reading = _stored(Rows, state.settings["reading"])
        try:
            holdings = _held(journal, path, state, state.settings, progress)
        except DataError as error:
            error.args = (str(error) + _where_now(state.settings, path),)
            raise
        untrusted = _untrusted(config, holdings, named)
    except BaseException:
        journal.close()
        raise
    holdings = holdings.with_names(state.classes)
    return Opened(
        path=path,
        journal=journal,
        holdings=holdings,
        config=config,
        reading=reading,
        untrusted=untrusted,
    )


def move(
    path: Path, data: Mapping[str, str | Path | None], progress: Progress | None
) -> dict[str, str]:
    """Write down where data of a campaign are now, by name; what was written down.

    Raises:
        ParameterError: nothing is named, or data that the campaign never had.
        DataError: the examples there are others.
    """
    where = {name: str(location(each, name)) for name, each in data.items() if each is not None}
    if not where:
        raise ParameterError("pool", "got nothing that was moved", "Name the file's new place")
    with Journal.open(path) as journal, journal.lock("writing down where the data are"):
        state = _begun(journal, path)
        for name in where:
            if state.settings[name] is None:
                raise ParameterError(name, "this campaign was begun without", "Leave it out")
        holdings = _held(journal, path, state, {**state.settings, **where}, progress)
        changed = {
            "test": is_new(measure_event(holdings, state), state),
            "pool": state.pool and holdings.source.identity != state.pool.fingerprint,
        }
        for name in where:
            if not changed["test" if name == "test" else "pool"]:
                continue
            raise DataError(
                f"{name}: {where[name]} holds other examples than the campaign had. Give the "
                "same ones; later changes are detected"
            )
        journal.append([Moved(paths=where, time=now())])
    return where


def _stored(kind: type[O], settings: Mapping[str, Any]) -> O:
    """Options as a journal holds them, among others and perhaps of an earlier version."""
    return validated(kind, {name: settings[name] for name in declared(kind) if name in settings})


def _begun(journal: Journal, path: Path) -> State:
    state = State.empty().after(event for _, event in journal.read())
    if not state.campaign:
        raise RunError(
            f"campaign: {path} was never started. keepers active start POOL --campaign "
            f"{shlex.quote(str(path))}"
        )
    return state


def _held(
    journal: Journal,
    path: Path,
    state: State,
    settings: Mapping[str, Any],
    progress: Progress | None,
) -> Holdings:
    return open_holdings(
        settings["pool"],
        reading=_stored(Rows, settings["reading"]),
        names=state.names_ever,
        task=state.settings.get("task") or CLASSES.name,
        labelled=settings["labelled"],
        test=settings["test"],
        features=settings["features"],
        memory=None if journal.read_only else path / FOLDER,
        progress=progress,
    )


def _where_now(settings: Mapping[str, Any], path: Path) -> str:
    """The command for data that are no longer where they were; "" where all are."""
    files = {name: Path(settings[name]) for name in DATA if settings[name]}
    gone = [name for name, file in files.items() if file.is_absolute() and not file.exists()]
    if not gone:
        return ""
    given = " ".join("NEW" if name == "pool" else f"--{name} NEW" for name in gone)
    return f". If it was moved: keepers active moved {given} --campaign {shlex.quote(str(path))}"


def _untrusted(
    config: CampaignConfig, holdings: Holdings, named: Mapping[str, str | None]
) -> dict[str, str]:
    """The models that are code, by parameter, and that nobody named who is here."""
    found = {name: model_named(getattr(config, name)) for name in ("proxy", "target")}
    found["features"] = config.features if holdings.features is None else ""
    for parameter, given in named.items():
        if given is not None and given != found[parameter]:
            raise ParameterError(
                parameter,
                f"got '{given}', but this campaign was started with "
                f"'{found[parameter] or 'the default'}'",
                "Leave it out, or start another campaign",
            )
    return {
        parameter: name
        for parameter, name in found.items()
        if is_own_code(name) and named.get(parameter) is None
    }

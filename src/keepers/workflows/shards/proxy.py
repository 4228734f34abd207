"""Proxies for shards: drawn from all, trained side by side, asked of every shard once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keepers import methods
from keepers.data import Source
from keepers.files import fingerprint
from keepers.methods import EARLY
from keepers.models import default_proxy
from keepers.random import derived_seed
from keepers.roles import Role, prepare
from keepers.shards.cutting import Integers, cut_top
from keepers.shards.examples import sample_of
from keepers.shards.indexed import Indexed, sizes
from keepers.shards.proxies import (
    Proxies,
    Scoring,
    identity_of,
    score_shard,
    train_proxy,
    without_examples,
)
from keepers.shards.repeats import At
from keepers.shards.store import Store
from keepers.training import Shuffle, epochs_of
from keepers.types import Silent
from keepers.words import counted
from keepers.workflows.options.shards import Sharded
from keepers.workflows.shards.offered import check_ensemble
from keepers.workflows.shards.opening import Site
from keepers.workflows.stages import early_epochs

OF_EACH = 10
"""Examples of each class that the sample has at least, if the data have them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Examples of all shards, and how many there are of each class (slots,) in all."""

    source: Source
    sizes: Integers


def drawn(at: Site, indexed: Indexed, config: Sharded) -> Sample:
    """Draw a sample of all shards, by ids."""
    seed = derived_seed(config.seed, "sample")
    parts = tuple(replace(part, draw=seed) for part in indexed.parts(None))
    of_slots = sizes(at.run, parts, indexed.num_slots)
    count = min(config.sample, int(of_slots.sum()))
    with at.place.ledger.phase("sampling") as tally:
        cuts = cut_top(at.run, parts, of_slots, count, OF_EACH).cuts
        source = sample_of(at.run, indexed, parts, cuts)
        tally.examples = len(source)
    return Sample(source=source, sizes=of_slots)


def role_of(source: Source, config: Sharded) -> Role:
    """The model that scores shards."""
    default = default_proxy(source.info(config.resolution), in_steps=True)
    role = Role.parse(config.proxy, default)
    return role.having(epochs=config.epochs, resolution=config.resolution)


def score_all(
    at: Site, indexed: Indexed, method: str, config: Sharded, sample: Sample | None = None
) -> tuple[At, ...]:
    """Train the proxies of a method on a sample, and have them score every shard."""
    proxies, source = _trained(at, method, config, sample or drawn(at, indexed, config))
    scoring = Scoring(
        method=method,
        prepared=without_examples(proxies.prepared),
        weights=tuple(proxies.path(member) for member in range(len(proxies.seeds))),
        reading=indexed.reading,
        class_names=indexed.class_names,
        shape=source.shape,
        hardware=config.hardware,
        folder=at.folder,
    )
    scoring = replace(
        scoring, folder=at.folder / f"scores-{fingerprint(identity_of(scoring))[:12]}"
    )
    store, parts = Store(scoring.folder), indexed.parts(None)
    waiting = [p for p in parts if not (config.resume and store.is_there(p.at.key))]
    if len(waiting) < len(parts):
        at.place.say(f"{counted(len(parts) - len(waiting), 'shard')} scored before: found finished")
    listener = at.place.progress or Silent()
    listener.start("scoring", len(parts))
    with at.place.ledger.phase("scoring") as tally:
        for done, (_, examples) in enumerate(at.run.map(score_shard, scoring, waiting)):
            tally.examples += int(examples)
            listener.advance(len(parts) - len(waiting) + done + 1)
    listener.finish()
    return tuple(At(part.at.shard, scoring.folder, part.at.key) for part in parts)


def _trained(at: Site, method: str, config: Sharded, sample: Sample) -> tuple[Proxies, Source]:
    row, source = methods.get(method), sample.source
    ensemble = config.ensemble or row.default_ensemble
    check_ensemble(row, ensemble)
    with at.place.ledger.phase("encoding") as tally:
        role = role_of(source, config)
        source, prepared = prepare(role, source, progress=at.place.progress)
        tally.examples = len(source)
    epochs = epochs_of(prepared.recipe, len(source), Shuffle())
    proxies = Proxies(
        prepared=prepared,
        seeds=tuple(derived_seed(config.seed, "proxy", member) for member in range(ensemble)),
        epochs=early_epochs(epochs) if EARLY in row.needs else epochs,
        hardware=config.hardware,
        folder=at.folder / "proxies",
        identity=source.fingerprint,
    )
    missing = [m for m in range(ensemble) if not (config.resume and proxies.is_trained(m))]
    several = f"{ensemble} × " if ensemble > 1 else ""
    found = "" if missing else ", found finished in the run directory"
    at.place.say(
        f"Proxy: {several}{role.model}, {counted(proxies.epochs, 'epoch')} on "
        f"{counted(len(source), 'example')} of {int(sample.sizes.sum()):,}{found}"
    )
    with at.place.ledger.phase("proxy training") as tally, at.place.under_way("proxy training"):
        for _ in at.run.map(train_proxy, proxies, missing):
            tally.examples += len(source) * proxies.epochs
    return proxies, source

"""`auto` over shards: a pilot on the sample that a proxy would be trained on."""

from __future__ import annotations

from dataclasses import replace

from keepers import methods
from keepers.baselines import SAFE
from keepers.shards.indexed import Indexed
from keepers.shards.parts import UNKNOWN
from keepers.workflows.auto import Taken, asked_by_class, take
from keepers.workflows.options.shards import CoresetShardsOptions
from keepers.workflows.shards.offered import DRAWN, is_scored
from keepers.workflows.shards.opening import Site
from keepers.workflows.shards.proxy import Sample, drawn, role_of


def settled(
    at: Site, indexed: Indexed, config: CoresetShardsOptions
) -> tuple[CoresetShardsOptions, Taken, Sample]:
    """A configuration whose method is what a pilot on a sample shows, and the sample."""
    sample = drawn(at, indexed, config)
    source, n = sample.source, int(sample.sizes.sum())
    k = config.keep.resolve(n)
    known = sample.sizes[UNKNOWN + 1 :]
    judge = source.task.score_words
    if why := asked_by_class(known, k, config.balance, config.least(), judge):
        taken = Taken(method=SAFE, why=why)
        at.place.say(f"auto takes {SAFE}: {why}")
    else:
        of_sample = max(1, round(k / n * len(source)))
        offered = [name for name, row in methods.table().items() if is_scored(row)]
        found = take(
            source,
            (of_sample,),
            at.place,
            proxy=config.proxy,
            seed=config.seed,
            balance=None,
            least=0,
            offered=[*DRAWN, *offered],
            chooser=role_of(source, config),
        )
        taken = found[of_sample]
        at.place.ledger.book([taken.cost] if taken.pilot else [])
    return replace(config, method=taken.method), taken, sample

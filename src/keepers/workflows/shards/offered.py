"""Which methods select by shard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepers import methods
from keepers.errors import ParameterError
from keepers.methods import EARLY, Method
from keepers.methods.method import top
from keepers.signals import PASS_SIGNALS
from keepers.tasks import CLASSES
from keepers.workflows.options.shared import AUTO

DRAWN = ("random", "stratified")
"""The methods that read nothing but labels: they draw from those of all shards at once."""

COVER = ("facility-location", "k-center")
"""The methods that cover features, in rounds over parts."""

_GIVEN = ((PASS_SIGNALS & CLASSES.signals) | {EARLY, "labels"}) - {"posterior_log_probs"}


def is_scored(row: Method) -> bool:
    """Whether a method keeps the highest of scores that a proxy gives each example by itself."""
    return row.select is top and row.score is not None and row.needs <= _GIVEN and not row.bands


def check_method(name: str, options: Mapping[str, Any] | None, *, features: bool) -> None:
    """Refuse a method that cannot work by shard, or not on what is brought.

    Raises:
        ParameterError: which ones can.
    """
    if name == AUTO:
        if options:
            raise ParameterError(
                "method_options", f"got options for '{AUTO}'", "Name the method they are for"
            )
        return
    row = methods.get(name)
    scored = [other for other, each in methods.table().items() if is_scored(each)]
    if features and name not in COVER:
        raise ParameterError(
            "method", f"got '{name}' with features", f"By shard, take {' or '.join(COVER)}"
        )
    if not features and name in COVER:
        raise ParameterError(
            "method",
            f"got '{name}', which covers features, but there are none",
            "By shard, name a column of embeddings with --features",
        )
    if not features and name not in DRAWN and not is_scored(row):
        raise ParameterError(
            "method",
            f"got '{name}', which needs all examples at once",
            f"By shard, take {', '.join(sorted([AUTO, *DRAWN, *scored]))}, or leave --shards out",
        )
    methods.settings(row, options)


def check_scoring(name: str) -> None:
    """Refuse a method without scores.

    Raises:
        ParameterError: it has none.
    """
    if name == AUTO or not is_scored(methods.get(name)):
        scored = sorted(other for other, row in methods.table().items() if is_scored(row))
        raise ParameterError(
            "method", f"got '{name}', which gives no scores by shard", f"Use {', '.join(scored)}"
        )


def check_ensemble(row: Method, ensemble: int) -> None:
    """Refuse several proxies whose scores are combined by rank: ranks are over all examples.

    Raises:
        ParameterError: it is such a method.
    """
    if ensemble > 1 and row.merge is None:
        raise ParameterError(
            "ensemble",
            f"got {ensemble}, but the proxies of '{row.name}' are combined by rank over all",
            "By shard, leave it out, or take el2n, whose proxies are averaged",
        )

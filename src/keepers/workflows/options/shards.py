"""The options of `coreset --shards` and `score --shards`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from keepers.baselines import SAFE
from keepers.errors import ParameterError
from keepers.options import Option, at_least, parquet, read
from keepers.workflows.options.coreset import COVERING, ByMethod, Floored, budget
from keepers.workflows.options.shared import (
    AUTO,
    HardwareOptions,
    Listening,
    Proxied,
    Rows,
    Seeded,
)

if TYPE_CHECKING:
    from keepers.types import Budget


class Sharded(Proxied, Seeded, HardwareOptions, Rows, Listening):
    """The options of work that is done shard by shard."""

    sample: Annotated[
        int,
        at_least(2),
        Option("Training examples of the proxy, drawn from all shards", after="ensemble"),
    ] = 20_000
    workers: Annotated[
        int | None,
        at_least(1),
        Option(
            "Parallel workers, started on this machine with Ray (default: 1, this process)",
        ),
    ] = None
    ray: Annotated[
        str | None,
        Option("Ray cluster to use: HOST:PORT, or auto for the one on this machine"),
    ] = None
    overwrite: Annotated[bool, Option("Replace outputs that exist")] = False
    run: Annotated[
        str | Path | None,
        Option(
            "Run directory, shared by all workers (default: in keepers-runs/, by the name of "
            "the data)"
        ),
    ] = None
    resume: Annotated[bool, Option("Reuse and continue the stages in the run directory")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers.configuration import model_named
        from keepers.models import is_classifier

        name = model_named(self.proxy)
        if name and is_classifier(name):
            raise ParameterError(
                "proxy",
                f"got '{name}', which scikit-learn fits",
                "By shard, name a model that is trained in steps, such as mlp, fasttext or preact8",
            )


class CoresetShardsOptions(ByMethod, Floored, Sharded):
    """The options of a core-set of many shards.

    Raises:
        ParameterError: a value out of range, or things that do not go together.
    """

    keep: Annotated[Budget, Option("Fraction kept (0.5 or 50%) or a count (5000)")] = read(
        default=0.5, converter=budget
    )
    method: Annotated[
        str | None,
        Option(
            "How to select; see 'keepers methods' (default: stratified, with --features "
            "facility-location)",
            "`auto` runs a pilot on the sample, and takes margin if that is better than a random "
            "choice.",
        ),
    ] = None
    scores: Annotated[
        str | None,
        Option("Keep the highest scores of this column, without a proxy"),
    ] = None
    features: Annotated[
        str | None,
        Option("Select by this column of embeddings, without labels or a proxy"),
    ] = None
    distinct: Annotated[
        bool, Option("Drop all but the first, by id, of examples with the same input")
    ] = False
    out: Annotated[
        str | Path | None,
        parquet(),
        Option("Parquet file for the kept examples, in pick order", after="on_bad_row"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scores is not None:
            for name in ("method", "features", "proxy"):
                if getattr(self, name) is not None:
                    raise ParameterError(
                        name,
                        "got one together with scores, which decide what is kept",
                        "Leave one out",
                    )
        elif self.method is None or (self.method == AUTO and self.features is not None):
            object.__setattr__(self, "method", SAFE if self.features is None else COVERING)
        from keepers.workflows.shards.offered import check_method

        if self.method is not None:
            check_method(self.method, self.method_options, features=self.features is not None)
            if self.balance is not None and self.features is not None:
                raise ParameterError(
                    "balance",
                    "got classes, but covering features ignores classes",
                    "Leave one out",
                )
            if self.least() > 1 and self.features is not None:
                raise ParameterError(
                    "min_per_class",
                    f"got {self.min_per_class}, but covering features ignores classes",
                    "Leave one out",
                )


class ScoreShardsOptions(Sharded):
    """The options of the scores of many shards."""

    method: Annotated[str, Option("How to score; see 'keepers methods'")] = "entropy"
    out: Annotated[
        str | Path | None,
        Option(
            "Folder for one Parquet file (id, row, label, score) for each shard", typed="scores"
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers.workflows.shards.offered import check_method, check_scoring

        check_method(self.method, None, features=False)
        check_scoring(self.method)

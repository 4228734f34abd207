"""The options of `coreset` and `score`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keepers.choices import Balance
from keepers.configuration import model_named
from keepers.errors import ParameterError
from keepers.options import Option, Options, parquet, read, share
from keepers.workflows.options.shared import AUTO, Proxied, Seeded, Shared

if TYPE_CHECKING:
    from keepers.data import Source
    from keepers.roles import Role
    from keepers.types import Budget, TokenBudget

HALF = 0.5
"""What is kept where nobody says how much."""

COVERING = "facility-location"
"""The method of who names none and brings features."""


def budget(keep: int | float | str | Budget) -> Budget:
    """The budget that is meant by `keep`."""
    from keepers.types import Budget

    return Budget.parse(keep)


def _or_half(keep: int | float | str | Budget | None) -> Budget:
    return budget(HALF if keep is None else keep)


def token_budget(keep_tokens: int | float | str | Budget | None) -> TokenBudget | None:
    """The budget in tokens that is meant, if one is."""
    from keepers.types import TokenBudget

    return None if keep_tokens is None else TokenBudget.parse(keep_tokens)


def _or_auto(method: str | None) -> str:
    return method or AUTO


def floor(name: str, value: Any) -> None:
    """Check that a number of examples is a count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ParameterError(name, f"got {value!r}", "Give a count: 1 or more, or 0 for no floor")


def similarity(name: str, value: float) -> None:
    """Check that a cosine similarity tells copies."""
    if not 0 < value <= 1:
        raise ParameterError(
            name,
            f"got {value}",
            "Give a cosine similarity in (0, 1], such as 0.95, at which two rows are copies",
        )


QUALITY = Option("Column of quality scores, higher is better, for deita", metavar="COLUMN")
SIMILAR_TO = Option(
    "File of target conversations, for methods that look for similar ones (rds, less)",
    metavar="FILE",
    also=("--like",),
)

GROUP = Option(
    "Column of groups: never split apart, and the report shows the share kept of each", after="id"
)


class ByMethod(Options):
    """What a method is told beside its budget."""

    method_options: Annotated[
        Mapping[str, Any] | None, Option(more="The options of the method", after="method")
    ] = None


class Floored(Options):
    """What each class gets of the budget."""

    balance: Annotated[
        Balance | None, Option("Share the budget evenly over classes", after="ensemble")
    ] = None
    min_per_class: Annotated[
        int | None,
        floor,
        Option(
            "Fewest examples kept of each class, if it has them; 0: no floor (default: 1; "
            "conversations: 0)"
        ),
    ] = None

    def least(self, default: int = 1) -> int:
        """Fewest examples kept of each class; `default`, that of the task, where none is given."""
        return default if self.min_per_class is None else self.min_per_class


class CoresetOptions(ByMethod, Floored, Proxied, Seeded, Shared):
    """The options of a core-set.

    Raises:
        ParameterError: a value out of range, or an unknown method.
    """

    reads_conversations = True

    keep: Annotated[
        Budget, Option("Fraction kept (0.5 or 50%) or a count (5000) (default: 0.5)")
    ] = read(default=None, converter=_or_half)
    keep_tokens: Annotated[
        TokenBudget | None,
        Option(
            "Instead of --keep, for conversations: tokens to keep (2M, 500k or 10%)",
            "Tokens of prompts and answers, by the tokenizer of the proxy",
            metavar="TOKENS",
        ),
    ] = read(default=None, converter=token_budget)
    method: Annotated[
        str,
        Option(
            "How to select; see 'keepers methods' (default: auto, with --features "
            "facility-location)",
            "`auto` takes the method that a pilot finds better than a random choice, else "
            "`stratified` (or `random` if `stratified` did worse)",
        ),
    ] = read(default=None, converter=_or_auto)
    val: Annotated[
        float,
        share,
        Option("Fraction held out to measure the proxy, never selected", after="min_per_class"),
    ] = 0.0
    features: Annotated[
        Any,
        Option(
            "Select by these embeddings, without labels or a proxy: a column, or a .npy file "
            "with one for each row",
            "In Python also an array or a tensor, in the order of the rows",
        ),
    ] = None
    similar_to: Annotated[Any, SIMILAR_TO] = None
    quality: Annotated[str | None, QUALITY] = None
    near_duplicates: Annotated[
        float | None,
        similarity,
        Option(
            "Drop all but the first of rows whose features have this cosine similarity or more",
            metavar="SIMILARITY",
        ),
    ] = None
    group: Annotated[str | None, GROUP] = None
    out: Annotated[
        str | Path | None,
        parquet(", or pass --export FOLDER for the kept rows in the format of the input"),
        Option("Parquet file with one row for each example of the input"),
    ] = None
    export: Annotated[
        str | Path | None,
        Option("Folder for the kept rows, in the format of the input", after="out"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == AUTO and self.features is not None:
            object.__setattr__(self, "method", COVERING)
        if self.keep_tokens is not None:
            if self.keep not in (budget(HALF), budget(1.0)):
                told = f"got together with keep {self.keep}"
                raise ParameterError("keep_tokens", told, "Give one of them")
            object.__setattr__(self, "keep", budget(1.0))  # of the rows
        from keepers import methods
        from keepers.workflows.offered import COMMITTEE, CORESET_SIGNALS, check_supplies

        if self.method != AUTO:
            methods.settings(methods.get(self.method, CORESET_SIGNALS), self.method_options)
            check_supplies("proxy", model_named(self.proxy), self.method)
            if self.ensemble == 1 and COMMITTEE in methods.get(self.method).needs:
                raise ParameterError(
                    "ensemble",
                    f"got 1, but '{self.method}' compares several",
                    "Give 2 or more models",
                )
        elif self.method_options:
            raise ParameterError(
                "method_options", f"got options for '{AUTO}'", "Name the method they are for"
            )

    def role(self, source: Source) -> Role:
        """The proxy's role, with `epochs` and `resolution` over what it says itself."""
        from keepers.models import default_proxy
        from keepers.roles import Role
        from keepers.workflows.offered import needs_steps

        in_steps = self.epochs is not None or needs_steps(self.method)
        default = default_proxy(source.info(self.resolution), in_steps=in_steps)
        role = Role.parse(self.proxy, default)
        return role.having(epochs=self.epochs, resolution=self.resolution)


class ScoreOptions(Proxied, Seeded, Shared):
    """The options of scores."""

    reads_conversations = True

    method: Annotated[
        str | None,
        Option(
            "How to score; see 'keepers methods' (default: how unsure the proxy is)",
            "The default is `entropy`, for several labels `label-entropy`, for numbers "
            "`committee`, and for conversations `perplexity`",
        ),
    ] = None
    similar_to: Annotated[Any, SIMILAR_TO] = None
    out: Annotated[
        str | Path | None,
        parquet(),
        Option("Parquet file for id, row, label, score", typed="scores.parquet"),
    ] = None

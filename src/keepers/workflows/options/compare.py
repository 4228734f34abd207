"""The options of `compare`, and what `compare_online` and `simulate` share with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

from keepers.configuration import model_named
from keepers.errors import ParameterError, unknown_name
from keepers.options import Option, Options, at_least, read, share
from keepers.workflows.options.coreset import QUALITY, SIMILAR_TO, Floored
from keepers.workflows.options.shared import AUTO, HardwareOptions, ModelLike, Proxied, Shared

if TYPE_CHECKING:
    from keepers.roles import Role
    from keepers.types import DataInfo


KEEP = (0.3, 0.5, 0.7)

TEST = Option(
    "Test data like DATA, or a fraction of DATA to split off (0.2)",
    "They are never used to choose anything",
)


def _by_method(
    options: Mapping[str, Mapping[str, Any]] | None,
) -> Mapping[str, Mapping[str, Any]]:
    given: Any = {} if options is None else options
    found = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {"": given}
    if not all(isinstance(each, Mapping) for each in found.values()):
        raise ParameterError(
            "method_options", f"got {given!r}", "Give for each method a mapping of its options"
        )
    return {name: dict(each) for name, each in found.items()}


class Tried(Options):
    """Methods that are tried, each with several seeds and a target of its own."""

    method_options: Annotated[
        Mapping[str, Mapping[str, Any]], Option(more="The options of each method, by its name")
    ] = read(default=None, converter=_by_method)
    target: Annotated[ModelLike, Option("Model that is trained on each selection")] = None
    seeds: Annotated[
        int,
        at_least(1),
        Option(
            "Repetitions; 5 or more for a verdict",
            "Under 5, only a very clear difference gets a verdict; under 3, none",
        ),
    ] = 5


class TriedBeforehand(Tried):
    """The same where the choice is made before the target is trained."""

    target_epochs: Annotated[int | None, at_least(1), Option("Epochs of the target")] = None
    target_resolution: Annotated[
        int | None,
        at_least(1),
        Option("Side in pixels to which pictures are scaled for the target"),
    ] = None
    with_target: Annotated[
        bool,
        Option("Also select with the target itself", "This shows what the proxy saves and loses"),
    ] = False

    def target_role(self, info: DataInfo) -> Role:
        """The target's role, with its epochs and resolution from here over what it says itself."""
        from keepers.models import default_target
        from keepers.roles import Role

        default = default_target(info, in_steps=self.target_epochs is not None)
        role = Role.parse(self.target, default, "target")
        return role.having(epochs=self.target_epochs, resolution=self.target_resolution)


class CompareConfig(Floored, Proxied, TriedBeforehand, HardwareOptions):
    """Everything a comparison depends on, beside the data.

    Raises:
        ParameterError: a value out of range, or an unknown method.
    """

    methods: Annotated[
        Sequence[str],
        Option(
            "Methods, separated by commas (online: rho-loss)",
            "`auto` is, at each budget, the method that `keepers.coreset` takes; its pilot "
            "counts as a cost of selecting",
        ),
    ] = (AUTO,)
    keep: Annotated[
        Sequence[int | float | str],
        Option("Budgets, separated by commas (online: one fraction, 0.1)"),
    ] = KEEP
    keep_tokens: Annotated[
        Sequence[int | float | str],
        Option(
            "Instead of --keep, for conversations: budgets in tokens (500k,2M)",
            "Of the target's tokenizer. For conversations `keep` is a fraction of the tokens, too",
            metavar="TOKENS",
        ),
    ] = ()
    with_everything: Annotated[
        bool,
        Option(
            "Conversations: also tune on everything for the same number of passes",
            "Tuning on everything for the tokens of a selection is always done",
            after="with_target",
        ),
    ] = False
    noise: Annotated[
        float,
        share,
        Option(
            "Fraction of training labels to corrupt",
            "They get another class",
            after="min_per_class",
        ),
    ] = 0.0
    epochs: Annotated[
        int | None,
        at_least(1),
        Option("Epochs of the proxy; online: of uniform training"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers import methods
        from keepers.types import Budget, TokenBudget
        from keepers.workflows.offered import CORESET_SIGNALS, check_supplies

        for name in ("methods", "keep", "keep_tokens"):
            values: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
        if not self.methods:
            raise ParameterError("methods", "got none", "Name at least one, such as auto")
        if not self.keep:
            raise ParameterError("keep", "got none", "Give at least one fraction, such as 0.5")
        for name in self.named:
            methods.get(name, CORESET_SIGNALS)
        for name, options in self.method_options.items():
            if name not in self.named:
                raise unknown_name("method_options", name, self.named)
            methods.settings(methods.get(name), options)
        for keep in self.keep:
            Budget.parse(keep)
        for keep in self.keep_tokens:
            TokenBudget.parse(keep)
        if self.keep_tokens and self.keep != KEEP:
            raise ParameterError("keep_tokens", "got together with keep", "Give one of them")
        for name in self.named:
            check_supplies("proxy", model_named(self.proxy), name)
            if self.with_target:
                check_supplies("target", model_named(self.target), name)

    @property
    def named(self) -> list[str]:
        """The methods that are named, `auto` left out."""
        return [name for name in self.methods if name != AUTO]


class CompareOptions(CompareConfig, Shared):
    """The options of a comparison of core-sets.

    Raises:
        ParameterError: as `CompareConfig`.
    """

    reads_conversations = True

    test: Annotated[Any, TEST]
    similar_to: Annotated[Any, SIMILAR_TO] = None
    quality: Annotated[str | None, QUALITY] = None

"""The options of `compare` and `compare_online`, and what `simulate` shares with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from keepers.baselines import BASELINES, EQUAL_TIME, FRESH, SVP, UNIFORM
from keepers.configuration import model_named
from keepers.errors import ParameterError, unknown_name
from keepers.options import Option, Options, at_least, cut, read, share
from keepers.workflows.options.coreset import QUALITY, SIMILAR_TO, Floored
from keepers.workflows.options.shared import AUTO, HardwareOptions, ModelLike, Proxied, Shared
from keepers.workflows.options.training import (
    CandidatesConfig,
    IlModelConfig,
    LengthConfig,
    SelectionConfig,
)

if TYPE_CHECKING:
    from keepers.online import IrreducibleLosses
    from keepers.roles import Role
    from keepers.training import Length
    from keepers.types import DataInfo

EVALUATIONS = 40  # of a training of known length, unless `evaluate_every` says otherwise
EVALUATE_EVERY = 50  # steps, where the length is in seconds

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


class Corruption(Options):
    """What is done to the training data, once for all seeds.

    `noise`: this fraction of all labels becomes another class, uniformly. `structured_noise`:
    this fraction of the labels of the four most confused classes becomes that of the class they
    are confused with. `relevance`: so many classes, drawn at random, are kept whole, and 6% of
    each other one, of the test data too: what is rare in training is rare in use. `duplicate`:
    this fraction of the examples is there `duplicate_times` times.

    Raises:
        ParameterError: a value out of range, or both kinds of noise.
    """

    noise: Annotated[
        float,
        share,
        Option(
            "Fraction of training labels to corrupt",
            "They get another class, drawn uniformly; labels of holdout data, too",
        ),
    ] = 0.0
    structured_noise: Annotated[
        float,
        share,
        Option(
            "Fraction of labels to change among the four most confused classes",
            "Each gets the class that it is confused with",
        ),
    ] = 0.0
    relevance: Annotated[
        int | None,
        at_least(1),
        Option(
            "Number of classes kept whole; 6% of the others is kept",
            "Applies to the test data, too, but not to holdout data",
        ),
    ] = None
    duplicate: Annotated[float, Option("Fraction of the examples to duplicate")] = 0.0
    duplicate_times: Annotated[int, at_least(2), Option("Copies of each of these")] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise and self.structured_noise:
            raise ParameterError("structured_noise", "got together with noise", "Give one of them")
        if not 0 <= self.duplicate <= 1:
            raise ParameterError("duplicate", f"got {self.duplicate}", "Give a fraction in [0, 1]")

    @property
    def anything(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.noise or self.structured_noise or self.relevance or self.duplicate)


class CompareOnlineConfig(CandidatesConfig, LengthConfig, IlModelConfig, Tried, Corruption):
    """Everything an online comparison depends on, beside the data.

    Raises:
        ParameterError: a value out of range, an unknown method, or nothing to compare.
    """

    methods: Annotated[
        Sequence[str],
        Option(
            "Methods, separated by commas",
            "`rho-loss-original`, `infobatch`, `svp` (train uniformly on a core-set of the "
            "fraction `keep`, chosen by the entropy of a `proxy`), and the online methods of "
            "`keepers methods`. `infobatch` has its own `keep` in `method_options`",
        ),
    ] = ("rho-loss",)
    proxy: Annotated[ModelLike, Option("Model that selects for svp (default: by data)")] = None
    targets: Annotated[
        Sequence[float],
        Option(
            "Accuracies to reach, separated by commas (default: what uniform reaches)",
            "By default the accuracy that uniform reaches in every seed, and 1, 2 and 5 points "
            "less",
        ),
    ] = ()
    uses: Annotated[
        int, at_least(1), Option("Trainings that share the cost of irreducible losses")
    ] = 10
    epochs: Annotated[
        int | None,
        Option(
            "Epochs of uniform training (default: the model's own)",
            "Every method gets the same number of steps",
        ),
    ] = None
    evaluate_every: Annotated[
        int | None,
        at_least(1),
        Option("Steps between evaluations on the test data (default: 40 evaluations in all)"),
    ] = None

    def __post_init__(self) -> None:
        asked = [name for name in dict.fromkeys(self.methods) if name not in BASELINES]
        object.__setattr__(self, "methods", tuple(asked))
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))
        if not asked:
            raise ParameterError(
                "methods",
                "got only methods that are always compared",
                "Name at least one, such as rho-loss",
            )
        super().__post_init__()
        for name in asked:
            self._check_method(name)
        for name in self.method_options:
            if name not in asked:
                raise unknown_name("method_options", name, asked)
        for name in asked:
            self.selection(name)
        every = self.evaluate_every
        if every is not None and self.steps is not None and 2 * every > self.steps:
            raise ParameterError(
                "evaluate_every",
                f"got {every} of {self.steps} steps, which gives fewer than two evaluations",
                "Give fewer steps between evaluations",
            )
        for target in self.targets:
            if not 0 < target <= 1:
                raise ParameterError("targets", f"got {target}", "Give accuracies in (0, 1]")

    def _check_method(self, name: str) -> None:
        from keepers import methods
        from keepers.workflows.online import selections

        if name == SVP:
            if self.method_options.get(SVP):
                raise ParameterError("method_options", f"got some for '{SVP}', which has none")
        elif name == AUTO:
            raise ParameterError(
                "methods", f"got '{AUTO}', which is rho-loss or uniform", "Compare rho-loss"
            )
        elif (
            name not in selections()
            and name not in methods.table()
            and not methods.is_composed(name)
        ):
            raise unknown_name("methods", name, (*selections(), SVP))

    @property
    def with_irreducible(self) -> tuple[str, ...]:
        """The methods that need irreducible losses."""
        from keepers.workflows.online import needs_irreducible

        return tuple(name for name in self.methods if name != SVP and needs_irreducible(name))

    def selection(self, select: str) -> SelectionConfig:
        """The part that is about selection, for one method; what scores nothing has no savings."""
        if select == FRESH:
            return SelectionConfig(select=FRESH, keep=self.keep)
        if select in (UNIFORM, EQUAL_TIME, SVP):
            return SelectionConfig(select=UNIFORM)
        options = self.method_options.get(select, {})
        candidates = vars(cut(self, CandidatesConfig))
        return SelectionConfig(select=select, select_options=options, **candidates)

    def corruption(self) -> Corruption:
        """The part that is about what is done to the data."""
        return cut(self, Corruption)

    def steps_of(self, epochs: int, steps_in_epoch: int) -> Length:
        """The length of every training: steps, or seconds where those are given."""
        from keepers.training import Length

        length = self.length(epochs)
        if length.epochs is None:
            return length
        return Length(steps=length.epochs * steps_in_epoch)

    def every(self, length: Length) -> int:
        """Steps between evaluations."""
        if self.evaluate_every is not None:
            return self.evaluate_every
        return EVALUATE_EVERY if length.steps is None else max(1, length.steps // EVALUATIONS)


class CompareOnlineOptions(CompareOnlineConfig, Shared):
    """The options of a comparison of online selections.

    Raises:
        ParameterError: as `CompareOnlineConfig`.
    """

    test: Annotated[Any, TEST]
    il: Annotated[
        str | Path | IrreducibleLosses | None,
        Option(
            "Irreducible losses of 'keepers il', for all seeds (default: make them)",
            "None makes them for each seed, on the labels that the training uses",
            after="evaluate_every",
        ),
    ] = None
    holdout: Annotated[
        Any,
        Option(
            "Data for the irreducible-loss model, or a fraction of DATA (default: folds)",
            "A fraction takes that part out of the training",
            after="il_epochs",
        ),
    ] = None

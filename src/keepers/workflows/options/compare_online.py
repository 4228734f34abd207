"""The options of `compare_online`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keepers.baselines import BASELINES, EQUAL_TIME, FRESH, SVP, UNIFORM
from keepers.errors import ParameterError, unknown_name
from keepers.options import Option, Options, at_least, cut, share
from keepers.workflows.options.compare import TEST, Tried
from keepers.workflows.options.irreducible import IlModelConfig
from keepers.workflows.options.shared import AUTO, ModelLike, Shared
from keepers.workflows.options.training import CandidatesConfig, LengthConfig, SelectionConfig

if TYPE_CHECKING:
    from keepers.online import IrreducibleLosses
    from keepers.training import Length

EVALUATIONS = 40  # of a training of known length, unless `evaluate_every` says otherwise
EVALUATE_EVERY = 50  # steps, where the length is in seconds


class Corruption(Options):
    """What is done to the training data, once for all seeds.

    `noise`: this fraction of all labels becomes another class, uniformly. `structured_noise`:
    this fraction of the labels of the four most confused classes becomes that of the class they
    are confused with. `relevance`: this many classes, drawn at random, are kept whole, and 6% of
    each other class, of the test data too: what is rare in training is rare in use. `duplicate`:
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

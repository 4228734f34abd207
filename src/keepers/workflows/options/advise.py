"""The options of `advise`, `advise_online` and `advise_labelling`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keepers.errors import ParameterError, renamed
from keepers.options import Option, above_zero, read
from keepers.workflows.options.coreset import GROUP, SIMILAR_TO
from keepers.workflows.options.irreducible import IlModelConfig
from keepers.workflows.options.shared import AUTO, ModelLike, Seeded, Shared
from keepers.workflows.options.training import fraction

if TYPE_CHECKING:
    from keepers.online import IrreducibleLosses
    from keepers.tasks import Task

KEEP = (0.1, 0.3, 0.5)
"""The budgets where nobody names any."""

CANDIDATES = ("stratified", "margin", "facility-location", "confident-learning")
"""The methods that are tried where nobody names any: at random by class, the hardest first, the
most typical, and those whose labels no other model contradicts."""


def candidates(task: Task) -> tuple[str, ...]:
    """The `CANDIDATES` that a task has."""
    from keepers import methods as table
    from keepers.workflows.offered import signals_for

    return tuple(name for name in CANDIDATES if table.get(name).needs <= signals_for(task))


class AdviseOptions(Seeded, Shared):
    """The options of advice on core-sets.

    Raises:
        ParameterError: a value out of range, an unknown method, or one that a pilot cannot try.
    """

    reads_conversations = True

    keep: Annotated[
        Sequence[int | float | str] | None,
        Option(
            "Budgets, separated by commas (default: 0.1,0.3,0.5; online and conversations: 0.1)",
            "For conversations, fractions of the tokens",
        ),
    ] = None
    methods: Annotated[
        Sequence[str] | None,
        Option(
            "Methods to try, separated by commas (default: four; labelling: auto,margin; "
            "conversations: ifd,facility-location)",
            "`stratified` is always tried, too",
        ),
    ] = None
    proxy: Annotated[
        ModelLike,
        Option(
            "Model of the pilot: linear, probe:..., sklearn:...",
            "None takes one for the kind of data. A proxy that is trained in steps is replaced "
            "by `linear`",
        ),
    ] = None
    target: Annotated[
        ModelLike,
        Option(
            "Model that you will train on the selection (default: by data)",
            "Its training cost is estimated. For conversations there is no default, and copies "
            "of it are tuned",
        ),
    ] = None
    similar_to: Annotated[Any, SIMILAR_TO] = None
    pilot_share: Annotated[
        float,
        above_zero,
        Option(
            "Conversations: cost of the pilot, as a share of tuning on everything",
            "It takes more if that is too little for eight steps in each tuning",
        ),
    ] = 0.15
    group: Annotated[str | None, GROUP] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers import methods as table
        from keepers.types import Budget
        from keepers.workflows.offered import CORESET_SIGNALS

        for name in ("methods", "keep"):
            given: Sequence[Any] | None = getattr(self, name)
            if given is None:
                continue
            object.__setattr__(self, name, tuple(dict.fromkeys(given)))
            if not given:
                raise ParameterError(name, "got none", "Give at least one")
        for keep in self.keep or ():
            Budget.parse(keep)
        for name in self.methods or ():
            table.get(name, CORESET_SIGNALS)

    def of_examples(self, task: Task) -> tuple[str, ...]:
        """The methods that are tried of examples that are no conversations.

        A random choice stands beside every method, and the safe one is what is taken without.

        Raises:
            ParameterError: a method that the task does not have, or that a pilot cannot try.
        """
        from keepers import methods as table
        from keepers.baselines import RANDOM, SAFE
        from keepers.workflows.offered import needs_steps, signals_for

        named = candidates(task)
        if self.methods is not None:
            named = tuple(table.get(name, signals_for(task)).name for name in self.methods)
        for name in named:
            if needs_steps(name):
                raise ParameterError(
                    "methods",
                    f"got '{name}', which watches a training in steps: a pilot has none",
                    "keepers compare tries it with real targets",
                )
        return (SAFE, *(name for name in named if name not in (SAFE, RANDOM)))


class AdviseOnlineOptions(IlModelConfig, Seeded, Shared):
    """The options of advice on online selection."""

    keep: Annotated[float, Option("Fraction of the candidates that a step trains on")] = read(
        default=0.1, converter=fraction
    )
    target: Annotated[ModelLike, Option("Model that you will train (default: by data)")] = None
    il: Annotated[
        str | Path | IrreducibleLosses | None,
        Option("Irreducible losses of 'keepers il', for all seeds"),
    ] = None
    holdout: Annotated[
        Any, Option("Data for the irreducible-loss model, or a fraction of DATA", after="il_epochs")
    ] = None


class LabellingOptions(Seeded, Shared):
    """The options of advice on labelling.

    Raises:
        ParameterError: a value out of range, an unknown method, or one that a pilot cannot try.
    """

    budgets: Annotated[
        Sequence[int],
        Option(
            "Numbers of labels, separated by commas",
            "Budgets that are too large for the existing labels get no verdict",
        ),
    ] = (100, 200, 500, 1000)
    methods: Annotated[
        Sequence[str] | None,
        Option(
            "Methods to try, separated by commas (default: auto,margin for classes)",
            "`auto`, and methods that need no labels of the pool. None takes `auto` and `margin`; "
            "for several labels `label-entropy`, for numbers `committee`",
        ),
    ] = None
    proxy: Annotated[
        ModelLike,
        Option(
            "Model of the pilot: linear, tabular, probe:..., sklearn:...",
            "None takes one for the kind of data. A proxy that is trained in steps is replaced "
            "by `linear`",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers import methods as table
        from keepers.baselines import RANDOM
        from keepers.workflows.offered import active_signals, needs_steps

        object.__setattr__(self, "budgets", tuple(sorted(set(self.budgets))))
        named = None
        if self.methods is not None:
            named = tuple(dict.fromkeys(name for name in self.methods if name != RANDOM))
            object.__setattr__(self, "methods", named)
        if named == ():
            raise ParameterError("methods", "got none but random", "Name one, such as margin")
        if not self.budgets or self.budgets[0] < 2:
            raise ParameterError(
                "budgets", f"got {list(self.budgets)}", "Give counts of labels, such as 100,200,500"
            )
        for name in named or ():
            row = None if name == AUTO else table.get(name, active_signals(AUTO))
            if row is not None and row.default_ensemble == 1 and needs_steps(name):
                raise ParameterError(
                    "methods",
                    f"got '{name}', which watches a training in steps: a pilot has none",
                    "keepers active simulate tries it",
                )

    def of_task(self, task: Task) -> tuple[str, ...]:
        """The methods that are tried where targets are of this task.

        Raises:
            ParameterError: a method that the task does not have.
        """
        from keepers import methods as table
        from keepers.workflows.offered import active_signals, unsure_of

        signals = active_signals(task.name)
        if self.methods is None:
            return (AUTO, task.unsure) if task.unsure else (unsure_of(task, signals),)
        with renamed({"method": "methods"}):
            return tuple(
                name if name == AUTO else table.get(name, signals).name for name in self.methods
            )

"""A row of the table, and which workflows can offer it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from keepers.methods.identity import code_of
from keepers.selectors.ranking import highest
from keepers.types import Picks, Signals

if TYPE_CHECKING:
    from keepers.methods.composed import Band

CORESET, ONLINE, ACTIVE = "core-set", "online", "active learning"
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        CORESET: "keepers coreset --method {}",
        ONLINE: "keepers train --select {}",
        ACTIVE: "keepers active start --method {}",
    }
)
"""The command of each workflow, by the name of a method."""


def top(
    signals: Signals, scores: Tensor, k: int, *, selected: Tensor | None = None, **_: Any
) -> Picks:
    """The highest scores."""
    return Picks(positions=highest(scores, k, selected=selected))


@dataclass(frozen=True)
class By:
    """A score: a formula of some signals, or the one signal itself."""

    signals: tuple[str, ...] | str
    formula: Callable[..., Tensor] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The signals that it takes."""
        return (self.signals,) if isinstance(self.signals, str) else self.signals

    def __call__(self, signals: Signals) -> Tensor:
        """The scores (n,)."""
        found = [signals.get(name) for name in self.names]
        return found[0] if self.formula is None else self.formula(*found)


class SignalFacts(NamedTuple):
    """What a field of `Signals` is called, the workflows that have it, and what gives it.

    `made`: an inference `pass`, or what is watched while a model trains (`dynamics`); empty where
    it takes models of its own, or is given.
    """

    words: str
    workflows: tuple[str, ...]
    made: str = ""


SIGNALS: Mapping[str, SignalFacts] = MappingProxyType(
    {
        "log_probs": SignalFacts("predictions", (CORESET, ONLINE, ACTIVE), "pass"),
        "log_odds": SignalFacts("predictions of several labels", (CORESET, ONLINE, ACTIVE), "pass"),
        "predictions": SignalFacts("predicted numbers", (CORESET, ONLINE, ACTIVE), "pass"),
        "posterior_predictions": SignalFacts(
            "predicted numbers of several models", (CORESET, ACTIVE)
        ),
        "posterior_log_probs": SignalFacts("predictions with dropout", (ONLINE, ACTIVE), "pass"),
        "out_of_fold_log_probs": SignalFacts("predictions out of fold", (CORESET,)),
        "labels": SignalFacts("labels", (CORESET, ONLINE)),
        "losses": SignalFacts("losses", (CORESET, ONLINE), "pass"),
        "gradients": SignalFacts("gradients of the loss", (CORESET, ONLINE), "pass"),
        "gradient_norms": SignalFacts("gradient norms", (CORESET, ONLINE), "pass"),
        "early_gradient_norms": SignalFacts("gradient norms early in training", (CORESET,)),
        "irreducible_losses": SignalFacts("irreducible losses", (ONLINE,)),
        "qualities": SignalFacts("scores of quality", (CORESET,)),
        "answer_losses": SignalFacts("losses of answers", (CORESET,)),
        "unconditional_losses": SignalFacts("losses of answers without their prompts", (CORESET,)),
        "lengths": SignalFacts("lengths of answers", (CORESET,)),
        "similarities": SignalFacts("similarities to target examples", (CORESET,)),
        "gradient_similarities": SignalFacts(
            "similarities of gradients to those of target examples", (CORESET,)
        ),
        "features": SignalFacts("features", (CORESET, ONLINE, ACTIVE), "pass"),
        "forgetting": SignalFacts("forgetting events", (CORESET,), "dynamics"),
        "aum": SignalFacts("margins over training", (CORESET,), "dynamics"),
    }
)
"""All signals: what a workflow can supply, and what a pass or a training gives, are columns."""


def signals_of(workflow: str) -> frozenset[str]:
    """The signals that a workflow has.

    >>> sorted(signals_of(ACTIVE))  # doctest: +ELLIPSIS
    ['features', 'log_odds', 'log_probs', ..., 'posterior_predictions', 'predictions']
    """
    return frozenset(name for name, facts in SIGNALS.items() if workflow in facts.workflows)


def signals_made_by(source: str) -> frozenset[str]:
    """The signals that a `pass` gives, or `dynamics`.

    >>> sorted(signals_made_by("dynamics"))
    ['aum', 'forgetting']
    """
    return frozenset(name for name, facts in SIGNALS.items() if facts.made == source)


EARLY = "early_gradient_norms"
"""The signal of a model whose training stops early."""

WITH_REPLACEMENT = (ONLINE,)
"""The workflows that take picks which may repeat."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: from signals to picks.

    `needs` names fields of `Signals`; of a score `By` some they are these, unless it needs more.
    `score(signals)` gives (n,), higher = selected first, and
    is None where nothing ranks the examples. `select(signals, scores, k, *, selected, generator,
    **options)` gives `Picks`; `options` are the defaults of its own options. `merge` makes the
    signals of an ensemble those of one model; without it the members' scores are combined by
    rank. `hard_first`: the examples that a model finds hardest come first. `replacement`: the
    picks may repeat and carry weights, so they are no set. Other picks may carry weights, too;
    active learning, which labels what is picked, has no use for them. `reports`:
    `select` takes `report`, too, which it calls with the name of a part of the work, how much is
    done, and of how much. A row that `compose` makes has `bands`, and the row that selects as
    `then`.

    `score` and `select` may take what they are given as checked: `methods.choose` and
    `methods.score` check it once; a training loop that makes the signals itself calls the two
    directly.
    """

    name: str
    summary: str
    when: str
    paper: str
    needs: frozenset[str] = frozenset()
    score: Callable[[Signals], Tensor] | None = None
    select: Callable[..., Picks] = top
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    merge: Callable[[Sequence[Signals]], Signals] | None = None
    default_ensemble: int = 1
    hard_first: bool = False
    replacement: bool = False
    reports: bool = False
    bands: tuple[Band, ...] = ()
    then: Method | None = None

    def __post_init__(self) -> None:
        if isinstance(self.score, By) and not self.needs:
            object.__setattr__(self, "needs", frozenset(self.score.names))

    @property
    def selecting(self) -> Method:
        """The row that selects: itself, or the last of those that it is composed of."""
        return self.then or self

    def identity(self) -> dict[str, Any]:
        """All that decides what it picks, as JSON values, for the fingerprints of stages.

        Options that a run gives stand beside it.
        """
        return {
            "name": self.name,
            "needs": sorted(self.needs),
            "default_ensemble": self.default_ensemble,
            "replacement": self.replacement,
            "code": code_of(self.score, self.select, self.merge, self.options),
        } | (
            {"bands": [[each.by.identity(), each.low, each.high] for each in self.bands]}
            if self.bands
            else {}
        )


def in_words(needs: Collection[str]) -> str:
    """What fields of `Signals` are called, in the order of their names.

    >>> in_words({"losses", "irreducible_losses"})
    'irreducible losses, losses'
    """
    return ", ".join(SIGNALS[name].words if name in SIGNALS else name for name in sorted(needs))


def workflows(method: Method) -> tuple[str, ...]:
    """The workflows that have all that a method needs.

    >>> from keepers.methods import get
    >>> workflows(get("entropy")), workflows(get("rho-loss"))
    (('core-set', 'online', 'active learning'), ('online',))
    """
    having = [SIGNALS[name].workflows if name in SIGNALS else () for name in method.needs]
    if method.replacement:
        having.append(WITH_REPLACEMENT)
    return tuple(name for name in COMMANDS if all(name in names for names in having))

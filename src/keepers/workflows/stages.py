"""The stage that every workflow shares: train a model in a role, then one inference pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepers import methods, processes
from keepers.configuration import SAMPLES
from keepers.data import Source
from keepers.files import hash_bytes
from keepers.ledger import Cost, Ledger
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.runs import StageRecord
from keepers.selectors import folds
from keepers.signals import OF_TARGETS, PASS_SIGNALS, extract, of_targets, store
from keepers.tasks import labels_at
from keepers.training import (
    GIVES,
    BatchPolicy,
    Checkpoint,
    Dynamics,
    Hardware,
    Shuffle,
    Weighted,
    converged,
    epochs_of,
    fit,
    fit_classifier,
    last_input,
    predict,
    settled_by,
)
from keepers.types import EvalView, Signals
from keepers.workflows.probing import embedded
from keepers.workflows.workplace import Workplace

EARLY_SHARE = 0.1
"""Scores of early training are taken after this share of the epochs, and at least one."""

SHUFFLE = Shuffle()
DYNAMICS = methods.signals_made_by("dynamics")
CHECKPOINT = "checkpoint.safetensors"
OUT_OF_FOLD = "out_of_fold_log_probs"
FOLDS = 3
"""Models that are trained for predictions out of fold."""

TESTED = "tested"
"""The array of a stage that holds what the model says of a test set."""


def early_epochs(epochs: int) -> int:
    """The epoch at which early scores are taken.

    >>> early_epochs(5), early_epochs(200)
    (1, 20)
    """
    return max(1, round(EARLY_SHARE * epochs))


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What one training depends on: the role joined with data, its members, and a seed.

    `wanted` names the fields of `Signals` that are asked of it, for all examples or those at
    `scored`; with `early_gradient_norms` the training stops early. `samples` are those of the
    posterior. Weights, order and augmentation are drawn by `seed`. With `test`, the trained model
    is also measured on it. `resample`: what scikit-learn fits sees members drawn with replacement,
    so that the models of an ensemble differ. `settled`: what another such training settled, which
    is not sought again.
    """

    prepared: Prepared
    source: Source
    members: Tensor
    seed: int
    wanted: frozenset[str] = frozenset()
    role: str = "proxy"
    policy: BatchPolicy = SHUFFLE
    test: Tested | None = None
    scored: Tensor | None = None
    samples: int = SAMPLES
    resample: bool = False
    settled: Mapping[str, float] | None = None

    @property
    def given(self) -> frozenset[str]:
        """What of `wanted` the model can give."""
        return self.wanted if self.prepared.classifier is None else self.wanted & GIVES

    @property
    def in_steps(self) -> bool:
        """Whether the model is trained in steps, rather than fitted by scikit-learn."""
        return self.prepared.classifier is None

    @property
    def parameter(self) -> str:
        """The option that names the model: what it does beside, a user knows no name of."""
        return "target" if self.role.endswith("target") else "proxy"

    @property
    def whole_epochs(self) -> int:
        """The epochs of a whole training, to which the schedule is fitted."""
        return epochs_of(self.prepared.recipe, len(self.members), self.policy)

    @property
    def epochs(self) -> int:
        """The epochs that are run: early scores need only the first of the schedule."""
        epochs = self.whole_epochs
        return early_epochs(epochs) if methods.EARLY in self.wanted else epochs

    def inputs(self, hardware: Hardware) -> dict[str, Any]:
        """All of it as JSON values, for the stage's fingerprint."""
        return {
            "data": self.source.fingerprint,
            "members": hash_bytes(self.members.numpy()),
            "role": self.prepared.role.identity(),
            "model": self.prepared.fingerprint,
            "seed": self.seed,
            "wanted": sorted(self.given),
            "policy": repr(self.policy),
            "test": self.test.identity if self.test else None,
            "scored": None if self.scored is None else hash_bytes(self.scored.numpy()),
            "samples": self.samples if "posterior_log_probs" in self.wanted else None,
            "hardware": hardware.identity(gains_from_bf16=self.prepared.recipe.bf16),
            **({"resample": True} if self.resample and self.prepared.classifier else {}),
            **({"settled": dict(self.settled)} if self.settled else {}),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A test set, encoded for the role that is measured on it.

    `kept`: what the model says of it is kept, too, so that several can be measured together.
    """

    view: EvalView
    fingerprint: str
    kept: bool = False

    @property
    def identity(self) -> str:
        """What a training on it is found again by."""
        return f"{self.fingerprint} kept" if self.kept else self.fingerprint


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What a training gives: signals of all examples, facts and costs.

    `tested` (t, classes) are the log-probabilities of a test set that asks for them to be kept.
    """

    signals: Signals
    facts: dict[str, Any]
    costs: tuple[Cost, ...]
    tested: Tensor | None = None

    @property
    def settled(self) -> Mapping[str, float] | None:
        """What fitting settled beside its weights, if anything."""
        return self.facts.get("settled")


def is_trained(place: Workplace, training: Training) -> bool:
    """Whether `train` would find this training finished."""
    if OUT_OF_FOLD in training.wanted:
        training = replace(training, wanted=training.wanted - {OUT_OF_FOLD})
    return processes.agree(place.run.finished(training.role, training.inputs(place.hardware)))


def train(place: Workplace, training: Training) -> Trained:
    """Train a model in its role, once: a rerun finds it, a kill loses one checkpoint interval.

    Predictions out of fold come of `FOLDS` more trainings, each a stage of its own.
    """
    if OUT_OF_FOLD in training.wanted:
        return _cross_fitted(place, training)
    learn = _learn_in_steps if training.prepared.classifier is None else _fit_whole
    inputs = training.inputs(place.hardware)
    folder, record = place.stage(training.role, inputs, lambda at: learn(place, training, at))
    prepared, scored = training.prepared, training.scored
    targets = prepared.labels if scored is None else labels_at(prepared.labels, scored)
    arrays = store.read(folder)
    tested = arrays.pop(TESTED, None)
    signals = Signals(**arrays).knowing(prepared.task, targets)
    return Trained(signals=signals, facts=record.facts, costs=record.costs, tested=tested)


def _cross_fitted(place: Workplace, training: Training) -> Trained:
    """As `train`, with predictions for every member by a model that was not trained on it.

    What is no member is predicted by the model of the first fold.
    """
    plain = train(place, replace(training, wanted=training.wanted - {OUT_OF_FOLD}))
    members, labels = training.members, training.prepared.strata
    fold_of = folds(
        labels[members],
        torch.from_numpy(training.source.units)[members],
        FOLDS,
        generator=generator(training.seed, "folds"),
    )
    costs = list(plain.costs)
    asked = torch.arange(len(labels)) if training.scored is None else training.scored
    known = torch.zeros(len(labels), dtype=torch.int64)
    known[members] = fold_of
    found = torch.empty(len(asked), training.prepared.info.num_classes)
    for fold in range(FOLDS):
        here = (known[asked] == fold).nonzero().squeeze(1)
        other = train(
            place,
            replace(
                training,
                members=members[fold_of != fold],
                scored=asked[here],
                wanted=frozenset({"log_probs"}),
                seed=derived_seed(training.seed, "fold", fold),
                test=None,
                settled=plain.settled,
            ),
        )
        found[here] = other.signals.get("log_probs")
        costs += other.costs
    return replace(
        plain,
        signals=replace(plain.signals, out_of_fold_log_probs=found),
        costs=tuple(costs),
    )


def _learn_in_steps(place: Workplace, training: Training, folder: Path) -> StageRecord:
    prepared, wanted = training.prepared, training.wanted
    runtime = place.hardware.runtime(gains_from_bf16=prepared.recipe.bf16)
    module = prepared.build(training.seed, parameter=training.parameter)
    dynamics = Dynamics(len(training.source), runtime.device) if wanted & DYNAMICS else None
    fitted = fit(
        module,
        prepared.train_view(training.members),
        prepared.recipe,
        runtime=runtime,
        seed=derived_seed(training.seed, "fit"),
        phase=f"{training.role} training",
        policy=training.policy,
        observers=[dynamics] if dynamics else [],
        stop_after=training.epochs,
        keep=Checkpoint(path=folder / CHECKPOINT, every=place.checkpoint_every),
        progress=place.progress,
    )
    ledger = Ledger([fitted.cost])
    arrays: dict[str, Tensor] = {}
    store.clear(folder)
    in_pass = wanted & PASS_SIGNALS | ({"gradient_norms"} if methods.EARLY in wanted else set())
    if in_pass:
        with ledger.phase("scoring") as tally:
            signals = extract(
                module,
                prepared.eval_view(),
                runtime=runtime,
                wanted=in_pass,
                positions=training.scored,
                samples=training.samples,
                seed=training.seed,
                folder=folder,
                keep=processes.rank() == 0,
                tally=tally,
                progress=place.progress,
            )
        arrays |= {name: value for name, value in signals.items() if name != "labels"}
    if methods.EARLY in wanted and "gradient_norms" in arrays:
        arrays[methods.EARLY] = arrays.pop("gradient_norms")[:, None]
    if dynamics is not None:
        found = {"forgetting": dynamics.forgetting(), "aum": dynamics.aum()}
        arrays |= {name: value for name, value in found.items() if name in wanted}
    facts: dict[str, Any] = {"losses": fitted.losses}
    if training.test is not None:
        view, first = training.test.view, processes.rank() == 0
        told = extract(module, view, runtime=runtime, keep=first)
        if first:  # the others read the facts that it writes
            said = told.get(view.task.said)
            facts |= _measure(said, view)
            arrays |= {TESTED: said} if training.test.kept else {}
    if processes.rank() == 0:
        store.write(folder, arrays)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return StageRecord(facts=facts, costs=tuple(ledger.costs))


def _fit_whole(place: Workplace, training: Training, folder: Path) -> StageRecord:
    """Fit a classifier of scikit-learn, and ask it."""
    prepared, labels, task = training.prepared, training.prepared.labels, training.prepared.task
    assert prepared.classifier is not None
    num_classes = prepared.info.num_classes
    pool = embedded(place, prepared, prepared.pool, training.source.content)
    scored = torch.arange(len(pool)) if training.scored is None else training.scored
    policy = training.policy
    weights = policy.weights(training.members) if isinstance(policy, Weighted) else None
    ledger = Ledger()
    store.clear(folder)
    with ledger.phase(f"{training.role} training") as tally, place.under_way(training.role):
        fitted = fit_classifier(
            prepared.classifier,
            pool,
            labels,
            training.members,
            seed=derived_seed(training.seed, "fit"),
            task=task,
            weights=weights,
            resample=training.resample,
            settled=training.settled,
            parameter=training.parameter,
        )
        tally.examples = len(training.members)
    arrays: dict[str, Tensor] = {}
    with ledger.phase("scoring") as tally:
        if training.given & (OF_TARGETS | {task.said}):
            said = predict(fitted, pool, scored, num_classes, training.parameter, task)
            arrays[task.said] = said
            arrays |= of_targets(task, said, labels_at(labels, scored), training.given)
            tally.examples = len(scored)
        if "features" in training.given:
            arrays["features"] = last_input(fitted, pool, scored, training.seed)
    arrays = {name: value for name, value in arrays.items() if name in training.given}
    facts: dict[str, Any] = {
        "losses": [],
        "converged": converged(fitted),
        "settled": settled_by(fitted),
    }
    test = training.test
    if test is not None:
        tested = embedded(place, prepared, test.view.pool, test.fingerprint)
        whole = torch.arange(len(tested))
        said = predict(fitted, tested, whole, num_classes, training.parameter, task)
        facts |= _measure(said, test.view)
        if test.kept:
            arrays[TESTED] = said
    if processes.rank() == 0:
        store.write(folder, arrays)
    return StageRecord(facts=facts, costs=tuple(ledger.costs))


def _measure(said: Tensor, view: EvalView) -> dict[str, Any]:
    """The error of the predictions for a test set, and what else its task measures."""
    assert view.labels is not None
    found = view.task.measure(said, view.labels)
    errors = {"test_error": found.error, "worst_class_error": found.worst_error}
    return errors | ({"metrics": dict(found.others)} if found.others else {})

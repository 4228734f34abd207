"""The trials of an online comparison: every target that is trained, and on what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from keepers import processes
from keepers.baselines import EQUAL_TIME, FRESH, SVP, UNIFORM
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.convergence import LONGER, is_little
from keepers.experiments.corruption import Corrupted
from keepers.experiments.online_given import NOTHING, Given, Supply
from keepers.experiments.online_summary import OnlineTrial
from keepers.ledger import Cost
from keepers.models import default_target
from keepers.online import IrreducibleLosses, Selecting
from keepers.random import derived_seed
from keepers.roles import Prepared, Role, encode_like
from keepers.training import Length, Shuffle, estimate_seconds, steps_in_epoch
from keepers.types import EvalView
from keepers.workflows.online import (
    ORIGINAL,
    OnlineTrained,
    OnlineTraining,
    prepare_stand_in,
    train_online,
)
from keepers.workflows.options.compare_online import CompareOnlineConfig
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.sought import given_losses
from keepers.workflows.workplace import Workplace

WARM_UP = 0.5  # seconds of steps before the first that is timed


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineBench:
    """The data, encoded for the target, and where stages run."""

    config: CompareOnlineConfig
    place: Workplace
    supply: Supply
    target: Prepared
    test: EvalView
    test_data: str
    stand_in: Prepared | None
    quality: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def source(self) -> Source:
        """The training data, corrupted where that was asked for."""
        return self.supply.source

    @classmethod
    def prepare(
        cls,
        data: Corrupted,
        losses: IrreducibleLosses | None,
        config: CompareOnlineConfig,
        place: Workplace,
    ) -> OnlineBench:
        """Encode everything once, and refuse what cannot be trained."""
        source, before = data.source, data.source.ids
        role = Role.parse(config.target, default_target(source.info(), in_steps=True), "target")
        source, target = place.encode(role, source, parameter="target")
        cache = place.run.path / "encoded" / "test"
        marks = data.marks
        if len(source) < len(before):
            left = torch.from_numpy(np.isin(before, source.ids))
            marks = {name: mask[left] for name, mask in marks.items()}
        irreducible = None if losses is None else given_losses(losses, source, place.say)
        bench = cls(
            config=config,
            place=place,
            supply=Supply(
                config=config,
                place=place,
                source=source,
                marks=marks,
                losses=irreducible,
                holdout=data.holdout,
            ),
            target=target,
            test=encode_like(target, data.test, on_bad_row=place.on_bad_row, cache=cache),
            test_data=data.test.fingerprint,
            stand_in=prepare_stand_in(SelectionConfig(stand_in=config.stand_in), source),
        )
        bench.check()
        return bench

    def check(self) -> None:
        """Refuse savings that a method cannot use, before anything is trained.

        Raises:
            ParameterError: from the selector of that method.
        """
        everything = torch.arange(len(self.source))
        given = Given(
            seed=0,
            members=everything,
            size=len(everything),
            irreducible=None,
            values=torch.zeros(len(everything)),
            cost=NOTHING,
            marks={},
        )
        runtime = self.place.hardware.runtime(gains_from_bf16=self.target.recipe.bf16)
        for name in self.config.methods:
            if name in (SVP, ORIGINAL):
                continue
            policy = self._training(given, self.config.selection(name), Length(steps=1)).policy()
            if isinstance(policy, Selecting):
                policy.make(self.target.build(0, parameter="target"), runtime)

    def trials(self) -> Iterator[OnlineTrial]:
        """Every trial, seed by seed, so that an interrupted comparison has whole seeds."""
        config = self.config
        for seed in range(config.seeds):
            given = self.supply.given(seed)
            if given.irreducible is not None:
                self.quality.append({"seed": seed, **given.irreducible.losses.quality})
            length = self._length(given)
            if seed == 0:
                self._warm_up(given, length)
            uniform = self._trial(given, UNIFORM, length)
            yield uniform
            yield self._trial(given, FRESH, length)
            first: OnlineTrial | None = None
            for name in config.methods:
                chosen, preparation = given, NOTHING
                if name == SVP:
                    chosen, preparation = self.supply.core_set(given)
                elif name in config.with_irreducible:
                    preparation = given.cost
                trial = self._trial(chosen, name, length, preparation)
                first = first or trial
                yield trial
            assert first is not None
            yield self._trial(given, EQUAL_TIME, _as_long_as(first, uniform, length))

    def convergence(self, trial: OnlineTrial) -> dict[str, Any]:
        """Whether uniform training at equal time had converged, by the same for longer.

        `trial` is that of the first seed. Accuracies and steps of both, whether it had
        converged, and in words where it had not.
        """
        given = self.supply.given(trial.seed).without_losses()
        seconds = self._length(given).seconds
        length = Length(steps=LONGER * trial.target.steps)
        if seconds is not None:
            length = Length(seconds=LONGER * seconds)
        training = self._training(given, self.config.selection(UNIFORM), length, decayed=True)
        longer = train_online(self.place, training)
        accuracy, longer_accuracy = (each[-1]["accuracy"] for each in (trial.curve, longer.curve))
        converged = is_little(longer_accuracy - accuracy)
        words = (
            "uniform training at equal time was still learning, by one seed: "
            f"{longer.cost.steps:,} steps instead of {trial.target.steps:,} change its test "
            f"accuracy from {accuracy:.2%} to {longer_accuracy:.2%}. Final accuracies get no "
            "verdict; train for longer"
        )
        return {
            "steps": trial.target.steps,
            "accuracy": accuracy,
            "longer_steps": longer.cost.steps,
            "longer_accuracy": longer_accuracy,
            "converged": converged,
            "words": "" if converged else words,
        }

    def _length(self, given: Given) -> Length:
        recipe = self.target.recipe
        epoch = steps_in_epoch(given.size, recipe.batch_size, Shuffle())
        length = self.config.steps_of(recipe.epochs_of(epoch), epoch)
        if length.steps is not None and length.steps < 2:
            raise ParameterError(
                "steps", f"got {length.steps}, which leaves no two evaluations", "Give more"
            )
        return length

    def _training(
        self, given: Given, selection: SelectionConfig, length: Length, *, decayed: bool = False
    ) -> OnlineTraining:
        recipe = self.target.recipe
        if decayed:
            recipe = replace(recipe, schedule="linear")
        return OnlineTraining(
            prepared=replace(self.target, recipe=recipe),
            source=self.source,
            members=given.members,
            selection=selection,
            length=length,
            seed=derived_seed(given.seed, "target"),
            irreducible=given.irreducible,
            values=given.values,
            stand_in=None if selection.stand_in is None else self.stand_in,
            test=self.test,
            test_data=self.test_data,
            every=self.config.every(self._length(given)),
            marks=given.marks,
        )

    def _trial(
        self, given: Given, method: str, length: Length, preparation: Cost | None = NOTHING
    ) -> OnlineTrial:
        if method not in self.config.with_irreducible:
            given = given.without_losses()
        training = self._training(
            given, self.config.selection(method), length, decayed=method == EQUAL_TIME
        )
        trained = train_online(self.place, training)
        return _trial(given, method, trained, preparation)

    def _warm_up(self, given: Given, length: Length) -> None:
        """A few steps whose time does not count: the first ones of a process are slow."""
        training = self._training(given.without_losses(), self.config.selection(UNIFORM), length)
        if processes.agree(self.place.run.finished("target", training.inputs(self.place))):
            return
        prepared = training.prepared
        estimate_seconds(
            prepared.build(0, parameter="target"),
            prepared.train_view(given.members),
            prepared.recipe,
            runtime=self.place.hardware.runtime(gains_from_bf16=prepared.recipe.bf16),
            budget=WARM_UP,
        )


def _trial(
    given: Given, method: str, trained: OnlineTrained, preparation: Cost | None
) -> OnlineTrial:
    curve, epochs = trained.curve, float(trained.facts["epochs"])
    if method in (FRESH, SVP):  # their own epochs are passes over a part
        curve = [{**point, "epoch": point["candidates"] / given.size} for point in curve]
        epochs = trained.facts["candidates"] / given.size
    return OnlineTrial(
        method=method,
        seed=given.seed,
        curve=curve,
        target=trained.cost,
        epochs=epochs,
        candidates=trained.facts["candidates"],
        choosing_seconds=trained.facts["choosing_seconds"],
        preparation=preparation,
        trained_on=len(given.members),
        hand_over=trained.facts["hand_over"],
    )


def _as_long_as(first: OnlineTrial, uniform: OnlineTrial, length: Length) -> Length:
    """So many plain steps as fit into the seconds that a selecting training took.

    Both times are those that their stages noted, so that a rerun comes to the same number.
    """
    if length.seconds is not None:
        return length
    return Length(
        steps=max(2, round(first.target.seconds / uniform.target.seconds * uniform.target.steps))
    )

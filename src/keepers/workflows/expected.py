"""What a selecting step costs: expected before a training, measured after it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from keepers import processes
from keepers.errors import renamed
from keepers.files import hash_bytes
from keepers.online import (
    InProcess,
    OnlineFacts,
    Scoring,
    Selecting,
    StepCost,
    check_scoring,
    doubt,
    measure_step,
    online_facts,
)
from keepers.runs import StageRecord
from keepers.training import Candidates
from keepers.workflows.online.stage import OnlineTrained
from keepers.workflows.online.training import OnlineTraining
from keepers.workflows.options.training import AS_GIVEN
from keepers.workflows.workplace import Workplace


def expected_cost(training: OnlineTraining, place: Workplace) -> tuple[StepCost, Scoring] | None:
    """Choosing and a plain step, timed on the first candidates with a copy of the model, and said.

    Returns the cost, and how candidates are scored (`auto` resolved); None where the policy
    chooses nothing among candidates.

    Raises:
        ParameterError: the model cannot be scored in the way that was asked for.
    """
    policy = training.policy()
    if not isinstance(policy, Selecting):
        return None
    prepared = training.prepared
    runtime = place.hardware.runtime(gains_from_bf16=prepared.recipe.bf16)
    module = prepared.build(training.seed, parameter="model").to(runtime.device)
    with renamed(AS_GIVEN):
        selector = policy.make(module, runtime)
        size = policy.num_candidates(prepared.recipe.batch_size, 0.0)
        positions = training.members[:size].to(runtime.device)
        pool = prepared.pool.to(runtime.device)
        autocast: Any = runtime.autocast
        candidates = Candidates(
            positions=positions,
            labels=prepared.labels.to(runtime.device)[positions],
            args=pool.gather(positions),
            cut=lambda rows: (pool.gather(positions[rows]), {}),
        )
        scorer = training.backend(
            module=module,
            scoring=selector.scoring,
            seed=training.seed,
            autocast=autocast,
            task=prepared.task,
        )
        if training.scorers is not None:
            ahead = selector.scoring.max_staleness > 0
            here = InProcess(module=module, scoring=selector.scoring)
            check_scoring(here, selector.of_model, ahead=ahead)
        cost = measure_step(
            module,
            candidates,
            scorer,
            selector,
            k=min(prepared.recipe.batch_size, len(positions)),
            autocast=autocast,
            task=prepared.task,
            optimizer_name=prepared.recipe.optimizer,
        )
    place.say(in_words(cost, selector.scoring))
    return cost, selector.scoring


def known_facts(training: OnlineTraining, cost: StepCost, place: Workplace) -> OnlineFacts:
    """Whether selecting can pay with these losses, noted once: a rerun finds the same answer."""
    irreducible, values = training.irreducible, training.values
    assert irreducible is not None
    assert values is not None
    quality, values = irreducible.losses.quality, values[training.members]
    doubted = doubt(irreducible.losses.origin, few_passes=training.few_passes)
    keep = training.selection.keep

    def compute(folder: Path) -> StageRecord:
        ratio = processes.agree(cost.ratio)  # it was measured, by each process for itself
        found = online_facts(values, quality, keep=keep, ratio=ratio, doubted=doubted)
        return StageRecord(facts=asdict(found))

    inputs = {
        "losses": hash_bytes(values.numpy()),
        "quality": quality,
        "doubted": doubted,
        "selection": {**asdict(training.selection), "stand_in": None},
        "model": training.prepared.fingerprint,
        "stand_in": None if training.stand_in is None else training.stand_in.fingerprint,
        "hardware": place.hardware.identity(gains_from_bf16=training.prepared.recipe.bf16),
    }
    _, record = place.run.stage("online-facts", inputs, compute)
    found: dict[str, Any] = {**record.facts, "weak": tuple(record.facts["weak"])}
    return OnlineFacts(**found)


def in_words(cost: StepCost, scoring: Scoring) -> str:
    """f, m, and what breaks even."""
    how = "" if scoring.precision == "same" else f" in {scoring.precision}"
    return f"Scoring an example{how} costs {forward_share(cost):.2f} of training on it. {cost}"


def forward_share(cost: StepCost) -> float:
    """f, with what cheap scoring saves: choosing, over a plain step, for each example."""
    return (cost.choosing / cost.candidates) / (cost.plain / cost.kept)


def step_facts(
    cost: StepCost, scoring: Scoring, training: OnlineTraining, trained: OnlineTrained
) -> dict[str, Any]:
    """m as it was measured and expected, f, and how candidates were scored."""
    return {
        "measured": measured_ratio(training, trained),
        "expected": cost.ratio,
        "scoring_share": forward_share(cost),
        **vars(cost),
        "scoring": scoring,
    }


def measured_ratio(training: OnlineTraining, trained: OnlineTrained) -> float | None:
    """m, as it was over the training: a selecting step in plain ones.

    None on an accelerator, where the time of a choice cannot be told from that of a step.
    Steps that chose nothing (after `until`) are told by the candidates that they did not have.
    """
    cost, choosing = trained.cost, trained.facts["choosing_seconds"]
    if not choosing:
        return None
    size = training.prepared.recipe.batch_size
    more = training.policy().num_candidates(size, 0.0) - size
    selecting = (trained.facts["candidates"] - cost.examples) / more if more else cost.steps
    plain = (cost.seconds - choosing) / cost.steps
    return 1 + choosing / max(1.0, selecting) / plain

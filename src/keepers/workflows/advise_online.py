"""`advise_online`: does choosing what gets a gradient step pay on these data, before a training?"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from keepers.campaign import wilson
from keepers.data import Source
from keepers.errors import ParameterError, renamed
from keepers.online import OnlineFacts, StepCost, shares
from keepers.options import taking
from keepers.training import Shuffle, epochs_of, steps_in_epoch
from keepers.workflows.advise import Advice
from keepers.workflows.expected import expected_cost, known_facts
from keepers.workflows.irreducible import Irreducible, cost_of
from keepers.workflows.looked_at import part_of
from keepers.workflows.online import AUTO, OnlineTraining
from keepers.workflows.opening import about, check_outputs, share, workplace
from keepers.workflows.options.advise import AdviseOnlineOptions
from keepers.workflows.options.training import TrainOptions
from keepers.workflows.sought import IL_FILE, Sought
from keepers.workflows.train import ready
from keepers.workflows.workplace import say_or_not

LARGEST = 5_000
"""Examples that the losses are made for, at most."""

BINS = 40


@taking(AdviseOnlineOptions)
def advise_online(data: Any, options: AdviseOnlineOptions) -> Advice:
    """Say whether online selection can pay, before a target is trained.

    It makes the irreducible losses of at most 5,000 examples, as `keepers.train` does, and compares
    the time of a selecting step of the target with that of a plain step. `select="auto"` decides
    by the same rule. The result is a bound, because nothing is trained with selection:
    `keepers.compare_online` measures whether it pays.

    Args:
        data: as in `keepers.coreset`, with labels.

    Raises:
        ParameterError: under 100 examples, targets that are no classes, a target model that
            scikit-learn fits, or losses of other examples.
        KeepersError: another argument or the data are invalid.
    """
    given = {name: value for name, value in vars(options).items() if name != "target"}
    with renamed({"model": "target"}):
        config = TrainOptions(model=options.target, select=AUTO, **given)
    seed, say = options.seed, say_or_not(options.say)
    for read in (data, options.holdout, options.il):
        check_outputs(read, options)
    sought = Sought.read(config.selects, options.il, options.holdout, config.irreducible(seed), say)
    assert sought is not None
    opened = workplace(data, options, purpose="advise-online", seed=seed)
    with opened as (source, place):
        if not source.task.likely:
            raise ParameterError(
                "task",
                f"the targets are {source.task.plural}, and their losses do not tell beforehand "
                "whether online selection pays",
                "keepers compare --online measures it; --task class reads classes",
            )
        part = source if sought.il is not None else part_of(source, seed, LARGEST)
        with renamed({"model": "target"}):
            training = ready(part, None, sought, config, place)
            expected = expected_cost(training, place.saying(lambda _: None))
        assert expected is not None
        cost = expected[0]
        training = training.with_losses(sought.of(training.source, place, None))
        facts = known_facts(training, cost, place)
        irreducible, whole = training.irreducible, len(part) == len(source)
        assert irreducible is not None
        result: dict[str, Any] = {
            "kind": "advise-online",
            "data": about(source),
            "config": {
                "keep": config.keep,
                "seed": seed,
                "target": training.prepared.role.identity(),
            },
            "looked_at": len(part),
            **_found(training, facts),
            "seconds": _seconds(
                training,
                cost,
                facts,
                len(source),
                losses=_losses_seconds(irreducible, sought, source, part),
            ),
            # those of all data serve the training itself
            "losses": str(place.run.path / IL_FILE) if whole and sought.il is None else None,
        }
        return Advice.left({**result, "sentences": sentences(result)}, place, options)


def _found(training: OnlineTraining, facts: OnlineFacts) -> dict[str, Any]:
    """The losses, how good they are, and the shares of the examples with their intervals."""
    irreducible, values = training.irreducible, training.values
    assert irreducible is not None
    assert values is not None
    values = values[training.members]
    quality, n = irreducible.losses.quality, len(values)
    redundant, unlearnable = shares(values)
    useful = 1 - facts.redundant - facts.unlearnable
    intervals = {
        name: wilson(round(share * n), n)
        for name, share in (
            ("redundant", facts.redundant),
            ("unlearnable", facts.unlearnable),
            ("useful", max(0.0, useful)),
        )
    }
    low, high = (1 / max(training.selection.keep, end) for end in reversed(intervals["useful"]))
    model = irreducible.losses.metadata.get("model")
    return {
        "irreducible": {
            "examples": n,
            "model": model.get("model") if isinstance(model, Mapping) else model,
            "accuracy": quality.get("accuracy"),
            "majority": quality.get("majority"),
            "calibration_error": quality.get("calibration_error"),
            "weaknesses": list(facts.weak),
        },
        "facts": {
            **vars(facts),
            "pays": facts.pays,
            "outlook": facts.outlook,
            "why": facts.why,
            "redundant_interval": intervals["redundant"],
            "unlearnable_interval": intervals["unlearnable"],
            "speedup_interval": (low, high),
        },
        "likely": _likely(values, redundant | unlearnable),
    }


def _likely(values: Tensor, spared: Tensor) -> dict[str, list[Any]]:
    """The probabilities of the labels by the irreducible-loss model: counts, by what is spared."""
    likely = (-values.double()).exp().clamp(0, 1)
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
    parts = {"useful": likely[~spared], "spared": likely[spared]}
    found = {name: torch.histogram(part, edges).hist.tolist() for name, part in parts.items()}
    return {"edges": edges.tolist(), **found}


def _seconds(
    training: OnlineTraining, cost: StepCost, facts: OnlineFacts, n: int, *, losses: float | None
) -> dict[str, Any]:
    """Seconds of plain training on all `n` examples, and of selecting at best.

    `losses`: what making the irreducible losses takes, where that is known.
    """
    recipe = training.prepared.recipe
    epoch = steps_in_epoch(n, recipe.batch_size, Shuffle())
    steps = epoch * recipe.epochs_of(epoch)
    plain = steps * cost.plain
    selecting = plain * facts.ratio / facts.speedup
    return {
        "steps": steps,
        "step": cost.plain,
        "plain": plain,
        "selecting": selecting,
        "irreducible": losses,
        "charged": None if losses is None else selecting + losses,
    }


def _losses_seconds(
    irreducible: Irreducible, sought: Sought, source: Source, part: Source
) -> float | None:
    """What the losses took, or would for all of the data; None where they were made elsewhere.

    An example is as dear in a longer training, and models have a least number of steps.
    """
    made, prepared = cost_of(irreducible.losses.metadata), irreducible.prepared
    if made is None or prepared is None or len(part) == len(source):
        return None if made is None else made.seconds
    share_ = share(sought.holdout, "holdout")
    if sought.holdout is not None and share_ is None:
        return made.seconds  # its model is trained on other data, whatever is scored
    recipes = (prepared.recipe, sought.config.role(source).recipe())
    examples: list[float] = []
    for recipe, n in zip(recipes, (len(part), len(source)), strict=True):
        folds = sought.config.folds
        members = n * (folds - 1) // folds if share_ is None else share_.resolve(n, "holdout")
        examples.append(members * epochs_of(recipe, members, Shuffle()))
    return made.seconds * examples[1] / examples[0]


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The conclusions, in sentences: the verdict first, then its reasons."""
    facts, made, seconds = result["facts"], result["irreducible"], result["seconds"]
    found = [f"{facts['why'][0].upper()}{facts['why'][1:]}", _losses(made)]
    found += [f"Warning: {weak}" for weak in made["weaknesses"][1:]]
    low, high = (f"{end:.1f}" for end in facts["speedup_interval"])
    found.append(
        f"{_share(facts, 'redundant')} of the examples are redundant to that model, and "
        f"{_share(facts, 'unlearnable')} have labels that are wrong or too hard for it: a step "
        f"on the rest is worth at most {facts['speedup']:.1f} plain steps ({low} to {high})"
    )
    found.append(_time(result["config"]["target"]["model"], facts, seconds))
    if result["looked_at"] < result["data"]["n"]:
        found.append(
            f"The losses are of a part, {result['looked_at']:,} of {result['data']['n']:,} "
            "examples: a model trained on all of them knows more, and finds more redundant"
        )
    if facts["pays"]:
        found.append(
            "These are bounds for rho-loss with the hand-over to uniform steps (the default). "
            "keepers compare --online trains both, and measures it"
        )
    if result["losses"]:
        losses = shlex.quote(result["losses"])
        found.append(f"keepers train --select rho-loss --il {losses} uses these losses")
    return found


def _losses(made: Mapping[str, Any]) -> str:
    model = made["model"] or "a model of yours"
    if made["accuracy"] is None:
        return "The quality of the irreducible losses is unknown: they come from elsewhere"
    low, high = wilson(round(made["accuracy"] * made["examples"]), made["examples"])
    words = (
        f"The irreducible-loss model ({model}) is right on {made['accuracy']:.1%} ({low:.1%} to "
        f"{high:.1%}) of {made['examples']:,} examples that it was not trained on"
    )
    if made["majority"] is None:
        return words
    return f"{words}; always guessing the largest class is right on {made['majority']:.1%}"


def _share(facts: Mapping[str, Any], name: str) -> str:
    low, high = facts[f"{name}_interval"]
    return f"{facts[name]:.1%} ({low:.1%} to {high:.1%})"


def _time(target: str, facts: Mapping[str, Any], seconds: Mapping[str, Any]) -> str:
    """What plain training takes, what selecting takes at best, and who pays for the losses."""
    plain, best, losses = (seconds[name] for name in ("plain", "selecting", "irreducible"))
    words = (
        f"Plain training of {target} takes about {plain:.3g} s ({seconds['steps']:,} steps); "
        f"selecting takes {best:.3g} s at best"
    )
    if facts["outlook"] == "can pay in accuracy":
        words += " to the accuracy of plain training, if it gets that far"
    if losses is None:
        return f"{words}, without the time for the losses"
    words += f", {best + losses:.3g} s with the time for the losses ({losses:.3g} s)"
    if best >= plain:
        return words
    uses = math.ceil(losses / (plain - best))
    if uses <= 1:
        return words
    return f"{words}: they pay if {uses:,} trainings or more use them"

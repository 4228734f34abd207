"""What a pilot said, in sentences: why `auto` takes what it takes, and whether selecting pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from keepers.baselines import RANDOM, SAFE
from keepers.tasks import CLASSES
from keepers.words import listed, probability
from keepers.workflows.advice import Noise
from keepers.workflows.offered import CLEAN
from keepers.workflows.pilot import Pilot
from keepers.workflows.settling import AGREED, ALIKE, HARDLY_ANY, PART, TAKEN, Finding, no_gain


def why_safe(
    chances: Mapping[str, float],
    taken: str = SAFE,
    harmed: Mapping[str, float] = MappingProxyType({}),
    other: str = "",
    lopsided: Mapping[str, tuple[str, float]] = MappingProxyType({}),
    chosen: Sequence[str] = (),
) -> str:
    """Why a fallback is taken, in words.

    Args:
        chances: of each method, the probability that it is better.
        harmed: by how much error the model that is called `other` did worse by a method.
        other: "" where no other kind of model has a say.
        lopsided: the class of which a method keeps hardly any, and how much over a random choice.
        chosen: methods that gained by the pilot's model, and not by the proxy that would choose.
    """
    least = AGREED if other else TAKEN
    good = [name for name, chance in chances.items() if chance >= least]
    others = [name for name in good if name != SAFE]
    worse = [
        f"{f'{100 * by:.1f} points worse' if by else 'no better'} by {name}"
        for name, by in harmed.items()
    ]
    scarce = {name: of for name, of in lopsided.items() if name in good}
    if scarce:
        parts = [f"{name} {share:.0%} of '{of}'" for name, (of, share) in scarce.items()]
        return (
            f"{listed([*scarce])} did better than a random choice, but kept hardly any of a class: "
            f"{listed(parts)}, where 100% is what a random choice keeps"
        )
    if worse:
        return (
            f"{listed([*harmed])} did better than a random choice for the pilot's model, but "
            f"{other}, a model of another kind, did {listed(worse)}"
        )
    if chosen:
        return (
            f"{listed(chosen)} did better than a random choice where the pilot's model chose, but "
            "not where the proxy did, which would choose here"
        )
    if others:
        return f"{listed(others)} did better than a random choice, but no better than {SAFE}"
    named = f"no method but {SAFE}" if good else "no method"
    worst = f", and {SAFE} did worse" if taken == RANDOM else ""
    return (
        f"{named} is better than a random choice with a probability of {least:.0%} or more{worst}"
    )


def why_not(rows: Sequence[Finding], taken: str, other: str) -> str:
    """Why `auto` takes a fallback, as the end of a sentence on a pilot that found these rows."""
    chances = {row.method: row.probability for row in rows}
    lopsided = {row.method: row.least for row in rows if row.is_lopsided}
    harmed = {row.method: row.other.mean for row in rows if row.other and row.no_gain_for_another}
    chosen = [row.method for row in rows if row.no_gain_by_proxy]
    return f", {why_safe(chances, taken, harmed, other, lopsided, chosen)}"


def why_best(row: Finding, pilot: Pilot, score: str) -> str:
    """Why `auto` takes a method, as the end of such a sentence."""
    error = row.error
    sign, word = (-1, "better") if error.mean < 0 else (1, "worse")
    low, high = sorted(100 * sign * (end or 0.0) for end in (error.low, error.high))
    return (
        f" it was {100 * abs(error.mean):.1f} points ({low:.1f} to {high:.1f}) {word} than a "
        f"random choice, and is better with a probability of {probability(row.probability)}"
        f"{said_of_another(pilot.other, row.other and row.other.mean)}"
        f"{_said_of_proxy(row.proxy and row.proxy.mean)}"
        f"{said_of_probabilities(asdict(row.loss), score)}"
    )


def said_of_cleaning(rows: Sequence[Finding]) -> str:
    """What a pilot says of leaving out labels that look wrong, in a sentence; "" where untried."""
    found: dict[str, list[str]] = {}
    words = {
        "better": "was better than a random choice",
        "worse": "was worse than a random choice",
        "no difference": "made no difference",
        "cannot tell": "did not clearly differ from a random choice",
    }
    for row in rows:
        if row.method == CLEAN:
            likely = row.told != "better" and row.likely
            said = "was likely, not surely, better than a random choice" if likely else ""
            found.setdefault(said or words[row.told], []).append(f"{row.keep:.0%}")
    parts = [f"{each} at {listed(kept, 5)} kept" for each, kept in found.items()]
    return f"In the pilot, leaving them out ({CLEAN}) {'; it '.join(parts)}" if parts else ""


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The answers in words: for each budget what to take, what to avoid, and what it saves."""
    pilot, target = result["pilot"], result["target"]
    found = [
        f"The pilot took {pilot['seconds']:.3g} s; training {target['model']} on everything takes "
        f"about {target['seconds']:.3g} s"
    ]
    for fraction, taken in result["take"].items():
        here = [row for row in result["rows"] if row["keep"] == float(fraction)]
        row = next(row for row in here if row["method"] == (SAFE if taken == RANDOM else taken))
        lead = f"At {float(fraction):.0%} kept"
        others = {each["method"]: each["other"]["mean"] for each in here if each["other"]}
        instead = why_safe(
            {each["method"]: each["probability"] for each in here},
            taken,
            {name: by for name, by in others.items() if no_gain(by)},
            pilot["other"],
            {each["method"]: each["least"] for each in here if each["least"][1] < HARDLY_ANY},
        )
        said = _choice(row, f"{instead}; take {taken}", pilot, fraction, result["score"])
        found.append(f"{lead}: {said}")
        bad = [row["method"] for row in here if row["told"] == "worse"]
        if bad:
            found.append(f"{lead}, {listed(bad, 5)} would do harm: worse than a random choice")
        fresh = "" if taken == RANDOM else _fresh(row)
        found += [f"{lead}, {words}" for words in (fresh, _time(row, pilot, target)) if words]
    by_model = [
        name for name in dict.fromkeys(result["take"].values()) if name not in (SAFE, RANDOM)
    ]
    if by_model and (chooses := pilot.get("chooses")):
        found.append(
            f"The pilot tried the choices of {chooses}: take --method auto, or name the "
            f"model, too: --method {by_model[0]} --proxy {chooses}"
        )
    if (guessing := pilot.get("guessing", 1.0)) < ALIKE / PART:
        found.append(
            f"Always naming '{pilot['largest']}' is wrong on {guessing:.1%}, so what choices do to "
            "the other classes hardly shows in accuracy: --balance class or --min-per-class keep "
            "more of them, often at a cost in accuracy"
        )
    if target["epochs"] is None:
        found.append(
            f"{target['model']} has no epochs, so there is no fresh random part in each epoch"
        )
    if result["label_noise"]:
        noise = Noise.of(result["label_noise"])
        pays = result["cleaning"] or f"--methods {CLEAN} tries leaving them out"
        found.append(f"{noise.sentence}{f'. {pays}' if noise.many else ''}")
    return found


def said_of_another(other: str, error: float | None) -> str:
    """What is added where another kind of model was asked, and gained."""
    return "" if error is None else f"; {other} gained {abs(100 * error):.1f} points by it"


def _said_of_proxy(error: float | None) -> str:
    """What is added where the proxy was asked to choose, and gained."""
    return "" if error is None else f"; what the proxy chose gained {abs(100 * error):.1f} points"


def said_of_probabilities(loss: Mapping[str, Any], score: str) -> str:
    """What is added where a choice is right more often, but its probabilities are clearly worse."""
    if score != CLASSES.score_words or loss["low"] is None or loss["low"] <= 0:
        return ""
    return (
        f"; its probabilities are worse, by {loss['mean']:.2f} in log loss ({loss['low']:.2f} to "
        f"{loss['high']:.2f})"
    )


def _choice(
    row: Mapping[str, Any], instead: str, pilot: Mapping[str, Any], fraction: str, score: str
) -> str:
    """What is taken and why: its row, or `instead` where that is the fallback."""
    random, whole = pilot["errors"][fraction], pilot["error_everything"]
    if row["method"] == SAFE:
        found = (
            f"On held-out data, training on a random choice was wrong on {random:.1%}, on "
            f"everything on {whole:.1%}"
            if score == CLASSES.score_words
            else f"On held-out data, 1 - {score} was {random:.3f} for a random choice, and "
            f"{whole:.3f} for everything"
        )
        return f"{instead}. {found}"
    mean, low, high = (-100 * row["error"][name] for name in ("mean", "high", "low"))
    sure = "is" if row["told"] == "better" else "is likely, not surely,"
    chosen = random - mean / 100
    errors = (
        f"{chosen:.1%} wrong, random {random:.1%}, everything {whole:.1%}"
        if score == CLASSES.score_words
        else f"1 - {score} of {chosen:.3f}, random {random:.3f}, everything {whole:.3f}"
    )
    other = said_of_another(pilot["other"], row["other"] and row["other"]["mean"])
    return (
        f"{row['method']} {sure} better than a random choice, with a probability of "
        f"{probability(row['probability'])}: by {mean:.1f} points ({low:.1f} to {high:.1f}), "
        f"{errors}{other}{said_of_probabilities(row['loss'], score)}"
    )


def _fresh(row: Mapping[str, Any]) -> str:
    """How a fresh random subset every epoch does against what is taken."""
    if row["fresh"] is None:
        return ""
    mean, low, high = (100 * row["fresh"][name] for name in ("mean", "low", "high"))
    words = {
        "better": f"{row['method']} is better than a fresh random part every epoch",
        "worse": f"a fresh random part every epoch is better than {row['method']}, and costs "
        "nothing to choose: take that (--select fresh-random)",
        "no difference": f"{row['method']} is as good as a fresh random part every epoch, which "
        "costs nothing to choose",
        "cannot tell": f"{row['method']} does not clearly differ from a fresh random part every "
        "epoch, which costs nothing to choose",
    }[row["told_fresh"]]
    return f"{words} ({mean:+.1f} points, {low:+.1f} to {high:+.1f})"


def _time(row: Mapping[str, Any], pilot: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """What selecting costs and saves end to end."""
    saved, cost, whole = row["saved_seconds"], row["selection_seconds"], target["seconds"]
    if saved <= 0:
        return (
            f"selecting takes longer ({cost:.3g} s) than it saves in training {target['model']} "
            f"({whole:.3g} s): train on everything"
        )
    words = f"selecting takes {cost:.3g} s" if cost else "selecting needs no training"
    times = whole / (whole - saved)
    more = "; the pilot took longer than one training saves" if pilot["seconds"] > saved else ""
    return f"{words} and saves {saved:.3g} s end to end, {times:.1f} times as fast{more}"

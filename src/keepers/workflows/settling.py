"""What a pilot says of each method: better, no difference or worse than random, or cannot tell.

Pure functions of the results of the folds: `auto` acts on them, `advise` tells them in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from keepers.baselines import EVERYTHING, FRESH, RANDOM, SAFE
from keepers.statistics import Difference, forecasts
from keepers.tasks import CLASSES
from keepers.words import listed, probability
from keepers.workflows.advice import Noise
from keepers.workflows.offered import CLEAN
from keepers.workflows.pilot import Pilot

Told = Literal["better", "no difference", "worse", "cannot tell"]

ALIKE = 0.01
"""Points of accuracy within which an interval has to lie for two choices to be called alike."""

PART = 0.2
"""The same, as a part of what always naming the largest class gets wrong: where that is a point,
no choice could differ by more, not even one without any other class."""

TAKEN = 0.9
"""The probability of being better from which on `auto` takes a method: on ten data sets it was then
never clearly worse than random by half a point, and at 0.8 it was (benchmarks/pilot.py)."""

AGREED = 0.8
"""The same where another kind of model gained by the method, too: none of 182 such choices on ten
data sets was worse than random by half a point (benchmarks/second_look.py)."""

HARDLY_ANY = 0.3
"""Part of a class that a choice keeps, over what a random one keeps of it, under which `auto` does
not take that choice."""

SPREAD = 1.25
"""What is true of other training sets and targets was this many times as far from what a pilot says
as its folds tell (540 differences on five data sets, benchmarks/pilot.py)."""

FARTHER = 1.6
"""The same where the pilot's pieces are smaller than the data: of 540 differences on five data sets
of 6,000, nine answers in ten were right by it, and by `SPREAD` five in six."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One method at one fraction kept: differences in error and log loss, and what they say.

    A difference is that of the method less random (less stratified, less a fresh random subset
    every epoch, less everything), in the pilot, below 0 where the method is better. None is what
    there is nothing to be said of. `probability` (of being better) and `told` are about random.
    `other` is the difference from random of another kind of model, where there was a second look;
    `proxy` that of what the proxy would choose, where it is not the pilot's model that chooses.
    `least` is the class of which it leaves out most, and how much it keeps of it over a random
    choice's part.
    """

    method: str
    keep: float
    error: Difference
    probability: float
    loss: Difference
    stratified: Difference | None
    fresh: Difference | None
    everything: Difference
    told: Told
    least: tuple[str, float]
    other: Difference | None = None
    proxy: Difference | None = None

    @property
    def no_gain_by_proxy(self) -> bool:
        """Whether what the proxy would choose is no better than a random choice."""
        return no_gain(self.proxy and self.proxy.mean)

    @property
    def no_gain_for_another(self) -> bool:
        """Whether another kind of model did no better by this choice than by a random one."""
        return no_gain(self.other and self.other.mean)

    @property
    def is_lopsided(self) -> bool:
        """Whether it keeps hardly any of a class."""
        return self.least[1] < HARDLY_ANY

    @property
    def likely(self) -> bool:
        """Whether it is likely to be better than a random choice, for each kind of model asked."""
        if self.no_gain_by_proxy:
            return False
        if self.other is None:
            return self.probability >= TAKEN
        return self.probability >= AGREED and not self.no_gain_for_another


def no_gain(error: float | None) -> bool:
    """Whether a difference in error of another kind of model, if it was asked, is no gain.

    None at all is that of a model that names one class whatever it was trained on: it agrees with
    nothing.
    """
    return error is not None and error >= 0


def findings(pilot: Pilot, methods: Sequence[str], keep: Sequence[float]) -> list[Finding]:
    """Every method at every fraction, with the probability that it is better.

    Better or worse takes a probability of `SURE`; alike are two whose interval lies within `alike`.
    Log loss is told beside it and decides nothing: a choice without wrong labels makes surer
    predictions, whose log loss was worse where they were right more often.
    """
    rows: list[Finding] = []
    for fraction in keep:
        errors = _against(pilot, methods, (RANDOM, fraction), fraction)
        losses = _against(pilot, methods, (RANDOM, fraction), fraction, "loss")
        everything = _against(pilot, methods, (EVERYTHING, 1.0), fraction)
        others = [name for name in methods if name != SAFE]
        stratified = _against(pilot, others, (SAFE, fraction), fraction)
        fresh = _against(pilot, methods, (FRESH, fraction), fraction)
        rows += [
            Finding(
                method=name,
                keep=fraction,
                error=errors[name],
                probability=errors[name].probability,
                loss=losses[name],
                stratified=stratified.get(name),
                fresh=fresh.get(name),
                everything=everything[name],
                told=told(errors[name], same=alike(pilot)),
                least=pilot.least.get((name, fraction), ("", 1.0)),
            )
            for name in methods
        ]
    return rows


def promising(rows: Sequence[Finding], keep: float) -> list[Finding]:
    """The methods with a chance of `AGREED` to be better than random at a fraction, best first.

    They must have done better than stratified in the pilot, too, and keep some of every class: on
    what is left of a class, a model of the pilot's kind may be right, and another one far from it.
    """
    good = [
        row
        for row in rows
        if row.keep == keep
        and row.method != SAFE
        and row.probability >= AGREED
        and not row.is_lopsided
        and (row.stratified is None or row.stratified.mean < 0)
    ]
    return sorted(good, key=lambda row: row.error.mean)


def settle(rows: Sequence[Finding], keep: float) -> Finding | None:
    """The method to take at a fraction: the best that is likely to be better, for each model asked.

    None where there is none: then `fallback` is taken.
    """
    return next((row for row in promising(rows, keep) if row.likely), None)


def fallback(rows: Sequence[Finding], keep: float) -> str:
    """What is taken where no method is likely to be better: `SAFE`, or random if it did worse."""
    worse = any(row.keep == keep and row.method == SAFE and row.told == "worse" for row in rows)
    return RANDOM if worse else SAFE


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


def _against(
    pilot: Pilot,
    methods: Sequence[str],
    baseline: tuple[str, float],
    keep: float,
    what: str = "error",
) -> dict[str, Difference]:
    """The differences of the methods at a fraction from a baseline, where the pilot has it."""
    if not methods or baseline not in pilot.found:
        return {}

    def values(key: tuple[str, float]) -> list[float]:
        return [getattr(held, what) for held in pilot.found[key]]

    pairs = [(values((name, keep)), values(baseline)) for name in methods]
    return dict(zip(methods, forecast(pilot, pairs), strict=True))


def forecast(
    pilot: Pilot, pairs: Sequence[tuple[Sequence[float], Sequence[float]]]
) -> list[Difference]:
    """What the pieces of a pilot, errors of methods and of baselines, say of other data."""
    spread = FARTHER if pilot.smaller else SPREAD
    return forecasts(pairs, overlap=pilot.overlap, spread=spread)


def alike(pilot: Pilot) -> float:
    """Points of error within which an interval has to lie for two choices to be called alike."""
    return min(ALIKE, PART * pilot.guessing)


def told(error: Difference, *, same: float = ALIKE) -> Told:
    """What a difference is called; within `same` of nothing it is none."""
    assert error.low is not None
    assert error.high is not None
    if error.verdict != "inconclusive":
        return error.verdict
    if error.low >= -same and error.high <= same:
        return "no difference"
    return "cannot tell"


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
            f"The choices that were tried are those of {chooses}: take --method auto, or name the "
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


def said_of_proxy(error: float | None) -> str:
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

"""`advise` of conversations: does tuning on a choice pay, by tunings on small parts of them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from keepers import methods as table
from keepers.baselines import EVERYTHING, LONGEST, RANDOM, SAFE
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.held_out import HeldOut
from keepers.experiments.tuning_compare import finite, role_of, summarise
from keepers.experiments.tuning_target import target_of
from keepers.experiments.tuning_trials import BATCH_TOKENS, EPOCHS, TuningBench, TuningTrial
from keepers.models import LanguageModel, TokenSequence, language_model
from keepers.options import cut
from keepers.random import generator
from keepers.statistics import ENOUGH_SEEDS, Difference, overlap_of
from keepers.types import TokenBudget
from keepers.words import counted, listed
from keepers.workflows.conversations import as_tokens, token_counts
from keepers.workflows.offered import check_offered
from keepers.workflows.opening import Say, say_skipped
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.shared import HardwareOptions, Rows
from keepers.workflows.overlap import alike
from keepers.workflows.settling import told
from keepers.workflows.workplace import Workplace

DRAWS = ENOUGH_SEEDS
"""Parts that are drawn, each with held-out conversations of its own."""
TRIED = ("ifd", "facility-location")
"""The methods that are tried where nobody names any: by difficulty, and by coverage."""
KEEP = (0.1,)
STEPS = 8
"""Steps that a tuning has at least, where the pool is large enough: fewer show nothing."""
ROOM = 1.05
"""That much more is drawn, as the last conversation that would go over is left out."""
FEWEST = 50
"""Conversations under which nothing is said."""
FEWEST_HELD = 20
"""Conversations that a draw holds out at least, where a fifth of all are as many."""
LARGEST_PART = 0.8
"""Of the pool, at most, in one draw."""
SEARCH = 4
"""Tunings on the smallest budget that finding a learning rate takes, about."""
SAME = 0.01
"""Nats per token, about a percent of perplexity, within which a difference is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningPilot:
    """The pool as tokens of the target, and how large a part of it each draw looks at."""

    config: AdviseOptions
    place: Workplace
    source: Source
    target: LanguageModel
    sequences: Sequence[TokenSequence]
    say: Say

    @cached_property
    def options(self) -> CompareOptions:
        """Those of the comparison that each draw is."""
        config = self.config
        named = config.methods or TRIED
        shared = vars(cut(config, HardwareOptions)) | vars(cut(config, Rows))
        return CompareOptions(
            test=None,
            methods=(SAFE, *named) if self.source.targets is not None else named,
            keep=config.keep or KEEP,
            proxy=config.proxy,
            target=config.target,
            similar_to=config.similar_to,
            seeds=1,
            **shared,
        )

    @cached_property
    def role(self) -> Any:
        """The target's."""
        return target_of(self.options)

    @cached_property
    def tokens(self) -> Tensor:
        """Of each conversation (n,)."""
        return token_counts(self.sequences)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """The budgets, as fractions of the tokens.

        Raises:
            ParameterError: a budget that is no part of the tokens.
        """
        found = [TokenBudget.parse(each).value for each in self.options.keep]
        for each in found:
            if isinstance(each, int) or each >= 1:
                raise ParameterError(
                    "keep",
                    f"got {each}, and a pilot looks at parts of the tokens",
                    "Give fractions under 1, such as 0.1",
                )
        return tuple(sorted(set(map(float, found))))

    @cached_property
    def arms(self) -> int:
        """Tunings at each budget and draw."""
        names = {RANDOM, LONGEST, *self.options.named}
        return len(names) + (self.epochs > 1)

    @property
    def epochs(self) -> int:
        """Passes of a tuning over its budget."""
        return self.role.epochs or EPOCHS

    @cached_property
    def part(self) -> int:
        """Tokens of the part that each draw looks at.

        As many as the share of the cost that the pilot may take allows; but enough for `STEPS`
        steps and for the longest conversation at the smallest budget, where the pool has them.
        """
        total, longest = int(self.tokens.sum()), int(self.tokens.max())
        smallest = self.fractions[0]
        tunings = DRAWS * self.arms * sum(self.fractions)
        tunings += 0 if self.role.lr is not None else SEARCH * smallest
        affordable = self.config.pilot_share * total / tunings
        batch = int(self.role.options.get("batch_tokens", BATCH_TOKENS))
        least = ROOM * max(STEPS * max(batch, longest) / self.epochs, longest) / smallest
        return min(int(LARGEST_PART * total), int(max(affordable, least)))

    @cached_property
    def draws(self) -> list[tuple[Tensor, Tensor]]:
        """Of each draw the positions that are chosen of (k,), and those that are held out (h,).

        Draws share as few conversations as they can: each begins further on in one random order.
        What says nearly what a held-out conversation says is not chosen of.
        """
        n = len(self.sequences)
        order = torch.randperm(n, generator=generator(self.config.seed, "pilot"))
        budget = max(self.fractions) * self.part
        found: list[tuple[Tensor, Tensor]] = []
        for draw in range(DRAWS):
            rolled = order.roll(-(draw * n // DRAWS))
            ahead = self.tokens[rolled].cumsum(0)
            count = min(n // 5, max(FEWEST_HELD, int((ahead <= budget).sum())))
            held, rest = rolled[:count], rolled[count:]
            rest = rest[self.tokens[rest].cumsum(0) <= self.part].sort().values
            copies = alike(self.source.take(rest.numpy()), self.source.take(held.numpy()))
            found.append((rest[torch.from_numpy(~copies)], held))
        return found

    @property
    def overlap(self) -> float:
        """What draws that choose of the same conversations add to the variance of their mean.

        As for folds: see `keepers.statistics.overlap_of`.
        """
        return overlap_of([set(at.tolist()) for at, _ in self.draws])

    def benches(self) -> Iterator[TuningBench]:
        """The comparison of each draw; the learning rate is that of the first."""
        role, say = self.role, self.say
        for at, held in self.draws:
            tokens = self.tokens[at]
            budgets = [int(each * int(tokens.sum())) for each in self.fractions]
            if not len(at) or budgets[0] < int(tokens.max()):
                raise ParameterError(
                    "keep",
                    f"got {self.fractions[0]:g} of the {int(tokens.sum()):,} tokens that a draw "
                    f"looks at, and the longest conversation has {int(self.tokens.max()):,}",
                    "Give a larger share, or cut conversations with "
                    "--set target.options.length=512",
                )
            judges = [self.sequences[place] for place in held.tolist()]
            bench = TuningBench(
                options=self.options,
                config=self.options,
                place=self.place,
                source=self.source.take(at.numpy()),
                target=self.target,
                role=role,
                sequences=[self.sequences[place] for place in at.tolist()],
                held_out=HeldOut.of(judges, choices=True),
                budgets=tuple(budgets),
                say=say,
            )
            role, say = replace(role, lr=bench.rate[0]), _silent  # it is the same in all draws
            yield bench


def _silent(sentence: str) -> None:
    """For what was said already."""


def advise_tuning(
    source: Source, config: AdviseOptions, place: Workplace, say: Say
) -> dict[str, Any]:
    """Whether tuning a language model on a choice pays, for each method and budget.

    In each of `DRAWS` draws every method chooses of a part of the conversations, a copy of the
    target is tuned on each choice for as many tokens, and held-out conversations judge it.

    Raises:
        ParameterError: no target, too few conversations, a budget that is no part of the tokens,
            or one under the longest conversation.
        DataError: conversations that its template cannot write.
    """
    for name in config.methods or TRIED:
        check_offered(table.get(name), source)
    role = target_of(CompareOptions(test=None, target=config.target))
    if len(source) < FEWEST:
        raise ParameterError(
            "data",
            f"{counted(len(source), 'conversation')} can show nothing",
            f"A pilot needs {FEWEST}, and says more with thousands",
        )
    target = language_model(role.model, "target", length=role.options.get("length"))
    source, sequences = as_tokens(source, target, config.on_bad_row, say, "target")
    say_skipped(source, say)
    pilot = TuningPilot(
        config=config, place=place, source=source, target=target, sequences=sequences, say=say
    )
    total, part, planned = int(pilot.tokens.sum()), pilot.part, pilot.fractions
    say(
        f"Pilot: {DRAWS} draws of {part:,} of {total:,} tokens, {pilot.arms} tunings of "
        f"{pilot.epochs} passes in each at {listed([f'{each:.0%}' for each in planned], 5)} kept"
    )
    trials: list[TuningTrial] = []
    before = list[float]()
    benches = list[TuningBench]()
    for draw, bench in enumerate(pilot.benches()):
        benches.append(bench)
        before.append(bench.before().loss)
        for trial in bench.trials():
            keep = planned[bench.budgets.index(trial.budget)]
            trials.append(replace(trial, seed=draw, keep=keep, budget=round(keep * part)))
            say(
                f"draw {draw + 1}: {trial.method}, {counted(trial.rows, 'conversation')} of "
                f"{trial.held:,} tokens: loss {trial.measure.loss:.4f} "
                f"({before[-1]:.4f} before tuning)"
            )
    spent, first = place.ledger.total(), benches[0]
    lr, tried = first.rate
    rate = _seconds_per_token(trials)
    whole = rate * pilot.epochs * total
    rows = [_judged(row, total / part, whole) for row in summarise(trials, overlap=pilot.overlap)]
    result: dict[str, Any] = {
        "kind": "advise-tuning",
        "data": {
            "name": source.name,
            "kind": source.kind,
            "n": len(source),
            "tokens": total,
            "fingerprint": source.fingerprint,
        },
        "config": {
            "keep": planned,
            "methods": pilot.options.methods,
            "seed": config.seed,
            "pilot_share": config.pilot_share,
            "target": role_of(first),
            "proxy": first.chooser.proxy_of(first.named),
        },
        "pilot": {
            "draws": DRAWS,
            "tokens": part,
            "judged": len(first.held_out.sequences),
            "steps": trials[0].target.steps,
            "seconds": spent.seconds,
            "share": spent.seconds / whole,
        },
        "target": {"model": role.model, "seconds": whole, "epochs": pilot.epochs},
        "learning_rate": {"taken": lr, "tried": finite(tried)},
        "before": sum(before) / len(before),
        "rows": rows,
        "take": {str(keep): taken(rows, keep, source) for keep in planned},
        "costs": place.ledger.by_phase(),
    }
    return {**result, "sentences": sentences(result)}


def _seconds_per_token(trials: Sequence[TuningTrial]) -> float:
    return sum(each.target.seconds for each in trials) / sum(each.tokens for each in trials)


def _judged(row: Mapping[str, Any], times: float, whole: float) -> dict[str, Any]:
    """A row with its verdicts in the words of advice, and its costs for the whole pool."""
    selecting = row["selection_seconds"] * times
    return {
        **row,
        **{
            name: None if row[gap] is None else told(row[gap], same=SAME)
            for name, gap in (("told", "difference"), ("told_longest", "from_longest"))
        },
        "selection_seconds": selecting,
        "saved_seconds": whole * (1 - row["keep"]) - selecting,
    }


def taken(rows: Sequence[Mapping[str, Any]], keep: float, source: Source) -> str:
    """What to take at a budget: the best that beat random and the longest, or the safe choice."""
    here = [row for row in rows if row["keep"] == keep and row["method"] != EVERYTHING]
    good = [
        row for row in here if row["told"] == "better" and row["told_longest"] in ("better", None)
    ]
    if good:
        return min(good, key=lambda row: row["loss_mean"])["method"]
    return RANDOM if source.targets is None else SAFE


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The answers in words."""
    pilot, target = result["pilot"], result["target"]
    found = [
        f"The pilot took {pilot['seconds']:.3g} s, {pilot['share']:.0%} of what tuning "
        f"{target['model']} on everything takes ({target['epochs']} passes, about "
        f"{target['seconds']:.3g} s)"
    ]
    if pilot["steps"] < STEPS:
        found.append(
            f"A tuning had {counted(pilot['steps'], 'step')}, which is little: keepers compare "
            "with more tokens tells more"
        )
    for keep, name in result["take"].items():
        lead = f"At {float(keep):.0%} of the tokens"
        here = [row for row in result["rows"] if row["keep"] == float(keep)]
        row = next(each for each in here if each["method"] == name)
        if row["told"] == "better":
            found.append(f"{lead}, take {name}: {_against(row)}")
        else:
            found.append(
                f"{lead}, nothing is shown to be better than a random part and than the longest "
                f"answers: take a random part ({name})"
            )
        found += [
            f"{lead}, {_named(each['method'])}: {_against(each)}"
            for each in here
            if each["method"] not in (RANDOM, name)
        ]
        saves = row["saved_seconds"]
        words = "saves" if saves > 0 else "costs"
        found.append(
            f"{lead}, choosing by {name} takes about {row['selection_seconds']:.2g} s for "
            f"everything, and end to end it {words} {abs(saves):.3g} s of tuning"
        )
    return found


def _named(method: str) -> str:
    return "everything for as many tokens" if method == EVERYTHING else method


def _against(row: Mapping[str, Any]) -> str:
    """Both differences of a row, in words."""
    parts = [
        f"{_words(row[told_by])} {whom} ({_nats(row[gap])})"
        for told_by, gap, whom in (
            ("told", "difference", "a random part"),
            ("told_longest", "from_longest", "the longest answers"),
        )
        if row[told_by] is not None
    ]
    return "; ".join(parts)


def _words(word: str) -> str:
    return {
        "no difference": "no different from",
        "cannot tell": "cannot be told from",
    }.get(word, f"{word} than")


def _nats(gap: Difference) -> str:
    ends = "" if gap.low is None else f", {gap.low:+.3f} to {gap.high:+.3f}"
    return f"{gap.mean:+.3f} nats per token{ends}".replace("-", "−")

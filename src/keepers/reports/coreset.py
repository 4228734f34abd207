"""The report of a core-set run: what was kept, what was dropped, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keepers.errors import RunError, first_few
from keepers.ledger import Ledger
from keepers.reports import describe, findings, histogram, quantities
from keepers.reports.examples import Example, show
from keepers.reports.findings import Cut, Integers, Mask, Share
from keepers.reports.page import as_yaml, write_page
from keepers.reports.plane import plane_chart
from keepers.selection import Selection
from keepers.tasks import pairs_of
from keepers.words import counted
from keepers.workflows.advice import Noise
from keepers.workflows.evidence import Evidence, spread

NUM_SHOWN = 12
NUM_BARS = 24
NUM_TABLE_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """A few examples under one heading."""

    heading: str
    words: str
    examples: list[Example]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Kept share by class or by group: `bars` are shown, `rows` stand in a table to open."""

    heading: str
    noun: str
    words: str
    bars: list[Share]
    rows: list[Share]
    left_out: int
    largest: int


def report(selection: Selection, path: str | Path | None = None, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of a core-set run, and return its path.

    `path` defaults to `report.html` in the run directory.

    Raises:
        RunError: the selection was read from a file, which has no content for a report; or `path`
            exists and `overwrite` is false.

    Example:
        >>> import pyarrow as pa
        >>> report(Selection(table=pa.table({}), metadata={}))
        Traceback (most recent call last):
        keepers.errors.RunError: selection: it holds no evidence to report on (it was read from \
a file). Run keepers.coreset(...) again with the same run directory (run=...): finished stages \
are found there, so it is instant; then report what it returns
    """
    if selection.evidence is None:
        raise RunError(
            "selection: it holds no evidence to report on (it was read from a file). Run "
            "keepers.coreset(...) again with the same run directory (run=...): finished stages "
            "are found there, so it is instant; then report what it returns"
        )
    evidence: Evidence = selection.evidence
    destination = evidence.run / "report.html" if path is None else Path(path)
    context = _context(evidence, selection.metadata)
    return write_page(destination, "coreset.html", overwrite=overwrite, **context)


def _context(evidence: Evidence, metadata: dict[str, Any]) -> dict[str, Any]:
    source = evidence.source
    candidates = evidence.candidates
    kept = candidates & (evidence.rank >= 0)
    cut = None
    if evidence.scores is not None:
        cut = findings.find_cut(
            evidence.scores, evidence.rank, candidates, source.strata, count=NUM_SHOWN
        )
    ledger = Ledger(list(evidence.costs))
    measured, accuracy = describe.accuracy(metadata, evidence.validation_accuracy)
    return {
        "source": source,
        "metadata": metadata,
        "num_kept": int(kept.sum()),
        "num_candidates": int(candidates.sum()),
        "num_validation": len(evidence.validation),
        "num_copies": metadata.get("num_near_duplicates", 0),
        "plane": _plane(evidence),
        "proxy": describe.model_name(metadata.get("proxy")),
        "measured": measured,
        "accuracy": accuracy,
        "warnings": evidence.warnings,
        "balances": _balances(evidence, kept, candidates),
        "cut": cut,
        "cut_words": None if cut is None else _cut_words(cut),
        "histogram": _histogram(evidence, candidates, cut, str(metadata.get("method", "score"))),
        "borders": _borders(evidence, kept, candidates, cut),
        "extremes": _extremes(evidence, candidates),
        "doubts": _doubts(evidence),
        "noise": _noise(metadata),
        "costs": ledger.by_phase(),
        "total": ledger.total(),
        "config": as_yaml(describe.configuration(metadata)),
        "fingerprint": source.fingerprint,
        "versions": metadata.get("versions", {}),
        "skipped": source.skipped[:NUM_TABLE_ROWS],
        "num_skipped": len(source.skipped),
    }


def _balances(evidence: Evidence, kept: Mask, candidates: Mask) -> list[Shares]:
    source = evidence.source
    balances: list[Shares] = []
    if source.strata is not None:
        labels, at = (part.numpy() for part in pairs_of(source.proportions, len(source.task.names)))
        rows = findings.shares(labels, source.strata_names, kept[at], candidates[at])
        noun, nouns = source.task.stratum
        overall = float(kept[np.unique(at[candidates[at]])].mean()) if rows else 0.0
        balances.append(_balance(nouns.capitalize(), noun, nouns, rows, overall))
    if source.groups is not None:
        names, codes = np.unique(source.groups.astype(str), return_inverse=True)
        rows = findings.shares(codes, names.tolist(), kept, candidates)
        rows.sort(key=lambda row: _natural(row.name))
        balances.append(_balance("Groups", "group", "groups", rows))
    return balances


def _balance(
    heading: str, noun: str, nouns: str, rows: list[Share], overall: float | None = None
) -> Shares:
    """`overall`: the share of the examples, where one may count in several rows."""
    by_share = sorted(rows, key=lambda row: -row.share)
    bars = rows
    if len(rows) > NUM_BARS:
        bars = by_share[: NUM_BARS // 2] + by_share[-NUM_BARS // 2 :]
    shown = by_share
    if len(rows) > NUM_TABLE_ROWS:
        shown = by_share[: NUM_TABLE_ROWS // 2] + by_share[-NUM_TABLE_ROWS // 2 :]
    return Shares(
        heading=heading,
        noun=noun,
        words=_balance_words(nouns, by_share, overall),
        bars=bars,
        rows=shown,
        left_out=len(rows) - len(shown),
        largest=max((row.total for row in bars), default=1),
    )


def _balance_words(nouns: str, by_share: list[Share], of_examples: float | None) -> str:
    total = sum(row.total for row in by_share)
    if len(by_share) < 2 or not total:
        return ""
    in_rows = sum(row.kept for row in by_share) / total
    overall = in_rows if of_examples is None else of_examples
    most, least = by_share[0], by_share[-1]
    words = (
        f"Overall {quantities.percent(overall)} is kept: from {quantities.percent(least.share)} "
        f"of “{least.name}” to {quantities.percent(most.share)} of “{most.name}”."
    )
    if most.share - least.share < 0.02:
        words = f"All {nouns} are kept in nearly the same share, {quantities.percent(in_rows)}."
    if empty := [f"“{row.name}”" for row in by_share if row.kept == 0]:
        words += f" Nothing is kept of {first_few(empty)}."
    if len(by_share) > NUM_BARS:
        words += (
            f" The {NUM_BARS // 2} with the highest and the {NUM_BARS // 2} with the lowest "
            f"share of {quantities.count(len(by_share))} {nouns}:"
        )
    return words


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that puts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _cut_words(cut: Cut) -> str:
    if cut.kind == "none":
        return (
            "This method draws at random by score, so no score separates kept from dropped "
            "examples."
        )
    words = "Higher scores are picked first."
    if cut.kind == "class":
        return f"{words} Every class has its own cut, so kept and dropped examples overlap here."
    if cut.value is None:
        return words
    border = quantities.score(cut.value)
    if cut.tied > 1:
        return (
            f"{words} The cut is at a score of {border}, which {quantities.count(cut.tied)} "
            "examples share; ids decide among them."
        )
    return f"{words} Kept from a score of {border} up."


def _histogram(evidence: Evidence, candidates: Mask, cut: Cut | None, name: str) -> Any:
    if evidence.scores is None or cut is None:
        return None
    there = candidates & ~np.isnan(evidence.scores)
    binned = histogram.bin_scores(evidence.scores[there], evidence.rank[there] >= 0, cut=cut.value)
    return histogram.histogram_chart(binned, cut=cut.value, name=f"score ({name})")


def _plane(evidence: Evidence) -> Any:
    """The map and the words above it, where there are features."""
    if evidence.plane is None:
        return None
    chart, drawn = plane_chart(evidence.plane, evidence.rank >= 0), len(evidence.plane.positions)
    first, second = (quantities.percent(share, 0) for share in evidence.plane.shares)
    both = quantities.percent(sum(evidence.plane.shares), 0)
    words = (
        f"The first two principal components explain {both} of the variance of the features "
        f"({first} and {second}): points that are close here may be far apart in the other "
        "dimensions."
    )
    total = int(evidence.candidates.sum())
    if drawn < total:
        words += (
            f" {quantities.count(drawn)} of {counted(total, 'example')} are shown, evenly spread "
            "over the ids."
        )
    return {"chart": chart, "words": words}


def _borders(evidence: Evidence, kept: Mask, candidates: Mask, cut: Cut | None) -> list[Gallery]:
    if cut is None or cut.kind == "none":
        about = "rank" if cut is None else "score"
        order = np.flatnonzero(kept)
        order = order[np.argsort(evidence.rank[order], kind="stable")]
        dropped = spread(np.flatnonzero(candidates & ~kept), count=NUM_SHOWN)
        galleries = [
            _gallery(evidence, "Picked first", "", order[:NUM_SHOWN], about),
            _gallery(evidence, "Picked last", "Latest first.", order[::-1][:NUM_SHOWN], about),
            _gallery(evidence, "Dropped", "A few, evenly spread over the ids.", dropped, about),
        ]
    else:
        just = "The next to be dropped if fewer were kept, nearest first."
        galleries = [
            _gallery(evidence, "Just kept", just, cut.above, "score"),
            _gallery(
                evidence,
                "Just dropped",
                "The next to be kept if more were kept, nearest first.",
                cut.below,
                "score",
            ),
        ]
    return [gallery for gallery in galleries if gallery.examples]


def _extremes(evidence: Evidence, candidates: Mask) -> list[Gallery]:
    if evidence.scores is None:
        return []
    highest, lowest = findings.extremes(evidence.scores, candidates, count=NUM_SHOWN)
    return [
        _gallery(evidence, "Highest scores", "", highest, "score"),
        _gallery(evidence, "Lowest scores", "", lowest, "score"),
    ]


def _noise(metadata: dict[str, Any]) -> str:
    found = metadata.get("label_noise")
    if not found:
        return "The share of wrong labels is unknown; --val 0.2 estimates it"
    return Noise.of(found).sentence


def _doubts(evidence: Evidence) -> Gallery | None:
    labels = evidence.source.labels
    if labels is None or evidence.predicted is None or evidence.label_probability is None:
        return None
    if evidence.margin is not None:
        positions = findings.negative(evidence.margin)
        what = "another class was more likely than the label, on average over the proxy's training"
        shown = "those with the lowest margin"
        none = (
            "During training the proxy found no class more likely than the label, for any example."
        )
    else:
        positions = findings.doubtful(evidence.predicted, labels, evidence.label_probability)
        what = "the proxy predicts another class than the label"
        shown = "those with the least probable labels"
        none = "The proxy predicts the label of every example."
    if not len(positions):
        words = f"{none} A proxy that memorises its training labels hides wrong ones."
        return Gallery(heading="Labels at odds with the proxy", words=words, examples=[])
    kept = int(np.sum(evidence.rank[positions] >= 0))
    words = (
        f"For {counted(len(positions), 'example')} of {quantities.count(len(labels))} {what}; "
        f"{quantities.count(kept)} of them {'is' if kept == 1 else 'are'} kept. Shown are "
        f"{shown}. Such a label can also be right, and the example hard: check before you "
        "relabel."
    )
    return _gallery(
        evidence, "Labels at odds with the proxy", words, positions[:NUM_SHOWN], "doubt"
    )


def _gallery(
    evidence: Evidence, heading: str, words: str, positions: Integers, about: str
) -> Gallery:
    return Gallery(heading=heading, words=words, examples=show(evidence, positions, about=about))

"""A campaign in the terminal: where it stands, and the batch that was planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from keepers.campaign import Id
from keepers.errors import KeepersError
from keepers.reports import active_answers, quantities
from keepers.reports.active_items import NUM_SHOWN, alphas_in_words
from keepers.reports.terminal import plain_table
from keepers.tasks import CLASSES, kind_of
from keepers.words import counted
from keepers.workflows.active import Batch, Campaign
from keepers.workflows.active.standing import Standing

NUM_ROUNDS = 20
NUM_CLASSES = 20
NUM_ANNOTATORS = 20
EXCERPT = 64
NAME = 24
_COLOURS = {"better": "green", "worse": "red"}
_STATUSES = ("skipped", "disputed", "quarantined", "removed")


def active_summary(standing: Standing) -> RenderableType:
    """Where a campaign stands, for a `rich` console; warnings are for stderr."""
    head = Text.assemble(
        (f"{quantities.count(standing.counts['labelled'])} labelled", "bold"),
        f" of {counted(standing.pool, 'example')} in "
        f"{counted(len(standing.rounds), 'round')} by {standing.method}",
    )
    parts: list[RenderableType] = [head]
    for answer in active_answers.answers(standing):
        words = Text(f"{answer.name} ", style="bold")
        colour = _COLOURS.get(str(answer.verdict), "default")
        words.append(answer.words, style=f"not bold {colour}")
        parts.append(words)
    if standing.rounds or standing.counts["labelled"]:
        parts.append(_rounds(standing))
    if words := active_answers.why_auto(standing):
        parts.append(Text(words))
    parts += [Text(words) for words in _sentences(standing)]
    if len(standing.annotators) > 1:
        parts.append(_annotators(standing.annotators))
    if standing.alphas:
        parts.append(Text(alphas_in_words(standing.alphas)))
    return Group(*parts)


def batch_table(campaign: Campaign, batch: Batch) -> RenderableType:
    """The first items of a batch in the order to label them, and how good the proxy is.

    Whether an item was selected or is a control item is not shown: it would sway who labels it.
    """
    again = ", planned before" if batch.again else ""
    cold = ", without a proxy yet (cold start)" if batch.facts.get("cold") else ""
    head = Text.assemble(
        (f"Round {batch.round}: {counted(len(batch), 'example')}", "bold"),
        f" to label, by {batch.method}{cold}{again}",
    )
    parts: list[RenderableType] = [head]
    standing = campaign.status()
    if found := standing.accuracy:
        reached = f"reaches {active_answers.reached(standing, found)}, measured"
        right = f"is {quantities.percent(found['value'])} right"
        words = right if standing.score == CLASSES.score_words else reached
        parts.append(Text(f"The proxy {words} on {active_answers.measured_on(found)}"))
    if repeated := batch.facts.get("near_duplicates"):
        number = counted(repeated, "near-duplicate")
        parts.append(Text(f"{number} let in: nothing else was left"))
    table = plain_table(("", True), ("id", False), ("example", False))
    for number, item in enumerate(batch.ids[:NUM_SHOWN], 1):
        table.add_row(str(number), escape(_short(str(item), NAME)), escape(_seen(campaign, item)))
    if len(batch) > NUM_SHOWN:
        table.add_row("", "", f"… and {quantities.count(len(batch) - NUM_SHOWN)} more")
    return Group(*parts, table)


def _rounds(standing: Standing) -> Table:
    table = plain_table(
        ("round", True),
        ("method", False),
        ("asked", True),
        ("labelled", True),
        ("waiting", True),
        *((status, True) for status in _STATUSES),
        ("time", True),
    )
    for each in standing.rounds[-NUM_ROUNDS:]:
        table.add_row(
            str(each["round"]),
            escape(each["method"]),
            quantities.count(each["asked"]),
            *_numbers(each["counts"]),
            quantities.brief_duration(each["seconds"]),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        quantities.count(sum(each["asked"] for each in standing.rounds)),
        *_numbers(standing.counts),
        quantities.brief_duration(standing.selection_seconds),
    )
    return table


def _numbers(counts: Mapping[str, int]) -> Sequence[str]:
    return (
        quantities.count(counts["labelled"]),
        quantities.count(active_answers.waiting(counts)),
        *(quantities.count(counts[status]) if counts[status] else "–" for status in _STATUSES),
    )


def _sentences(standing: Standing) -> Sequence[str]:
    found: list[str] = []
    parts = [
        f"{quantities.count(standing.parts[name])} {words}"
        for name, words in (
            ("selected", "selected"),
            ("control", "control"),
            ("brought", "brought or not asked for"),
        )
        if standing.parts.get(name)
    ]
    if parts:
        found.append(f"Labels: {quantities.listed(parts)}")
    if parts and standing.classes:
        classes = sorted(standing.classes.items(), key=lambda pair: -pair[1])
        shown = [
            f"{_short(name, NAME)} {quantities.count(number)}"
            for name, number in classes[:NUM_CLASSES]
        ]
        more = f", and {len(classes) - len(shown)} more" if len(classes) > len(shown) else ""
        named = kind_of(standing.task).stratum[1].capitalize()
        found.append(f"{named}: {', '.join(shown)}{more}")
    spent = f"Selection took {quantities.duration(standing.selection_seconds)}"
    if standing.labelling_seconds:
        spent += f", labelling {quantities.duration(standing.labelling_seconds)}"
    return [*found, spent] if standing.rounds else found


def _annotators(annotators: Mapping[str, Mapping[str, float]]) -> Table:
    table = plain_table(("annotator", False), ("labels", True), ("skips", True), ("time", True))
    for name, mine in list(annotators.items())[:NUM_ANNOTATORS]:
        table.add_row(
            escape(_short(name, NAME)),
            quantities.count(mine["labels"]),
            quantities.count(mine["skips"]),
            quantities.brief_duration(mine["seconds"]) if mine["seconds"] else "–",
        )
    if len(annotators) > NUM_ANNOTATORS:
        table.add_row(f"… and {len(annotators) - NUM_ANNOTATORS} more", "", "", "")
    return table


def _seen(campaign: Campaign, item: Id) -> str:
    """One line of a text or of numbers; the size of a picture."""
    try:
        content = campaign.desk.content(item)
    except KeepersError:
        return "(cannot be shown)"
    if isinstance(content, bytes):
        return _size(content)
    return _short(content[: 4 * EXCERPT], EXCERPT)


def _size(picture: bytes) -> str:
    """Width and height, from the header of a PNG."""
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    return f"picture, {width} × {height}"


def _short(text: str, limit: int) -> str:
    """One line of what people wrote, without what a terminal would take for commands."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(shown.split())
    return line if len(line) <= limit else f"{line[: limit - 2]} …"

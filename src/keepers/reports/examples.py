"""Examples as a reader sees them: a picture, a text or a few numbers, and what is known of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import escape
from PIL import Image

from keepers.reports import quantities
from keepers.words import counted
from keepers.workflows.evidence import Evidence

SMALL_SIDE = 64  # pictures up to this many pixels are shown as they are, enlarged without blurring
LARGE_SIDE = 192
EXCERPT = 220
WHOLE_TEXT = 16_000


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What is seen of one example: a picture, or an excerpt with the whole text where it is cut."""

    picture: str = ""
    pixelated: bool = False
    excerpt: str = ""
    whole: str = ""
    length: int = 0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example, ready to be shown; `note` is why it is shown here."""

    id: str
    row: int
    label: str
    state: str
    note: str
    preview: Preview


def show(evidence: Evidence, positions: Iterable[int], *, about: str) -> list[Example]:
    """The examples at `positions`; `about` is `score`, `rank` or `doubt`."""
    return [_example(evidence, int(position), about) for position in positions]


def _example(evidence: Evidence, position: int, about: str) -> Example:
    source = evidence.source
    return Example(
        id=str(source.ids[position]),
        row=int(source.rows[position]),
        label=source.shown_labels([position])[0] or "",
        state=_state(evidence, position),
        note=_note(evidence, position, about),
        preview=preview(source.preview(position)),
    )


def preview(seen: str | bytes) -> Preview:
    """What `Source.preview` gives, ready for a page: a picture, or a text and an excerpt of it."""
    if isinstance(seen, bytes):
        picture, pixelated = _picture(seen)
        return Preview(picture=picture, pixelated=pixelated)
    excerpt = " ".join(seen[: 2 * EXCERPT].split())
    if len(excerpt) > EXCERPT:
        excerpt = excerpt[:EXCERPT].rsplit(" ", 1)[0] + " …"
    whole = _shorten(seen, WHOLE_TEXT) if len(seen) > EXCERPT else ""
    return Preview(excerpt=excerpt, whole=whole, length=len(seen))


def _state(evidence: Evidence, position: int) -> str:
    if evidence.rank[position] >= 0:
        return "kept"
    return "validation" if position in evidence.validation else "dropped"


def _note(evidence: Evidence, position: int, about: str) -> str:
    if about == "doubt" and evidence.predicted is not None:
        assert evidence.label_probability is not None
        predicted = evidence.source.class_names[int(evidence.predicted[position])]
        probability = quantities.percent(float(evidence.label_probability[position]), 2)
        return f"proxy says {predicted}; gives the label {probability}"
    if about == "score" and evidence.scores is not None:
        return f"score {quantities.score(float(evidence.scores[position]))}"
    rank = int(evidence.rank[position])
    return f"pick {quantities.count(rank + 1)}" if rank >= 0 else ""


def _picture(data: bytes) -> tuple[str, bool]:
    """A data URI, and whether the picture is small: those are kept as PNG, larger ones reduced."""
    with Image.open(io.BytesIO(data)) as image:
        small = max(image.size) <= SMALL_SIDE
        if not small:
            image.thumbnail((LARGE_SIDE, LARGE_SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=82, optimize=True)
            data = buffer.getvalue()
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}", small


def _shorten(text: str, limit: int) -> str:
    """At most about `limit` characters once escaped, and a word about what is left out."""
    short = text[:limit]
    while len(escape(short)) > limit:
        short = short[: len(short) * 3 // 4]
    left = len(text) - len(short)
    return short if not left else f"{short} … ({counted(left, 'more character')})"

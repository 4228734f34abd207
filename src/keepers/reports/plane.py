"""The map of a core-set: examples on two principal components, as inline SVG.

The points of each kind are one path of dots: thousands of circles would make a page of megabytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from keepers.reports import quantities
from keepers.workflows.evidence import Plane

WIDTH, HEIGHT, MARGIN = 560, 380, 14
FOOT = 20
"""The drawing, the room around the points and that for the name of the axis below, in pixels."""

FEW = 400
"""Points of one kind up to which dots are large."""


def plane_chart(plane: Plane, kept: npt.NDArray[np.bool_]) -> Markup:
    """Dropped examples, and over them the kept ones: `kept` (n,) marks those of all examples."""
    low, high = plane.points.min(0), plane.points.max(0)
    room = np.array([WIDTH - 2 * MARGIN - FOOT, HEIGHT - 2 * MARGIN - FOOT])
    scale = float((room / np.maximum(high - low, 1e-9 * max(1.0, float(np.ptp(high))))).min())
    middle = np.array([(WIDTH + FOOT) / 2, (HEIGHT - FOOT) / 2])
    placed = middle + (plane.points - (low + high) / 2) * (scale, -scale)
    chosen = kept[plane.positions]
    dots = [
        _dots(placed[~chosen], "dropped", 0.55),
        _dots(placed[chosen], "kept", 0.8),
    ]
    first, second = (quantities.percent(share, 0) for share in plane.shares)
    turned = Markup(' transform="rotate(-90 12 {})"').format(HEIGHT / 2)
    named = Markup(
        '<text x="{}" y="{}" text-anchor="middle" style="fill: var(--soft)">first component, {}'
        '</text><text x="12" y="{}" text-anchor="middle"{} style="fill: var(--soft)">second '
        "component, {}</text>"
    ).format(WIDTH / 2, HEIGHT - 4, first, HEIGHT / 2, turned, second)
    head = Markup(
        '<svg role="img" aria-label="Kept and dropped examples on the two principal components of '
        'their features" viewBox="0 0 {} {}" style="font-size: 10.5px">'
    ).format(WIDTH, HEIGHT)
    return head + Markup("").join(dots) + named + Markup("</svg>")


def _dots(points: npt.NDArray[np.float64], colour: str, opacity: float) -> Markup:
    """Lines of no length with round ends."""
    drawn = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points.tolist())
    size = 5 if len(points) <= FEW else 3
    return Markup(
        '<path d="{}" opacity="{}" fill="none" stroke-linecap="round" stroke-width="{}" '
        'style="stroke: var(--{})"/>'
    ).format(drawn, opacity, size, colour)

"""Charts of a campaign: accuracy by labels with the forecast, selected against random labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from keepers.campaign import Curve
from keepers.reports import charts, quantities

FAR = 6
"""A forecast beyond this many times the existing labels is drawn on a logarithmic axis."""


@charts.page_style()
def accuracy_chart(
    measured: Sequence[Mapping[str, Any]],
    *,
    forecast: Mapping[str, Any] | None,
    on: str,
    score: str = "accuracy",
) -> Markup:
    """Accuracy by labels with intervals; the goal lies across, the curve to it is dashed.

    `measured` are the rounds of a `Standing` that have an accuracy, `forecast` is its forecast;
    `on` says what was measured on, `score` what it is called.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes = charts.plain_axes(height=3.4)
    labels = [facts["labels"] for facts in measured]
    values, lows, highs = (
        [100 * facts["accuracy"][name] for facts in measured] for name in ("value", "low", "high")
    )
    axes.vlines(labels, lows, highs, color=charts.KEPT, linewidth=5, alpha=0.28)
    axes.plot(labels, values, color=charts.KEPT, linewidth=1.8, marker="o", markersize=5)
    bottom, top = min(lows), max(highs)
    furthest = max(labels)
    if forecast is not None:
        goal = 100 * forecast["goal"]
        axes.axhline(goal, color=charts.INK, linewidth=1, linestyle=(0, (1, 2)))
        bottom, top = min(bottom, goal), max(top, goal)
        furthest = max(furthest, _draw_forecast(axes, forecast, first=min(labels), last=furthest))
    if furthest > FAR * max(labels):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0.8 * min(labels), 1.25 * furthest)
    else:
        axes.set_xlim(0, 1.06 * furthest)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(_whole)
    room = max(1.0, 0.08 * (top - bottom))
    low, high = (
        max(0.0 if bottom >= 0 else bottom - room, bottom - room),
        top + (room if forecast is None else 2 * room),
    )
    ticks = MaxNLocator(6).tick_values(low, min(high, 100.0))
    axes.set_yticks([tick for tick in ticks if low <= tick <= 100])
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("labels trained on")
    axes.set_ylabel(f"{score} on {on}")
    return charts.as_svg(axes, f"{score[:1].upper()}{score[1:]} by the labels trained on")


def _draw_forecast(axes: Any, forecast: Mapping[str, Any], *, first: int, last: int) -> float:
    """Draw the curve to the goal, and say how far to the right it reaches."""
    goal = 100 * forecast["goal"]
    end = float(last)
    if "labels" in forecast:
        needed, low, high = forecast["labels"], forecast["low"], forecast["high"]
        end = max(end, 1.1 * needed)
        if high is not None:
            shown = min(high, max(4 * needed, last))
            axes.hlines(goal, low, shown, color=charts.INK, linewidth=5, alpha=0.22)
            end = max(end, shown)
        curve = Curve(**forecast["curve"])
        grid = np.geomspace(first, end, 160)
        axes.plot(
            grid,
            [100 * max(0.0, curve.at(n)) for n in grid.tolist()],
            color=charts.KEPT,
            linewidth=1.3,
            linestyle=(0, (4, 3)),
        )
        axes.plot([needed], [goal], marker="o", markersize=7, color=charts.INK, fillstyle="none")
        axes.annotate(
            f"about {quantities.count(needed)}",
            (needed, goal),
            xytext=(-6, 6),
            textcoords="offset points",
            color=charts.INK,
            ha="right",
        )
    else:
        axes.annotate(
            "goal",
            (0, goal),
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            color=charts.INK,
        )
    return end


@charts.page_style()
def draws_chart(errors: Mapping[str, Sequence[float]]) -> Markup:
    """Errors of the proxies of selected and of random labels, a line for each draw."""
    pairs = list(zip(errors["selected"], errors["random"], strict=True))
    from matplotlib.ticker import MaxNLocator

    axes = charts.plain_axes(height=0.9 + 0.3 * len(pairs))
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=charts.RULE, linewidth=0.7)
    for row, (selected, random) in enumerate(pairs):
        axes.hlines(row, 100 * selected, 100 * random, color=charts.SOFT, linewidth=1.4, alpha=0.6)
        axes.plot([100 * random], [row], marker="s", markersize=6.5, color=charts.DROPPED)
        axes.plot([100 * selected], [row], marker="o", markersize=6.5, color=charts.KEPT)
    axes.set_yticks(range(len(pairs)), [f"draw {row + 1}" for row in range(len(pairs))])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("error of the proxy")
    return charts.as_svg(axes, "Errors with selected and with random labels, draw by draw")


def _whole(value: float, _: float | None) -> str:
    return quantities.count(value)


def _percent(value: float, _: float | None) -> str:
    return f"{value:.3g}%"

"""Numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

_POWERS = ("", "k", "M", "G", "T", "P", "E")


def count(number: float) -> str:
    """A whole number with its thousands apart.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{int(number):,}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a percentage, without needless zeros; a dash where there is none.

    >>> percent(0.5), percent(0.12345, 2), percent(None)
    ('50%', '12.35%', '–')
    """
    if fraction is None or not math.isfinite(fraction):
        return "–"
    text = f"{fraction * 100:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def points(fraction: float, digits: int = 2, *, signed: bool = False) -> str:
    """A difference of fractions in percentage points, without a unit.

    >>> points(-0.0123, signed=True), points(0.0123)
    ('−1.23', '1.23')
    """
    return f"{fraction * 100:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def with_spread(fraction: float, spread: float | None) -> str:
    """A fraction in points, with its standard deviation where there is one.

    >>> with_spread(0.1234, 0.01), with_spread(0.1234, None)
    ('12.34 ±1.00', '12.34')
    """
    return points(fraction) if spread is None else f"{points(fraction)} ±{points(spread)}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that fits.

    >>> duration(0.0421), duration(12.34), duration(75), duration(8040)
    ('0.04 s', '12.3 s', '1 min 15 s', '2 h 14 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{count(minutes // 60)} h {minutes % 60} min"


def brief_duration(seconds: float | None) -> str:
    """Seconds in six characters, for narrow columns.

    >>> brief_duration(0.0421), brief_duration(12.34), brief_duration(460), brief_duration(8040)
    ('0.04s', '12.3s', '7m40s', '2h14m')
    """
    words = duration(seconds)
    return words.replace(" min", "m").replace(" ", "")


def flops(number: float | None) -> str:
    """Floating-point operations in the power of a thousand that fits.

    >>> flops(0), flops(2.5e12), flops(950)
    ('–', '2.50 TFLOP', '950 FLOP')
    """
    if not number or not math.isfinite(number):
        return "–"
    power = min(int(math.log10(number) // 3), len(_POWERS) - 1) if number >= 1 else 0
    scaled = number / 1000**power
    return f"{scaled:.3g} FLOP" if power == 0 else f"{scaled:.2f} {_POWERS[power]}FLOP"


def score(value: float | None) -> str:
    """A score in four figures; ∞ where it has no bound.

    >>> score(0.693147), score(float("inf")), score(3.0), score(None)
    ('0.6931', '∞', '3', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("-", "−")


def times(ratio: float | None) -> str:
    """A speed-up.

    >>> times(1.6), times(41.94), times(None)
    ('1.60×', '41.9×', '–')
    """
    if ratio is None or not math.isfinite(ratio):
        return "–"
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{ratio:.1f}×"


def listed(parts: Sequence[str]) -> str:
    """Parts as an English list.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"

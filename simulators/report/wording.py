"""Figures of a report as text; what is missing or was not measured is an empty string."""

import math
from collections.abc import Mapping
from typing import Any


def dig(value: Any, *path: str) -> Any:
    """Return what lies at a path of nested mappings, None where there is nothing."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def known(value: Any) -> float | None:
    """Return a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def share(value: Any) -> str:
    """Three decimals, for what lies between 0 and 1."""
    number = known(value)
    return "" if number is None else f"{number:.3f}"


def percent(value: Any) -> str:
    """At most two significant digits, for rates that are small."""
    number = known(value)
    return "" if number is None else f"{_short(100 * number)} %"


def brief(value: Any, digits: int = 3) -> str:
    """So many significant digits without an exponent, for quantities of any size."""
    number = known(value)
    if number is None:
        return ""
    decimals = digits - 1 - math.floor(math.log10(abs(number))) if number else 0
    return f"{number:.{max(0, decimals)}f}"


def count(value: Any) -> str:
    """A whole number in groups of three."""
    number = known(value)
    return "" if number is None else f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def span(ends: Any) -> str:
    """Both ends of an interval of shares."""
    low, high = bounds(ends)
    return "" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def percent_span(ends: Any) -> str:
    """Both ends of an interval of small rates."""
    low, high = bounds(ends)
    return "" if low is None or high is None else f"{_short(100 * low)}–{percent(high)}"


def bounds(ends: Any) -> tuple[float | None, float | None]:
    """Both ends of an interval, None for those unknown."""
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return None, None
    return known(ends[0]), known(ends[1])


def joined(*parts: str, by: str = ", ") -> str:
    """The parts that say anything."""
    return by.join(part for part in parts if part)


def labelled(before: str, value: str, after: str = "") -> str:
    """A figure in its words, nothing where it is unknown."""
    return f"{before}{value}{after}" if value else ""


def _short(number: float) -> str:
    text = brief(number, 2)
    return text.rstrip("0").rstrip(".") if "." in text else text

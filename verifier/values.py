"""Values with units as expectations write them and verdicts print them: ``0``, ``1%``, ``300ms``, ``1.5``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, Literal

Unit = Literal["count", "share", "ms", "ratio"]
"""What a metric is measured in. A share is held as a part of 1, a time in milliseconds."""

_NUMBER: Final = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([^\s0-9]*)\s*\Z")
_SUFFIXES: Final[dict[Unit, dict[str, float]]] = {
    "count": {"": 1.0},
    "share": {"%": 0.01},
    "ms": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3},
    "ratio": {"": 1.0, "x": 1.0},
}
_EXAMPLES: Final[dict[Unit, str]] = {"count": "0", "share": "1%", "ms": "300ms", "ratio": "1.5"}


def parse_value(text: str, unit: Unit) -> float:
    """Number that ``text`` stands for; 0 needs no unit. Raises ValueError with what to write instead."""
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a value; write it like {_EXAMPLES[unit]}")
    digits, suffix = match.groups()
    number = float(digits.replace(",", "").replace("_", ""))
    factors = _SUFFIXES[unit]
    if suffix in factors:
        return number * factors[suffix]
    if suffix == "" and number == 0:
        return 0.0
    if suffix == "":
        raise ValueError(f"{text!r} has no unit; write it like {_EXAMPLES[unit]}")
    known = ", ".join(name for name in factors if name) or "no unit"
    raise ValueError(f"unknown unit {suffix!r} in {text!r}; this takes {known} (for example {_EXAMPLES[unit]})")


def format_value(value: float, unit: Unit) -> str:
    """Text for people, which :func:`parse_value` reads back up to rounding."""
    if unit == "count":
        return f"{round(value):,}"
    if unit == "share":
        return f"{_three_digits(value * 100)}%" if 0 < value < 0.001 else f"{_plain(value * 100, 2)}%"
    if unit == "ms":
        return format_ms(value)
    return _plain(value, 3)


def _plain(value: float, digits: int) -> str:
    """No exponent, no needless zeros."""
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".")


def format_ms(milliseconds: float) -> str:
    """``85µs``, ``4.2ms``, ``3.1s``: three digits."""
    if milliseconds < 0.1:
        return f"{_three_digits(milliseconds * 1e3)}µs"
    if milliseconds < 999.5:  # from there on it would round to 1000ms
        return f"{_three_digits(milliseconds)}ms"
    return f"{_three_digits(milliseconds / 1e3)}s" if milliseconds < 999_500 else f"{milliseconds / 1e3:,.0f}s"


def _three_digits(value: float) -> str:
    """No exponent: ``999.8`` is ``1000``, which ``:.3g`` would call ``1e+03``."""
    return format(Decimal(f"{value:.3g}"), "f")

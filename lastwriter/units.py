"""Values with units, as profiles and options write them: ``20s``, ``300ms``, ``500/s``, ``50%``.

Each is a pydantic type that accepts the text and holds a plain float (seconds, per second, or a share of 1).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATES: Final = {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600}
_MEANT: Final = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "rps": "s", "ops": "s", "qps": "s", "tps": "s",
    "m": "min", "mins": "min", "minute": "min", "minutes": "min", "rpm": "min",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "msec": "ms", "msecs": "ms", "millis": "ms", "milliseconds": "ms",
    "percent": "%", "pct": "%",
}  # fmt: skip
"""Spellings that people try, and the unit that they mean."""
_NUMBER: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([^\s0-9]*)\s*\Z")


def _parse(value: object, units: dict[str, float], what: str, example: str) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not {what}; write it like {example}")
    if isinstance(value, int | float):
        if value == 0:
            return 0.0
        raise ValueError(f"{value} has no unit; write {what} like {example}")
    match = _NUMBER.match(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not {what}; write it like {example}")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{value!r} has no unit; write {what} like {example}")
    if unit not in units:
        near = _nearest_unit(unit, units)
        meant = f"; did you mean {number + near!r}?" if near else f"; {what} takes {', '.join(units)}, like {example}"
        raise ValueError(f"unknown unit {unit!r} in {value!r}{meant}")
    return float(number) * units[unit]


def _nearest_unit(unit: str, units: dict[str, float]) -> str | None:
    """The unit of ``units`` that somebody who wrote ``unit`` most likely meant."""
    word = unit.lower().lstrip("/")
    meant = _MEANT.get(word, word)
    return next((known for known in units if known.lstrip("/") == meant), None)


def parse_duration(value: object) -> float:
    """Seconds of ``20s``, ``300ms``, ``5min``; raises ValueError with what to write instead."""
    return _parse(value, _SECONDS, "a duration", "20s")


def parse_offset(value: object) -> float:
    """Seconds of ``2s``, ``+300ms``, ``-5min``."""
    text = str(value).strip()
    if text[:1] in ("+", "-"):
        return parse_duration(text[1:]) * (-1 if text[0] == "-" else 1)
    return parse_duration(value)


def parse_rate(value: object) -> float:
    """Events per second of ``500/s``, ``30/min``."""
    return _parse(value, _RATES, "a rate", "500/s")


def parse_share(value: object) -> float:
    """Share of 1 of ``50%``."""
    return _parse(value, {"%": 0.01}, "a share", "50%")


def format_duration(seconds: float) -> str:
    """The shortest text that :func:`parse_duration` reads back as ``seconds``."""
    if seconds and seconds < 1:
        return f"{seconds * 1e3:.6g}ms"
    return f"{seconds:.6g}s"


def format_offset(seconds: float) -> str:
    """The text that :func:`parse_offset` reads back as ``seconds``."""
    return ("-" if seconds < 0 else "") + format_duration(abs(seconds))


def format_rate(per_second: float) -> str:
    """``500/s``."""
    return f"{per_second:.6g}/s"


def format_share(share: float) -> str:
    """``50%``."""
    return f"{share * 100:.6g}%"


def _unit_type(parse: Any, render: Any, pattern: str, example: str) -> Any:
    return (
        BeforeValidator(parse),
        PlainSerializer(render, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]}),
    )


Duration = Annotated[float, *_unit_type(parse_duration, format_duration, r"^[0-9.]+ *(ns|us|µs|ms|s|min|h)$", "20s")]
Offset = Annotated[float, *_unit_type(parse_offset, format_offset, r"^[+-]?[0-9.]+ *(ns|us|µs|ms|s|min|h)$", "-300ms")]
Rate = Annotated[float, *_unit_type(parse_rate, format_rate, r"^[0-9.]+ */(s|min|h)$", "500/s")]
Share = Annotated[float, *_unit_type(parse_share, format_share, r"^[0-9.]+ *%$", "50%")]

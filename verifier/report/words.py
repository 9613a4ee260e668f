"""Numbers and verdicts as the page says them. Every function takes a value of verdict.json and returns short text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from verifier.verdict import WORDS, Judgement

NOT_KNOWN: Final = "–"

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def count(value: int | None) -> str:
    """``12,345``."""
    return NOT_KNOWN if value is None else f"{value:,}"


def ms(value: float | None) -> str:
    """Milliseconds to three digits, in the unit that reads best: ``0.42 ms``, ``142 ms``, ``1.24 s``."""
    if value is None:
        return NOT_KNOWN
    if value >= 999.5:
        return f"{_digits(value / 1e3)} s"
    return f"{_digits(value)} ms"


def span(value_ns: int | None) -> str:
    """A stretch of time: ``350 ms``, ``20 s``, ``2 min 5 s``, ``1 h 30 min``."""
    if value_ns is None:
        return NOT_KNOWN
    if abs(value_ns) < 60e9:
        return ms(value_ns / 1e6)
    minutes, seconds = divmod(round(value_ns / 1e9), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def at(value_ns: int | None) -> str:
    """A moment, from t0: ``20.01 s``, ``2:05.31``."""
    if value_ns is None:
        return "not observed"
    seconds = value_ns / 1e9
    if abs(seconds) < 100:
        return f"{seconds:.2f} s"
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{sign}{hours}:{minutes:02d}:{seconds:05.2f}" if hours else f"{sign}{minutes}:{seconds:05.2f}"


def moment(iso: str) -> str:
    """``20 November 2026, 23:05 UTC`` of an ISO 8601 time; the text itself if it is none."""
    try:
        when = datetime.fromisoformat(iso).astimezone(UTC)
    except ValueError:
        return iso
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"


def share(part: int, whole: int) -> str:
    """``5.3 %``, which no line breaks; "0 %" only of what never happened, "100 %" only of what always did."""
    if not whole:
        return NOT_KNOWN
    percent = 100 * part / whole
    if part and percent < 0.1:
        return "< 0.1\u00a0%"
    if part != whole and percent > 99.9:
        return "> 99.9\u00a0%"
    return f"{percent:.1f}".removesuffix(".0") + "\u00a0%"


def size(value_bytes: int) -> str:
    """``12 kB``."""
    if value_bytes < 1000:
        return f"{value_bytes} B"
    if value_bytes < 1e6:
        return f"{_digits(value_bytes / 1e3)} kB"
    return f"{_digits(value_bytes / 1e6)} MB"


def judgement(value: Judgement) -> str:
    """``holds``, ``violated``, ``possible``, ``inconclusive``."""
    return WORDS[value]


def times(value: float) -> str:
    """``×4.1``."""
    return f"×{_digits(value)}"


def first_upper(text: str) -> str:
    """The text with its first letter as a sentence begins."""
    return text[:1].upper() + text[1:]


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 write``, ``2,199 writes``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _digits(value: float) -> str:
    """Three significant digits without an exponent, zeros at the end dropped."""
    magnitude = abs(value)
    if magnitude >= 99.95:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if magnitude >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

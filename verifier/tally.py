"""What one part of a history counts for an expectation, in a form that several parts can be put together in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from verifier.distribution import Distribution

_FAILED: Final = "failed: "

Tally = Mapping[str, "int | Distribution"]
"""Name → a number of something, or a distribution; both add up."""


def added(tallies: Iterable[Tally]) -> dict[str, int | Distribution]:
    """One tally for several that counted different operations."""
    together: dict[str, list[int | Distribution]] = {}
    for tally in tallies:
        for name, value in tally.items():
            together.setdefault(name, []).append(value)
    return {name: _sum(values) for name, values in together.items()}


def number(tally: Tally, name: str) -> int:
    """A number of the tally; what nobody counted did not occur."""
    value = tally.get(name, 0)
    assert isinstance(value, int)
    return value


def failure(error: Exception) -> Tally:
    """What is counted where counting failed."""
    return {f"{_FAILED}{type(error).__name__}: {error}": 1}


def failed(tally: Tally) -> str | None:
    """Why counting failed, if it did."""
    return next((name.removeprefix(_FAILED) for name in tally if name.startswith(_FAILED)), None)


def _sum(values: list[int | Distribution]) -> int | Distribution:
    distributions = [value for value in values if isinstance(value, Distribution)]
    if distributions:
        return Distribution.merged(distributions)
    return sum(value for value in values if isinstance(value, int))

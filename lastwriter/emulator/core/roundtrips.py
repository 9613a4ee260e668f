"""Round trips between Regions, and the Regions that may hold an MRSC table: dated data, not code."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Any, Final

import orjson

from lastwriter.errors import UserError

_DATA: Final = Path(__file__).with_name("data")


@functools.cache
def known_regions() -> frozenset[str]:
    """Every Region with measured round trips."""
    pairs = _round_trips()
    return frozenset(pairs) | {target for row in pairs.values() for target in row}


@functools.cache
def mrsc_regions() -> tuple[str, ...]:
    """The Regions that AWS documents for MRSC tables."""
    return tuple(_load("mrsc-regions.json")["regions"])


def check_region(name: str) -> None:
    """UserError naming the nearest Region if ``name`` is none that is known."""
    known = known_regions()
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    raise UserError(f"unknown Region {name!r}: {hint}")


def round_trip_ns(source: str, target: str) -> int:
    """Measured round trip between two Regions; UserError if it is not in the data."""
    if source == target:
        return 0
    pairs = _round_trips()
    measured = [ms for ms in (pairs.get(source, {}).get(target), pairs.get(target, {}).get(source)) if ms is not None]
    if not measured:
        for region in (source, target):
            check_region(region)
        raise UserError(f"no measured round trip between {source} and {target}: choose another pair of Regions")
    return round(sum(measured) / len(measured) * 1e6)


@functools.cache
def _round_trips() -> dict[str, dict[str, float]]:
    pairs: dict[str, dict[str, float]] = _load("round-trips.json")["round_trip_ms"]
    return pairs


def _load(name: str) -> Any:
    return orjson.loads((_DATA / name).read_bytes())

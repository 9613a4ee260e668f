"""How far strong reads were behind, from what the checks of registers and counters found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.marks import of_kind
from verifier.checks.types import Result
from verifier.distribution import Distribution
from verifier.history.columns import NULL, Float64, History, Int64
from verifier.history.schema import Kind, Outcome
from verifier.verdict import Finding, Staleness

OF_STRONG_READS: Final = ("register", "counter")
"""Checks that say how stale a strong read was. They may both judge the same read."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The stale strong reads of some keys."""

    reads: int
    """Strong reads that answered."""
    behind: Distribution
    """By how much each stale one was behind, at least."""
    versions: int | None
    """Writes missed, at least, by the one that missed most."""
    by_region: Mapping[str, int]
    """Region that was asked → stale reads."""
    any_read: bool
    """There are strong reads at all."""


def judging_reads(results: Mapping[str, Result]) -> list[Result]:
    """Results that say something of strong reads."""
    return [results[name] for name in OF_STRONG_READS if name in results and results[name].exercised]


def stale_rows(history: History, results: Mapping[str, Result]) -> Int64:
    """Rows of the strong reads that were stale, each once."""
    judged = judging_reads(results)
    return np.flatnonzero(_behind(history, judged)[0] > -np.inf) if judged else np.zeros(0, np.int64)


def stale_of(history: History, results: Mapping[str, Result]) -> Stale:
    """What the checks found, read by read."""
    behind, versions = _behind(history, judging_reads(results))
    rows = np.flatnonzero(behind > -np.inf)
    reading = of_kind(history, Kind.READ)
    missed = int(versions[rows].max(initial=0))
    counts = np.bincount(history.region[rows], minlength=len(history.regions)).tolist()
    return Stale(
        reads=int((reading & (history.outcome == Outcome.OK)).sum()),
        behind=Distribution.of_ns(np.rint(np.maximum(behind[rows], 0.0) * 1e6).astype(np.int64)),
        versions=missed if missed > 0 else None,
        by_region={name: count for name, count in zip(history.regions, counts, strict=True) if count},
        any_read=bool(reading.any()),
    )


def staleness_of(
    parts: Sequence[Stale],
    results: Mapping[str, Result],
    told: Mapping[str, Sequence[Finding]],
    regions: Sequence[str],
) -> Staleness | None:
    """Count, percentiles and the worst, from all parts together; null if no strong read could be judged."""
    if not any(part.any_read for part in parts) or not judging_reads(results):
        return None
    behind = Distribution.merged(part.behind for part in parts)
    middle, high, most = behind.ranks_ms([0.5, 0.99, 1.0])
    counts: dict[str, int] = {}
    for part in parts:
        for region, count in part.by_region.items():
            counts[region] = counts.get(region, 0) + count
    findings = [one for name in OF_STRONG_READS for one in told.get(name, ()) if one.stale_ms is not None]
    reading = [one for one in findings if one.operations and one.operations[-1].kind == Kind.READ]
    return Staleness(
        reads=sum(part.reads for part in parts),
        stale=behind.total,
        p50_ms=middle,
        p99_ms=high,
        max_ms=most,
        max_versions=max((part.versions for part in parts if part.versions is not None), default=None),
        by_region={region: counts[region] for region in regions if region in counts},
        worst=max(reading, key=lambda one: one.stale_ms or 0.0, default=None),
    )


def _behind(history: History, judged: Sequence[Result]) -> tuple[Float64, Int64]:
    """By row: by how many milliseconds and versions a strong read was behind (−∞: it was not stale)."""
    behind = np.full(len(history), -np.inf)
    versions = np.full(len(history), NULL, np.int64)
    reading = of_kind(history, Kind.READ)
    for result in judged:
        found = result.everything
        if found is None or found.stale_ms is None:
            continue
        stale = np.flatnonzero(~np.isnan(found.stale_ms) & (np.diff(found.offsets) > 0))
        # The read itself stands last, and the finding was made when it ended; else a final item is meant.
        rows = found.rows[found.offsets[stale + 1] - 1]
        meant = (history.end_ns[rows] == found.at_ns[stale]) & reading[rows]
        stale, rows = stale[meant], rows[meant]
        np.maximum.at(behind, rows, found.stale_ms[stale])
        if found.stale_versions is not None:
            np.maximum.at(versions, rows, found.stale_versions[stale])
    return behind, versions

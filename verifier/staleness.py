"""How far strong reads were behind, from what the checks of registers and counters found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from verifier.checks.marks import of_kind
from verifier.checks.types import Result
from verifier.history.columns import NULL, Float64, History, Int64
from verifier.history.schema import Kind, Outcome
from verifier.verdict import Finding, Staleness

OF_STRONG_READS: Final = ("register", "counter")
"""Checks that say how stale a strong read was. They may both judge the same read."""


def reads_judged(history: History, results: Mapping[str, Result]) -> list[Result]:
    """Results that say something of strong reads; none if the run has no such read."""
    if not of_kind(history, Kind.READ).any():
        return []
    return [results[name] for name in OF_STRONG_READS if name in results and results[name].exercised]


def stale_reads(history: History, judged: Sequence[Result]) -> Int64:
    """Rows of the strong reads that were stale, each once."""
    return np.flatnonzero(_behind(history, judged)[0] > -np.inf)


def staleness_of(
    history: History, results: Mapping[str, Result], explained: Mapping[str, Sequence[Finding]]
) -> Staleness | None:
    """Count, percentiles and the worst; null if no strong read could be judged."""
    judged = reads_judged(history, results)
    if not judged:
        return None
    behind, versions = _behind(history, judged)
    rows = np.flatnonzero(behind > -np.inf)
    reads = int((of_kind(history, Kind.READ) & (history.outcome == Outcome.OK)).sum())
    if not len(rows):
        return Staleness(reads=reads, stale=0, p50_ms=None, p99_ms=None, max_ms=None, max_versions=None)
    values = np.sort(np.maximum(behind[rows], 0.0))
    missed = int(versions[rows].max())
    counts = np.bincount(history.region[rows], minlength=len(history.regions)).tolist()
    told = [one for name in OF_STRONG_READS for one in explained.get(name, ()) if one.stale_ms is not None]
    reading = [one for one in told if one.operations and one.operations[-1].kind == Kind.READ]
    return Staleness(
        reads=reads,
        stale=len(rows),
        p50_ms=_rank(values, 0.5),
        p99_ms=_rank(values, 0.99),
        max_ms=round(float(values[-1]), 3),
        max_versions=missed if missed > 0 else None,
        by_region={name: count for name, count in zip(history.regions, counts, strict=True) if count},
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


def _rank(ordered: Float64, share: float) -> float:
    return round(float(ordered[max(0, int(np.ceil(share * len(ordered))) - 1)]), 3)

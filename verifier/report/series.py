"""Operations over time, reduced: exact percentiles of latency and counts by outcome, bucket by bucket.

A run of any length becomes at most :data:`MAX_BUCKETS` buckets. Every operation is in exactly one of them, by the time
at which it was scheduled, so that the counts of a chart add up to the counts of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from verifier.answers import IN_FLIGHT
from verifier.history.columns import Bool, Float64, History, Int8, Int64
from verifier.history.schema import UPDATES, Outcome

MAX_BUCKETS: Final = 600
"""What a screen can show; the page's size depends on it and not on the length of the run."""

WIDTHS_NS: Final = tuple(
    int(seconds * 1e9)
    for seconds in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
)
"""Bucket widths that a person reads easily."""

ENOUGH_BUCKETS: Final = 90
"""More buckets than this are made only where each has enough operations for its percentiles to mean something."""

ENOUGH_OPERATIONS: Final = 300

PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}

ERRORS_SHOWN: Final = 6
"""Error names with a series of their own; the others are summed."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Equal stretches of time, the first beginning at ``origin_ns`` (t0, or earlier where operations were)."""

    origin_ns: int
    width_ns: int
    count: int

    def of(self, times_ns: Int64) -> Int64:
        """Bucket of each time; times outside are put into the first or the last."""
        return np.clip((times_ns - self.origin_ns) // self.width_ns, 0, self.count - 1)


@dataclass(frozen=True, slots=True)
class Group:
    """One chart's worth: the operations of one Region, of one kind or of all. Lists have one entry a bucket."""

    count: list[int]
    ok: list[int]
    failed: list[int]
    unknown: list[int]
    percentiles: dict[str, list[float | None]]
    """Milliseconds from schedule to answer; null where there was none. A given-up attempt counts with the time it was
    waited for, as in verdict.json."""


def choose_buckets(history: History, t0_ns: int, end_ns: int) -> Buckets:
    """Buckets from t0 to the end of the load or the last schedule, whichever is later."""
    first = int(history.scheduled_ns.min()) if len(history) else t0_ns
    last = int(history.scheduled_ns.max()) if len(history) else end_ns
    origin = t0_ns if first >= t0_ns else t0_ns - -(-(t0_ns - first) // 10**9) * 10**9
    span = max(last + 1, end_ns) - origin
    for width in WIDTHS_NS:
        count = max(1, -(-span // width))
        if count <= MAX_BUCKETS and (count <= ENOUGH_BUCKETS or len(history) / count >= ENOUGH_OPERATIONS):
            return Buckets(origin, width, count)
    width = -(-span // MAX_BUCKETS)
    return Buckets(origin, width, -(-span // width))


def by_region_and_kind(history: History, buckets: Buckets) -> dict[str, dict[str, Group]]:
    """Region → kind (and ``all``) → its group; only of pairs that have operations."""
    bucket = buckets.of(history.scheduled_ns)
    outcome = history.outcome
    timed = np.array([*(name != IN_FLIGHT for name in history.errors), True])[history.error]
    latency_ns = history.end_ns - history.scheduled_ns
    result: dict[str, dict[str, Group]] = {}
    # One sort serves every group: rows of one bucket stand together, in order of latency. One composite number sorts
    # ten times as fast as two columns; ten bits hold the bucket, the rest a latency of up to a hundred days.
    above_least = latency_ns - latency_ns.min(initial=0)
    order = np.argsort(bucket << 53 | np.minimum(above_least, 2**53 - 1))
    bucket, outcome, latency_ms, timed = bucket[order], outcome[order], latency_ns[order] / 1e6, timed[order]
    region, kind = history.region[order], history.kind[order]
    for region_code, region_name in enumerate(history.regions):
        rows = np.flatnonzero(region == region_code)
        if not len(rows):
            continue
        groups = {"all": _group(rows, bucket, outcome, latency_ms, timed, buckets.count)}
        for kind_code, kind_name in enumerate(history.kinds):
            chosen = rows[kind[rows] == kind_code]
            if len(chosen):
                groups[kind_name] = _group(chosen, bucket, outcome, latency_ms, timed, buckets.count)
        result[region_name] = groups
    return result


def errors(history: History, buckets: Buckets) -> dict[str, list[int]]:
    """Error name → count a bucket, the most frequent first; ``others`` sums the rest."""
    named = np.flatnonzero(history.error >= 0)
    bucket = buckets.of(history.scheduled_ns[named])
    code = history.error[named]
    totals = np.bincount(code, minlength=len(history.errors))
    ranked = [int(c) for c in np.argsort(-totals, kind="stable") if totals[c]]
    series = {history.errors[c]: _counts(bucket[code == c], buckets.count) for c in ranked[:ERRORS_SHOWN]}
    if ranked[ERRORS_SHOWN:]:
        rest = np.isin(code, ranked[ERRORS_SHOWN:])
        series["others"] = _counts(bucket[rest], buckets.count)
    return series


def acknowledged_writes(history: History, buckets: Buckets) -> list[int]:
    """Updates that were answered ok, a bucket, by when they were."""
    updates = np.array([kind in UPDATES for kind in history.kinds], dtype=bool)
    rows = (history.outcome == Outcome.OK) & updates[history.kind] if len(history) else np.zeros(0, dtype=bool)
    return _counts(buckets.of(history.end_ns[rows]), buckets.count)


def at_times(times_ns: Int64, buckets: Buckets) -> list[int]:
    """How many of some times fall into each bucket."""
    return _counts(buckets.of(times_ns), buckets.count)


def _counts(bucket: Int64, count: int) -> list[int]:
    return [int(n) for n in np.bincount(bucket, minlength=count)]


def _group(
    rows: npt.NDArray[np.intp], bucket: Int64, outcome: Int8, latency_ms: Float64, timed: Bool, count: int
) -> Group:
    of_bucket, of_outcome = bucket[rows], outcome[rows]
    waited = rows[timed[rows]]
    sizes = np.bincount(bucket[waited], minlength=count)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    filled = np.flatnonzero(sizes)
    sorted_latency = latency_ms[waited]
    percentiles: dict[str, list[float | None]] = {}
    for name, share in PERCENTILES.items():
        rank = np.ceil(share * sizes[filled]).astype(np.int64) - 1
        values = sorted_latency[starts[filled] + np.maximum(rank, 0)]
        series: list[float | None] = [None] * count
        for position, value in zip(filled, values, strict=True):
            series[int(position)] = float(f"{value:.4g}")
        percentiles[name] = series
    return Group(
        count=_counts(of_bucket, count),
        ok=_counts(of_bucket[of_outcome == Outcome.OK], count),
        failed=_counts(of_bucket[of_outcome == Outcome.FAIL], count),
        unknown=_counts(of_bucket[of_outcome == Outcome.UNKNOWN], count),
        percentiles=percentiles,
    )

"""Operations over time, reduced: exact percentiles of latency and counts by outcome, bucket by bucket.

A run of any length becomes at most :data:`MAX_BUCKETS` buckets. Every operation is in exactly one of them, by the time
at which it was scheduled, so that the counts of a chart add up to the counts of the run. Operations come stretch by
stretch of time (:meth:`verifier.report.record.Record.in_time`), each of which has some buckets to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from verifier.history.columns import Bool, Float64, Int8, Int64
from verifier.history.schema import IN_FLIGHT, UPDATES, Outcome
from verifier.report.record import Timed

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

_ALL: Final = -1
"""Stands for all kinds."""


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


def choose_buckets(operations: int, first_ns: int | None, last_ns: int | None, t0_ns: int, end_ns: int) -> Buckets:
    """Buckets from t0 to the end of the load or the last schedule, whichever is later."""
    first = t0_ns if first_ns is None else first_ns
    last = end_ns if last_ns is None else last_ns
    origin = t0_ns if first >= t0_ns else t0_ns - -(-(t0_ns - first) // 10**9) * 10**9
    span = max(last + 1, end_ns) - origin
    for width in WIDTHS_NS:
        count = max(1, -(-span // width))
        if count <= MAX_BUCKETS and (count <= ENOUGH_BUCKETS or operations / count >= ENOUGH_OPERATIONS):
            return Buckets(origin, width, count)
    width = -(-span // MAX_BUCKETS)
    return Buckets(origin, width, -(-span // width))


class Series:
    """What is drawn over time."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._groups: dict[tuple[int, int], Group] = {}
        self._errors: dict[int, Int64] = {}
        self._names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = (), (), ()
        self.writes = np.zeros(buckets.count, np.int64)
        """Updates that were answered ok, a bucket, by when they were."""

    def add(self, timed: Timed) -> None:
        """A stretch of time: no operation that is added later is in a bucket of these."""
        self._names = timed.regions, timed.kinds, timed.errors
        bucket = self._buckets.of(timed.scheduled_ns)
        for place, group in _groups(timed, bucket, self._buckets.count):
            known = self._groups.get(place)
            self._groups[place] = group if known is None else _both(known, group)
        for code in np.unique(timed.error[timed.error >= 0]).tolist():
            here = at_buckets(bucket[timed.error == code], self._buckets.count)
            self._errors[code] = self._errors.get(code, 0) + here
        updates = np.array([kind in UPDATES for kind in timed.kinds], np.bool_)
        if len(timed):
            done = (timed.outcome == Outcome.OK) & updates[timed.kind]
            self.writes += at_times(timed.end_ns[done], self._buckets)

    def by_region_and_kind(self) -> dict[str, dict[str, Group]]:
        """Region → kind (and ``all``) → its group; only of pairs that have operations."""
        regions, kinds, _ = self._names
        found: dict[str, dict[str, Group]] = {}
        for (region, kind), group in sorted(self._groups.items()):
            found.setdefault(regions[region], {})["all" if kind == _ALL else kinds[kind]] = group
        return found

    def errors(self) -> dict[str, list[int]]:
        """Error name → count a bucket, the most frequent first; ``others`` sums the rest."""
        ranked = sorted(self._errors, key=lambda code: (-int(self._errors[code].sum()), code))
        names = self._names[2]
        shown: Mapping[str, Int64] = {names[code]: self._errors[code] for code in ranked[:ERRORS_SHOWN]}
        if ranked[ERRORS_SHOWN:]:
            shown = {**shown, "others": np.sum([self._errors[code] for code in ranked[ERRORS_SHOWN:]], axis=0)}
        return {name: counts.tolist() for name, counts in shown.items()}


def at_times(times_ns: Int64, buckets: Buckets) -> Int64:
    """How many of some times fall into each bucket."""
    return at_buckets(buckets.of(times_ns), buckets.count)


def at_buckets(bucket: Int64, count: int) -> Int64:
    """How many of some numbers of buckets are each one's."""
    return np.bincount(bucket, minlength=count)


def _groups(timed: Timed, bucket: Int64, count: int) -> Iterator[tuple[tuple[int, int], Group]]:
    """Codes of the Region and of the kind (or :data:`_ALL`) of each group, and the group."""
    outcome = timed.outcome
    waited = np.array([*(name != IN_FLIGHT for name in timed.errors), True])[timed.error]
    latency_ns = timed.end_ns - timed.scheduled_ns
    # One sort serves every group: rows of one bucket stand together, in order of latency. One composite number sorts
    # ten times as fast as two columns; ten bits hold the bucket, the rest a latency of up to a hundred days.
    above_least = latency_ns - latency_ns.min(initial=0)
    order = np.argsort(bucket << 53 | np.minimum(above_least, 2**53 - 1))
    bucket, outcome, latency_ms, waited = bucket[order], outcome[order], latency_ns[order] / 1e6, waited[order]
    region, kind = timed.region[order], timed.kind[order]
    for region_code in range(len(timed.regions)):
        rows = np.flatnonzero(region == region_code)
        if not len(rows):
            continue
        yield (region_code, _ALL), _group(rows, bucket, outcome, latency_ms, waited, count)
        for kind_code in range(len(timed.kinds)):
            chosen = rows[kind[rows] == kind_code]
            if len(chosen):
                yield (region_code, kind_code), _group(chosen, bucket, outcome, latency_ms, waited, count)


def _both(one: Group, other: Group) -> Group:
    """Two groups that have no bucket in common."""

    def added(name: str) -> list[int]:
        return [a + b for a, b in zip(getattr(one, name), getattr(other, name), strict=True)]

    percentiles = {
        name: [a if b is None else b for a, b in zip(values, other.percentiles[name], strict=True)]
        for name, values in one.percentiles.items()
    }
    return Group(added("count"), added("ok"), added("failed"), added("unknown"), percentiles)


def _group(
    rows: npt.NDArray[np.intp], bucket: Int64, outcome: Int8, latency_ms: Float64, answered: Bool, count: int
) -> Group:
    of_bucket, of_outcome = bucket[rows], outcome[rows]
    waited = rows[answered[rows]]
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
        count=at_buckets(of_bucket, count).tolist(),
        ok=at_buckets(of_bucket[of_outcome == Outcome.OK], count).tolist(),
        failed=at_buckets(of_bucket[of_outcome == Outcome.FAIL], count).tolist(),
        unknown=at_buckets(of_bucket[of_outcome == Outcome.UNKNOWN], count).tolist(),
        percentiles=percentiles,
    )

"""A worker's statistics, worked out from whole batches of rows: for the master, and for Locust's UI and CSV.

Nothing here costs an operation more than its share of a few numpy calls a batch, which is why Locust's own ``request``
event is not fired for our requests: at 2.5 µs each it would be a tenth of what an operation costs altogether.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from locust import stats as locust_stats

from lastwriter.client import histogram
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.histogram import Int64
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.recorder import Recorder, Rows
from verifier.history.schema import Outcome

CONFLICT: Final = "ReplicatedWriteConflictException"
SECOND_NS: Final = 1_000_000_000

_REGIONS: Final = 1 << 15
_KINDS: Final = 1 << 7


class LocustStats(Protocol):
    """``environment.stats``."""

    total: Any
    entries: dict[tuple[str, str], Any]
    errors: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one Region and kind had for answers in one second. Latencies run from schedule to answer."""

    second: int
    """From t0."""
    region: str
    kind: str
    ok: int
    fail: int
    unknown: int
    errors: dict[str, int]
    buckets: Int64
    """Ascending indices of the histogram's buckets that have a count …"""
    counts: Int64
    """… and the counts."""
    least_ns: int
    most_ns: int
    sum_ns: int

    def message(self) -> dict[str, Any]:
        """For the master."""
        return {
            "second": self.second,
            "region": self.region,
            "kind": self.kind,
            "counts": [self.ok, self.fail, self.unknown, self.errors.get(CONFLICT, 0)],
            "buckets": np.column_stack((self.buckets, self.counts)).tobytes(),
        }


def cells_of(rows: Rows, recorder: Recorder, t0_ns: int) -> Iterator[Cell]:
    """A batch's rows by second, Region and kind."""
    if not len(rows):
        return
    end_ns = rows["end_ns"].astype(np.int64)
    group = (
        (end_ns - t0_ns) // SECOND_NS * (_REGIONS * _KINDS) + rows["region"].astype(np.int64) * _KINDS + rows["kind"]
    )
    order = np.argsort(group, kind="stable")
    group = group[order]
    latency_ns = (end_ns - rows["scheduled_ns"])[order]
    bucket = histogram.bucket_of(latency_ns)
    outcome, error = rows["outcome"][order], rows["error"][order]
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    for first, last in zip(starts, [*starts[1:], len(group)], strict=True):
        mine = slice(int(first), int(last))
        second, tag = divmod(int(group[first]), _REGIONS * _KINDS)
        region, kind = divmod(tag, _KINDS)
        ok, fail, unknown = np.bincount(outcome[mine], minlength=len(Outcome)).tolist()
        buckets, counts = np.unique(bucket[mine], return_counts=True)
        mine_ns = latency_ns[mine]
        yield Cell(
            second=second,
            region=recorder.region.texts[region],
            kind=recorder.kind.texts[kind],
            ok=ok,
            fail=fail,
            unknown=unknown,
            errors=_count_errors(error[mine], recorder.error.texts) if fail or unknown else {},
            buckets=buckets,
            counts=counts,
            least_ns=int(mine_ns.min()),
            most_ns=int(mine_ns.max()),
            sum_ns=int(mine_ns.sum()),
        )


def add_to_locust(stats: LocustStats, cell: Cell, t0_ns: int) -> None:
    """Add to Locust's statistics: type is the Region, name the kind. A failed condition is an answer, not a failure."""
    failures = cell.fail + cell.unknown - cell.errors.get(CONDITION_FAILED, 0)
    to_epoch_ns = time.time_ns() - monotonic_ns()
    at_s = (t0_ns + to_epoch_ns + cell.second * SECOND_NS + SECOND_NS // 2) // SECOND_NS
    rounded, which = np.unique(rounded_ms()[cell.buckets], return_inverse=True)
    times = list(zip(rounded.tolist(), np.bincount(which, cell.counts).astype(int).tolist(), strict=True))
    for entry in (stats.total, stats.entries[(cell.kind, cell.region)]):
        _extend(entry, cell, at_s, failures, times)
    for error, count in cell.errors.items():
        if error != CONDITION_FAILED:
            _add_error(stats, cell, error, count)


def _count_errors(codes: Int64, texts: Sequence[str]) -> dict[str, int]:
    found, counts = np.unique(codes[codes >= 0], return_counts=True)
    return {texts[code]: count for code, count in zip(found.tolist(), counts.tolist(), strict=True)}


def _extend(entry: Any, cell: Cell, at_s: int, failures: int, times: list[tuple[int, int]]) -> None:
    """What Locust's StatsEntry.log and log_error do for one request, for many."""
    last_s = int(entry.last_request_timestamp or 0)
    if entry.use_response_times_cache and last_s and at_s > last_s:
        entry._cache_response_times(at_s - 1)
    total = cell.ok + cell.fail + cell.unknown
    entry.num_requests += total
    entry.num_reqs_per_sec[at_s] += total
    entry.last_request_timestamp = float(max(at_s, last_s))
    least_ms, most_ms = cell.least_ns / 1e6, cell.most_ns / 1e6
    entry.total_response_time += cell.sum_ns / 1e6
    entry.min_response_time = least_ms if entry.min_response_time is None else min(least_ms, entry.min_response_time)
    entry.max_response_time = max(most_ms, entry.max_response_time)
    for rounded_ms, count in times:
        entry.response_times[rounded_ms] += count
    if failures:
        entry.num_failures += failures
        entry.num_fail_per_sec[at_s] += failures


@functools.cache
def rounded_ms() -> Int64:
    """By bucket: its time as Locust rounds it, by a function that a locustfile may have replaced before the run."""
    times_ms = (histogram.HIGHEST_VALUES_NS / 1e6).tolist()
    return np.fromiter(map(locust_stats.bucket_response_time, times_ms), np.int64, histogram.LENGTH)


def _add_error(stats: LocustStats, cell: Cell, error: str, count: int) -> None:
    key = locust_stats.StatsError.create_key(cell.region, cell.kind, error)
    entry = stats.errors.get(key)
    if entry is None:
        entry = stats.errors[key] = locust_stats.StatsError(cell.region, cell.kind, error)
    entry.occurred()
    entry.occurrences += count - 1

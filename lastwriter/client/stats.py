"""A worker's statistics, worked out from whole batches of rows: for the master, and by it for Locust's UI and CSV.

Nothing here costs an operation more than its share of a few numpy calls a batch, which is why Locust's own ``request``
event is not fired for our requests unless somebody listens: at 2.5 µs each it would be a tenth of what an operation
costs altogether.

Locust rounds response times (to two digits above 100 ms). What we put into its statistics are the histogram's values,
which have three digits and are not whole milliseconds; it needs two methods replaced (for its CSV files and for its UI)
to show them as they are.
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
from lastwriter.client.histogram import Int64
from lastwriter.client.outcome import is_failure
from lastwriter.client.plan import PlannedPhase
from lastwriter.client.recorder import Recorder, Rows
from verifier.history.schema import EXPIRY, Outcome

SECOND_NS: Final = 1_000_000_000


class LocustStats(Protocol):
    """``environment.stats``."""

    total: Any
    entries: dict[tuple[str, str], Any]
    errors: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one Region, kind and key class had for answers in one second. Latencies run from schedule to answer."""

    second: int
    """From t0, in which they were answered."""
    phase: int
    """Position of the phase in which they should have been sent; 0 where there are none."""
    region: str
    kind: str
    key_class: str | None
    ok: int
    fail: int
    unknown: int
    intents: int
    """First attempts; the others are further ones."""
    errors: dict[str, int]
    buckets: Int64
    """Ascending indices of the histogram's buckets that have a count …"""
    counts: Int64
    """… and the counts."""
    least_ns: int
    most_ns: int
    sum_ns: int

    @property
    def name(self) -> str:
        """Of the operations, as Locust's tables have it: ``add``, ``add hot``."""
        return self.kind if self.key_class is None else f"{self.kind} {self.key_class}"

    def message(self) -> dict[str, Any]:
        """For the master."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        values["histogram"] = np.column_stack((self.buckets, self.counts)).astype(np.int32).tobytes()
        return values

    @classmethod
    def of(cls, message: dict[str, Any]) -> Cell:
        """From the worker."""
        pairs = np.frombuffer(message["histogram"], np.int32).astype(np.int64).reshape(-1, 2)
        return cls(buckets=pairs[:, 0], counts=pairs[:, 1], **{name: message[name] for name in _PLAIN})


_PLAIN: Final = tuple(name for name in Cell.__slots__ if name not in ("buckets", "counts"))


def cells_of(rows: Rows, recorder: Recorder, t0_ns: int, phases: Sequence[PlannedPhase] = ()) -> Iterator[Cell]:
    """A batch's rows by second, phase, Region, kind and key class; without what a time to live may do: nobody asked."""
    expiry = recorder.error.find(EXPIRY)
    if expiry is not None:
        rows = rows[rows["error"] != expiry]
    if not len(rows):
        return
    end_ns, scheduled_ns = rows["end_ns"].astype(np.int64), rows["scheduled_ns"].astype(np.int64)
    columns: tuple[Int64, ...] = (
        (end_ns - t0_ns) // SECOND_NS,
        _phase_of(scheduled_ns - t0_ns, phases),
        rows["region"].astype(np.int64),
        rows["kind"].astype(np.int64),
        rows["key_class"].astype(np.int64),
    )
    order = np.lexsort(columns[::-1])
    columns = tuple(column[order] for column in columns)
    latency_ns = (end_ns - scheduled_ns)[order]
    bucket = histogram.bucket_of(latency_ns)
    outcome, error, first = rows["outcome"][order], rows["error"][order], rows["attempt"][order] == 1
    changes = np.zeros(len(order), np.bool_)
    changes[0] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(changes).tolist()
    for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
        mine = slice(begin, end)
        second, phase, region, kind, key_class = (int(column[begin]) for column in columns)
        ok, fail, unknown = np.bincount(outcome[mine], minlength=len(Outcome)).tolist()
        buckets, counts = np.unique(bucket[mine], return_counts=True)
        mine_ns = latency_ns[mine]
        yield Cell(
            second=second,
            phase=phase,
            region=recorder.region.texts[region],
            kind=recorder.kind.texts[kind],
            key_class=recorder.key_class.texts[key_class] if key_class >= 0 else None,
            ok=ok,
            fail=fail,
            unknown=unknown,
            intents=int(np.count_nonzero(first[mine])),
            errors=_count_errors(error[mine], recorder.error.texts) if fail or unknown else {},
            buckets=buckets,
            counts=counts,
            least_ns=int(mine_ns.min()),
            most_ns=int(mine_ns.max()),
            sum_ns=int(mine_ns.sum()),
        )


def add_to_locust(stats: LocustStats, cell: Cell, t0_ns: int) -> None:
    """Add to Locust's statistics: type is the Region, name the kind. A failed condition is an answer, not a failure."""
    failed = {error: count for error, count in cell.errors.items() if is_failure(error)}
    failures = cell.fail + cell.unknown - sum(cell.errors.values()) + sum(failed.values())
    to_epoch_ns = time.time_ns() - time.monotonic_ns()
    at_s = (t0_ns + to_epoch_ns + cell.second * SECOND_NS + SECOND_NS // 2) // SECOND_NS
    times = list(zip(exact_ms()[cell.buckets].tolist(), cell.counts.tolist(), strict=True))
    for entry in (stats.total, stats.entries[(cell.name, cell.region)]):
        _extend(entry, cell, at_s, failures, times)
    for error, count in failed.items():
        _add_error(stats, cell, error, count)


def write_exact_times() -> None:
    """Have Locust's CSV files and web UI show times as they are, and not cut down to whole milliseconds."""

    def fields(self: Any, entry: Any, use_current: bool = False) -> list[Any]:
        if not entry.num_requests:
            return list(self.percentiles_na)
        current = use_current and entry.use_response_times_cache
        percentile = entry.get_current_response_time_percentile if current else entry.get_response_time_percentile
        return [percentile(share) or 0 for share in self.percentiles_to_report]

    rounded = locust_stats.StatsEntry.to_dict

    def to_dict(self: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        extremes = {"min_response_time": self.min_response_time or 0, "max_response_time": self.max_response_time}
        return {**rounded(self, *arguments, **named), **extremes}

    locust_stats.StatsCSV._percentile_fields = fields  # type: ignore[method-assign, assignment]
    locust_stats.StatsEntry.to_dict = to_dict  # type: ignore[method-assign]


def _phase_of(since_t0_ns: Int64, phases: Sequence[PlannedPhase]) -> Int64:
    """Position of the phase that each time lies in; what is outside of all goes to the nearest."""
    if len(phases) < 2:
        return np.zeros(len(since_t0_ns), np.int64)
    ends = np.cumsum([phase.duration for phase in phases])[:-1] * SECOND_NS
    return np.searchsorted(np.round(ends).astype(np.int64), since_t0_ns, side="right").astype(np.int64)


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
    for time_ms, count in times:
        entry.response_times[time_ms] += count
    if failures:
        entry.num_failures += failures
        entry.num_fail_per_sec[at_s] += failures


@functools.cache
def exact_ms() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By bucket: the time that stands for it, in milliseconds, to the microsecond."""
    return np.round(histogram.HIGHEST_VALUES_NS / 1e6, 3)


def _add_error(stats: LocustStats, cell: Cell, error: str, count: int) -> None:
    key = locust_stats.StatsError.create_key(cell.region, cell.name, error)
    entry = stats.errors.get(key)
    if entry is None:
        entry = stats.errors[key] = locust_stats.StatsError(cell.region, cell.name, error)
    entry.occurred()
    entry.occurrences += count - 1

"""Latency by stretch of time, Region and kind, and what became of the intents.

Latency is from schedule to answer, so that a client that fell behind does not hide how long users waited; service time
is from sending to answer. An attempt that was given up counts with the time for which it was waited. Percentiles are
those of the operations themselves (nearest rank), to the microsecond, not of a histogram's buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from verifier.answers import timed, with_error
from verifier.checks.types import Context
from verifier.distribution import Distribution
from verifier.history.columns import History
from verifier.history.schema import EXPIRY, Outcome
from verifier.verdict import LatencyRow
from verifier.windows import window_mask, window_names

WHOLE_RUN = "run"
"""Window of a run that has neither phases nor faults."""

_SHARES = (0.5, 0.95, 0.99, 0.999, 1.0)

Group = tuple[str, str, str]
"""Window, Region and kind."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """The operations of one group: how many, and how long those took that say it."""

    count: int
    failed: int
    unknown: int
    latency: Distribution
    service: Distribution


def latencies_of(history: History, context: Context) -> dict[Group, Latencies]:
    """Every window, Region and kind that has operations."""
    if not len(history):
        return {}
    kinds = len(history.kinds)
    group = history.region.astype(np.int64) * kinds + history.kind
    order = np.argsort(group.astype(np.int16), kind="stable")  # 16 bits: a radix sort
    bounds = np.searchsorted(group[order], np.arange(len(history.regions) * kinds + 1))
    counted = timed(history)[order]
    asked = with_error(history, EXPIRY, invert=True)[order]
    outcome = history.outcome[order]
    latency = (history.end_ns - history.scheduled_ns)[order]
    service = (history.end_ns - history.start_ns)[order]
    names = window_names(context)
    found = {}
    for name in names or (WHOLE_RUN,):
        inside = window_mask(history, context, name)[order] if names else None
        for at in range(len(bounds) - 1):
            here = np.arange(bounds[at], bounds[at + 1])
            picked = here if inside is None else here[inside[here]]
            picked = picked[asked[picked]]
            if not len(picked):
                continue
            of, answered = outcome[picked], picked[counted[picked]]
            found[name, history.regions[at // kinds], history.kinds[at % kinds]] = Latencies(
                count=len(picked),
                failed=int((of == Outcome.FAIL).sum()),
                unknown=int((of == Outcome.UNKNOWN).sum()),
                latency=Distribution.of_ns(latency[answered]),
                service=Distribution.of_ns(service[answered]),
            )
    return found


def latency_rows(
    parts: Sequence[Mapping[Group, Latencies]], context: Context, regions: Sequence[str], kinds: Sequence[str]
) -> list[LatencyRow]:
    """One row a window, Region and kind that has operations in any part; windows in order of time, Regions in that of
    the run."""
    places = [*context.regions, *(region for region in regions if region not in context.regions)]
    rows = []
    for name in window_names(context) or (WHOLE_RUN,):
        for region in places:
            for kind in kinds:
                groups = [part[name, region, kind] for part in parts if (name, region, kind) in part]
                if groups:
                    rows.append(_row(name, region, kind, groups))
    return rows


def _row(window: str, region: str, kind: str, groups: Sequence[Latencies]) -> LatencyRow:
    p50, p95, p99, p999, most = Distribution.merged(one.latency for one in groups).ranks_ms(_SHARES)
    service_p50, service_p99 = Distribution.merged(one.service for one in groups).ranks_ms((0.5, 0.99))
    return LatencyRow(
        region=region,
        kind=kind,
        window=window,
        count=sum(one.count for one in groups),
        failed=sum(one.failed for one in groups),
        unknown=sum(one.unknown for one in groups),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=most,
        service_p50_ms=service_p50,
        service_p99_ms=service_p99,
    )

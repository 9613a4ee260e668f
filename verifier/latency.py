"""Latency by stretch of time, Region and kind, and what became of the intents.

Latency is from schedule to answer, so that a client that fell behind does not hide how long users waited; service time
is from sending to answer. An attempt that was given up counts with the time for which it was waited. Percentiles are
those of the operations themselves (nearest rank), not of a histogram.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.types import Context
from verifier.history.columns import Bool, Float64, History, Int64
from verifier.history.schema import Outcome
from verifier.metrics import CONDITION_FAILED, CONFLICT, THROTTLED, timed, with_error
from verifier.verdict import Intents, LatencyRow
from verifier.windows import window_mask, window_names

WHOLE_RUN = "run"
"""Window of a run that has neither phases nor faults."""

_SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}


def latency_rows(history: History, context: Context) -> list[LatencyRow]:
    """One row a window, Region and kind that has operations; windows in order of time."""
    if not len(history):
        return []
    kinds = len(history.kinds)
    group = history.region.astype(np.int64) * kinds + history.kind
    order = np.argsort(group.astype(np.int16), kind="stable")  # 16 bits: a radix sort
    bounds = np.searchsorted(group[order], np.arange(len(history.regions) * kinds + 1))
    counted = timed(history)[order]
    outcome = history.outcome[order]
    latency = ((history.end_ns - history.scheduled_ns) / 1e6)[order]
    service = ((history.end_ns - history.start_ns) / 1e6)[order]
    names = window_names(context)
    rows = []
    places = {region: at for at, region in enumerate(context.regions)}
    by_place = sorted(range(len(bounds) - 1), key=lambda at: places.get(history.regions[at // kinds], len(places)))
    for name in names or (WHOLE_RUN,):
        inside = window_mask(history, context, name)[order] if names else np.ones(len(order), np.bool_)
        for at in by_place:
            here = slice(bounds[at], bounds[at + 1])
            picked = np.flatnonzero(inside[here]) + bounds[at]
            if not len(picked):
                continue
            of = outcome[picked]
            answered = picked[counted[picked]]
            shares = _percentiles(latency[answered])
            serving = _percentiles(service[answered])
            rows.append(
                LatencyRow(
                    region=history.regions[at // kinds],
                    kind=history.kinds[at % kinds],
                    window=name,
                    count=len(picked),
                    failed=int((of == Outcome.FAIL).sum()),
                    unknown=int((of == Outcome.UNKNOWN).sum()),
                    **shares,
                    service_p50_ms=serving["p50_ms"],
                    service_p99_ms=serving["p99_ms"],
                )
            )
    return rows


def intents_of(history: History) -> Intents:
    """How many intents there were, what became of them, and how many attempts they took."""
    attempts = len(history)
    if attempts and int(history.attempt.max()) > 1:
        _, code = np.unique(history.intent, return_inverse=True)
    else:
        code = np.arange(attempts)
    intents = int(code.max()) + 1 if attempts else 0
    ok = _any(code, history.outcome == Outcome.OK, intents)
    unknown = _any(code, history.outcome == Outcome.UNKNOWN, intents) & ~ok
    return Intents(
        intents=intents,
        succeeded=int(ok.sum()),
        failed=intents - int(ok.sum()) - int(unknown.sum()),
        unknown=int(unknown.sum()),
        attempts=attempts,
        amplification=round(attempts / intents, 4) if intents else None,
        conflicts=int(with_error(history, CONFLICT).sum()),
        throttled=int(with_error(history, *THROTTLED).sum()),
        condition_failed=int(with_error(history, CONDITION_FAILED).sum()),
    )


def _any(code: Int64, hit: Bool, intents: int) -> Bool:
    found = np.zeros(intents, np.bool_)
    found[code[hit]] = True
    return found


def _percentiles(values: Float64) -> dict[str, float | None]:
    """Nearest-rank percentiles in one partition, to the microsecond."""
    if not len(values):
        return dict.fromkeys(_SHARES)
    ranks = {name: max(0, int(np.ceil(share * len(values))) - 1) for name, share in _SHARES.items()}
    parted = np.partition(values, sorted(set(ranks.values())))
    return {name: round(float(parted[rank]), 3) for name, rank in ranks.items()}

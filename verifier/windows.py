"""Stretches of a run's time: phases, before, during and after the faults, and seconds in which the client was slow."""

from __future__ import annotations

from typing import Final

import numpy as np

from verifier.checks.types import Context
from verifier.history.columns import Bool, History, Int64
from verifier.rundir import FaultRecord

AROUND_FAULTS: Final = ("before", "during", "after")
"""Before the first fault took hold; while one was in effect; afterwards and in effect no more."""

SLOW_CLIENT_NS: Final = 10_000_000
"""A second is marked when its sends were later than this at p99 with nothing else to wait for."""

FOREVER: Final = np.iinfo(np.int64).max
"""End of a fault that was never seen to heal."""


def origin_ns(history: History, context: Context) -> int:
    """t0; the first schedule where the run never noted one."""
    if context.run.start_ns is not None:
        return context.run.start_ns
    return int(history.scheduled_ns.min()) if len(history) else context.run.created_ns


def fault_span(fault: FaultRecord) -> tuple[int, int]:
    """From the observed onset (else when it was asked for) to the observed healing (else for ever)."""
    start = fault.onset_ns if fault.onset_ns is not None else fault.asked_ns
    return start, fault.healed_ns if fault.healed_ns is not None else FOREVER


def fault_at(context: Context, at_ns: int) -> FaultRecord | None:
    """The fault in effect at a time: of several, the one that took hold last."""
    hit = [fault for fault in context.faults if fault_span(fault)[0] <= at_ns <= fault_span(fault)[1]]
    return max(hit, key=lambda fault: fault_span(fault)[0], default=None)


def window_names(context: Context) -> tuple[str, ...]:
    """Phases in order, then before, during and after where the run had faults."""
    phases = tuple(dict.fromkeys(phase.name for phase in context.run.phases))
    return phases + tuple(name for name in AROUND_FAULTS if context.faults and name not in phases)


def window_mask(history: History, context: Context, name: str) -> Bool:
    """Operations scheduled in a phase, or before, during or after the faults. A phase's name goes first."""
    at = history.scheduled_ns
    phases = [phase for phase in context.run.phases if phase.name == name]
    inside = np.zeros(len(at), np.bool_)
    if phases or name not in AROUND_FAULTS:
        for phase in phases:
            inside |= (at >= phase.start_ns) & (at < phase.end_ns)
        return inside
    spans = [fault_span(fault) for fault in context.faults]
    for start, end in spans:
        inside |= (at >= start) & (at <= end)
    before = at < min((start for start, _ in spans), default=FOREVER)
    return {"before": before, "during": inside, "after": ~inside & ~before}[name]


def marked_seconds(history: History, context: Context) -> list[int]:
    """Seconds from t0 in which some worker sent late (p99 above 10 ms) though it waited for nothing but itself.

    An operation is due when its schedule says so and its process has its last answer; what passes from then to its
    start is the client's own doing, and is in the latencies of that second.
    """
    known = context.shared.get("marked seconds")
    if isinstance(known, list):
        return known
    seconds = _marked_seconds(history, context) if len(history) else []
    context.shared["marked seconds"] = seconds
    return seconds


def _marked_seconds(history: History, context: Context) -> list[int]:
    start, scheduled = history.start_ns, history.scheduled_ns
    if not bool((start - scheduled > SLOW_CLIENT_NS).any()):
        return []
    order = np.lexsort((start, history.process))
    free = np.full(len(start), np.iinfo(np.int64).min, np.int64)
    same = history.process[order[1:]] == history.process[order[:-1]]
    free[order[1:][same]] = history.end_ns[order[:-1][same]]
    late: Int64 = start - np.maximum(scheduled, free)
    second = (start - origin_ns(history, context)) // 1_000_000_000
    cell = second * (int(history.worker.max()) + 1) + history.worker
    cells, where, count = np.unique(cell, return_inverse=True, return_counts=True)
    slow = np.bincount(where[late > SLOW_CLIENT_NS], minlength=len(cells))
    marked = cells[slow > 0.01 * count] // (int(history.worker.max()) + 1)
    return sorted({int(value) for value in marked})

"""Stretches of a run's time: phases, before, during and after the faults, and seconds in which the client was slow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from verifier.checks.types import Context
from verifier.history.columns import Bool, History
from verifier.history.late import LateSends, perhaps_late
from verifier.rundir import FaultRecord

AROUND_FAULTS: Final = ("before", "during", "after")
"""Before the first fault took hold; while one was in effect; afterwards and in effect no more."""

FOREVER: Final = np.iinfo(np.int64).max
"""End of a fault that was never seen to heal."""


def origin_ns(history: History, context: Context) -> int:
    """t0; the first schedule where the run never noted one."""
    if context.run.start_ns is None and context.first_scheduled_ns is None and len(history):
        return int(history.scheduled_ns.min())
    return t0_of(context)


def t0_of(context: Context) -> int:
    """t0 as far as it is known without looking at operations."""
    known = (context.run.start_ns, context.first_scheduled_ns, context.run.created_ns)
    return next(at for at in known if at is not None)


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
    """Seconds of the load, from t0, in which some worker was slow itself; what that cost is in their latencies.

    As the workers measured it (:mod:`verifier.history.lag`). Of a worker that did not measure itself it is concluded
    from its rows: an operation is due when its schedule says so and its process has its last answer, and a second is
    marked if more than one in a hundred of its operations began later than that by more than the same 10 ms.
    """
    known = context.shared.get("marked seconds")
    if isinstance(known, list):
        return known
    made = context.shared["marked seconds"] = seconds_marked(context, _late_sends(history, context))
    return made


def seconds_marked(context: Context, late: Iterable[int]) -> list[int]:
    """Seconds that workers measured as slow, and those that are ``late``, within the load."""
    seconds = {second for of_worker in context.slow_seconds.values() for second in of_worker}
    return sorted(second for second in seconds.union(late) if 0 <= second < loaded_seconds(context))


def loaded_seconds(context: Context) -> float:
    """How many seconds the load lasted; endless if the run never noted its end."""
    start, end = context.run.start_ns, context.run.end_ns
    return math.inf if start is None or end is None else math.ceil((end - start) / 1e9)


def _late_sends(history: History, context: Context) -> set[int]:
    """Seconds in which a worker that did not measure itself sent late."""
    late: set[int] = set()
    t0 = origin_ns(history, context)
    for worker in np.flatnonzero(np.bincount(history.worker)).tolist() if len(history) else ():
        if worker in context.slow_seconds or not perhaps_late(history.scheduled_ns, history.start_ns):
            continue
        rows = np.flatnonzero(history.worker == worker)
        sends = LateSends(t0)
        sends.add(
            history.scheduled_ns[rows],
            history.start_ns[rows],
            history.end_ns[rows],
            history.process[rows].astype(np.int64),
        )
        late |= sends.seconds()
    return late

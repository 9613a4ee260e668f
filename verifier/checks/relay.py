"""No relay (MREC): what was written behind a cut does not come through it, not even by way of a third Region.

There is one replicator for each ordered pair of Regions. While A's link to B is cut, A's writes reach C and not B, and
C does not pass them on (re:Invent 2025 DAT440). So B shows no mark of a write that was sent to A after the cut took
hold, until the cut heals. C's own later write of the item is another matter: it comes from C, and its ``_p`` may well
name A's write; only B's *own* write proves by its ``_p`` what B held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.marks import NOT_FOUND, is_mark, marks_of, updates
from verifier.checks.types import Context, Result, Violation, judgement
from verifier.history.columns import Bool, History
from verifier.history.schema import Outcome
from verifier.rundir import FaultRecord

_OF_REGIONS: Final = frozenset({"region-isolated", "region-down", "replication-paused"})
_FOREVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing passed from ``source`` to ``target`` from ``since_ns`` until ``until_ns``, as far as is certain."""

    source: str
    target: str
    since_ns: int
    until_ns: int
    fault: str


def cuts_of(context: Context) -> list[Cut]:
    """Every ordered pair of Regions that a fault cut, for as long as that is certain.

    From its observed onset until it was asked to end (or, if nobody asked, was seen gone): in between, not at those
    moments themselves, in which things may have happened in either order.
    """
    cuts = []
    for fault in context.faults:
        if fault.onset_ns is None:
            continue
        ends = [at for at in (fault.clear_asked_ns, fault.healed_ns) if at is not None]
        until = min(ends, default=_FOREVER)
        cuts += [Cut(*pair, fault.onset_ns, until, fault.id) for pair in _pairs(fault, context.regions)]
    return cuts


def check_relay(history: History, context: Context) -> Result:
    """No Region shows, during a cut, a write that was sent to the other side after the cut took hold."""
    cuts = cuts_of(context)
    if not cuts:
        return Result("unknown", 0, note="no link between Regions was cut")
    marks, epsilon = marks_of(history, context), context.epsilon_ns
    writing = updates(history)
    own = writing & (history.saw == history.op)
    judged = np.zeros(len(history), np.bool_)
    violations: list[Violation] = []
    count = 0
    for cut in cuts:
        if cut.source not in history.regions or cut.target not in history.regions:
            continue
        source, target = history.regions.index(cut.source), history.regions.index(cut.target)
        shows = (history.region == target) & (history.start_ns >= cut.since_ns)
        shows &= (history.end_ns < cut.until_ns - epsilon) & (history.outcome != Outcome.UNKNOWN)
        state = np.where(own, history.prev, history.saw)
        rows = np.flatnonzero(shows & is_mark(state))
        written = writing & (history.region == source) & (history.outcome != Outcome.FAIL)
        written &= history.start_ns > cut.since_ns + epsilon
        judged[rows[_could_show(history, rows, written)]] = True
        writer = marks.find(state[rows], history.key[rows])
        relayed = (writer != NOT_FOUND) & written[writer]
        count += int(relayed.sum())
        for row, by in zip(rows[relayed].tolist(), writer[relayed].tolist(), strict=True):
            facts = {"source": cut.source, "target": cut.target, "fault": cut.fault, "since_ns": cut.since_ns}
            # It would be lawful if the write had been sent before the cut, or shown after it.
            gamma = min(int(history.start_ns[by]) - cut.since_ns, cut.until_ns - int(history.end_ns[row]))
            violations.append(
                Violation(int(history.key[row]), (by, row), int(history.end_ns[row]), gamma_ns=gamma, facts=facts)
            )
    exercised = int(judged.sum())
    note = None if exercised else "no item was written on one side of a cut and looked at on the other"
    return Result(judgement(count, exercised), exercised, tuple(violations), count=count, note=note)


def _pairs(fault: FaultRecord, regions: tuple[str, ...]) -> list[tuple[str, str]]:
    if fault.kind == "link-cut":
        back = [] if fault.parameters.get("one_way") else [(there, here) for here, there in fault.links]
        return list(dict.fromkeys([*fault.links, *back]))
    if fault.kind not in _OF_REGIONS:
        return []
    others = [(region, other) for region in fault.regions for other in regions if other != region]
    return list(dict.fromkeys([*others, *((there, here) for here, there in others)]))


def _could_show(history: History, rows: np.ndarray, written: Bool) -> Bool:
    """Which of the rows end after the other side began to write their key behind the cut."""
    first = np.full(len(history.keys), _FOREVER, np.int64)
    np.minimum.at(first, history.key[written], history.start_ns[written])
    return np.asarray(history.end_ns[rows] > first[history.key[rows]], np.bool_)

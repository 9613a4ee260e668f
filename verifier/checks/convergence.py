"""Replicas converge: equal item by item once settled, and on a write that no acknowledged one came wholly after.

AWS promises no bound on when, so replicas that still differ at the deadline are inconclusive, unless the emulator
showed that nothing was waiting to be replicated any more: then nothing will ever make them equal.

The survivor of an item may be any of the last writes that overlapped in time, never one that had been answered before
another acknowledged write began (in the real time of the clients; their clocks, and Regions' clocks that a fault has
put wrong, allowed for).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from verifier.checks.ledger import WORST
from verifier.checks.marks import NOT_FOUND, is_mark, keys_with, marks_by_key, marks_of, may_remove, of_kind, updates
from verifier.checks.types import Context, Note, Replica, Result, Violation, join_notes, judgement, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome


def check_convergence(history: History, context: Context) -> Result:
    """Replicas are equal, and what survived is a last write."""
    replicas = list(context.final.values())
    absent = [region for region in context.regions if region not in context.final]
    if not replicas:
        return Result("unknown", 0, note="the final state was not read")
    notes = [Note(f"the final state of {', '.join(absent)} was not read")] if absent else []
    written = keys_with(history, updates(history) & (history.outcome != Outcome.FAIL))
    for replica in replicas:
        written[replica.key] = True
    different = differing(history, context)
    superseded = _superseded(history, context, different)
    violations = [_difference(history, context, key) for key in np.flatnonzero(different).tolist()[:WORST]]
    settled = bool(context.run.queues_empty)
    if different.any() and not settled:
        count = int(different.sum())
        notes.append(noted("{count} items still differed when the final state was read, and may yet be equal", count))
        violations = []
    found = [*superseded, *violations]
    total = len(superseded) + (int(different.sum()) if settled else 0)
    exercised = int(written.sum()) if len(replicas) > 1 else 0
    verdict = judgement(total, 0 if different.any() else exercised)
    return Result(verdict, exercised, tuple(found[:WORST]), count=total, note=join_notes(notes))


def differing(history: History, context: Context) -> Bool:
    """Keys whose item is not the same in every replica that was read (k)."""
    replicas = list(context.final.values())
    different = np.zeros(len(history.keys), np.bool_)
    if len(replicas) < 2:
        return different
    items = pa.array([item for replica in replicas for item in replica.items], pa.string()).dictionary_encode()
    codes = items.indices.to_numpy()
    content = [np.full(len(history.keys), -1, np.int64) for _ in replicas]
    at = 0
    for replica, of in zip(replicas, content, strict=True):
        of[replica.key] = codes[at : at + len(replica.key)]
        at += len(replica.key)
    for other in content[1:]:
        different |= other != content[0]
    return different


def _superseded(history: History, context: Context, different: Bool) -> list[Violation]:
    """Items that ended on a write wholly before another acknowledged one, or on nothing though nobody deleted them."""
    keys = len(history.keys)
    marks = marks_of(history, context)
    change = updates(history) & (history.outcome == Outcome.OK)
    removing = of_kind(history, Kind.DELETE)
    # A deletion that met nothing changed nothing: there is no tombstone that an older write could lose to.
    last = np.flatnonzero(change & (is_mark(history.saw) | (removing & is_mark(history.prev))))
    if not len(last):
        return []
    latest = np.full(keys, NULL, np.int64)
    np.maximum.at(latest, history.key[last], history.start_ns[last])
    deletable = keys_with(history, removing & (history.outcome != Outcome.FAIL))
    if history.lost:
        deletable |= may_remove(history)  # an unrecorded delete may have been among the lost operations
    final = marks_by_key(context.final.values(), keys)
    survivor = marks.find(final, np.arange(keys, dtype=np.int64))
    found = []
    bounded = (survivor != NOT_FOUND) & (history.outcome[survivor] == Outcome.OK) & ~different
    slack: Int64 = latest - np.where(bounded, history.end_ns[survivor], latest)
    allowed_ns = 2 * context.epsilon_ns + context.injected_skew_ns
    for key in np.flatnonzero(bounded & (latest != NULL) & (slack > allowed_ns)).tolist():
        later = _latest(history, last, key, int(latest[key]))
        witness = (int(survivor[key]), later)
        facts = {"what": "superseded"}
        found.append(Violation(key, witness, _read_ns(context, key), gamma_ns=int(slack[key]), facts=facts))
    gone = (final == ABSENT) & (latest != NULL) & ~deletable & ~different
    for key in np.flatnonzero(gone).tolist():
        newest = _latest(history, last, key, int(latest[key]))
        found.append(Violation(key, (newest,), _read_ns(context, key), facts={"what": "gone"}))
    return found


def _latest(history: History, rows: Int64, key: int, start_ns: int) -> int:
    mine = rows[(history.key[rows] == key) & (history.start_ns[rows] == start_ns)]
    return int(mine[0])


def _difference(history: History, context: Context, key: int) -> Violation:
    marks = marks_of(history, context)
    shown: dict[str, int | None] = {}
    rows = []
    for region, replica in context.final.items():
        at = np.flatnonzero(replica.key == key)
        shown[region] = int(replica.value[at[0]]) if len(at) else None
        if len(at):
            row = int(marks.find(replica.w[at], replica.key[at])[0])
            if row != NOT_FOUND and row not in rows:
                rows.append(row)
    return Violation(key, tuple(rows), _read_ns(context, key), facts={"what": "differs", "shown": shown})


def _read_ns(context: Context, key: int) -> int:
    """When the last replica was read; of one that has no such item, when it was read at all."""

    def read(replica: Replica) -> int:
        at = replica.end_ns[replica.key == key]
        if len(at):
            return int(at[0])
        return replica.read_ns[1] if replica.read_ns is not None else 0

    return max((read(replica) for replica in context.final.values()), default=0)

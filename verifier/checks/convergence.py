"""Replicas converge: equal item by item once settled, and on a write that no acknowledged one came wholly after.

AWS promises no bound on when, so replicas that still differ at the deadline are inconclusive, unless the emulator
showed that nothing was waiting to be replicated any more: then nothing will ever make them equal.

The survivor of an item may be any of the last writes that overlapped in time, never one that had been answered before
another acknowledged write began (in the real time of the clients; their clocks, and Regions' clocks that a fault has
put wrong, allowed for).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from verifier.checks.final import differing, in_doubt, may_expire, somewhere
from verifier.checks.findings import Found, result
from verifier.checks.marks import NOT_FOUND, is_mark, keys_with, marks_by_key, marks_of, may_remove, of_kind, updates
from verifier.checks.types import Context, Note, Result, join_notes, judgement, noted
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
    doubt = in_doubt(history, context)
    if (doubt & ~different).any():
        unread = "{count} items were changed in a Region that was not read: they may yet change"
        notes.append(noted(unread, int((doubt & ~different).sum())))
    found = _superseded(history, context, different | doubt)
    # One replica may have been read before an item's time was over, and another after.
    pending = different & may_expire(history) & somewhere(history, context) if context.run.queues_empty else different
    if (different & ~pending).any():
        found.append(_differences(history, context, np.flatnonzero(different & ~pending)))
    if pending.any():
        count = int(pending.sum())
        notes.append(noted("{count} items still differed when the final state was read, and may yet be equal", count))
    exercised = int(written.sum()) if len(replicas) > 1 else 0
    concluded = result(found, exercised, context.regions, 0, join_notes(notes))
    verdict = judgement(concluded.count or 0, 0 if (different | doubt).any() else exercised)
    return replace(concluded, verdict=verdict, count=concluded.count or 0)


def _superseded(history: History, context: Context, different: Bool) -> list[Found]:
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
    newest = np.full(keys, -1, np.int64)
    begun_last = last[history.start_ns[last] == latest[history.key[last]]]
    newest[history.key[begun_last[::-1]]] = begun_last[::-1]
    deletable = keys_with(history, removing & (history.outcome != Outcome.FAIL))
    if history.lost:
        deletable |= may_remove(history)  # an unrecorded delete may have been among the lost operations
    final = marks_by_key(context.final.values(), keys)
    survivor = marks.find(final, np.arange(keys, dtype=np.int64))
    bounded = (survivor != NOT_FOUND) & (history.outcome[survivor] == Outcome.OK) & ~different
    slack: Int64 = latest - np.where(bounded, history.end_ns[survivor], latest)
    allowed_ns = 2 * context.epsilon_ns + context.injected_skew_ns
    early = np.flatnonzero(bounded & (latest != NULL) & (slack > allowed_ns))
    gone = np.flatnonzero((final == ABSENT) & (latest != NULL) & ~deletable & ~different)
    read_ns = _read_ns(history, context)
    witness = {"survivor": survivor[early], "later": newest[early]}
    return [
        Found("superseded", early, read_ns[early], witness, slack[early]),
        Found("gone", gone, read_ns[gone], {"newest": newest[gone]}),
    ]


def _differences(history: History, context: Context, keys: Int64) -> Found:
    """Items that are not the same in every replica, with the write that each of them shows."""
    marks, witness = marks_of(history, context), {}
    for region, replica in context.final.items():
        shown = np.full(len(history.keys), NULL, np.int64)
        shown[replica.key] = replica.w
        witness[region] = marks.find(shown[keys], keys)
    return Found("differs", keys, _read_ns(history, context)[keys], witness)


def _read_ns(history: History, context: Context) -> Int64:
    """By key when the last replica was read; of one that has no such item, when it was read at all."""
    latest = np.zeros(len(history.keys), np.int64)
    for replica in context.final.values():
        read = np.full(len(history.keys), replica.read_ns[1] if replica.read_ns is not None else 0, np.int64)
        read[replica.key] = replica.end_ns
        latest = np.maximum(latest, read)
    return latest

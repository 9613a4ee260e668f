"""Time to live: an item is there until its time is over.

The store deletes an item some time after the end that the item itself says; nobody asks for it. Every write that puts
an end into an item leaves a row for the deletion that may follow (``delete`` with the error ``TimeToLive``, never
answered, ``value``: when the item's time is over). A read is accused that shows no item although a write of its Region
had put one there and the end that it set had not come when the read was answered. Judged are items that one Region
writes, one write after the other, and that nobody deletes; of ends that were moved the last one counts that was there
when the read began. From a write on that never answered nothing is judged: it may have set, or may yet set, another.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.layout import smallest
from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import Context, Result, noted
from verifier.history.columns import NO_CODE, NULL, History, Int64
from verifier.history.schema import ABSENT, EXPIRY, Kind, Outcome


def check_expiry(history: History, context: Context) -> Result:
    """No item is gone before its time."""
    code = history.errors.index(EXPIRY) if EXPIRY in history.errors else NO_CODE - 1
    ending = of_kind(history, Kind.DELETE) & (history.error == code) & (history.value != NULL)
    if not ending.any():
        return Result("unknown", 0, note="no item was given a time to live")
    keys = keys_with(history, ending)
    changes = updates(history) & (history.outcome != Outcome.FAIL) & ~ending
    other = keys & keys_with(history, changes & of_kind(history, Kind.DELETE))
    region_of = np.full(len(history.keys), -1, np.int64)
    rows = np.flatnonzero(changes & keys[history.key])
    region_of[history.key[rows]] = history.region[rows]
    foreign = rows[history.region[rows] != region_of[history.key[rows]]]
    other[history.key[foreign]] = True
    other[history.key[_at_once(history, rows)]] = True
    if history.lost:
        other |= keys
    unanswered = rows[history.outcome[rows] == Outcome.UNKNOWN]
    doubt = smallest(len(history.keys), history.key[unanswered].astype(np.int64), history.start_ns[unanswered])
    judged = keys & ~other
    ends = np.flatnonzero(ending & judged[history.key])
    ends = ends[np.lexsort((history.start_ns[ends], history.key[ends]))]
    reads = np.flatnonzero(
        of_kind(history, Kind.READ, Kind.TXN_READ)
        & (history.outcome == Outcome.OK)
        & (history.saw != NULL)
        & judged[history.key]
    )
    reads = reads[history.region[reads] == region_of[history.key[reads]]]
    reads = reads[history.end_ns[reads] < doubt[history.key[reads]]]
    # The last end of the read's item that had been set when the read began.
    order = np.lexsort(
        (
            np.concatenate((np.zeros(len(ends)), np.ones(len(reads)))),
            np.concatenate((history.start_ns[ends], history.start_ns[reads])),
            np.concatenate((history.key[ends], history.key[reads])),
        )
    )
    is_end = order < len(ends)
    last = np.empty(len(reads), np.int64)
    last[order[~is_end] - len(ends)] = np.cumsum(is_end)[~is_end] - 1
    known = last >= 0
    known[known] = history.key[ends[last[known]]] == history.key[reads[known]]
    reads, last = reads[known], ends[last[known]]
    slack = 2 * context.epsilon_ns + context.injected_skew_ns
    early = (history.saw[reads] == ABSENT) & (history.value[last] > history.end_ns[reads] + slack)
    by, end = reads[early], last[early]
    left = history.value[end] - history.end_ns[by]
    key = history.key[by].astype(np.int64)
    found = Found("gone early", key, history.end_ns[by], {"end": end, "by": by}, left)
    note = (
        noted("{count} items that others change as well, or at the same time, are not judged", int(other.sum()))
        if other.any()
        else None
    )
    return result([found], len(reads), context.regions, slack, note)


def _at_once(history: History, rows: Int64) -> Int64:
    """Of these rows those that began before another one of the same item had ended, or did so themselves."""
    rows = rows[np.lexsort((history.start_ns[rows], history.key[rows]))]
    following = np.flatnonzero(history.key[rows[1:]] == history.key[rows[:-1]])
    return rows[following[history.start_ns[rows[following + 1]] <= history.end_ns[rows[following]]]]

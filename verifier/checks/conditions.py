"""Conditions that held twice: two updates from one state (lost update), two creations of one item (uniqueness).

A condition on a writer's mark (``expect``) holds for one state of the item, and each state is overwritten once. So of
two updates that both succeeded on the same mark one overwrote the other without having seen it, whatever the order. A
mark comes once, so deletions in between change nothing.

"Only if there is no such item" may hold again after a deletion. Without deletions of the key, each creation after the
first (or after an item that the run began with) is one too many. With deletions two creations are accused only if none
can have taken effect between them: a bound, and the note says so.

A condition that held counts where the update was acknowledged, or never answered but seen.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.layout import AFTER
from verifier.checks.marks import NOT_FOUND, keys_with, marks_of, may_remove, of_kind, updates, writers_of
from verifier.checks.types import Context, Result, join_notes, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_NONE: Final = np.zeros(0, np.int64)


def check_lost_update(history: History, context: Context) -> Result:
    """No two updates succeed on the same state."""
    rows = np.flatnonzero(
        of_kind(history, Kind.CAS)
        & (history.expect != NULL)
        & (history.expect != ABSENT)
        & took_effect(history, context)
    )
    if not len(rows):
        return Result("unknown", 0, note="no update was conditional on a writer's mark")
    order = rows[np.lexsort((history.start_ns[rows], history.expect[rows], history.key[rows]))]
    key, expect = history.key[order], history.expect[order]
    same = np.zeros(len(order), np.bool_)
    same[1:] = (key[1:] == key[:-1]) & (expect[1:] == expect[:-1])
    first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))][same]
    second = order[same]
    base = marks_of(history, context).find(history.expect[second], history.key[second])
    witness = {"base": np.where(base == NOT_FOUND, -1, base), "first": first, "second": second}
    found = Found("lost update", history.key[second].astype(np.int64), _known_ns(history, first, second), witness)
    return result([found], len(rows), context.regions, 0, None)


def check_unique(history: History, context: Context) -> Result:
    """No item is created twice without having been deleted."""
    creating = of_kind(history, Kind.CREATE) & took_effect(history, context)
    rows = np.flatnonzero(creating)
    if not len(rows):
        return Result("unknown", 0, note="no item was created on condition that there was none")
    removing = of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL)
    deleted = keys_with(history, removing)
    began = np.zeros(len(history.keys), np.bool_)
    for replica in list(context.initial.values())[:1]:
        began[replica.key] = True
    order = rows[np.lexsort((history.start_ns[rows], history.key[rows]))]
    simple = order[~deleted[history.key[order]]]
    key = history.key[simple]
    again = np.zeros(len(simple), np.bool_)
    again[1:] = key[1:] == key[:-1]
    leader = simple[np.maximum.accumulate(np.where(again, 0, np.arange(len(simple))))] if len(simple) else _NONE
    leader = np.where(began[key], -1, leader)
    over = again | began[key]
    found = [_created(history, leader[over], simple[over])]
    notes = []
    if history.lost and may_remove(history):
        deleted[:] = True  # an unrecorded deletion may have made room
        found = []
    slack = 2 * context.epsilon_ns
    if deleted[history.key[order]].any():
        several = int(keys_with(history, creating & deleted[history.key]).sum())
        notes.append(
            noted("of {count} keys that were deleted, too, only what no deletion can explain is counted", several)
        )
        if not history.lost:
            found.append(_without_room(history, order[deleted[history.key[order]]], np.flatnonzero(removing), slack))
    return result(found, len(rows), context.regions, 0, join_notes(notes))


def took_effect(history: History, context: Context) -> Bool:
    """Updates that were acknowledged, or never answered though their mark was seen."""
    update = updates(history)
    unknown = update & (history.outcome == Outcome.UNKNOWN)
    effective: Bool = update & (history.outcome == Outcome.OK)
    if unknown.any():
        seen = np.zeros(len(history), np.bool_)
        for column in ("saw", "prev"):
            writer = writers_of(history, context, "saw" if column == "saw" else "prev")
            seen[writer[writer != NOT_FOUND]] = True
        for replica in context.final.values():
            for mark in (replica.w, replica.p):
                writer = marks_of(history, context).find(mark, replica.key)
                seen[writer[writer != NOT_FOUND]] = True
        effective = effective | (unknown & seen)
    return effective


def _created(history: History, first: Int64, second: Int64) -> Found:
    witness = {"first": first, "second": second}
    at = _known_ns(history, np.where(first >= 0, first, second), second)
    return Found("created again", history.key[second].astype(np.int64), at, witness)


def _without_room(history: History, created: Int64, removed: Int64, slack_ns: int) -> Found:
    """Neighbouring creations, one wholly before the other, between which no deletion can have taken effect."""
    ends = np.where(history.outcome == Outcome.OK, history.end_ns, AFTER)
    by_key: dict[int, list[int]] = {}
    for row in removed.tolist():
        by_key.setdefault(int(history.key[row]), []).append(row)
    pairs = []
    for one, other in zip(created[:-1].tolist(), created[1:].tolist(), strict=True):
        if history.key[one] != history.key[other] or ends[one] + slack_ns >= history.start_ns[other]:
            continue
        rows = np.array(by_key.get(int(history.key[one]), []), np.int64)
        between = (ends[rows] + slack_ns >= history.start_ns[one]) & (history.start_ns[rows] <= ends[other] + slack_ns)
        if not between.any():
            pairs.append((one, other))
    columns = np.array(pairs, np.int64).reshape(-1, 2)
    return _created(history, columns[:, 0], columns[:, 1])


def _known_ns(history: History, first: Int64, second: Int64) -> Int64:
    """When it was known of both that their condition had held; from the start on where no answer came."""
    at = np.where(history.outcome == Outcome.OK, history.end_ns, history.start_ns)
    return np.maximum(at[first], at[second])

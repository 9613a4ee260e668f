"""Conditions that held twice: two updates from one state (lost update), two creations of one item (uniqueness).

A condition on a writer's mark (``expect``) holds for one state of the item, and each state is overwritten once. So of
two updates that both succeeded on the same mark one overwrote the other without having seen it, whatever the order. A
mark comes once, so deletions in between change nothing.

"Only if there is no such item" may hold again after a deletion. Without deletions of the key, each creation after the
first (or after an item that the run began with) is one too many. With deletions every creation but the first needs one
of its own between itself and the one before, in some order of all that is in keeping with time. Whether there is such
an order is found exactly, by putting everything off until it must happen (:func:`_too_many`).

A condition that held counts where the update was acknowledged, or never answered but seen: it took effect by then.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.layout import AFTER
from verifier.checks.marks import NOT_FOUND, keys_with, marks_of, may_remove, of_kind, updates, writers_of
from verifier.checks.types import Context, Result, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, EXPIRY, Kind, Outcome

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
    if history.lost and may_remove(history):
        several = int(keys_with(history, creating).sum())
        note = noted("a worker's last rows are missing, which may be deletions: {count} items are not judged", several)
        return Result("unknown", 0, note=note, failed=True)
    found = [
        _created(history, leader[over], simple[over]),
        _without_room(history, context, order[deleted[history.key[order]]], began, np.flatnonzero(removing)),
    ]
    return result(found, len(rows), context.regions, 0, None)


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


def _without_room(history: History, context: Context, created: Int64, began: Bool, removed: Int64) -> Found:
    """Creations of keys that are deleted, too, for which no deletion can have made room."""
    several = np.zeros(len(history.keys), np.int64)
    np.add.at(several, history.key[created], 1)
    tight = (several > 1) | (began & (several > 0))
    created = created[tight[history.key[created]]]
    # A deletion that found nothing made no room.
    removed = removed[tight[history.key[removed]] & (history.prev[removed] != ABSENT)]
    rows = np.concatenate((created, removed))
    begins, ends = _bounds(history, context, rows)
    order = np.lexsort((begins, history.key[rows]))
    pairs: list[tuple[int, int]] = []
    by_key = np.flatnonzero(np.diff(history.key[rows[order]], prepend=-1))
    for some in np.split(order, by_key[1:]) if len(order) else ():
        key = int(history.key[rows[some[0]]])
        found = _too_many(begins[some].tolist(), ends[some].tolist(), (some < len(created)).tolist(), bool(began[key]))
        pairs += [(-1 if first < 0 else int(rows[some[first]]), int(rows[some[second]])) for first, second in found]
    columns = np.array(pairs, np.int64).reshape(-1, 2)
    return _created(history, columns[:, 0], columns[:, 1])


def _bounds(history: History, context: Context, rows: Int64) -> tuple[Int64, Int64]:
    """From when to when each of these can have taken effect, as far as clocks are known."""
    ends = np.where(history.outcome == Outcome.OK, history.end_ns, AFTER)
    concerned = np.zeros(len(history.keys), np.bool_)
    concerned[history.key[rows]] = True
    answered = np.flatnonzero((history.outcome != Outcome.UNKNOWN) & concerned[history.key])
    for column in ("saw", "prev"):  # who shows it ended after it had taken effect
        writer = writers_of(history, context, "saw" if column == "saw" else "prev")[answered]
        known = writer != NOT_FOUND
        np.minimum.at(ends, writer[known], history.end_ns[answered[known]])
    for replica in context.final.values():
        writer = marks_of(history, context).find(replica.w, replica.key)
        np.minimum.at(ends, writer[writer != NOT_FOUND], replica.end_ns[writer != NOT_FOUND])
    begins = history.start_ns[rows]
    if EXPIRY in history.errors and context.clocks is None:  # not before the item's time is over
        expiry = (history.error[rows] == history.errors.index(EXPIRY)) & (history.value[rows] != NULL)
        begins = np.where(expiry, np.maximum(begins, history.value[rows] - context.injected_skew_ns), begins)
    return begins, ends[rows] + 2 * context.epsilon_ns


def _too_many(begins: list[int], ends: list[int], creates: list[bool], there: bool) -> list[tuple[int, int]]:
    """Creations that cannot each have found no item, with the one in their way (−1: what was there at first): as few as
    can be. One key's creations and deletions in order of their beginnings.

    Everything is put off until it must happen, for what has not happened can still make room. A deletion at its end: if
    there is no item by then, a creation that has begun can go just before it. A creation at its end: if there is an
    item, a deletion that has begun makes room, the one with the earliest end. Of several creations, too, those with the
    earliest end go first. By exchange: an order that does otherwise is still one when the two change places.
    """
    waiting: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    """Deletions and creations that have begun and have not happened, by their ends."""
    happened = bytearray(len(begins))
    holder, wrong = -1, []

    def earliest(of: bool) -> int | None:
        heap = waiting[of]
        while heap:
            _, at = heappop(heap)
            if not happened[at]:
                return at
        return None

    following = 0
    for at in sorted(range(len(ends)), key=ends.__getitem__):
        while following < len(begins) and begins[following] <= ends[at]:  # on a tie the two are concurrent
            heappush(waiting[creates[following]], (ends[following], following))
            following += 1
        if happened[at]:
            continue
        happened[at] = True
        if not creates[at]:
            if not there and (first := earliest(True)) is not None:
                happened[first], holder = True, first
            there = False
            continue
        if there:
            room = earliest(False)
            if room is None:
                wrong.append((holder, at))
                continue
            happened[room] = True
        there, holder = True, at
    return wrong


def _known_ns(history: History, first: Int64, second: Int64) -> Int64:
    """When it was known of both that their condition had held; from the start on where no answer came."""
    at = np.where(history.outcome == Outcome.OK, history.end_ns, history.start_ns)
    return np.maximum(at[first], at[second])

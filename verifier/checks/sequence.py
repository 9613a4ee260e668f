"""Gapless ledgers: entries are numbered one by one, no number twice, none left out, and time goes with them.

An entry is an item of its own (``append``: ``value`` is its number, ``logical_key`` the ledger). Wrong are

- *repeat*: two entries with one number that both took effect (acknowledged, or never answered but seen);
- *gap*: a number below the highest that no final replica has, whether its entry was lost or never written;
- *reorder*: an entry that began after another had been answered and has a smaller number.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.conditions import took_effect
from verifier.checks.final import changed_unread
from verifier.checks.findings import Found, result
from verifier.checks.layout import running_min_after
from verifier.checks.marks import of_kind
from verifier.checks.types import Context, Result, noted
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import Kind, Outcome


def check_gapless(history: History, context: Context) -> Result:
    """Ledgers have every number once, in order of time."""
    appended = of_kind(history, Kind.APPEND) & (history.value != NULL) & (history.logical_key >= 0)
    if not appended.any():
        return Result("unknown", 0, note="nothing was appended to a ledger")
    rows = np.flatnonzero(appended & took_effect(history, context))
    rows = rows[np.lexsort((history.start_ns[rows], history.value[rows], history.logical_key[rows]))]
    found = [_repeats(history, rows), _reorders(history, rows)]
    # An entry of a Region that was not read may be there.
    unread = rows if not context.final else np.flatnonzero(appended & changed_unread(history, context))
    note = None
    if len(unread):
        note = noted("the final state of {count} ledgers was not read: gaps are not judged", _ledgers(history, unread))
    if context.final:
        found.append(_gaps(history, context, rows, np.unique(history.logical_key[unread])))
    return result(found, len(rows), context.regions, 2 * context.epsilon_ns, note)


def _ledgers(history: History, rows: Int64) -> int:
    return len(np.unique(history.logical_key[rows]))


def _repeats(history: History, rows: Int64) -> Found:
    """Entries after the first of their number."""
    ledger, number = history.logical_key[rows], history.value[rows]
    again = np.zeros(len(rows), np.bool_)
    again[1:] = (ledger[1:] == ledger[:-1]) & (number[1:] == number[:-1])
    first = rows[np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))][again]
    second = rows[again]
    at = np.maximum(
        *(np.where(history.outcome == Outcome.OK, history.end_ns, history.start_ns)[one] for one in (first, second))
    )
    return Found("repeat", history.key[second].astype(np.int64), at, {"first": first, "by": second})


def _reorders(history: History, rows: Int64) -> Found:
    """Entries that began after one with a greater number had been answered."""
    rows = rows[history.outcome[rows] == Outcome.OK]
    if not len(rows):
        return Found("reorder", rows, rows, {"later": rows, "by": rows})
    # One value a number: the earliest answer, for a number may be there twice.
    ledger, number, end = history.logical_key[rows], history.value[rows], history.end_ns[rows]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ledger[1:] != ledger[:-1]) | (number[1:] != number[:-1])
    begins = np.flatnonzero(new)
    earliest = np.minimum.reduceat(end, begins)
    group = np.cumsum(new) - 1
    of = np.full(len(begins), -1, np.int64)
    holds = end == earliest[group]
    of[group[holds][::-1]] = rows[holds][::-1]
    _, segment = np.unique(ledger[begins], return_inverse=True)
    ahead, where = running_min_after(earliest, segment.astype(np.int64))
    hit = ahead[group] < history.start_ns[rows]
    by, later = rows[hit], of[where[group[hit]]]
    gamma = history.start_ns[by] - history.end_ns[later]
    return Found("reorder", history.key[by].astype(np.int64), history.end_ns[by], {"later": later, "by": by}, gamma)


def _gaps(history: History, context: Context, rows: Int64, unread: Int64) -> Found:
    """Numbers that no final replica has, between the lowest and the highest of their ledger. ``unread``: ledgers that
    are not judged."""
    ledger_of = np.full(len(history.keys), -1, np.int64)
    appended = of_kind(history, Kind.APPEND) & (history.logical_key >= 0)
    ledger_of[history.key[appended]] = history.logical_key[appended]
    number_of = np.full(len(history.keys), NULL, np.int64)
    number_of[history.key[appended]] = history.value[appended]
    there = np.zeros(len(history.keys), np.bool_)
    for replica in context.final.values():
        there[replica.key] = True
    there &= ledger_of >= 0
    before, after, gone, at_ledger = [], [], [], []
    read_ns = max((int(one.end_ns.max()) for one in context.final.values() if len(one.end_ns)), default=0)
    for ledger in np.setdiff1d(ledger_of[ledger_of >= 0], unread).tolist():
        mine = np.flatnonzero(ledger_of == ledger)
        present = np.sort(number_of[mine[there[mine]]])
        effective = rows[history.logical_key[rows] == ledger]
        numbers = np.unique(np.concatenate((present, history.value[effective])))
        if len(numbers) < 1:
            continue
        missing = np.setdiff1d(np.arange(int(numbers[0]), int(numbers[-1]) + 1), present)
        by_number = dict(zip(history.value[effective][::-1].tolist(), effective[::-1].tolist(), strict=True))
        following = np.append(present, -1)[np.searchsorted(present, missing)]
        for number, behind in zip(missing.tolist(), following.tolist(), strict=True):
            gone.append(by_number.get(number, -1))
            before.append(by_number.get(number - 1, -1))
            after.append(by_number.get(behind, -1))
            at_ledger.append((ledger, number, int(mine[0])))
    lost, under, over = (np.array(one, np.int64) for one in (gone, before, after))
    # Of a number that nobody wrote the key is that of the entry after it, or of any entry.
    key = np.array(
        [
            int(history.key[next((one for one in three if one >= 0), 0)]) if max(three) >= 0 else any_key
            for three, (_, _, any_key) in zip(zip(gone, after, before, strict=True), at_ledger, strict=True)
        ],
        np.int64,
    )
    when = np.full(len(key), read_ns, np.int64)
    return Found("gap", key, when, {"before": under, "after": over, "gone": lost})

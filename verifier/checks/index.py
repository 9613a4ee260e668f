"""Indexes: an index holds what its table holds once both have settled; until then it is behind, and how far is told.

Every item of a replica that has a group and a value must stand in that Region's index, as it stands in the table, and
nothing else. An index read (``read_index``) is behind by as much as a write of its Region had been answered that it
does not show.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.final import may_vanish
from verifier.checks.findings import Found, result
from verifier.checks.layout import AFTER, running_min_after
from verifier.checks.marks import NOT_FOUND, of_kind, updates, writers_of
from verifier.checks.types import Context, Note, Replica, Result, by_length, join_notes, noted
from verifier.history.columns import History, Int64
from verifier.history.schema import GROUP_ATTRIBUTE, VALUE_ATTRIBUTE, Kind, Outcome


def check_index(history: History, context: Context) -> Result:
    """Indexes are equal to their tables."""
    found, exercised = [], 0
    # What is deleted when its time is over may go after the table was read and before the index is.
    doomed = may_vanish(history)
    for at, region in enumerate(context.regions):
        index, table = context.index.get(region), context.final.get(region)
        if index is None or table is None:
            continue
        indexed, held = _by_key(index, False), _by_key(table, True)
        exercised += len(held)
        wrong = [
            key
            for key in sorted(held.keys() | indexed.keys())
            if held.get(key) != indexed.get(key) and not (doomed[key] and key not in indexed)
        ]
        keys = np.array(wrong, np.int64)
        when = index.read_ns[1] if index.read_ns is not None else int(history.end_ns.max())
        nobody, places = np.full(len(keys), -1, np.int64), np.full(len(keys), at, np.int64)
        found.append(Found("index differs", keys, np.full(len(keys), when), {"by": nobody}, replica=places))
    notes = [_behind(history, context)]
    if any(len(one) for one in found) and not context.run.queues_empty:
        count = sum(len(one) for one in found)
        notes.append(
            noted("{count} index entries still differed when they were read, and may yet have become equal", count)
        )
        return Result("unknown", exercised, note=join_notes(notes))
    return result(found, exercised, context.regions, 0, join_notes(notes))


def _by_key(items: Replica, only_indexed: bool) -> dict[int, str]:
    """Items by key; of a table those that belong into the index."""
    needed = [f'"{name}":' for name in (GROUP_ATTRIBUTE, VALUE_ATTRIBUTE)]
    return {
        key: item
        for key, item in zip(items.key.tolist(), items.items, strict=True)
        if not only_indexed or all(name in item for name in needed)
    }


def _behind(history: History, context: Context) -> Note | None:
    """How many index reads were behind their own Region's table, and by how much at least."""
    rows = np.flatnonzero(of_kind(history, Kind.READ_INDEX) & (history.outcome == Outcome.OK))
    writer = writers_of(history, context, "saw")[rows]
    rows, writer = rows[writer != NOT_FOUND], writer[writer != NOT_FOUND]
    if not len(rows):
        return None
    writes = np.flatnonzero(updates(history) & (history.outcome == Outcome.OK))
    place = history.key.astype(np.int64) * (len(history.regions) + 1) + history.region
    writes = writes[np.lexsort((history.start_ns[writes], place[writes]))]
    _, segment = np.unique(place[writes], return_inverse=True)
    least, _ = running_min_after(history.end_ns[writes], segment.astype(np.int64), inclusive=True)
    # The first write of this Region that began after the one that is shown had been answered.
    shown_end = np.where(history.outcome[writer] == Outcome.OK, history.end_ns[writer], AFTER)
    at = _after(place[writes], history.start_ns[writes], place[rows], shown_end)
    there = at < len(writes)
    there[there] &= place[writes[at[there]]] == place[rows[there]]
    lag = np.zeros(len(rows), np.int64)
    lag[there] = history.start_ns[rows[there]] - least[at[there]]
    current = noted("{count} entries read from an index were as their table", int((lag <= 0).sum()))
    return join_notes([current, *by_length("{count} were behind it", lag[lag > 0], least=True)])


def _after(place: Int64, start: Int64, wanted: Int64, time: Int64) -> Int64:
    """For each place and time the number of the first write there that began after it; writes are sorted by both."""
    order = np.lexsort(
        (
            np.concatenate((np.zeros(len(place)), np.ones(len(wanted)))),
            np.concatenate((start, time)),
            np.concatenate((place, wanted)),
        )
    )
    is_write = order < len(place)
    found = np.empty(len(wanted), np.int64)
    found[order[~is_write] - len(place)] = np.cumsum(is_write)[~is_write]
    return found

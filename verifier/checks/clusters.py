"""From rows to clusters: every write of an item with all that shows it, by the writers' marks.

What makes a cluster, and what is left out:

- a read that answered shows ``saw``; so does a failed condition that handed the item back; so does the final sweep;
- a write that answered with its own mark took effect. One that answered without (it asked for nothing back) or never
  answered counts only if somebody saw it: for all we know it left no mark, or did nothing;
- a write that says what it was applied to (``prev``, or the ``expect`` of a condition that held) is *linked*: it stands
  directly behind that cluster, nothing may come between. Where two writes claim the same place, one claim is false;
  that is a violation of its own, and both links then count as mere reads of the predecessor;
- the state that the run began with is a write before everything else;
- a mark in a range that a killed worker may have used is a write begun at any time;
- keys with deletes are left out: "no such item" is then not one state but many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np

from verifier.checks.findings import Found
from verifier.checks.layout import AFTER, BEFORE
from verifier.checks.marks import (
    NOT_FOUND,
    in_lost_range,
    is_mark,
    keys_with,
    marks_of,
    may_remove,
    of_kind,
    updates,
    writers_of,
)
from verifier.checks.types import Context, Note, Replica, noted
from verifier.history.columns import NULL, Bool, History, Int8, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_NOWHERE: Final = -1
_UNJUDGED: Final = -2
_NONE: Final = np.zeros(0, np.int64)


class Role(IntEnum):
    """What a member is to its cluster."""

    READ = 0
    """Shows it."""
    DISPUTED = 1
    """Was applied to it, as another write says of itself, too."""
    WRITE = 2
    """Wrote it."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """All clusters of a history, in dense numbers, and the operations that make them.

    An operation of a cluster is a ``member``: the write itself, a read, a failed condition, or a write that was applied
    to the cluster where its link is disputed.
    """

    key: Int64
    write: Int64
    """Row of the write, −1 for the initial state and for operations that have no row."""
    initial: Bool
    """The state that the run began with."""
    write_start: Int64
    """:data:`BEFORE` for the initial state and where it is not known."""
    previous: Int64
    """Cluster that this one stands directly behind, −1 where that is not known."""

    member: Int64
    """Cluster of each member."""
    start: Int64
    end: Int64
    """:data:`AFTER` for a write that never answered."""
    row: Int64
    """−1 for an item of the final sweep."""
    replica: Int64
    """Index of the Region whose final sweep it is, −1 for a row."""
    role: Int8
    """:class:`Role` of each member."""

    found: tuple[Found, ...]
    """Violations met on the way: marks of nobody, reads of the future, disputed links."""
    judged: int
    """Operations that could have shown a violation."""
    notes: tuple[Note, ...]

    def of_keys(self, begin: int, end: int) -> Clusters:
        """The clusters of a range of keys, in numbers of their own."""
        inside = (self.key >= begin) & (self.key < end)
        number = np.cumsum(inside) - 1
        members = inside[self.member]
        previous = self.previous[inside]
        return Clusters(
            key=self.key[inside],
            write=self.write[inside],
            initial=self.initial[inside],
            write_start=self.write_start[inside],
            previous=np.where(previous >= 0, number[previous], -1),
            member=number[self.member[members]],
            start=self.start[members],
            end=self.end[members],
            row=self.row[members],
            replica=self.replica[members],
            role=self.role[members],
            found=(),
            judged=0,
            notes=(),
        )


@dataclass(slots=True)
class _Shown:
    """Operations that show a mark."""

    mark: Int64
    key: Int64
    start: Int64
    end: Int64
    row: Int64
    replica: Int64
    writer: Int64
    """Row that has the mark, :data:`NOT_FOUND` where there is none."""
    target: Int64 = field(default_factory=lambda: _NONE)
    """Sparse number of the cluster: row of the write, then the initial states by key, then lost operations."""

    def keep(self, mask: Bool) -> _Shown:
        if mask.all():
            return self
        kept = np.flatnonzero(mask)  # several times as fast as by the mask
        return _Shown(*(getattr(self, name)[kept] for name in _SHOWN))

    def join(self, other: _Shown) -> _Shown:
        return _Shown(*(np.concatenate((getattr(self, name), getattr(other, name))) for name in _SHOWN))


_SHOWN: Final = ("mark", "key", "start", "end", "row", "replica", "writer", "target")


def clusters_of(
    history: History,
    context: Context,
    rows: Bool,
    unknown_rows: Bool | None,
    initial: Replica | None,
    final: tuple[Replica, ...],
    slack_ns: int,
) -> Clusters:
    """Clusters of the operations in ``rows``; updates in ``unknown_rows`` may have taken effect too, once begun."""
    return _Clusterer(history, context, rows, unknown_rows, initial, final, slack_ns).clusters()


class _Clusterer:
    def __init__(
        self,
        history: History,
        context: Context,
        rows: Bool,
        unknown_rows: Bool | None,
        initial: Replica | None,
        final: tuple[Replica, ...],
        slack_ns: int,
    ) -> None:
        self.history, self.context, self.slack = history, context, slack_ns
        self.final = final
        self.marks = marks_of(history, context)
        self.rows_total, self.keys = len(history), len(history.keys)
        self.found: list[Found] = []
        self.notes: list[Note] = []
        self.judged = 0

        self.updates = update = updates(history)
        answered = history.outcome == Outcome.OK
        left_out = self._left_out(update, initial)
        rows = rows & ~left_out[history.key]
        writing = rows & update
        self.sure = writing & answered & (history.saw != NULL)
        self.possible = writing & ((history.outcome == Outcome.UNKNOWN) | (answered & (history.saw == NULL)))
        if unknown_rows is not None:
            self.possible |= unknown_rows & update & (history.outcome != Outcome.FAIL) & ~left_out[history.key] & ~rows
        self.touched = keys_with(history, self.sure | self.possible)
        self.left_out, self.rows, self.writing, self.answered = left_out, rows, writing, answered
        unnamed = rows & answered & of_kind(history, Kind.READ) & (history.saw == NULL) & (history.result != NULL)
        if unnamed.any():
            unnamed &= ~keys_with(history, of_kind(history, Kind.ADD))[history.key]
        if unnamed.any():
            text = "{count} reads name no writer (no mark came back): values may repeat, so these are not judged"
            self.notes.append(noted(text, int(unnamed.sum())))

    def clusters(self) -> Clusters:
        history = self.history
        self._check_replies()
        shown = self._judged(self._shown())
        links, disputed = self._undisputed(self._links(shown))

        # Dense numbers for the clusters that took effect.
        lost = self.lost_marks
        size = self.rows_total + self.keys + len(lost)
        used = np.zeros(size, np.bool_)
        used[: self.rows_total] = self.sure
        for one in (shown, links, disputed):
            used[one.target] = True
        used[links.row] = True
        used[disputed.row] = True
        sparse = np.flatnonzero(used)
        number = np.empty(size, np.int64)
        number[sparse] = np.arange(len(sparse))
        write = np.where(sparse < self.rows_total, sparse, -1)
        by_row = write >= 0
        key = np.empty(len(sparse), np.int64)
        key[by_row] = history.key[write[by_row]]
        initial = ~by_row & (sparse < self.rows_total + self.keys)
        key[initial] = sparse[initial] - self.rows_total
        key[~by_row & ~initial] = self.lost_keys[sparse[~by_row & ~initial] - self.rows_total - self.keys]
        write_start = np.full(len(sparse), BEFORE, np.int64)
        write_start[by_row] = history.start_ns[write[by_row]]
        previous = np.full(len(sparse), -1, np.int64)
        previous[number[links.row]] = number[links.target]

        own = write[by_row]
        return Clusters(
            key=key,
            write=write,
            initial=initial,
            write_start=write_start,
            previous=previous,
            member=np.concatenate((number[shown.target], number[disputed.target], np.flatnonzero(by_row))),
            start=np.concatenate((shown.start, disputed.start, history.start_ns[own])),
            end=np.concatenate((shown.end, disputed.end, self.ends_of_writes(own))),
            row=np.concatenate((shown.row, disputed.row, own)),
            replica=np.concatenate((shown.replica, disputed.replica, np.full(len(own), -1, np.int64))),
            role=np.repeat(np.array(list(Role), np.int8), (len(shown.row), len(disputed.row), len(own))),
            found=tuple(self.found),
            judged=self.judged,
            notes=tuple(self.notes),
        )

    def _left_out(self, update: Bool, initial: Replica | None) -> Bool:
        """Keys that this check cannot judge."""
        history = self.history
        removing = of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL)
        left_out = keys_with(history, removing)
        if left_out.any():
            self.notes.append(noted("{count} keys with deletes need the general search", int(left_out.sum())))
        self.deletes_lost = bool(history.lost) and may_remove(history)
        self.initial: Int64 = np.full(self.keys, ABSENT, np.int64)
        if initial is not None:
            # An item without a mark answers `_p` as if there had been none.
            self.initial[initial.key] = np.where(initial.w == NULL, ABSENT, initial.w)
            known = self.marks.find(self.initial, np.arange(self.keys))
            known = np.where((known != NOT_FOUND) & update[np.maximum(known, 0)], known, NOT_FOUND)
            if (known != NOT_FOUND).any():
                left_out |= known != NOT_FOUND
                began = "{count} keys began with marks of an earlier run that this run repeats"
                self.notes.append(noted(began, int((known != NOT_FOUND).sum())))
        return left_out

    def _check_replies(self) -> None:
        """A successful write answers with its own mark, applied to what its condition asked for."""
        history = self.history
        foreign = np.flatnonzero(self.sure & (history.saw != history.op))
        writer = self.marks.find(history.saw[foreign], history.key[foreign])
        self._report("foreign", foreign, {"shown": np.where(writer == NOT_FOUND, -1, writer), "write": foreign})
        conditional = of_kind(history, Kind.CAS, Kind.CREATE) & self.sure
        wrong = np.flatnonzero(
            conditional & (history.expect != NULL) & (history.prev != NULL) & (history.expect != history.prev)
        )
        expected, before = (self.marks.find(one[wrong], history.key[wrong]) for one in (history.expect, history.prev))
        self._report("condition", wrong, {"expected": expected, "before": before, "write": wrong})

    def _report(self, rule: str, rows: Int64, witness: dict[str, Int64]) -> None:
        if len(rows):
            self.found.append(Found(rule, self.history.key[rows].astype(np.int64), self.history.end_ns[rows], witness))

    def _shown(self) -> _Shown:
        history = self.history
        reading = of_kind(history, Kind.READ, Kind.TXN_READ) & self.answered
        reading |= self.writing & (history.outcome == Outcome.FAIL)
        rows = np.flatnonzero(self.rows & reading & (history.saw != NULL))
        parts = [self._at_rows(rows, history.saw[rows], writers_of(history, self.context, "saw")[rows])]
        for replica in self.final:
            parts.append(self._swept(replica))
        return _Shown(*(np.concatenate([getattr(part, name) for part in parts]) for name in _SHOWN[:-1]))

    def _at_rows(self, rows: Int64, mark: Int64, writer: Int64) -> _Shown:
        history = self.history
        nowhere = np.full(len(rows), -1, np.int64)
        key = history.key[rows].astype(np.int64)
        return _Shown(mark, key, history.start_ns[rows], self.ends_of(rows), rows, nowhere, writer)

    def ends_of(self, rows: Int64) -> Int64:
        """When these rows had answered."""
        return np.where(self.history.outcome[rows] == Outcome.UNKNOWN, AFTER, self.history.end_ns[rows])

    def ends_of_writes(self, rows: Int64) -> Int64:
        """When these writes had taken effect: those of this view that were acknowledged; nobody knows of others."""
        return np.where((self.writing & self.answered)[rows], self.history.end_ns[rows], AFTER)

    def _swept(self, replica: Replica) -> _Shown:
        """The final sweep of one replica as reads of every key; an item that it did not find is absent."""
        if replica.read_ns is None:
            return _Shown(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE)  # no call answered with a time
        mark = np.full(self.keys, ABSENT, np.int64)
        start, end = (np.full(self.keys, at, np.int64) for at in replica.read_ns)
        mark[replica.key], start[replica.key], end[replica.key] = replica.w, replica.start_ns, replica.end_ns
        key = np.flatnonzero(self.touched & ~self.left_out & (mark != NULL))
        where = self.context.regions.index(replica.region) if replica.region in self.context.regions else 0
        nowhere = np.full(len(key), -1, np.int64)
        writer = self.marks.find(mark[key], key)
        return _Shown(mark[key], key, start[key], end[key], nowhere, np.full(len(key), where, np.int64), writer)

    def _links(self, shown: _Shown) -> _Shown:
        """Writes that say what they were applied to: those that are sure, and those that somebody saw."""
        history = self.history
        before = np.where(history.prev != NULL, history.prev, history.expect)
        before[of_kind(history, Kind.CREATE) & (before == NULL)] = ABSENT
        rows = np.flatnonzero(self.sure & (before != NULL))
        links = self._judged(self._linked(rows, before))
        waiting = np.flatnonzero(self.possible & self.writing & (before != NULL))
        seen: Int64 | None = None
        while len(waiting):
            seen = np.concatenate((shown.target, links.target)) if seen is None else seen
            # A conditional write that was seen took effect, so its condition held; that may show another such write.
            effective = np.isin(waiting, seen)
            if not effective.any():
                break
            rows, waiting = waiting[effective], waiting[~effective]
            more = self._judged(self._linked(rows, before))
            links, seen = links.join(more), more.target
        return links

    def _linked(self, rows: Int64, before: Int64) -> _Shown:
        history = self.history
        writer = writers_of(history, self.context, "prev")[rows]
        asked = np.flatnonzero(history.prev[rows] == NULL)
        writer[asked] = self.marks.find(before[rows[asked]], history.key[rows[asked]])
        return self._at_rows(rows, before[rows], writer)

    def _judged(self, shown: _Shown) -> _Shown:
        """Find the cluster of each; report marks of nobody and what was seen before it was written."""
        history = self.history
        row = shown.writer
        target = np.full(len(shown.mark), _NOWHERE, np.int64)
        hit = row != NOT_FOUND
        written = hit & (self.sure | self.possible)[np.maximum(row, 0)]
        target[written] = row[written]
        began = (target == _NOWHERE) & (shown.mark == self.initial[shown.key])
        target[began] = self.rows_total + shown.key[began]
        lost = (target == _NOWHERE) & ~hit & is_mark(shown.mark) & in_lost_range(history, shown.mark)
        target[lost] = self._lost_clusters(shown.mark[lost], shown.key[lost])
        if self.deletes_lost:
            since = min(one.since_ns for one in history.lost)
            target[(shown.mark == ABSENT) & (shown.end >= since)] = _UNJUDGED

        refused = hit & (history.outcome[np.maximum(row, 0)] == Outcome.FAIL)
        # Updates that this view does not hold cannot be judged; a mark that names a read was made by nobody.
        target[hit & (target == _NOWHERE) & ~refused & self.updates[np.maximum(row, 0)]] = _UNJUDGED
        nobody = target == _NOWHERE
        self.judged += int((target != _UNJUDGED).sum())
        if nobody.any():
            self._seen("refused", shown, nobody & refused, {"write": row, "by": shown.row}, None)
            self._seen("nobody", shown, nobody & ~refused, {"by": shown.row}, None)
        begins = np.full(len(target), BEFORE, np.int64)
        begins[written] = history.start_ns[row[written]]
        early = (begins > BEFORE) & (shown.end < begins - self.slack)
        if early.any():
            self._seen("early", shown, early, {"write": row, "by": shown.row}, begins - shown.end)
        shown.target = target
        return shown.keep((target >= 0) & ~early)

    def _seen(self, rule: str, shown: _Shown, which: Bool, witness: dict[str, Int64], gamma: Int64 | None) -> None:
        if not which.any():
            return
        at = np.where(shown.end[which] >= AFTER, shown.start[which], shown.end[which])
        slack = None if gamma is None else gamma[which]
        rows = {role: row[which] for role, row in witness.items()}
        self.found.append(Found(rule, shown.key[which], at, rows, slack, replica=shown.replica[which]))

    lost_marks: Int64 = _NONE
    lost_keys: Int64 = _NONE

    def _lost_clusters(self, mark: Int64, key: Int64) -> Int64:
        """Sparse numbers for marks without a row; the same (mark, key) always has the same."""
        known = {pair: i for i, pair in enumerate(zip(self.lost_marks.tolist(), self.lost_keys.tolist(), strict=True))}
        numbers = [known.setdefault(pair, len(known)) for pair in zip(mark.tolist(), key.tolist(), strict=True)]
        self.lost_marks = np.array([pair[0] for pair in known], np.int64)
        self.lost_keys = np.array([pair[1] for pair in known], np.int64)
        return self.rows_total + self.keys + np.array(numbers, np.int64)

    def _undisputed(self, links: _Shown) -> tuple[_Shown, _Shown]:
        """Links whose place nobody else claims, and the others; of those all but the first are violations."""
        claims = np.bincount(links.target, minlength=1)
        disputed = claims[links.target] > 1
        if not disputed.any():
            return links, links.keep(disputed)
        contested = links.keep(disputed)
        order = np.lexsort((contested.row, contested.start, contested.target))
        target = contested.target[order]
        first = np.ones(len(order), np.bool_)
        first[1:] = target[1:] != target[:-1]
        leader = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
        rows, leaders, base = contested.row[order[~first]], contested.row[leader[~first]], target[~first]
        witness = {"base": np.where(base < self.rows_total, base, -1), "first": leaders, "second": rows}
        at = np.maximum(self.history.end_ns[rows], self.history.end_ns[leaders])
        self.found.append(Found("lost update", contested.key[order[~first]], at, witness))
        return links.keep(~disputed), contested

"""Counters whose increments return the new value are linearizable: exact for increments of one, O(n log n).

The value that an operation returns is its place: increments and reads sorted by value, the increment before its reads,
are the only possible order. So nothing has to be searched for:

- the same value returned to two increments is a lost update;
- an operation that began after one with a greater value had ended is *late*: a stale read, or an increment out of
  order;
- a read that ended before the increment to its value began read the future;
- values that no recorded increment accounts for must come from increments whose outcome is unknown, and which had begun
  when the value was in place: if there are not enough of those, something was applied twice, or by nobody.

For other positive steps the order is as forced, but which unknown increments fill a gap is not: the last rule is then a
bound. Keys with steps of zero or less, or with anything but increments, are left out and counted in the note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.layout import AFTER, BEFORE, Layout, first_of, greatest, key_chunks, running_min_after, smallest
from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import Context, Note, Replica, Result, join_notes, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_NONE = np.zeros(0, np.int64)


def check_counter_value(history: History, context: Context) -> Result:
    """All Regions together, the final sweep included: MRSC's contract, what an application may hope for in MREC."""
    slack = 2 * context.epsilon_ns
    counters, notes = _counters(history, context)
    found: list[Found] = []
    for slack_ns in sorted({slack, 0}, reverse=True):
        for begin, end in key_chunks(len(history.keys), *counters.extent(slack)):
            part = counters if end - begin == len(history.keys) else counters.of_keys(begin, end)
            found += _Groups(part, history, begin, end, slack_ns).violations()
        if found:
            break
    return result(found, len(counters.key), context.regions, slack, join_notes(notes))


@dataclass(frozen=True, slots=True)
class _Counters:
    """Operations on counters that show a value, and the increments that may have been applied besides."""

    key: Int64
    value: Int64
    step: Int64
    """0 for a read."""
    start: Int64
    end: Int64
    row: Int64
    replica: Int64

    initial: Int64
    """By key."""
    unknown_key: Int64
    unknown_step: Int64
    unknown_start: Int64

    def extent(self, slack_ns: int) -> tuple[int, int]:
        """Widest range of numbers that a layout over values or times must hold."""
        times = np.concatenate((self.start, self.end, self.unknown_start[self.unknown_start > BEFORE]))
        values = np.concatenate((self.value, self.initial))
        widths = [(int(one.min()), int(one.max())) for one in (times, values) if len(one)]
        first, last = max(widths, key=lambda one: one[1] - one[0], default=(0, 0))
        return first - slack_ns, last + slack_ns

    def of_keys(self, begin: int, end: int) -> _Counters:
        """The operations of a range of keys."""
        mine = (self.key >= begin) & (self.key < end)
        unknown = (self.unknown_key >= begin) & (self.unknown_key < end)
        return _Counters(
            key=self.key[mine],
            value=self.value[mine],
            step=self.step[mine],
            start=self.start[mine],
            end=self.end[mine],
            row=self.row[mine],
            replica=self.replica[mine],
            initial=self.initial,
            unknown_key=self.unknown_key[unknown],
            unknown_step=self.unknown_step[unknown],
            unknown_start=self.unknown_start[unknown],
        )


class _Shown(NamedTuple):
    """The first columns of :class:`_Counters`, of one source."""

    key: Int64
    value: Int64
    step: Int64
    start: Int64
    end: Int64
    row: Int64
    replica: Int64


def _counters(history: History, context: Context) -> tuple[_Counters, list[Note]]:
    add = of_kind(history, Kind.ADD)
    took = add & (history.outcome == Outcome.OK) & (history.result != NULL)
    perhaps = add & (history.outcome != Outcome.FAIL) & ~took
    keys, notes = _counter_keys(history, add)
    mine = keys[history.key]
    reads = of_kind(history, Kind.READ, Kind.TXN_READ) & (history.outcome == Outcome.OK)
    reads &= mine & ((history.result != NULL) | (history.saw == ABSENT))
    rows = np.flatnonzero((took & mine) | reads)
    initial = np.zeros(len(history.keys), np.int64)
    for replica in list(context.initial.values())[:1]:
        initial[replica.key] = np.where(replica.value == NULL, 0, replica.value)
    shown = [
        _Shown(
            history.key[rows].astype(np.int64),
            np.where(history.result[rows] == NULL, 0, history.result[rows]),  # "no such item" counts as nothing
            np.where(add[rows], history.value[rows], 0),
            history.start_ns[rows],
            history.end_ns[rows],
            rows,
            np.full(len(rows), -1, np.int64),
        ),
        *(_swept(replica, keys, context) for replica in context.final.values() if replica.read_ns is not None),
    ]
    unknown = np.flatnonzero(perhaps & mine)
    others = [(history.key[unknown].astype(np.int64), history.value[unknown], history.start_ns[unknown])]
    if history.lost:
        others.append(_lost_increments(history, add & mine))
    key, value, step, start, end, row, replicas = (np.concatenate(columns) for columns in zip(*shown, strict=True))
    unknown_key, unknown_step, unknown_start = (np.concatenate(columns) for columns in zip(*others, strict=True))
    counters = _Counters(key, value, step, start, end, row, replicas, initial, unknown_key, unknown_step, unknown_start)
    return counters, notes


def _counter_keys(history: History, add: Bool) -> tuple[Bool, list[Note]]:
    """Keys that only increments by something positive have touched."""
    keys = keys_with(history, add)
    notes = []
    effective = history.outcome != Outcome.FAIL
    for wrong, why in (
        (updates(history) & ~add & effective, "other updates than increments"),
        (add & effective & ((history.value <= 0) | (history.value == NULL)), "increments that are not positive"),
    ):
        other = keys_with(history, wrong)
        if (keys & other).any():
            notes.append(noted(f"{{count}} counters have {why} and are not judged", int((keys & other).sum())))
            keys &= ~other
    several = add & effective & keys[history.key] & (history.value != 1)
    if several.any():
        count = len(np.unique(history.key[several]))
        steps = "{count} counters have steps other than one: what unknown increments may explain is a bound"
        notes.append(noted(steps, count))
    return keys, notes


def _swept(replica: Replica, keys: Bool, context: Context) -> _Shown:
    """One replica's final items as reads of every counter."""
    size = len(keys)
    value = np.zeros(size, np.int64)
    assert replica.read_ns is not None
    start, end = (np.full(size, at, np.int64) for at in replica.read_ns)
    value[replica.key], start[replica.key], end[replica.key] = replica.value, replica.start_ns, replica.end_ns
    key = np.flatnonzero(keys & (value != NULL))
    where = context.regions.index(replica.region) if replica.region in context.regions else 0
    nowhere = np.full(len(key), -1, np.int64)
    return _Shown(key, value[key], np.zeros_like(key), start[key], end[key], nowhere, np.full_like(key, where))


def _lost_increments(history: History, add: Bool) -> tuple[Int64, Int64, Int64]:
    """What killed workers may have added to every counter: an increment for each missing id, of its largest step."""
    steps = greatest(len(history.keys), history.key[add].astype(np.int64), history.value[add])
    keys = np.flatnonzero(steps > 0)
    # More than anything could need, and little enough for a sum over all keys to fit.
    most = np.iinfo(np.int64).max // 2 // max(1, len(keys) * len(history.lost))
    amounts = [np.minimum(lost.count, most // steps[keys]) * steps[keys] for lost in history.lost]
    since = [np.full(len(keys), max(lost.since_ns, BEFORE), np.int64) for lost in history.lost]
    return np.tile(keys, len(history.lost)), np.concatenate(amounts), np.concatenate(since)


class _Groups:
    """Operations that show the same value of the same counter, in order of value."""

    def __init__(self, counters: _Counters, history: History, begin: int, end: int, slack_ns: int) -> None:
        self.counters, self.slack = counters, slack_ns
        self.begin, self.keys = begin, end - begin
        self.ends_ns = history.end_ns
        values = [one for one in (counters.value, counters.initial) if len(one)]
        first = min((int(one.min()) for one in values), default=0)
        last = max((int(one.max()) for one in values), default=0)
        placed = Layout(self.keys, first, last).place(counters.key - begin, counters.value)
        order = np.argsort(placed, kind="stable")
        new = np.diff(placed[order], prepend=-1) != 0
        self.group = np.empty(len(order), np.int64)
        self.group[order] = np.cumsum(new) - 1
        heads = order[new]
        self.size = len(heads)
        self.key, self.value = counters.key[heads], counters.value[heads]
        self.ended = smallest(self.size, self.group, counters.end)
        self.after, self.behind = running_min_after(self.ended, self.key - begin)
        self.adding = np.flatnonzero(counters.step > 0)

    def violations(self) -> list[Found]:
        """Everything that contradicts the forced order; mostly nothing."""
        if not self.size:
            return []
        counters, group = self.counters, self.group
        # The increment of each group; where several claim the value, the one that began first.
        by_start = self.adding
        if len(by_start) and int(np.bincount(group[by_start]).max()) > 1:
            by_start = by_start[np.argsort(counters.start[by_start], kind="stable")]
        self.increment = first_of(self.size, group[by_start], by_start)
        members = np.flatnonzero(counters.end == self.ended[group])
        self.first_ended = first_of(self.size, group[members], members)
        found = [self._lost_updates(by_start), self._late(), self._early(), *self._below(), *self._gaps()]
        return [one for one in found if len(one)]

    def _found(self, rule: str, at: Int64, witness: dict[str, Int64], **more: Int64) -> Found:
        """``at`` and the rows of ``witness`` are operations here, −1 for none."""
        counters = self.counters
        rows = {role: np.where(one >= 0, counters.row[one], -1) for role, one in witness.items()}
        replica = counters.replica[at]
        return Found(rule, counters.key[at], counters.end[at], rows, replica=replica, **more)

    def _lost_updates(self, by_start: Int64) -> Found:
        again = by_start[self.increment[self.group[by_start]] != by_start]
        return self._found("lost update", again, {"first": self.increment[self.group[again]], "second": again})

    def _late(self) -> Found:
        """Operations that began after one with a greater value had ended."""
        counters = self.counters
        late = np.flatnonzero(counters.start > self.after[self.group] + self.slack)
        mine, passed = self.group[late], self.behind[self.group[late]]
        gamma = counters.start[late] - self.after[mine]
        witness = {
            "increment": self.increment[mine],
            "later": self.increment[passed],
            "in_place": self.first_ended[passed],
            "by": late,
        }
        versions = self._highest_before(late) - counters.value[late] if len(late) else _NONE
        return self._found(
            "late", late, witness, gamma_ns=gamma, stale_ns=gamma - self.slack, stale_versions=np.maximum(versions, 1)
        )

    def _highest_before(self, late: Int64) -> Int64:
        """Greatest value that had been returned before these operations began."""
        counters = self.counters
        first, last = int(counters.start.min()), int(counters.end.max())
        layout = Layout(self.keys, min(first, int(counters.end.min())), max(last, int(counters.start.max())))
        placed = layout.place(self.key - self.begin, self.ended)
        order = np.argsort(placed, kind="stable")
        # Groups are numbered by key and value, so that a running maximum of numbers is one of values.
        highest = np.maximum.accumulate(order)
        began = layout.place(counters.key[late] - self.begin, counters.start[late])
        return np.asarray(self.value[highest[np.searchsorted(placed[order], began) - 1]], np.int64)

    def _early(self) -> Found:
        """Reads that ended before the increment to their value began."""
        counters = self.counters
        reads = np.flatnonzero((counters.step == 0) & (self.increment[self.group] >= 0))
        increment = self.increment[self.group[reads]]
        gamma = counters.start[increment] - counters.end[reads]
        early = gamma > self.slack
        return self._found(
            "early", reads[early], {"increment": increment[early], "by": reads[early]}, gamma_ns=gamma[early]
        )

    def _below(self) -> list[Found]:
        """Less than the counter had when the run began, or increments that overlap the value before."""
        counters = self.counters
        least = counters.initial[counters.key] + counters.step
        below = np.flatnonzero(counters.value < least)
        step = np.where(self.increment >= 0, counters.step[self.increment], 0)
        before = np.full(self.size, np.iinfo(np.int64).min, np.int64)
        same = np.flatnonzero(self.key[1:] == self.key[:-1]) + 1
        before[same] = self.value[same - 1]
        overlapping = np.flatnonzero((before > self.value - step) & (self.value - step >= counters.initial[self.key]))
        return [
            self._found("below", below, {"by": below}),
            self._found(
                "lost update",
                self.increment[overlapping],
                {"first": self.first_ended[overlapping - 1], "second": self.increment[overlapping]},
            ),
        ]

    def _gaps(self) -> list[Found]:
        """Values that no increment accounts for: more than the unknown ones can have made by then."""
        counters = self.counters
        step = np.where(self.increment >= 0, counters.step[self.increment], 0)
        before = counters.initial[self.key].copy()
        same = np.flatnonzero(self.key[1:] == self.key[:-1]) + 1
        before[same] = np.maximum(self.value[same - 1], before[same])
        missing = np.maximum(self.value - before - step, 0)
        if not missing.any():
            return []
        key = self.key - self.begin
        missing = _running_sum(missing, key)
        deadline, where = running_min_after(self.ended, key, inclusive=True)

        order = np.lexsort((counters.unknown_start, counters.unknown_key))
        unknown_key = counters.unknown_key[order] - self.begin
        starts = counters.unknown_start[order]
        total = np.concatenate(([0], np.cumsum(counters.unknown_step[order])))
        times = np.concatenate((starts[starts > BEFORE], self.ended))
        layout = Layout(self.keys, int(times.min()), int(times.max()) + self.slack)
        placed = layout.place(unknown_key, starts)
        base = np.searchsorted(unknown_key, key)
        begun = np.searchsorted(placed, layout.place(key, deadline + self.slack), side="right")
        excess = missing - (total[np.maximum(begun, base)] - total[base])
        # One violation where the excess grows beyond what it has been; the values above it only inherit it.
        highest = _running_highest(excess, key)
        grown = np.flatnonzero(excess > np.maximum(highest, 0))
        if not len(grown):
            return []
        enough = np.searchsorted(total, total[base[grown]] + missing[grown]) - 1
        last = np.searchsorted(unknown_key, key[grown], side="right")
        gamma = np.full(len(grown), AFTER, np.int64)
        explained = (enough < last) & (enough >= base[grown])
        gamma[explained] = starts[enough[explained]] - deadline[grown][explained]
        witness = {"in_place": self.first_ended[where[grown]], "by": self.first_ended[grown]}
        found = []
        for some, more in ((~explained, {}), (explained, {"gamma_ns": gamma[explained]})):
            if some.any():
                rows = {role: one[some] for role, one in witness.items()}
                found.append(self._found("surplus", rows["by"], rows, **more))
        return found


def _running_sum(values: Int64, segment: Int64) -> Int64:
    """Sum of the values so far of the same segment."""
    total = np.cumsum(values)
    first = np.flatnonzero(np.diff(segment, prepend=-1))
    base = total[first] - values[first]
    return total - np.repeat(base, np.diff(np.concatenate((first, [len(values)]))))


def _running_highest(values: Int64, segment: Int64) -> Int64:
    """Greatest earlier value of the same segment, 0 for a first one."""
    after, _ = running_min_after(-values[::-1], segment.max(initial=0) - segment[::-1])
    return np.where(after[::-1] == AFTER, 0, -after[::-1])

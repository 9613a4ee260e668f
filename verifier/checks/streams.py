"""Streams: each Region's stream tells every change of its items, once, in order, and nothing that did not happen.

A record says what an item was and what it became. So the records of an item form a chain: each begins where the one
before it ended, the first at the state before the run, the last ends at the final item. Where it breaks, what follows
says how: the same change again (*repeated*), a change whose beginning another record only tells later (*out of order*),
one that the next record knows nothing of (*without effect*: a replicated write that lost, say), or else something that
is *missing*. Changes that arrived by replication may be merged into one; what was written in the Region itself, and in
MRSC everything, must be told one by one: an acknowledged write without a record is missing even where the chain holds.

What is missing at the end of an item's records counts only if the emulator has shown that nothing was under way any
more: elsewhere it may yet come. A stream keeps its records for a day (the emulator so many of them): where the first
were gone when it was read, the rest is judged by itself, and the verdict is inconclusive at best. A reader that began
somewhere in the middle is judged by what it got, too. How late readers are is told by Region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from verifier.checks.final import may_vanish
from verifier.checks.findings import Found, result
from verifier.checks.marks import NOT_FOUND, is_mark, marks_by_key, marks_of, of_kind, updates
from verifier.checks.types import Context, Note, Result, Stream, by_length, join_notes, noted
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_RULES: Final = ("repeated record", "record out of order", "record without effect", "missing record")

Place = tuple[int, int]
"""Key and Region (codes)."""


def check_streams(history: History, context: Context) -> Result:
    """Streams tell every change of their Region once, in order."""
    if not context.streams:
        return Result("unknown", 0, note="no stream was read")
    told = _Told(history, context)
    for stream in context.streams:
        told.judge(stream)
    exercised = sum(len(stream.key) for stream in context.streams)
    partly = [
        name
        for code, name in enumerate(context.regions)
        if any(not stream.live and code not in stream.whole for stream in context.streams)
    ]
    notes = [_lag(history, context)]
    if told.unmarked:
        notes.append(noted("{count} items without marks are not judged", told.unmarked))
    if told.to_come:
        notes.append(noted("{count} records were not there yet when the streams were read", told.to_come))
    if partly:
        notes.append(Note(f"the first records of {', '.join(partly)} were gone when the streams were read"))
    concluded = result([told.found(rule) for rule in _RULES], exercised, context.regions, 0, join_notes(notes))
    if concluded.verdict == "holds" and (partly or told.to_come):
        return replace(concluded, verdict="unknown", failed=True)
    return concluded


@dataclass(slots=True)
class _Missing:
    """What a Region's stream does not tell of an item, though it was acknowledged."""

    rows: list[int] = field(default_factory=list)
    written: set[int] = field(default_factory=set)
    """Marks of writes."""
    removed: set[int] = field(default_factory=set)
    """Marks of what deletions removed."""


_NOTHING_MISSING: Final = _Missing()


class _Told:
    """Findings so far, by rule: key, Region, row of the write it is about, row of the one before."""

    def __init__(self, history: History, context: Context) -> None:
        self.history, self.context = history, context
        self.rows: dict[str, list[tuple[int, int, int, int]]] = {rule: [] for rule in _RULES}
        self.unmarked = self.to_come = 0
        self.initial = marks_by_key(context.initial.values(), len(history.keys))
        self.final_for_good = bool(context.run.queues_empty)

    def judge(self, stream: Stream) -> None:
        """What one reader got."""
        order = np.lexsort((stream.key, stream.region))
        key, region = stream.key[order], stream.region[order]
        old, new, event = stream.old[order], stream.new[order], stream.event[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (key[1:] != key[:-1]) | (region[1:] != region[:-1])
        # Where every record begins at the end of the one before it, nothing is to be looked at further.
        broken = np.zeros(len(order), np.bool_)
        broken[1:] = ~begins[1:] & (old[1:] != new[:-1])
        whole = np.isin(region, list(stream.whole))
        broken |= begins & whole & (old != self.initial[key])
        group = np.cumsum(begins) - 1
        firsts = np.flatnonzero(begins)
        lasts = np.append(firsts[1:], len(order)) if len(firsts) else firsts
        suspect = np.zeros(len(firsts), np.bool_)
        suspect[group[broken]] = True
        unmarked = np.zeros(len(firsts), np.bool_)
        unmarked[group[(old == NULL) | (new == NULL)]] = True
        self.unmarked += int(unmarked.sum())
        missing = self._missing(stream)
        ends = lasts - 1
        ended, begun = new[ends], old[ends]  # copies
        for at in np.flatnonzero(suspect & ~unmarked).tolist():
            here = slice(int(firsts[at]), int(lasts[at]))
            place = (int(key[here.start]), int(region[here.start]))
            start = int(self.initial[place[0]]) if whole[here.start] else None
            records = list(zip(old[here].tolist(), new[here].tolist(), event[here].tolist(), strict=True))
            breaks, state, under = _breaks(records, start, missing.get(place, _NOTHING_MISSING))
            for rule, mark, before in breaks:
                self._add(rule, place, mark, before)
            ended[at], begun[at] = state, under
        for place, one in missing.items():
            for row in one.rows:
                self.rows["missing record"].append((*place, row, -1))
        if not stream.live:
            self._ends(stream, key[firsts], region[firsts], begun, ended, missing)

    def _add(self, rule: str, place: Place, mark: int, before: int) -> None:
        by, under = (
            int(marks_of(self.history, self.context).find(np.array([one], np.int64), np.array([place[0]], np.int64))[0])
            for one in (mark, before)
        )
        self.rows[rule].append((*place, by, under))

    def _missing(self, stream: Stream) -> dict[Place, _Missing]:
        """Acknowledged changes that have no record where they must have one."""
        history, context, marks = self.history, self.context, marks_of(self.history, self.context)
        answered = updates(history) & (history.outcome == Outcome.OK)
        removal = answered & of_kind(history, Kind.DELETE) & is_mark(history.prev)  # it says what it removed
        removes = np.full(len(history), NOT_FOUND, np.int64)
        removes[removal] = marks.find(history.prev[removal], history.key[removal])
        due = (answered & is_mark(history.saw) & (history.saw == history.op)) | (removes != NOT_FOUND)
        code = {name: number for number, name in enumerate(context.regions)}
        of = np.array([*(code.get(name, -1) for name in history.regions), -1], np.int64)
        everywhere = context.mode == "MRSC" and bool(context.run.settled)
        found: dict[Place, _Missing] = {}
        for region in sorted(stream.whole):
            here = stream.region == region
            before, after = (marks.find(one[here], stream.key[here]) for one in (stream.old, stream.new))
            told, gone, passed = np.zeros((3, len(history)), np.bool_)
            told[after[after != NOT_FOUND]] = True
            passed[before[before != NOT_FOUND]] = True
            gone[before[(before != NOT_FOUND) & (stream.new[here] == ABSENT)]] = True
            rows = np.flatnonzero(due if everywhere else due & (of[history.region] == region))
            rows = rows[~np.where(removes[rows] == NOT_FOUND, told[rows], gone[removes[rows]])]
            # Behind something that has been told nothing comes any more.
            latest = np.full(len(history.keys), NULL, np.int64)
            known = after[after != NOT_FOUND]
            np.maximum.at(latest, history.key[known], history.start_ns[known])
            certain = self.final_for_good | passed[rows] | (history.end_ns[rows] < latest[history.key[rows]])
            self.to_come += int((~certain).sum())
            for row in rows[certain].tolist():
                one = found.setdefault((int(history.key[row]), region), _Missing())
                one.rows.append(row)
                if removes[row] == NOT_FOUND:
                    one.written.add(int(history.op[row]))
                else:
                    one.removed.add(int(history.prev[row]))
        return found

    def _ends(
        self, stream: Stream, key: Int64, region: Int64, begun: Int64, ended: Int64, missing: Mapping[Place, _Missing]
    ) -> None:
        """Items whose last record is not their final state, or that have none though they changed."""
        history, context = self.history, self.context
        if not context.run.settled:
            return
        # A deletion of which nobody knows, that of a time to live, may come after the final state was read.
        doomed = may_vanish(history)
        for number, name in enumerate(context.regions):
            if name not in context.final:
                continue
            final = marks_by_key([context.final[name]], len(history.keys))
            last = self.initial.copy() if number in stream.whole else np.full(len(history.keys), NULL, np.int64)
            before = np.full(len(history.keys), NULL, np.int64)
            here = region == number
            last[key[here]], before[key[here]] = ended[here], begun[here]
            expired = (last == ABSENT) & (final == before) & doomed
            for item in np.flatnonzero((last != NULL) & (final != NULL) & (final != last) & ~expired).tolist():
                state, mark = int(last[item]), int(final[item])
                accused = missing.get((item, number), _NOTHING_MISSING)
                if mark == ABSENT and state in accused.removed:
                    continue
                if mark == before[item] and (mark != ABSENT or self.final_for_good):  # a mark comes once
                    self._add("record without effect", (item, number), state, mark)
                elif mark in accused.written:
                    continue
                elif self.final_for_good:
                    self._add("missing record", (item, number), mark, state)
                else:
                    self.to_come += 1

    def found(self, rule: str) -> Found:
        """The findings of a rule."""
        history = self.history
        columns = np.array(self.rows[rule], np.int64).reshape(-1, 4)
        key, region, by, under = columns.T
        end = int(history.end_ns.max()) if len(history) else 0
        when = np.where(by >= 0, history.end_ns[np.maximum(by, 0)] if len(history) else 0, end)
        return Found(rule, key, when, {"before": under, "by": by}, replica=region)


def _breaks(
    records: list[tuple[int, int, int]], state: int | None, missing: _Missing
) -> tuple[list[tuple[str, int, int]], int, int]:
    """What is wrong with an item's records (rule, mark that it is about, state before), the last state, the one before.

    ``state``: what the item was at first; None: not known. ``missing``: what is accused anyway.
    """
    wrong = []
    told: set[tuple[int, int]] = set()
    events: set[int] = set()
    later: dict[int, int] = {}
    for _, new, _ in records:
        later[new] = later.get(new, 0) + 1
    awaited: set[int] = set()
    last_old: int | None = None
    for old, new, event in records:
        later[new] -= 1
        if event in events or (old, new) in told:
            wrong.append(("repeated record", new, old))
            continue
        told.add((old, new))
        events.add(event)
        if new in awaited:  # the other one of two that changed places
            awaited.discard(new)
            continue
        if state is not None and old != state and not (old == ABSENT and state in missing.removed):
            if last_old is not None and old == last_old:
                wrong.append(("record without effect", state, old))
            elif later.get(old, 0) > 0 and old != ABSENT:
                wrong.append(("record out of order", new, state))
                awaited.add(old)
            elif old not in missing.written:
                wrong.append(("missing record", old, state))
        last_old, state = old, new
    return wrong, NULL if state is None else state, NULL if last_old is None else last_old


def _lag(history: History, context: Context) -> Note | None:
    """How long after its answer a write was read from its Region's stream, by those who read during the run."""
    notes = []
    marks = marks_of(history, context)
    for number, name in enumerate(context.regions):
        for stream in context.streams:
            if not stream.live:
                continue
            here = stream.region == number
            writer = marks.find(stream.new[here], stream.key[here])
            known = writer != NOT_FOUND
            at = writer[known]
            local = history.outcome[at] == Outcome.OK
            lag = (stream.read_ns[here][known] - history.end_ns[at])[local]
            notes += by_length(f"{name}: {{count}} records were read", lag, "of their write")
    return join_notes(notes)

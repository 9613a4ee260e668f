"""Streams: each Region's stream tells every change of its items, once, in order, and nothing that did not happen.

A record says what an item was and what it became. So the records of an item form a chain: each begins where the one
before it ended, the first at the state before the run, the last ends at the final item. Where it breaks, what follows
says how: the same change again (*repeated*), a change whose beginning another record only tells later (*out of order*),
one that the next record knows nothing of (*without effect*: a replicated write that lost, say), or else something that
is *missing*. Changes that arrived by replication may be merged into one; what was written in the Region itself, and in
MRSC everything, must be told one by one: an acknowledged write without a record is missing even where the chain holds.

A reader that began somewhere in the middle is judged by what it got. How late readers are is told by Region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.marks import NOT_FOUND, is_mark, marks_by_key, marks_of, updates
from verifier.checks.types import Context, Note, Result, Stream, by_length, join_notes, noted
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_RULES: Final = ("repeated record", "record out of order", "record without effect", "missing record")


def check_streams(history: History, context: Context) -> Result:
    """Streams tell every change of their Region once, in order."""
    if not context.streams:
        return Result("unknown", 0, note="no stream was read")
    told = _Told()
    exercised = 0
    for stream in context.streams:
        exercised += len(stream.key)
        told.judge(history, context, stream)
    found = [told.found(history, context, rule) for rule in _RULES]
    notes = [_lag(history, context)]
    if told.unmarked:
        notes.append(noted("{count} items without marks are not judged", told.unmarked))
    return result(found, exercised, context.regions, 0, join_notes(notes))


@dataclass(slots=True)
class _Told:
    """Findings so far, by rule: key, Region, row of the write it is about, row of the one before."""

    rows: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=lambda: {rule: [] for rule in _RULES})
    unmarked: int = 0

    def judge(self, history: History, context: Context, stream: Stream) -> None:
        order = np.lexsort((stream.key, stream.region))
        key, region = stream.key[order], stream.region[order]
        old, new, event = stream.old[order], stream.new[order], stream.event[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (key[1:] != key[:-1]) | (region[1:] != region[:-1])
        # Where every record begins at the end of the one before it, nothing is to be looked at further.
        broken = np.zeros(len(order), np.bool_)
        broken[1:] = ~begins[1:] & (old[1:] != new[:-1])
        initial = marks_by_key(context.initial.values(), len(history.keys))
        if stream.whole:
            broken |= begins & (old != initial[key])
        group = np.cumsum(begins) - 1
        firsts = np.flatnonzero(begins)
        lasts = np.append(firsts[1:], len(order)) if len(firsts) else firsts
        suspect = np.zeros(len(firsts), np.bool_)
        suspect[group[broken]] = True
        unmarked = np.zeros(len(firsts), np.bool_)
        unmarked[group[(old == NULL) | (new == NULL)]] = True
        self.unmarked += int(unmarked.sum())
        missed = self._missing(history, context, stream) if stream.whole else {}
        ends = lasts - 1
        ended, begun = new[ends], old[ends]  # copies
        for at in np.flatnonzero(suspect & ~unmarked).tolist():
            here = slice(int(firsts[at]), int(lasts[at]))
            place = (int(key[here.start]), int(region[here.start]))
            start = int(initial[place[0]]) if stream.whole else None
            records = list(zip(old[here].tolist(), new[here].tolist(), event[here].tolist(), strict=True))
            skipped = missed.get(place, set())
            breaks, state, under = _breaks(records, start, skipped)
            for rule, mark, before in breaks:
                self.add(history, context, rule, place, mark, before)
            ended[at], begun[at] = state, under
        for (item, where), marks in missed.items():
            for mark in marks:
                self.add(history, context, "missing record", (item, where), mark, NULL)
        if stream.whole and len(firsts):
            self._ends(history, context, key[firsts], region[firsts], begun, ended, missed)

    def add(
        self, history: History, context: Context, rule: str, place: tuple[int, int], mark: int, before: int
    ) -> None:
        key, region = place
        by, under = (
            int(marks_of(history, context).find(np.array([one], np.int64), np.array([key], np.int64))[0])
            for one in (mark, before)
        )
        self.rows[rule].append((key, region, by, under))

    def _missing(self, history: History, context: Context, stream: Stream) -> dict[tuple[int, int], set[int]]:
        """Marks of acknowledged writes that have no record where they must have one, by key and Region."""
        sure = updates(history) & (history.outcome == Outcome.OK) & is_mark(history.saw) & (history.saw == history.op)
        rows = np.flatnonzero(sure)
        code = {name: number for number, name in enumerate(context.regions)}
        of = np.array([*(code.get(name, -1) for name in history.regions), -1], np.int64)
        missed: dict[tuple[int, int], set[int]] = {}
        marks = marks_of(history, context)
        for region in np.unique(stream.region[stream.region >= 0]).tolist():
            here = stream.region == region
            seen = np.zeros(len(history), np.bool_)
            writer = marks.find(stream.new[here], stream.key[here])
            seen[writer[writer != NOT_FOUND]] = True
            everything = context.mode == "MRSC" and bool(context.run.settled)
            due = rows if everything else rows[of[history.region[rows]] == region]
            for row in due[~seen[due]].tolist():
                missed.setdefault((int(history.key[row]), region), set()).add(int(history.op[row]))
        return missed

    def _ends(
        self,
        history: History,
        context: Context,
        key: Int64,
        region: Int64,
        before: Int64,
        last: Int64,
        missed: dict[tuple[int, int], set[int]],
    ) -> None:
        """Items whose last record is not their final state."""
        if not context.run.settled:
            return
        # A deletion of which nobody knows, that of a time to live, may come after the final state was read.
        doomed = np.zeros(len(history.keys), np.bool_)
        if Kind.DELETE in history.kinds:
            deletions = history.kind == history.kinds.index(Kind.DELETE)
            doomed[history.key[deletions & (history.outcome == Outcome.UNKNOWN)]] = True
        for number, name in enumerate(context.regions):
            if name not in context.final:
                continue
            final = marks_by_key([context.final[name]], len(history.keys))
            mine = (region == number) & (last != NULL)
            expired = (last == ABSENT) & (final[key] == before) & doomed[key]
            wrong = mine & (final[key] != last) & (final[key] != NULL) & ~expired
            for at in np.flatnonzero(wrong).tolist():
                place = (int(key[at]), number)
                if final[key[at]] == before[at]:
                    self.add(history, context, "record without effect", place, int(last[at]), int(before[at]))
                elif int(final[key[at]]) not in missed.get(place, ()):
                    self.add(history, context, "missing record", place, int(final[key[at]]), int(last[at]))

    def found(self, history: History, context: Context, rule: str) -> Found:
        columns = np.array(self.rows[rule], np.int64).reshape(-1, 4)
        key, region, by, under = columns.T
        end = int(history.end_ns.max()) if len(history) else 0
        when = np.where(by >= 0, history.end_ns[np.maximum(by, 0)] if len(history) else 0, end)
        return Found(rule, key, when, {"before": under, "by": by}, replica=region)


def _breaks(
    records: list[tuple[int, int, int]], state: int | None, skipped: set[int]
) -> tuple[list[tuple[str, int, int]], int, int]:
    """What is wrong with an item's records (rule, mark that it is about, state before), the last state, the one before.

    ``state``: what the item was at first; None: not known. ``skipped``: marks that are known to be missing.
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
        if event in events or (new != ABSENT and (old, new) in told):
            wrong.append(("repeated record", new, old))
            continue
        told.add((old, new))
        events.add(event)
        if new in awaited:  # the other one of two that changed places
            awaited.discard(new)
            continue
        if state is not None and old != state:
            if last_old is not None and old == last_old:
                wrong.append(("record without effect", state, old))
            elif later.get(old, 0) > 0 and old != ABSENT:
                wrong.append(("record out of order", new, state))
                awaited.add(old)
            elif old not in skipped:
                wrong.append(("missing record", old, state))
        last_old, state = old, new
    return wrong, NULL if state is None else state, NULL if last_old is None else last_old


def _lag(history: History, context: Context) -> Note | None:
    """How long after its answer a write was read from its Region's stream, by those who read during the run."""
    notes = []
    marks = marks_of(history, context)
    for number, name in enumerate(context.regions):
        for stream in context.streams:
            if stream.whole:
                continue
            here = stream.region == number
            writer = marks.find(stream.new[here], stream.key[here])
            known = writer != NOT_FOUND
            at = writer[known]
            local = history.outcome[at] == Outcome.OK
            lag = (stream.read_ns[here][known] - history.end_ns[at])[local]
            notes += by_length(f"{name}: {{count}} records were read", lag, "of their write")
    return join_notes(notes)

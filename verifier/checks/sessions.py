"""What one process does to one item follows on from what it has done and seen there: the four session guarantees.

Every operation of a process leaves it with a state of the item: a read (or a failed condition that handed the item
back) with the one it shows, an acknowledged write with its own. Every operation also meets a state: a read the one it
shows, a write the one it was applied to. Nothing that is met may be older than something the process was left with:

======================  ======================  ====================
left with, by           met by                  guarantee
======================  ======================  ====================
its own write           a read                  read your writes
a read                  a read                  monotonic reads
its own write           a write                 monotonic writes
a read                  a write                 writes follow reads
======================  ======================  ====================

Older means what the record proves, and nothing else: the newer write was built upon the older one (the lineage), or
began after that had been answered. Version numbers of the application prove nothing: under last writer wins they may
fall lawfully. Source: Terry et al., "Session guarantees for weakly consistent replicated data", PDIS 1994.

Eventual reads promise none of this and are left out; so are keys with deletes ("no such item" is then
not one state but many), as in :mod:`verifier.checks.register`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from verifier.checks.chains import chains_of
from verifier.checks.findings import ENDLESS, Found, result
from verifier.checks.layout import AFTER, BEFORE
from verifier.checks.lineage import Lineage, Place, lineage_of
from verifier.checks.marks import NOT_FOUND, keys_with, marks_by_key, marks_of, may_remove, of_kind, updates, writers_of
from verifier.checks.types import Context, Note, Result, join_notes, noted
from verifier.history.columns import NULL, Bool, History, Int64, order_by_code
from verifier.history.schema import ABSENT, Kind, Outcome

T = TypeVar("T", bound=np.generic)

_START: Final = -2
"""Stands for the row of the state that the run began with."""

_RULES: Final = ("read your writes", "monotonic reads", "monotonic writes", "writes follow reads")


def check_sessions(history: History, context: Context) -> Result:
    """All four guarantees, per process and key. Exact for what the record proves to be older."""
    slack = 2 * context.epsilon_ns
    steps, notes = _steps(history, context)
    lineage = lineage_of(history, context)
    found: list[Found] = []
    for slack_ns in sorted({slack, 0}, reverse=True):
        found = _backwards(steps, history, lineage, slack_ns)
        if found:
            break
    return result(found, steps.judged, context.regions, slack, join_notes(notes))


@dataclass(frozen=True, slots=True)
class _Steps:
    """What each process did to each key, one after the other; arrays of length ``n`` in order of session and time."""

    session: Int64
    """Dense number of process and key, ascending."""
    row: Int64
    met: Int64
    """Row of the write whose state the operation met; :data:`_START`, or :data:`NOT_FOUND` where that is not known."""
    left: Int64
    """Row of the write whose state the process was left with; the same."""
    wrote: Bool
    judged: int
    """Operations that met a state after the process had been left with one."""


def _steps(history: History, context: Context) -> tuple[_Steps, list[Note]]:
    notes = []
    update, answered = updates(history), history.outcome == Outcome.OK
    removing = of_kind(history, Kind.DELETE)
    removed = keys_with(history, removing & (history.outcome != Outcome.FAIL))
    if removed.any():
        notes.append(noted("{count} keys with deletes are not judged", int(removed.sum())))
    for replica in list(context.initial.values())[:1]:
        # What an earlier run left may carry marks that this run gives again; they would name the wrong write.
        removed[replica.key[marks_of(history, context).find(replica.w, replica.key) != NOT_FOUND]] = True
    own = update & answered & (history.saw == history.op)
    reading = of_kind(history, Kind.READ, Kind.TXN_READ) & answered
    reading |= update & (history.outcome == Outcome.FAIL)
    rows = np.flatnonzero((own | (reading & (history.saw != NULL))) & ~removed[history.key])
    rows, new = _by_session(history, rows)
    session = np.cumsum(new) - 1
    overlapping = np.flatnonzero(~new[1:] & (history.start_ns[rows[1:]] < history.end_ns[rows[:-1]]))
    if len(overlapping):
        # Two operations at once have no order, so this is not what one process did to one item.
        wrong = np.unique(session[overlapping])
        notes.append(noted("{count} sessions have operations that overlap and are not judged", len(wrong)))
        keep = ~np.isin(session, wrong)
        rows, session = rows[keep], np.unique(session[keep], return_inverse=True)[1].astype(np.int64)
    wrote = own[rows]
    unsure = bool(history.lost) and may_remove(history)  # an unrecorded delete may have made an item begin anew
    met, left = np.empty(len(rows), np.int64), rows.copy()
    writing, seeing = np.flatnonzero(wrote), np.flatnonzero(~wrote)
    met[writing] = _states(history, context, rows[writing], "prev", unsure)
    met[seeing] = left[seeing] = _states(history, context, rows[seeing], "saw", unsure)
    known = left != NOT_FOUND
    earlier = np.cumsum(known) - known
    first = np.flatnonzero(np.diff(session, prepend=-1))
    base = np.repeat(earlier[first], np.diff(np.concatenate((first, [len(rows)]))))
    judged = int(((met != NOT_FOUND) & (earlier > base)).sum())
    return _Steps(session, rows, met, left, wrote, judged), notes


def _by_session(history: History, rows: Int64) -> tuple[Int64, Bool]:
    """The rows by process, key and time, and which of them begin another session."""
    process = history.process[rows]
    # As they are read, rows stand together by key, and those of a process in order of time.
    ordered = rows[order_by_code(process)] if len(rows) and int(process.min()) >= 0 else rows
    new = _first_of_session(history, ordered)
    key, start, again = (
        history.key[ordered],
        history.start_ns[ordered],
        history.process[ordered[1:]] == history.process[ordered[:-1]],
    )
    if not (again & ((key[1:] < key[:-1]) | ((key[1:] == key[:-1]) & (start[1:] < start[:-1])))).any():
        return ordered, new
    ordered = rows[np.lexsort((history.start_ns[rows], history.key[rows], process))]
    return ordered, _first_of_session(history, ordered)


def _first_of_session(history: History, rows: Int64) -> Bool:
    key, process = history.key[rows], history.process[rows]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (process[1:] != process[:-1])
    return new


def _states(history: History, context: Context, rows: Int64, column: str, unsure: bool) -> Int64:
    """Row of the write that each of these shows in ``saw`` or ``prev``; what the run began with is a state as well."""
    writer = writers_of(history, context, "saw" if column == "saw" else "prev")[rows]
    writes = updates(history) & (history.outcome != Outcome.FAIL)
    writer[~writes[writer]] = NOT_FOUND  # a mark that nobody can have left: others say so
    unknown = np.flatnonzero(writer == NOT_FOUND)
    mark, key = (history.saw if column == "saw" else history.prev)[rows[unknown]], history.key[rows[unknown]]
    initial = marks_by_key(context.initial.values(), len(history.keys))
    initial[initial == NULL] = ABSENT
    began = ((mark == initial[key]) | (mark == ABSENT)) & (mark != NULL)
    if unsure:
        began &= mark != ABSENT
    writer[unknown[began]] = _START
    return writer


class _Ancestry:
    """The writes' predecessors as paths: each write has a place on one path, and each path hangs on a write of another.

    A write is built upon another iff that one stands before it on its own path, or before (or at) the place where its
    path hangs on the other's, and so on upwards. Without forks there is one path a key and nothing hangs anywhere.
    """

    def __init__(self, history: History, lineage: Lineage) -> None:
        writes = np.flatnonzero(updates(history))
        number = np.full(len(history) + 1, -1, np.int64)  # the last stands for no predecessor
        number[writes] = np.arange(len(writes))
        parent = number[np.where(lineage.parent[writes] >= 0, lineage.parent[writes], -1)]
        linked = np.flatnonzero(parent >= 0)
        # Of a write's followers one goes on along its path: the one in the final lineage, else any.
        heir = np.full(len(writes), -1, np.int64)
        for some in (linked, linked[lineage.place[writes[linked]] == Place.INSIDE]):
            heir[parent[some]] = some
        previous = np.where((parent >= 0) & (heir[parent] == np.arange(len(writes))), parent, -1)
        chains = chains_of(previous, np.arange(len(writes)))
        begins = np.diff(chains.chain, prepend=-1) != 0
        path = np.empty(len(writes), np.int64)
        path[chains.order] = np.cumsum(begins) - 1
        heads = chains.order[begins]
        above = np.where(chains.circular[heads], -1, parent[heads])
        self.hangs_on = np.where(above >= 0, writes[above], -1) if len(writes) else above
        self.path, self.place = np.full((2, len(history)), -1, np.int64)
        self.path[writes], self.place[writes[chains.order]] = path, np.arange(len(writes))

    def upwards(self, writes: Int64) -> tuple[Int64, Int64, Int64]:
        """For each write the places that prove what it is built upon: which write (by index), path, greatest place."""
        index, at = np.arange(len(writes)), self.place[writes]
        path = self.path[writes]
        parts = [(index, path, at)]
        for _ in range(len(self.path).bit_length() + 40):  # more forks one upon the other than any store makes
            above = self.hangs_on[path]
            up = above >= 0
            if not up.any():
                break
            index, above = index[up], above[up]
            # Built upon the write that its path hangs on, too: hence one place further.
            path, at = self.path[above], self.place[above] + 1
            parts.append((index, path, at))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def _backwards(steps: _Steps, history: History, lineage: Lineage, slack_ns: int) -> list[Found]:
    """Every operation that met something older than what its process had been left with, once each."""
    size = len(steps.row)
    if not size:
        return []
    met, left = steps.met, steps.left
    newest = _Earlier(_taken(history.start_ns, left, BEFORE), steps.session)
    ended = _taken(history.end_ns, met, BEFORE)
    if bool((history.outcome != Outcome.OK).any()):
        ended[(met >= 0) & (history.outcome[np.maximum(met, 0)] != Outcome.OK)] = AFTER
    # What the run began with had ended before everything; of what is not known nobody can say.
    timed = np.flatnonzero((newest.highest > ended + slack_ns) & (met != NOT_FOUND) & (newest.highest > BEFORE))
    back = np.zeros(size, np.bool_)
    by, gamma = np.empty(size, np.int64), np.empty(size, np.int64)
    back[timed], by[timed] = True, newest.where(timed)
    gamma[timed] = np.where(met[timed] >= 0, newest.highest[timed] - ended[timed], ENDLESS)
    # What was built upon what needs no clock, and no clock explains it away.
    places = _taken(lineage.position, met, -1), _taken(lineage.position, left, -1)
    straight = _straight(steps, lineage, *places)
    for built, built_by in (_in_lineage(steps, straight, *places), _built_upon(steps, ~straight, history, lineage)):
        back[built], by[built], gamma[built] = True, built_by, ENDLESS
    at = np.flatnonzero(back)
    witness = {
        "older": np.where(met[at] >= 0, met[at], -1),
        "newer": left[by[at]],
        "before": steps.row[by[at]],
        "by": steps.row[at],
    }
    kind = np.where(steps.wrote[at], 2, 0) + np.where(steps.wrote[by[at]], 0, 1)
    rows = steps.row[at]
    found = []
    for number, rule in enumerate(_RULES):
        mine = kind == number
        if mine.any():
            shown = {role: one[mine] for role, one in witness.items()}
            key = history.key[rows[mine]].astype(np.int64)
            found.append(Found(rule, key, history.end_ns[rows[mine]], shown, gamma[at][mine]))
    return found


def _taken(values: npt.NDArray[T], rows: Int64, otherwise: int) -> npt.NDArray[T]:
    """``values`` of these rows; ``otherwise`` where there is no row."""
    nowhere = rows < 0
    if not nowhere.any():
        return values[rows]
    taken = values[np.maximum(rows, 0)]
    taken[nowhere] = otherwise
    return taken


def _straight(steps: _Steps, lineage: Lineage, met_at: Int64, left_at: Int64) -> Bool:
    """Steps of sessions that met and were left with nothing but the final lineage, as it was seen. ``met_at`` and
    ``left_at``: places in it."""
    if lineage.concluded:
        return np.zeros(len(steps.row), np.bool_)
    outside = ((met_at < 0) & (steps.met >= 0)) | ((left_at < 0) & (steps.left >= 0))
    if not outside.any():
        return np.ones(len(steps.row), np.bool_)
    astray = np.zeros(int(steps.session[-1]) + 1, np.bool_)
    astray[steps.session[outside]] = True
    return ~astray[steps.session]


def _in_lineage(steps: _Steps, straight: Bool, met_at: Int64, left_at: Int64) -> tuple[Int64, Int64]:
    """:func:`_built_upon` for the sessions that stayed in the final lineage: only places in it are to be compared."""
    if straight.all():
        at, session = None, steps.session
    else:
        at = np.flatnonzero(straight)
        met_at, left_at, session = met_at[at], left_at[at], steps.session[at]
    if not len(session):
        return session, session
    earlier = _Earlier(np.where(left_at >= 0, left_at, BEFORE), session)
    hit = np.flatnonzero((earlier.highest > met_at) & (met_at >= 0))
    by = earlier.where(hit)
    return (hit, by) if at is None else (at[hit], at[by])


def _built_upon(steps: _Steps, astray: Bool, history: History, lineage: Lineage) -> tuple[Int64, Int64]:
    """Steps that met a write which an earlier state of the session is built upon, and the step that left that."""
    # Only what was built upon something can be newer, and only what something was built upon can be older.
    built = lineage.parent >= 0
    above = np.zeros(len(built), np.bool_)
    above[lineage.parent[built]] = True
    leaving = np.flatnonzero(_taken(built, steps.left, False) & astray)
    asked = np.flatnonzero(_taken(above, steps.met, False) & astray)
    if not len(leaving) or not len(asked):
        return asked[:0], asked[:0]
    ancestry = _Ancestry(history, lineage)
    index, path, place = ancestry.upwards(steps.left[leaving])
    step = leaving[index]
    # Sessions apart and in them the paths apart; in these a running maximum, queries behind what stands at their step.
    met = steps.met[asked]
    session = np.concatenate((steps.session[step], steps.session[asked]))
    paths = np.concatenate((path, ancestry.path[met]))
    when = np.concatenate((2 * step + 1, 2 * asked))
    order = np.lexsort((when, paths, session))
    new = np.ones(len(order), np.bool_)
    new[1:] = (session[order[1:]] != session[order[:-1]]) | (paths[order[1:]] != paths[order[:-1]])
    segment = np.cumsum(new) - 1
    places = np.concatenate((place, np.full(len(asked), BEFORE, np.int64)))[order]
    earlier = _Earlier(places, segment)
    query = np.flatnonzero(order >= len(step))
    which = order[query] - len(step)
    hit = earlier.highest[query] > ancestry.place[met[which]]
    chosen = np.argsort(which[hit], kind="stable")
    return asked[which[hit][chosen]], step[order[earlier.where(query[hit])]][chosen]


class _Earlier:
    """The greatest of the *earlier* values of the same segment. Segments are sorted, from 0; :data:`BEFORE` counts as
    none."""

    highest: Int64
    """:data:`BEFORE` where there is none."""
    _running: Int64

    def __init__(self, values: Int64, segment: Int64) -> None:
        none = values <= BEFORE
        missing = bool(none.any())
        some = values[~none] if missing else values
        least, most = (int(some.min()), int(some.max())) if len(some) else (0, 0)
        if (int(segment[-1]) + 1) * (most - least + 3) > np.iinfo(np.int64).max:
            ranks, values = np.unique(values, return_inverse=True)
            ranked = _Earlier(np.where(none, BEFORE, values.astype(np.int64)), segment)
            self._running = ranked._running
            self.highest = np.where(ranked.highest > BEFORE, ranks[np.maximum(ranked.highest, 0)], BEFORE)
            return
        # Lifted by segment, one running maximum serves them all; the floor of each is below its values.
        floor = segment * (most - least + 2) - (least - 1)
        lifted = values + floor
        if missing:
            lifted[none] = (floor + (least - 1))[none]
        self._running = np.maximum.accumulate(lifted)
        self.highest = np.empty(len(values), np.int64)
        self.highest[0] = BEFORE
        np.subtract(self._running[:-1], floor[1:], out=self.highest[1:])
        self.highest[self.highest < least] = BEFORE

    def where(self, at: Int64) -> Int64:
        """The first place that had the greatest of what is before each of these places, which must have something."""
        return np.asarray(np.searchsorted(self._running, self._running[at - 1]), np.int64)

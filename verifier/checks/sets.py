"""Sets, element by element: what was added is there until it is removed, and then it is gone.

An element is best added by one intent and never again once it has been removed; then it has three states: not there
yet, there, gone. Everything that shows the set (reads, and updates that return it) says of every element whether it was
in. Let the addition take effect by ``there`` at the latest (its answer, or the end of the first that shows it) and the
removal at ``gone`` at the earliest (its beginning, or the beginning of the last that shows it). The history of the
element is impossible exactly if

- something shows it that ended before its addition began (*early*), or that nobody added (*nobody*);
- something shows it that began after its removal had been answered (*seen again*);
- something does not show it that began after ``there`` and ended before ``gone`` (*missing*), which without a removal
  is any time after; where no final item has it either, it is *lost*.

So it is exact for one addition and one removal, answered or not. Attempts of one intent count as one; where an addition
never answered, or may have come after a removal, it may come back lawfully, and only what is left of this is judged.
Strong reads only: of eventual reads it is told, per Region, how long they took to become stable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.final import in_doubt
from verifier.checks.findings import ENDLESS, Found, result
from verifier.checks.layout import AFTER, BEFORE
from verifier.checks.marks import of_kind
from verifier.checks.types import Context, Note, Replica, Result, by_length, join_notes, noted
from verifier.history.columns import NULL, Bool, History, Int64, order_by_code
from verifier.history.schema import ELEMENTS_ATTRIBUTE, Kind, Outcome

_NONE: Final = np.zeros(0, np.int64)


def check_sets(history: History, context: Context) -> Result:
    """Every element of a set is there from its addition to its removal, and at no other time."""
    elements = _elements(history, context)
    if elements is None:
        return Result("unknown", 0, note="no set was added to")
    views = _views(history, context, elements, eventual=False)
    slack = 2 * context.epsilon_ns
    life = _lives(history, elements, views, slack)
    found = [
        _nobody(history, context, elements, views),
        *_too_early_or_late(elements, views, life),
        *_missing(elements, views, life, in_doubt(history, context)),
    ]
    notes: list[str | None] = [_stable(history, context, elements)]
    doubtful = int((life.again & life.removed).sum())
    if doubtful:
        notes.append(noted("{count} elements may have been added again after their removal: only bounds", doubtful))
    if history.lost:
        notes.append("a worker's last rows are missing: what they could have removed or added is not accused")
    return result(found, len(elements.value), context.regions, slack, join_notes(notes))


@dataclass(frozen=True, slots=True)
class _Elements:
    """Everything that was added to a set. ``m`` elements, sorted by key and value."""

    key: Int64
    value: Int64
    start: Int64
    """Earliest beginning of an addition (m)."""
    end: Int64
    """Earliest answer of one; AFTER: none was answered (m)."""
    last: Int64
    """Latest that an addition can take effect; AFTER where one never answered (m)."""
    row: Int64
    """The addition: one that was answered, else the first (m)."""
    out_start: Int64
    """Earliest beginning of a removal that may have taken effect; AFTER: there is none (m)."""
    out_end: Int64
    """Earliest answer of a removal that began after every addition had been answered; AFTER: there is none (m)."""
    out_row: Int64
    sets: Bool
    """Keys that are sets (k)."""

    def find(self, key: Int64, value: Int64) -> Int64:
        """Number of each element; −1 where nobody added it."""
        values = np.unique(self.value)
        least, span = int(values[0]), int(values[-1] - values[0]) + 1
        if len(values) == len(self.value) and span <= 8 * len(values) + 65_536:
            # Elements are numbers that nobody else has, and near each other: a table of them beats a search.
            table = np.full(span + 1, -1, np.int64)
            table[self.value - least] = np.arange(len(values))
            at = table[np.where((value >= least) & (value < least + span), value - least, span)]
            return np.where((at >= 0) & (self.key[at] == key), at, -1)
        width = len(values) + 1
        places = self.key * width + np.searchsorted(values, self.value)
        at = np.searchsorted(values, value)
        known = values[np.minimum(at, len(values) - 1)] == value
        at = np.minimum(np.searchsorted(places, key * width + at), len(places) - 1)
        return np.where(known & (self.key[at] == key) & (self.value[at] == value), at, -1)


@dataclass(frozen=True, slots=True)
class _Views:
    """Everything that showed a set: rows of the history and replicas' final items; in order of key and beginning."""

    key: Int64
    start: Int64
    end: Int64
    row: Int64
    replica: Int64
    """Index of the Region whose final item it is; −1 for a row."""
    own: Int64
    """Element that the row itself adds or removes (of which it says nothing new); NULL for a read."""
    shown: Int64
    """Elements shown, view by view: number of the element, −1 for one that nobody added."""
    value: Int64
    """Their values."""
    offsets: Int64
    first: Int64
    """First view of each key (k + 1)."""

    def of_shown(self) -> Int64:
        """View of each shown element."""
        return np.repeat(np.arange(len(self.key)), np.diff(self.offsets))

    def by_element(self) -> tuple[Int64, Int64]:
        """Every element that is shown and known, with its view, in order of both."""
        known = self.shown >= 0
        shown, view = self.shown[known], self.of_shown()[known]
        order = order_by_code(shown.astype(np.int32))
        return shown[order], view[order]


@dataclass(frozen=True, slots=True)
class _Lives:
    """What is known of every element's life (m)."""

    there: Int64
    """It was in by then; AFTER: not known."""
    there_by: Int64
    """View that proves it, −1: its addition's answer."""
    gone: Int64
    """Earliest that it can have been out again; AFTER: nobody removed it."""
    again: Bool
    """It may have been added after a removal."""
    removed: Bool


def _elements(history: History, context: Context) -> _Elements | None:
    adding = of_kind(history, Kind.SET_ADD)
    rows = np.flatnonzero(adding & (history.value != NULL))
    if not len(rows):
        return None
    began = _initial(history, context)
    named = zip(history.key[rows].tolist(), history.value[rows].tolist(), strict=True)
    rows = rows[[pair not in began for pair in named]] if began else rows
    if not len(rows):
        return None
    key, value = history.key[rows].astype(np.int64), history.value[rows]
    order = np.lexsort((history.start_ns[rows], value, key))
    rows, key, value = rows[order], key[order], value[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (value[1:] != value[:-1])
    number, count = np.cumsum(new) - 1, int(new.sum())
    effective = history.outcome[rows] != Outcome.FAIL
    answered = history.outcome[rows] == Outcome.OK
    start, end = np.full(count, AFTER, np.int64), np.full(count, AFTER, np.int64)
    last, row = np.full(count, BEFORE, np.int64), np.full(count, -1, np.int64)
    np.minimum.at(start, number[effective], history.start_ns[rows[effective]])
    np.minimum.at(end, number[answered], history.end_ns[rows[answered]])
    np.maximum.at(last, number[effective], np.where(answered[effective], history.end_ns[rows[effective]], AFTER))
    row[number[::-1]] = rows[::-1]
    row[number[answered][::-1]] = rows[answered][::-1]
    sets = np.zeros(len(history.keys), np.bool_)
    sets[key] = True
    none = np.full(count, AFTER, np.int64)
    found = _Elements(key[new], value[new], start, end, last, row, none, none, row, sets)

    out = np.flatnonzero(of_kind(history, Kind.SET_REMOVE) & (history.outcome != Outcome.FAIL))
    which = found.find(history.key[out].astype(np.int64), history.value[out])
    out, which = out[which >= 0], which[which >= 0]
    out_start, out_end = np.full(count, AFTER, np.int64), np.full(count, AFTER, np.int64)
    out_row = np.full(count, -1, np.int64)
    np.minimum.at(out_start, which, history.start_ns[out])
    # A deletion of the item, or a write of no set operation, removes whatever is in.
    others = np.flatnonzero(
        of_kind(history, Kind.DELETE, Kind.WRITE, Kind.TXN_WRITE, Kind.CREATE, Kind.CAS)
        & (history.outcome != Outcome.FAIL)
        & sets[history.key]
    )
    if len(others):
        earliest = np.full(len(history.keys), AFTER, np.int64)
        np.minimum.at(earliest, history.key[others], history.start_ns[others])
        out_start = np.minimum(out_start, earliest[found.key])
    if history.lost:
        out_start[:] = np.minimum(out_start, min(one.since_ns for one in history.lost))
    sure = (history.outcome[out] == Outcome.OK) & (history.start_ns[out] > last[which])
    np.minimum.at(out_end, which[sure], history.end_ns[out[sure]])
    by_end = np.flatnonzero(sure)[np.argsort(-history.end_ns[out[sure]], kind="stable")]
    out_row[which[by_end]] = out[by_end]
    return _Elements(found.key, found.value, start, end, last, row, out_start, out_end, out_row, sets)


def _views(history: History, context: Context, elements: _Elements, *, eventual: bool) -> _Views:
    """Strong reads, updates that return the set and final items; with ``eventual`` all reads and nothing else."""
    lists = history.elements
    kinds = (Kind.READ, Kind.READ_EVENTUAL) if eventual else (Kind.READ, Kind.SET_ADD, Kind.SET_REMOVE)
    rows = _NONE
    if lists is not None:
        rows = np.flatnonzero(of_kind(history, *kinds) & lists.given & elements.sets[history.key])
        rows = rows[(history.outcome[rows] == Outcome.OK) | (history.expect[rows] != NULL)]
    key = [history.key[rows].astype(np.int64)]
    start, end, row, replica = [history.start_ns[rows]], [history.end_ns[rows]], [rows], [np.full(len(rows), -1)]
    picked = lists[rows] if lists is not None else None
    values = [picked.values if picked is not None else _NONE]
    lengths = [np.diff(picked.offsets) if picked is not None else _NONE]
    update = of_kind(history, Kind.SET_ADD, Kind.SET_REMOVE)[rows] & (history.outcome[rows] == Outcome.OK)
    own = [np.where(update, history.value[rows], NULL)]
    for at, region in enumerate(() if eventual else context.regions):
        final = context.final.get(region)
        if final is None or not len(final.end_ns):
            continue
        shown = _final_sets(final, elements.sets)
        keys = np.flatnonzero(elements.sets)
        begins, ends = (
            np.full(len(history.keys), int(final.start_ns.min())),
            np.full(len(history.keys), int(final.end_ns.max())),
        )
        begins[final.key], ends[final.key] = final.start_ns, final.end_ns
        key.append(keys)
        start.append(begins[keys])
        end.append(ends[keys])
        row.append(np.full(len(keys), -1))
        replica.append(np.full(len(keys), at))
        own.append(np.full(len(keys), NULL))
        of = [shown.get(one, []) for one in keys.tolist()]
        lengths.append(np.array([len(one) for one in of], np.int64))
        values.append(np.array([value for one in of for value in one], np.int64))
    all_keys, starts, size = np.concatenate(key), np.concatenate(start), np.concatenate(lengths)
    order = np.lexsort((starts, all_keys))
    begin = np.cumsum(size) - size
    offsets = np.concatenate(([0], np.cumsum(size[order]))).astype(np.int64)
    flat = np.concatenate(values)
    taken = flat[np.arange(int(offsets[-1])) + np.repeat(begin[order] - offsets[:-1], size[order])]
    return _Views(
        key=all_keys[order],
        start=starts[order],
        end=np.concatenate(end)[order],
        row=np.concatenate(row)[order],
        replica=np.concatenate(replica)[order],
        own=np.concatenate(own)[order],
        shown=elements.find(np.repeat(all_keys[order], size[order]), taken),
        value=taken,
        offsets=offsets,
        first=np.searchsorted(all_keys[order], np.arange(len(history.keys) + 1)),
    )


def _initial(history: History, context: Context) -> set[tuple[int, int]]:
    """Keys and elements that the run began with: an earlier run's, whose numbers this run may give again."""
    everything = np.ones(len(history.keys), np.bool_)
    for replica in list(context.initial.values())[:1]:
        sets = _final_sets(replica, everything)
        return {(key, value) for key, values in sets.items() for value in values}
    return set()


def _final_sets(replica: Replica, sets: Bool) -> dict[int, list[int]]:
    """Elements of the sets of a replica, by key."""
    found: dict[int, list[int]] = {}
    for at in np.flatnonzero(sets[replica.key]).tolist():
        if f'"{ELEMENTS_ATTRIBUTE}":' not in replica.items[at]:
            continue
        typed: Mapping[str, list[str]] = json.loads(replica.items[at]).get(ELEMENTS_ATTRIBUTE) or {}
        try:
            found[int(replica.key[at])] = [int(one) for one in typed.get("NS") or typed.get("SS") or ()]
        except ValueError:  # a set of somebody else's
            continue
    return found


def _lives(history: History, elements: _Elements, views: _Views, slack_ns: int) -> _Lives:
    there, there_by = elements.end.copy(), np.full(len(elements.value), -1, np.int64)
    latest = np.full(len(there), BEFORE, np.int64)
    shown, view = views.by_element()
    if len(shown):
        begins = np.flatnonzero(np.diff(shown, prepend=-1))
        seen, end = shown[begins], views.end[view]
        first_end = np.minimum.reduceat(end, begins)
        # Backwards, so that of several views with the earliest end the first one stands.
        least = np.flatnonzero(end == np.repeat(first_end, np.diff(np.append(begins, len(shown)))))[::-1]
        first_view = np.full(len(there), -1, np.int64)
        first_view[shown[least]] = view[least]
        earlier = first_end < there[seen]
        there[seen[earlier]], there_by[seen[earlier]] = first_end[earlier], first_view[seen[earlier]]
        latest[seen] = np.maximum.reduceat(views.start[view], begins)
    removed = elements.out_start < AFTER
    again = removed & (elements.last + slack_ns >= elements.out_start)
    # Without doubt about the order, what still shows it comes before its removal, which comes before its answer.
    gone = np.where(again, elements.out_start, np.maximum(elements.out_start, np.minimum(latest, elements.out_end)))
    return _Lives(there, there_by, gone, again, removed)


def _nobody(history: History, context: Context, elements: _Elements, views: _Views) -> Found:
    """Elements that are shown though nobody added them: the first view of each."""
    strange = np.flatnonzero(views.shown < 0)
    began = _initial(history, context)
    if len(strange) and began:
        pairs = zip(views.key[views.of_shown()[strange]].tolist(), views.value[strange].tolist(), strict=True)
        strange = strange[[pair not in began for pair in pairs]]
    if history.lost or not len(strange):
        return Found("element of nobody", _NONE, _NONE, {"by": _NONE})
    view = views.of_shown()[strange]
    order = np.lexsort((views.start[view], views.value[strange], views.key[view]))
    strange, view = strange[order], view[order]
    new = np.ones(len(strange), np.bool_)
    new[1:] = (views.key[view[1:]] != views.key[view[:-1]]) | (views.value[strange[1:]] != views.value[strange[:-1]])
    view = view[new]
    return Found(
        "element of nobody", views.key[view], views.end[view], {"by": views.row[view]}, replica=views.replica[view]
    )


def _too_early_or_late(elements: _Elements, views: _Views, life: _Lives) -> tuple[Found, Found]:
    """Views of an element that ended before its addition began, or began after it had been removed: one an element."""
    view = views.of_shown()
    known = (views.shown >= 0) & (views.value != views.own[view])
    view, shown = view[known], views.shown[known]
    found = []
    refused = elements.start[shown] == AFTER  # every addition was
    early = views.end[view] < elements.start[shown]
    late = (elements.out_end[shown] < views.start[view]) & ~life.again[shown]
    for rule, hit, gamma in (
        ("early element", early, np.where(refused, ENDLESS, elements.start[shown] - views.end[view])),
        ("seen again", late, views.start[view] - elements.out_end[shown]),
    ):
        at = np.flatnonzero(hit)
        at = at[np.lexsort((-gamma[at], shown[at]))]
        at = at[np.unique(shown[at], return_index=True)[1]]
        element, seen = shown[at], view[at]
        witness = {"element": elements.row[element]}
        if rule == "seen again":
            witness["removal"] = elements.out_row[element]
        witness["by"] = views.row[seen]
        found.append(
            Found(rule, elements.key[element], views.end[seen], witness, gamma[at], replica=views.replica[seen])
        )
    return found[0], found[1]


def _missing(elements: _Elements, views: _Views, life: _Lives, doubt: Bool) -> tuple[Found, Found]:
    """For each element the first view that must show it and does not: behind, or lost for good (but where the end is in
    ``doubt``).

    Views of a key stand in order of their beginning. An element's are gone through from the first that began after it
    was there; those that show it stand in runs, which are skipped, until the element may have been removed.
    """
    width = len(views.key) + 1
    shown, view = views.by_element()
    has = shown * width + view
    ends = np.flatnonzero(np.append(np.diff(has) > 1, True)) if len(has) else _NONE
    run_end = np.repeat(has[ends], np.diff(np.append(-1, ends)))
    element = np.flatnonzero(life.there < AFTER)
    at = _first_after(views, elements.key[element], life.there[element])
    found_element, found_view = [_NONE], [_NONE]
    while len(element):
        place = element * width + at
        spot = np.minimum(np.searchsorted(has, place), max(0, len(has) - 1))
        shows = has[spot] == place if len(has) else np.zeros(len(place), np.bool_)
        at[shows] = run_end[spot[shows]] - element[shows] * width + 1
        inside = at < views.first[elements.key[element] + 1]
        inside[inside] &= views.start[at[inside]] <= life.gone[element[inside]]
        element, at = element[inside], at[inside]
        lacks = (views.end[at] < life.gone[element]) & (views.own[at] != elements.value[element])
        found_element.append(element[lacks])
        found_view.append(at[lacks])
        element, at = element[~lacks], at[~lacks] + 1
    which, seen = np.concatenate(found_element), np.concatenate(found_view)
    proof = life.there_by[which]
    before = np.where(proof >= 0, views.row[np.maximum(proof, 0)], -1)
    gone = np.where(life.gone[which] < AFTER, life.gone[which] - views.end[seen], ENDLESS)
    gamma = np.minimum(views.start[seen] - life.there[which], gone)
    lost = _in_no_final(elements, views, which) & ~doubt[elements.key[which]]

    def found(rule: str, some: Bool, gamma: Int64 | None) -> Found:
        by = seen[some]
        witness = {"element": elements.row[which[some]], "shown": before[some], "by": views.row[by]}
        key = elements.key[which[some]]
        return Found(rule, key, views.end[by], witness, gamma, replica=views.replica[by])

    return found("missing element", ~lost, gamma[~lost]), found("lost element", lost, None)


def _in_no_final(elements: _Elements, views: _Views, which: Int64) -> Bool:
    """Elements that nobody can have removed and that no final item has."""
    finals = views.replica >= 0
    if not finals.any():
        return np.zeros(len(which), np.bool_)
    view = views.of_shown()
    there = np.zeros(len(elements.value), np.bool_)
    there[views.shown[(views.shown >= 0) & finals[view]]] = True
    return np.asarray((elements.out_start[which] == AFTER) & ~there[which], np.bool_)


def _first_after(views: _Views, key: Int64, time: Int64) -> Int64:
    """First view of each key that began after a time."""
    order = np.lexsort((np.concatenate((np.zeros(len(views.key)), np.ones(len(key)))),
                        np.concatenate((views.start, time)), np.concatenate((views.key, key))))  # fmt: skip
    is_view = order < len(views.key)
    before = np.cumsum(is_view)
    place = np.empty(len(key), np.int64)
    place[order[~is_view] - len(views.key)] = before[~is_view]
    return place


def _stable(history: History, context: Context, elements: _Elements) -> Note | None:
    """How long it took in each Region until every read showed what had been added, for what was never removed."""
    views = _views(history, context, elements, eventual=True)
    if not len(views.key):
        return None
    notes = []
    all_shown, all_views = views.by_element()
    lasting = elements.out_start == AFTER
    region = history.region[views.row]
    for place, name in enumerate(history.regions):
        here = region == place
        # Rank of each read among those of its key in this Region, in order of time.
        rank = np.cumsum(here) - 1
        mine = lasting[all_shown] & here[all_views]
        shown, at = all_shown[mine], all_views[mine]
        if not len(shown):
            continue
        ranks = rank[at]
        last = np.append(shown[1:] != shown[:-1], True)
        broken = np.append(True, (shown[1:] != shown[:-1]) | (ranks[1:] != ranks[:-1] + 1))
        begin = np.maximum.accumulate(np.where(broken, np.arange(len(shown)), 0))
        steady = at[begin[last]]  # the read from which on all show it
        answered = elements.end[shown[last]] < AFTER
        waited = (views.start[steady] - elements.end[shown[last]])[answered]
        notes += by_length(f"{name}: {{count}} of what was added showed in every read", waited)
    return join_notes(notes)

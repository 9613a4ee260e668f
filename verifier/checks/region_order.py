"""No Region shows w2 and then w1 where w1 had ended before w2 began (MREC's contract, per item).

Whatever last writer wins throws away, an item never goes back in time in a Region: w1's timestamp is the smaller one,
so where w2 has arrived, w1 can no more. What counts as shown is what is certain about the Region's own copy: strong
reads, failed conditions that handed the item back, the final sweep, and a local write with the state it was applied
to. Eventual reads may come from a copy that lags behind; they prove nothing.

The timestamps of two Regions are two clocks. So where w1 and w2 come from different Regions, w1 must have ended more
than a slack before w2 began; writes of one Region are compared as they are (but for the clocks of several hosts).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from verifier.checks.findings import Found, result
from verifier.checks.layout import Layout, key_chunks
from verifier.checks.marks import NOT_FOUND, marks_of, of_kind, updates, writers_of
from verifier.checks.types import Context, Replica, Result
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import Kind, Outcome

_NONE: Final = np.zeros(0, np.int64)
_Columns = tuple[Int64, ...]
"""Writer, key, Region, start, end and row of observations."""


def check_region_order(history: History, context: Context, *, region_clock_error_ns: int = 0) -> Result:
    """Judge every Region's own sequence of states. ``region_clock_error_ns``: how far clocks of Regions may differ."""
    hosts = 2 * context.epsilon_ns  # between the clients' clocks
    slack = hosts + region_clock_error_ns + context.injected_skew_ns
    observed = _Observed(history, context, several_clocks=slack > hosts)
    if not observed.judged:
        return result([], 0, context.regions, 0, "no operation shows a mark")
    codes = len(context.regions)
    found = [observed.backwards(observed.region * len(history.keys) + observed.key, slack)]
    if slack > hosts:
        # Once more among the writes of one Region each, which one clock has stamped.
        origin = history.region[observed.writer].astype(np.int64)
        place = (observed.region * codes + origin) * len(history.keys) + observed.key
        same = observed.backwards(place, hosts)
        found.append(_without(same, found[0]))
    return result(found, observed.judged, context.regions, 0, None)


class _Observed:
    """What each Region was seen to hold, and when. Arrays of length ``n``.

    Only what may matter: an observation may be *late* (it shows a write that had ended before it began) or be a *proof*
    against later ones; most of a write's own predecessors are neither.
    """

    def __init__(self, history: History, context: Context, *, several_clocks: bool) -> None:
        """``several_clocks``: writes of one Region are compared with each other as well, apart from the others'."""
        self.history, self.context = history, context
        update, answered = updates(history), history.outcome == Outcome.OK
        # A write without an answer has no known end; one that was refused is another check's business.
        self.effective = update & (history.outcome != Outcome.FAIL)
        self.regions = np.array(
            [context.regions.index(name) if name in context.regions else -1 for name in history.regions], np.int64
        )
        strong = of_kind(history, Kind.READ, Kind.TXN_READ) & answered
        strong |= update & (history.outcome == Outcome.FAIL)
        own = update & answered & (history.saw == history.op)
        parts = [
            self._rows((strong | own) & (history.saw != NULL), writers_of(history, context, "saw")),
            self._rows(own & (history.prev != NULL), writers_of(history, context, "prev")),
        ]
        self.judged = sum(len(part[0]) for part in parts)
        if not several_clocks:
            parts[1] = self._that_matter(parts[1])
        for replica in context.final.values():
            parts.append(self._swept(replica))
            self.judged += len(parts[-1][0])
        self.writer, self.key, self.region, self.start, self.end, self.row = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        self.began, self.ended = history.start_ns[self.writer], history.end_ns[self.writer]
        # A write shows itself, which goes back behind nothing; and what it was applied to, which proves no more than
        # the write itself does, unless that began later. To have seen the future proves nothing here.
        self.itself = self.writer == self.row
        self.proves = (self.row < 0) | self.itself | ~own[self.row]
        self.proves |= self.began > history.start_ns[self.row]
        if several_clocks:  # but it may be another Region's, which the write itself says nothing of
            self.proves[:] = True
        self.proves &= self.began <= self.end

    def _that_matter(self, applied: _Columns) -> _Columns:
        """Of the states that writes were applied to those that may be late or a proof."""
        writer, _, _, start, _, _ = applied
        matters = (self.history.end_ns[writer] < start) | (self.history.start_ns[writer] > start)
        kept = np.flatnonzero(matters)
        return tuple(column[kept] for column in applied)

    def _rows(self, shows: Bool, writer: Int64) -> _Columns:
        history = self.history
        rows = np.flatnonzero(shows & (writer != NOT_FOUND))
        writers, region = writer[rows], self.regions[history.region[rows]]
        known = self.effective[writers] & (region >= 0)
        if not known.all():
            rows, writers, region = rows[known], writers[known], region[known]
        key = history.key[rows].astype(np.int64)
        return writers, key, region, history.start_ns[rows], history.end_ns[rows], rows

    def _swept(self, replica: Replica) -> _Columns:
        if replica.region not in self.context.regions:
            return (_NONE,) * 6
        writer = marks_of(self.history, self.context).find(replica.w, replica.key)
        shown = np.flatnonzero(writer != NOT_FOUND)
        shown = shown[self.effective[writer[shown]]]
        key = replica.key[shown]
        region = np.full_like(key, self.context.regions.index(replica.region))
        return writer[shown], key, region, replica.start_ns[shown], replica.end_ns[shown], np.full_like(key, -1)

    def backwards(self, place: Int64, slack_ns: int) -> Found:
        """Observations of w1 that began after one of w2 in the same place had ended."""
        bounds = [self.start, self.end, self.began, self.ended]
        first = min(int(one.min()) for one in bounds) - 2 * self.context.epsilon_ns
        last = max(int(one.max()) for one in bounds) + slack_ns
        parts = []
        for begin, end in key_chunks(int(place.max()) + 1, first, last):
            inside = (place >= begin) & (place < end)
            seen, before = self._pairs(inside, place - begin, Layout(end - begin, first, last), slack_ns)
            parts.append(np.stack([seen, before], axis=1))
        seen, before = np.concatenate(parts).T
        by, newer = self.writer[seen], self.writer[before]
        gamma = np.minimum(self.start[seen] - self.end[before], self.began[before] - self.ended[seen])
        witness = {"older": by, "newer": newer, "before": self.row[before], "by": self.row[seen]}
        replica = np.where(self.row[seen] < 0, self.region[seen], -1)
        return Found("backwards", self.key[seen], self.end[seen], witness, gamma, replica=replica)

    def _pairs(self, inside: Bool, place: Int64, layout: Layout, slack_ns: int) -> tuple[Int64, Int64]:
        """Observations that go back, each with one that it goes back behind."""
        # A write without an answer has no known end. Who began to look before the write had ended cannot have looked
        # after anything later had been seen.
        looking = self.start - 2 * self.context.epsilon_ns
        answered = self.history.outcome[self.writer] == Outcome.OK
        seen = np.flatnonzero(inside & ~self.itself & answered & (looking > self.ended + slack_ns))
        proof = np.flatnonzero(inside & self.proves)
        if not len(seen) or not len(proof):
            return _NONE, _NONE
        ended = layout.place(place[proof], self.end[proof])
        by_end = np.argsort(ended, kind="stable")
        # The newest write that the place had shown by then, and which observation showed it.
        began = layout.place(place[proof], self.began[proof])[by_end]
        newest = np.maximum.accumulate(began)
        raised = np.ones(len(newest), np.bool_)
        raised[1:] = began[1:] > newest[:-1]
        which = np.maximum.accumulate(np.where(raised, np.arange(len(newest)), 0))
        last = np.searchsorted(ended[by_end], layout.place(place[seen], looking[seen]), side="left") - 1
        back = (last >= 0) & (newest[np.maximum(last, 0)] > layout.place(place[seen], self.ended[seen] + slack_ns))
        return seen[back], proof[by_end[which[last[back]]]]


def _without(found: Found, known: Found) -> Found:
    """Findings that are not yet known; they are told apart by the operations that show them."""
    seen = set(_identity(known))
    new = np.array([one not in seen for one in _identity(found)], np.bool_)
    assert found.gamma_ns is not None
    assert found.replica is not None
    return Found(
        found.rule,
        found.key[new],
        found.at_ns[new],
        {role: rows[new] for role, rows in found.witness.items()},
        found.gamma_ns[new],
        replica=found.replica[new],
    )


def _identity(found: Found) -> list[tuple[int, ...]]:
    assert found.replica is not None
    columns = (found.witness["older"], found.witness["by"], found.replica)
    return list(zip(*(column.tolist() for column in columns), strict=True))

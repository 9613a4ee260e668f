"""Predecessors that nobody saw: what the record leaves no choice about, and what it bounds.

A write whose answer never came and that nobody read while it stood shows only as the predecessor of the next one, and
its own predecessor is not known. Two conclusions are drawn, each from what the record rules out:

- **By value.** The state before an increment had value ``value - delta``. Exactly one acknowledged increment returned
  that, so it is the predecessor. In MREC two Regions may have reached the same value apart, so this needs a single
  candidate and no other unseen write that could have stood there. In MRSC, where all writes of an item stand in one
  order, the next lower value will do if unseen writes can fill the difference.
- **By order** (MRSC). All acknowledged writes stand in one order, so the stretches of the lineage between gaps follow
  one another whole, and time says which is the newest.

Where neither applies, values still bound how many of the writes below the gap were kept: a counter that stood at 40
before the gap holds 40 increments, whichever they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.marks import NOT_FOUND, of_kind, updates
from verifier.checks.types import Context
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import Kind, Outcome

FOREVER: Final = np.iinfo(np.int64).max

_ROOT: Final = -1
_GAP: Final = -2


@dataclass(frozen=True, slots=True)
class Gap:
    """Where the known part of a lineage ends."""

    row: int
    """The write whose predecessor is not known; :data:`NOT_FOUND` if it has no row."""
    passed_ns: int
    """The gap had been passed by then, as far as clocks are known: what began later cannot be below it."""
    kept: tuple[int, int] | None
    """Least and most acknowledged writes below the gap that are in the lineage; null: no bounds."""


class Gaps:
    """Draws the conclusions for one history. ``links`` (predecessors) and ``seen`` (in a lineage) are the tracer's.

    A hot key may have thousands of gaps in a million writes, so what is the same for all gaps of a key is kept.
    """

    def __init__(self, history: History, context: Context, links: Sequence[int], seen: bytearray) -> None:
        self._history, self._context = history, context
        self._links, self._seen = links, seen
        self._index: tuple[Int64, Int64] | None = None
        self._key: _Key | None = None

    def conclude(self, key: int, chain: Sequence[int]) -> tuple[int | None, Gap | None]:
        """Predecessor (a node) of the last of ``chain`` (newest first); or what is known of the gap.

        (None, None): no acknowledged write is left that could be below the gap. Gaps of one key come one after the
        other, each with the chain grown.
        """
        if self._key is None or self._key.key != key:
            self._key = _Key(key, self._rows_of(key), self._history, self._context, self._links, self._seen)
        return self._key.conclude(chain)

    def _rows_of(self, key: int) -> Int64:
        """Rows of the key's updates that may have taken effect."""
        if self._index is None:
            history = self._history
            rows = np.flatnonzero(updates(history) & (history.outcome != Outcome.FAIL))
            order = rows[np.argsort(history.key[rows], kind="stable")]
            self._index = order, history.key[order].astype(np.int64)
        order, keys = self._index
        first, last = np.searchsorted(keys, [key, key + 1])
        return order[first:last]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Writes that follow one another without a gap."""

    end: int
    last_start_ns: int
    first_answer_ns: int
    rooted: bool
    """It goes down to the root."""


class _Key:
    """What the gaps of one key have in common."""

    def __init__(
        self, key: int, rows: Int64, history: History, context: Context, links: Sequence[int], seen: bytearray
    ) -> None:
        self.key = key
        self._history, self._context, self._links, self._seen = history, context, links, seen
        answered = history.outcome[rows] == Outcome.OK
        self._rows = rows
        self._answered = rows[answered]
        self._unknown = rows[~answered]
        self._unrecorded = sum(lost.count for lost in history.lost)
        self._by_start = self._answered[np.argsort(history.start_ns[self._answered], kind="stable")]
        self._first_left = 0
        """Everything before this place of ``_by_start`` is in the lineage."""
        self._chained = 0
        self._slack = 2 * context.epsilon_ns
        self._passed = min((end + self._slack for end in _final_ends(key, context)), default=FOREVER)
        self._counter = bool(of_kind(history, Kind.ADD)[rows].all())
        self._by_result = self._answered[np.argsort(history.result[self._answered], kind="stable")]
        self._results = history.result[self._by_result]
        deltas = history.value[self._answered]
        self._least, self._most = (int(deltas.min()), int(deltas.max())) if len(deltas) else (0, 0)
        self._stretches: list[_Stretch] | None = None

    def conclude(self, chain: Sequence[int]) -> tuple[int | None, Gap | None]:
        """See :meth:`Gaps.conclude`."""
        history = self._history
        self._note_passed(chain)
        if not self._any_left():
            return None, None
        node = chain[-1]
        row = node if node < len(history) else NOT_FOUND
        value = self._value(chain) if self._counter else None
        if value is not None:
            return self._by_value(row, value)
        if self._context.mode == "MRSC":
            found = self._by_order()
            if found is not None:
                return found, None
        return None, Gap(row, self._passed, None)

    def _by_value(self, row: int, value: int) -> tuple[int | None, Gap | None]:
        """Predecessor of a write that brought a counter to ``value``."""
        history, strict = self._history, self._context.mode == "MREC"
        start = _initial_value(self.key, self._context)
        before = value - (int(history.value[row]) if row != NOT_FOUND else 1)
        unseen = self._unknown[self._left_of(self._unknown)]
        hazards = len(unseen) + self._unrecorded
        first, last = np.searchsorted(self._results, [before, before + 1])
        candidates = [one for one in self._by_result[first:last].tolist() if self._is_left(one)]
        if before == start:
            candidates.append(_ROOT)
        if len(candidates) == 1 and not (strict and hazards):
            return candidates[0], None
        least, most = self._least, self._most
        if not strict and not candidates and hazards and least > 0:
            nearest = self._nearest_below(int(first))
            level = start if nearest == _ROOT else int(history.result[nearest])
            fill = int(history.value[unseen].sum()) + self._unrecorded * most
            if start <= level < before and before - level <= fill:
                return nearest, None
        if least == most and least > 0:
            left = int(self._left_of(self._answered).sum())
            holds = min(max(0, (before - start) // least), left)
            return None, Gap(row, self._passed, (max(0, holds - hazards), holds))
        return None, Gap(row, self._passed, None)

    def _nearest_below(self, place: int) -> int:
        """The write with the greatest result before a place of ``_by_result`` that is left."""
        while place > 0:
            place -= 1
            row = int(self._by_result[place])
            if self._is_left(row):
                return row
        return _ROOT

    def _by_order(self) -> int | None:
        """End of the newest stretch of writes below the gap, if the record allows only one order of the stretches.

        In one order of all writes the stretches between gaps follow one another whole. So nothing in an older one began
        after anything in the newest had been answered, and the one that goes down to the root is the oldest. Stretches
        that time does not tell apart may be taken in either order: the same writes are in the lineage.
        """
        if self._unrecorded:
            return None
        if self._stretches is None:
            self._stretches = sorted(self._find_stretches(), key=lambda one: one.last_start_ns)
        stretches = self._stretches
        if not stretches or stretches[-1].last_start_ns > self._passed:
            return None
        for at in reversed(range(len(stretches))):  # the newest is mostly the last
            one, others = stretches[at], stretches[-1] if at < len(stretches) - 1 else stretches[at - 1]
            if len(stretches) == 1 or (not one.rooted and others.last_start_ns <= one.first_answer_ns):
                return stretches.pop(at).end
        return None

    def _find_stretches(self) -> list[_Stretch]:
        """All stretches that are left; none if there are branches: then it is not one order."""
        history, links = self._history, self._links
        starts = history.start_ns.tolist()
        answers = np.where(history.outcome == Outcome.OK, history.end_ns, FOREVER).tolist()
        left = self._answered[self._left_of(self._answered)].tolist()
        followed = {links[row] for row in self._rows.tolist() if not self._seen[row]}
        taken: set[int] = set()
        stretches = []
        for end in (row for row in left if row not in followed):
            last_start, first_answer, node = 0, FOREVER, end
            while node >= 0:
                if node in taken or node >= len(starts):
                    return []  # two branches of one write, or a mark without a row
                taken.add(node)
                last_start = max(last_start, starts[node])
                first_answer = min(first_answer, answers[node])
                node = links[node]
            stretches.append(_Stretch(end, last_start, first_answer, node == _ROOT))
        whole = taken.issuperset(left) and sum(one.rooted for one in stretches) <= 1
        return stretches if whole else []

    def _value(self, chain: Sequence[int]) -> int | None:
        """Value that the last write of ``chain`` brought the counter to; None if that is not known."""
        history = self._history
        if len(chain) > 1:
            after = chain[-2]
            if after < len(history) and history.outcome[after] == Outcome.OK and history.result[after] != NULL:
                return int(history.result[after]) - int(history.value[after])
            return None
        for replica in self._context.final.values():
            found = replica.value[replica.key == self.key]
            return int(found[0]) if len(found) and found[0] != NULL else None
        return None

    def _note_passed(self, chain: Sequence[int]) -> None:
        """By when everything below the gap had taken effect: the first answer to a write above it."""
        history = self._history
        added = np.array(chain[self._chained :], np.int64)
        added = added[added < len(history)]
        ends = history.end_ns[added[history.outcome[added] == Outcome.OK]]
        self._passed = min(self._passed, int(ends.min()) + self._slack if len(ends) else FOREVER)
        self._chained = len(chain)

    def _is_left(self, row: int) -> bool:
        """Whether a write may be below the gap: not above it, and begun before it was passed."""
        return not self._seen[row] and bool(self._history.start_ns[row] <= self._passed)

    def _left_of(self, rows: Int64) -> Bool:
        """:meth:`_is_left` of many."""
        unseen = np.frombuffer(self._seen, np.uint8)[rows] == 0
        return np.asarray(unseen & (self._history.start_ns[rows] <= self._passed), np.bool_)

    def _any_left(self) -> bool:
        """Whether an acknowledged write may be below the gap."""
        while self._first_left < len(self._by_start):
            row = int(self._by_start[self._first_left])
            if not self._seen[row]:
                return bool(self._history.start_ns[row] <= self._passed)
            self._first_left += 1
        return False


def _final_ends(key: int, context: Context) -> list[int]:
    return [int(end) for replica in context.final.values() for end in replica.end_ns[replica.key == key]]


def _initial_value(key: int, context: Context) -> int:
    for replica in context.initial.values():
        found = replica.value[replica.key == key]
        return int(found[0]) if len(found) and found[0] != NULL else 0
    return 0

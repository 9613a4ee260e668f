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

from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.marks import NOT_FOUND, of_kind, updates
from verifier.checks.types import Context
from verifier.history.columns import NULL, History, Int64
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
    """The gap had been passed by then: what began later cannot be below it."""
    kept: tuple[int, int] | None
    """Least and most acknowledged writes below the gap that are in the lineage; null: no bounds."""


class Gaps:
    """Draws the conclusions for one history. ``links`` (predecessors) and ``seen`` (in a lineage) are the tracer's."""

    def __init__(self, history: History, context: Context, links: list[int], seen: bytearray) -> None:
        self._history, self._context = history, context
        self._links, self._seen = links, seen
        self._index: tuple[Int64, Int64] | None = None
        self._unrecorded = sum(lost.count for lost in history.lost)

    def conclude(self, key: int, chain: list[int]) -> tuple[int | None, Gap | None]:
        """Predecessor (a node) of the last of ``chain`` (newest first); or what is known of the gap.

        (None, None): no acknowledged write is left that could be below the gap.
        """
        history = self._history
        mine = self._rows_of(key)
        open_ = mine[np.frombuffer(self._seen, np.uint8)[mine] == 0]
        passed = self._passed(key, chain)
        open_ = open_[history.start_ns[open_] <= passed]
        left = open_[history.outcome[open_] == Outcome.OK]
        if not len(left):
            return None, None
        unseen = open_[history.outcome[open_] == Outcome.UNKNOWN]
        node = chain[-1]
        row = node if node < len(history) else NOT_FOUND
        value = self._value(key, chain)
        if value is not None:
            return self._by_value(key, row, value, left, unseen, passed)
        if self._context.mode == "MRSC":
            found = self._by_order(left, open_)
            if found is not None:
                return found, None
        return None, Gap(row, passed, None)

    def _by_value(
        self, key: int, row: int, value: int, left: Int64, unseen: Int64, passed: int
    ) -> tuple[int | None, Gap | None]:
        """Predecessor of a write that brought a counter to ``value``."""
        history, strict = self._history, self._context.mode == "MREC"
        start = self._initial_value(key)
        delta = int(history.value[row]) if row != NOT_FOUND else 1
        before = value - delta
        same = left[history.result[left] == before]
        hazards = len(unseen) + self._unrecorded
        candidates = [*same.tolist(), *([_ROOT] if before == start else [])]
        if len(candidates) == 1 and not (strict and hazards):
            return candidates[0], None
        deltas = history.value[left]
        if not strict and not candidates and hazards and bool((deltas > 0).all()):
            lower = left[history.result[left] < before]
            nearest = int(lower[np.argmax(history.result[lower])]) if len(lower) else _ROOT
            level = start if nearest == _ROOT else int(history.result[nearest])
            fill = int(history.value[unseen].sum()) + self._unrecorded * int(deltas.max())
            if start <= level < before and before - level <= fill:
                return nearest, None
        if bool((deltas == deltas[0]).all()) and int(deltas[0]) > 0:
            most = max(0, (before - start) // int(deltas[0]))
            return None, Gap(row, passed, (max(0, min(most, len(left)) - hazards), min(most, len(left))))
        return None, Gap(row, passed, None)

    def _by_order(self, left: Int64, open_: Int64) -> int | None:
        """End of the newest stretch of writes below the gap, if the record allows only one order of the stretches.

        In one order of all writes the stretches between gaps follow one another whole. So nothing in an older one began
        after anything in the newest had been answered, and the one that goes down to the root is the oldest. Stretches
        that time does not tell apart may be taken in either order: the same writes are in the lineage.
        """
        if self._unrecorded:
            return None
        history, links = self._history, self._links
        followed = {links[row] for row in open_.tolist()}
        taken: set[int] = set()
        stretches: list[tuple[int, int, int, bool]] = []  # end, last start, first answer, goes down to the root
        for end in (row for row in left.tolist() if row not in followed):
            last_start, first_answer, node = 0, FOREVER, end
            while node >= 0:
                if node in taken or node >= len(history):
                    return None  # two branches of one write, or a mark without a row
                taken.add(node)
                last_start = max(last_start, int(history.start_ns[node]))
                if history.outcome[node] == Outcome.OK:
                    first_answer = min(first_answer, int(history.end_ns[node]))
                node = links[node]
            stretches.append((end, last_start, first_answer, node == _ROOT))
        if not set(left.tolist()) <= taken or sum(rooted for *_, rooted in stretches) > 1:
            return None
        newer = [one for one in stretches if not one[3]] or stretches
        for end, _, first_answer, _ in newer:
            if all(start <= first_answer for other, start, _, _ in stretches if other != end):
                return end
        return None

    def _value(self, key: int, chain: list[int]) -> int | None:
        """Value that the last write of ``chain`` brought a pure counter to; None if that is not known."""
        history = self._history
        rows = self._rows_of(key)
        adds = of_kind(history, Kind.ADD)[rows]
        if not bool(adds.all()):
            return None
        if len(chain) > 1:
            after = chain[-2]
            if after < len(history) and history.outcome[after] == Outcome.OK and history.result[after] != NULL:
                return int(history.result[after]) - int(history.value[after])
            return None
        for replica in self._context.final.values():
            found = replica.value[replica.key == key]
            return int(found[0]) if len(found) and found[0] != NULL else None
        return None

    def _initial_value(self, key: int) -> int:
        for replica in self._context.initial.values():
            found = replica.value[replica.key == key]
            return int(found[0]) if len(found) and found[0] != NULL else 0
        return 0

    def _passed(self, key: int, chain: list[int]) -> int:
        """By when everything below the gap had taken effect: the first answer to a write above it."""
        history = self._history
        rows = np.array([node for node in chain if node < len(history)], np.int64)
        answered = rows[history.outcome[rows] == Outcome.OK]
        ends = [int(history.end_ns[answered].min())] if len(answered) else []
        for replica in self._context.final.values():
            ends.extend(int(end) for end in replica.end_ns[replica.key == key])
        return min(ends, default=FOREVER)

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

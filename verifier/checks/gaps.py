"""Predecessors that nobody saw: what the record leaves no choice about, and what it bounds.

A write whose answer never came and that nobody read while it stood shows only as the predecessor of the next one, and
its own predecessor is not known. Two conclusions are drawn, each from what the record rules out:

- **By value.** The state before an increment had value ``value - delta``. Exactly one acknowledged increment returned
  that, so it is the predecessor. In MREC two Regions may have reached the same value apart, so this needs a single
  candidate and no other unseen write that could have stood there. In MRSC, where all writes of an item stand in one
  order, the next lower value will do if unseen writes can fill the difference.
- **By order** (MRSC). All acknowledged writes stand in one order, so the branch end that no write followed is the
  predecessor, if as many branch ends are left as there are gaps.

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
        """The branch end that no write followed, if there is one for each gap."""
        parents = [self._links[row] for row in open_.tolist()]
        followed = set(parents)
        ends = [row for row in left.tolist() if row not in followed]
        gaps = sum(1 for row, parent in zip(open_.tolist(), parents, strict=True) if parent == _GAP and row in followed)
        if len(ends) != gaps + 1:
            return None
        last: int = max(ends, key=lambda row: int(self._history.start_ns[row]))
        return last

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

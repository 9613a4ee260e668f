"""From a writer's mark to the row that made it: what ``saw``, ``prev``, ``expect`` and ``_w`` point at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np

from verifier.checks.types import Context, Replica
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, UPDATES, WORKER_SHIFT, Kind

NOT_FOUND: Final = -1
"""No row has this operation id (or not on this key)."""

_SEQUENCE: Final = (1 << WORKER_SHIFT) - 1


class Marks:
    """Rows by operation id. Operation ids are dense by worker, so a table of positions beats a search.

    A transaction has several rows with one id; they are told apart by key.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        op = history.op
        # By worker from 1 on, with an empty one before and behind for marks of no worker that is here.
        self._spans = self._base = self._table = np.zeros(0, np.int64)
        self._sorted: tuple[Int64, Int64, Int64] | None = None
        """Rows in order of id and key, every id once, and id and key of these rows as one number."""
        if not len(op):
            return
        worker, sequence = op >> WORKER_SHIFT, op & _SEQUENCE
        workers = int(worker.max()) + 1
        spans = np.zeros(workers, np.int64)
        np.maximum.at(spans, worker, sequence + 1)
        if int(spans.sum()) <= 8 * len(op) + 65_536:
            self._spans = np.concatenate(([0], spans, [0]))
            self._base = np.cumsum(self._spans) - self._spans
            slot = self._base[worker + 1] + sequence
            table = np.full(int(spans.sum()) + 1, NOT_FOUND, np.int64)  # the last stands for all that are not here
            rows = np.arange(len(op), dtype=np.int64)
            table[slot] = rows
            if np.array_equal(table[slot], rows):
                self._table = table
                return
        order = np.lexsort((history.key, op)).astype(np.int64)
        ops, code = np.unique(op[order], return_inverse=True)
        self._sorted = order, ops, code.astype(np.int64) * len(history.keys) + history.key[order]

    def find(self, mark: Int64, key: Int64 | np.ndarray[tuple[int], np.dtype[np.int32]]) -> Int64:
        """Row of each mark on its key, :data:`NOT_FOUND` where there is none (null and ABSENT included)."""
        history = self._history
        found = np.full(len(mark), NOT_FOUND, np.int64)
        if not len(history.op) or not len(mark):
            return found
        if len(self._table):
            worker, sequence = np.clip((mark >> WORKER_SHIFT) + 1, 0, len(self._spans) - 1), mark & _SEQUENCE
            slot = np.where(sequence < self._spans[worker], self._base[worker] + sequence, len(self._table) - 1)
            found = self._table[slot]
        elif self._sorted is not None:
            order, ops, places = self._sorted
            code = np.minimum(np.searchsorted(ops, mark), len(ops) - 1)
            place = np.where(ops[code] == mark, code * len(history.keys) + key, -1)
            at = np.minimum(np.searchsorted(places, place), len(places) - 1)
            found = np.where(places[at] == place, order[at], NOT_FOUND)
        if len(history.keys) > 1:
            found[(found >= 0) & (history.key[found] != key)] = NOT_FOUND
        return found


def marks_of(history: History, context: Context) -> Marks:
    """The run's :class:`Marks`, made once."""
    made = context.shared.get("marks")
    if not isinstance(made, Marks):
        made = context.shared["marks"] = Marks(history)
    return made


def writers_of(history: History, context: Context, column: Literal["saw", "prev"]) -> Int64:
    """Row of the write whose mark each row shows in a column, or :data:`NOT_FOUND`; worked out once."""
    made = context.shared.get(f"writers:{column}")
    if not isinstance(made, np.ndarray):
        marks = marks_of(history, context)
        made = context.shared[f"writers:{column}"] = marks.find(getattr(history, column), history.key)
    return made


def of_kind(history: History, *kinds: str) -> Bool:
    """Rows of these kinds. The mask is made once for everybody, and so cannot be written to."""
    name = f"of_kind:{sorted(kinds)}"
    made = history.memo.get(name)
    if made is None:
        wanted = np.array([*(kind in kinds for kind in history.kinds), False])
        made = wanted[history.kind] if wanted.any() else np.zeros(len(history), np.bool_)
        made.flags.writeable = False
        history.memo[name] = made
    return made


def may_remove(history: History) -> bool:
    """Whether anything in the whole record may have removed an item: then operations that are missing may have, too."""
    return Kind.DELETE in history.kinds


def updates(history: History) -> Bool:
    """Rows that may change an item."""
    return of_kind(history, *(str(kind) for kind in UPDATES))


def keys_with(history: History, rows: Bool) -> Bool:
    """Keys that any of these rows is about (k)."""
    if len(history.keys) == 1:
        return np.array([rows.any()])
    keys = np.zeros(len(history.keys), np.bool_)
    keys[history.key[np.flatnonzero(rows)]] = True
    return keys


def in_lost_range(history: History, mark: Int64) -> Bool:
    """Marks of operations that a killed worker may have made without leaving a row."""
    hit: Bool = np.zeros(len(mark), np.bool_)
    for lost in history.lost:
        hit |= (mark >= lost.first_op) & (mark <= lost.last_op)
    return hit


def is_mark(mark: Int64) -> Bool:
    """Neither null nor "no such item"."""
    return np.asarray((mark != NULL) & (mark != ABSENT), np.bool_)


def marks_by_key(replicas: Iterable[Replica], keys: int) -> Int64:
    """``_w`` of every key in the first of these replicas; ABSENT without an item, null for an item without a mark."""
    marks = np.full(keys, ABSENT, np.int64)
    for replica in replicas:
        marks[replica.key] = replica.w
        break
    return marks

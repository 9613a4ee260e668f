"""A history in memory: one numpy array a column, dictionaries decoded to dense codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Int16 = npt.NDArray[np.int16]
Int8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

NULL: int = np.iinfo(np.int64).min
"""Stands for null in an int64 column of :class:`History`; no recorded value may equal it."""

NO_CODE: int = -1
"""Stands for null in a dictionary-coded column."""


def order_by_code(codes: Int32) -> Int64:
    """Order by codes (none negative) that keeps equal ones as they are.

    It sorts by 16 bits, the lower ones first, which takes linear time.
    """
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    if len(codes) and int(codes.max()) > np.iinfo(np.uint16).max:
        order = order[np.argsort((codes >> 16).astype(np.uint16)[order], kind="stable")]
    return order


@dataclass(frozen=True, slots=True)
class Lists:
    """A column of lists: those of row ``i`` are ``values[offsets[i]:offsets[i + 1]]``. Rows are chosen as in numpy."""

    offsets: Int64
    """n + 1 places, from 0."""
    values: Int64
    given: Bool
    """Rows that have a list, be it empty (n)."""

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: Int64 | Bool | slice) -> Lists:
        lengths, given = np.diff(self.offsets)[rows], self.given[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        begins = self.offsets[:-1][rows]
        places = np.arange(int(offsets[-1])) + np.repeat(begins - offsets[:-1], lengths)
        return Lists(offsets, self.values[places], given)

    def rows(self) -> Int64:
        """Row of each of the values."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


@dataclass(frozen=True, slots=True)
class LostRange:
    """Operation ids that a worker may have used without leaving a row: unknown updates of any key."""

    worker: int
    first_op: int
    last_op: int
    since_ns: int
    """They began after this time (end of the worker's last whole batch)."""

    @property
    def count(self) -> int:
        """How many ids."""
        return self.last_op - self.first_op + 1


@dataclass(frozen=True, slots=True)
class History:
    """Every recorded attempt of a run. All arrays have the same length ``n``; rows are in no particular order.

    Nullable int64 columns hold :data:`NULL` for null. Dictionary columns hold codes into the tuple of the same name in
    plural; :data:`NO_CODE` for null. See :data:`verifier.history.schema.COLUMNS` for what a column means.
    """

    op: Int64
    intent: Int64
    attempt: Int16
    token: Int64
    worker: Int16
    process: Int32
    region: Int32
    home_region: Int32
    workload: Int32
    kind: Int32
    key_class: Int32
    key: Int32
    logical_key: Int32
    value: Int64
    expect: Int64
    result: Int64
    saw: Int64
    prev: Int64
    outcome: Int8
    error: Int32
    units: Float32
    scheduled_ns: Int64
    start_ns: Int64
    end_ns: Int64

    regions: tuple[str, ...]
    home_regions: tuple[str, ...]
    workloads: tuple[str, ...]
    kinds: tuple[str, ...]
    key_classes: tuple[str, ...]
    keys: tuple[str, ...]
    logical_keys: tuple[str, ...]
    errors: tuple[str, ...]

    lost: tuple[LostRange, ...] = ()
    incomplete: tuple[str, ...] = field(default=())
    """Why the record is not whole: one sentence a worker without end mark."""
    odd: tuple[str, ...] = ()
    """What an honest recorder does not write, and what it means for the verdict: a sentence each."""
    elements: Lists | None = None
    """Sets that came back, by row; None: the run has none."""
    user_region: Int32 | None = None
    """Code of the Region that the user lives in; NO_CODE: the one that was asked. None: so for all rows."""
    user_regions: tuple[str, ...] = ()
    memo: dict[str, Bool] = field(init=False, default_factory=dict, compare=False, repr=False)
    """Masks of rows that many checks need and that the columns alone decide; a copy with other columns starts anew."""

    def __len__(self) -> int:
        return len(self.op)


def one_row_each(history: History) -> bool:
    """Whether every operation has one row, as all have but requests on several items. Found out once."""
    known = history.memo.get("one row each")
    if known is None:
        known = history.memo["one row each"] = np.array(_all_different(history.op, history.worker))
    return bool(known)


def _all_different(op: Int64, worker: Int16) -> bool:
    """Ids are dense by worker, so that a table of flags is enough; else a sort."""
    for number in np.flatnonzero(np.bincount(worker)).tolist() if len(op) else ():
        mine = op[worker == number]
        least = int(mine.min())
        span = int(mine.max()) - least + 1
        if span <= 8 * len(mine) + 65_536:
            seen = np.zeros(span, np.bool_)
            seen[mine - least] = True
            if int(np.count_nonzero(seen)) != len(mine):
                return False
        else:
            ordered = np.sort(mine)
            if bool((ordered[1:] == ordered[:-1]).any()):
                return False
    return True

"""What an honest recorder does not write: a process with two operations at once, or whose clock went back.

A process has one operation at a time. Where two of its operations overlap, nothing is known of what it had seen when it
asked again: that is said, and session guarantees are not judged for it. Where an operation had ended before an earlier
one of its process began, the worker's clock went back, and no time of it proves anything: such a record is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from verifier.errors import RecordError
from verifier.history.columns import NULL, Int32, Int64, order_by_code
from verifier.history.schema import short

COLUMNS: Final = ("process", "op", "start_ns", "end_ns")
"""What is looked at."""


class Processes:
    """One worker's rows, in pieces of any size in the order in which they were recorded."""

    def __init__(self, path: Path) -> None:
        """``path``: the file, for whoever has to look."""
        self._path = path
        self._op, self._start, self._end = (np.full(0, NULL, np.int64) for _ in range(3))
        self._overlapping: dict[int, tuple[int, int]] = {}

    def add(self, process: Int32, op: Int64, start_ns: Int64, end_ns: Int64) -> None:
        """More rows. Raises :class:`RecordError` where the clock went back."""
        if not len(process):
            return
        self._grow(int(process.max()) + 1)
        order = order_by_code(process) if int(process.min()) >= 0 else np.argsort(process, kind="stable")
        in_order = process[order], op[order], start_ns[order], end_ns[order]
        same = in_order[0][1:] == in_order[0][:-1]
        if (same & (in_order[1][1:] < in_order[1][:-1])).any():  # mostly they stand in the order of their ids
            order = np.lexsort((op, process))
            in_order = process[order], op[order], start_ns[order], end_ns[order]
            same = in_order[0][1:] == in_order[0][:-1]
        process, op, start, end = in_order
        first = np.flatnonzero(np.concatenate(([True], ~same)))
        inside = np.flatnonzero(same & (start[1:] < end[:-1]))
        pairs = [(op[inside], start[inside], end[inside], inside + 1)]
        pairs.append((self._op[process[first]], self._start[process[first]], self._end[process[first]], first))
        for before_op, before_start, before_end, at in pairs:
            # Several items of one request are rows of one operation.
            hit = (before_op != NULL) & (before_op < op[at]) & (start[at] < before_end)
            back = np.flatnonzero(hit & (end[at] < before_start))
            if len(back):
                later, earlier = int(op[at[back[0]]]), int(before_op[back[0]])
                raise RecordError(
                    f"{self._path}: operation {short(later)} had ended before {short(earlier)} of the "
                    f"same process began ({len(back):,} in all): the worker's clock went back, so none of its times "
                    "proves anything"
                )
            for one in np.flatnonzero(hit).tolist():
                self._overlapping.setdefault(int(process[at[one]]), (int(before_op[one]), int(op[at[one]])))
        last = np.flatnonzero(np.diff(process, append=process[-1] + 1))
        for kept, values in ((self._op, op), (self._start, start), (self._end, end)):
            kept[process[last]] = values[last]

    def said(self) -> Iterator[str]:
        """What there is to say, a line each."""
        if self._overlapping:
            process, (one, other) = min(self._overlapping.items())
            count = len(self._overlapping)
            more = f" and {count - 1:,} more" if count > 1 else ""
            yield (
                f"{self._path.stem}: process {process}{more} had two operations at once (first {short(one)} and "
                f"{short(other)}): session guarantees are not judged for {'them' if count > 1 else 'it'}, all else is"
            )

    def _grow(self, size: int) -> None:
        if size > len(self._op):
            self._op, self._start, self._end = (
                np.concatenate((kept, np.full(size - len(kept), NULL, np.int64)))
                for kept in (self._op, self._start, self._end)
            )

"""Seconds in which a worker sent late, concluded from its rows: of workers that did not measure themselves.

An operation is due when its schedule says so and its process has its last answer. A second is late if more than one in
a hundred of the worker's operations began later than that by more than :data:`SLOW_CLIENT_NS`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from verifier.history.columns import Int64
from verifier.history.lag import SLOW_CLIENT_MS

SLOW_CLIENT_NS: Final = int(SLOW_CLIENT_MS * 1e6)
"""A second is marked when its sends were later than this at p99 with nothing else to wait for."""

_SECOND_NS: Final = 1_000_000_000
_NEVER: Final = np.iinfo(np.int64).min


def perhaps_late(scheduled_ns: Int64, start_ns: Int64) -> bool:
    """Whether any of these can have been sent late."""
    return bool((start_ns - scheduled_ns > SLOW_CLIENT_NS).any())


class LateSends:
    """One worker's operations, stretch by stretch in the order in which they were recorded."""

    def __init__(self, t0_ns: int) -> None:
        self._t0 = t0_ns
        self._free: dict[int, int] = {}
        """Process → when it had its last answer."""
        self._sent: dict[int, int] = {}
        self._late: dict[int, int] = {}

    def add(self, scheduled_ns: Int64, start_ns: Int64, end_ns: Int64, process: Int64) -> None:
        """Some operations; arrays of equal length."""
        if not len(start_ns):
            return
        order = np.lexsort((start_ns, process))
        process, start, end = process[order], start_ns[order], end_ns[order]
        free = np.full(len(order), _NEVER, np.int64)
        same = process[1:] == process[:-1]
        free[1:][same] = end[:-1][same]
        first, last = np.flatnonzero(np.concatenate(([True], ~same))), np.flatnonzero(np.concatenate((~same, [True])))
        free[first] = [self._free.get(one, _NEVER) for one in process[first].tolist()]
        self._free.update(zip(process[last].tolist(), end[last].tolist(), strict=True))
        late = start - np.maximum(scheduled_ns[order], free) > SLOW_CLIENT_NS
        second = (start - self._t0) // _SECOND_NS
        for counts, rows in ((self._sent, second), (self._late, second[late])):
            for one, count in zip(*(column.tolist() for column in np.unique(rows, return_counts=True)), strict=True):
                counts[one] = counts.get(one, 0) + count

    def seconds(self) -> set[int]:
        """Late ones, from t0."""
        return {second for second, late in self._late.items() if late > 0.01 * self._sent[second]}

"""How a number of microseconds is distributed: exact ranks of values that are counted part by part and put together.

Percentiles are those of the operations themselves (nearest rank), to the microsecond. Latencies repeat, so a hundred
million of them are some hundred thousand distinct values with their counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.history.columns import Int64

_DENSE: Final = 8
"""A table of counts is better than a sort while it has no more than so many places for a value."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Distinct values in ascending order, and how often each occurs."""

    us: Int64
    count: Int64

    @classmethod
    def of_ns(cls, values_ns: Int64) -> Distribution:
        """Of these times, rounded to the microsecond."""
        return cls._counted((values_ns + 500) // 1000, None)

    @classmethod
    def merged(cls, parts: Iterable[Distribution]) -> Distribution:
        """Of everything in the parts."""
        listed = [part for part in parts if len(part.us)]
        if not listed:
            return NOTHING
        if len(listed) == 1:
            return listed[0]
        return cls._counted(
            np.concatenate([part.us for part in listed]), np.concatenate([part.count for part in listed])
        )

    @classmethod
    def _counted(cls, us: Int64, count: Int64 | None) -> Distribution:
        if not len(us):
            return NOTHING
        least = int(us.min())
        span = int(us.max()) - least + 1
        if span <= _DENSE * len(us) + 65_536:
            table = np.zeros(span, np.int64)
            if count is None:
                table = np.bincount(us - least, minlength=span)
            else:
                np.add.at(table, us - least, count)
            there = np.flatnonzero(table)
            return cls(there + least, table[there])
        values, where, counts = np.unique(us, return_inverse=True, return_counts=True)
        if count is not None:
            counts = np.zeros(len(values), np.int64)
            np.add.at(counts, where, count)
        return cls(values, counts)

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.count.sum())

    def rank_ms(self, share: float) -> float | None:
        """Smallest value, in milliseconds, that at least this share of the values does not exceed; null: no values."""
        return self.ranks_ms([share])[0]

    def ranks_ms(self, shares: Iterable[float]) -> list[float | None]:
        """:meth:`rank_ms` of several."""
        below = np.cumsum(self.count)
        if not len(below):
            return [None for _ in shares]
        ranks = [max(1, math.ceil(share * int(below[-1]))) for share in shares]
        return [int(self.us[at]) / 1000 for at in np.searchsorted(below, ranks).tolist()]


NOTHING: Final = Distribution(np.zeros(0, np.int64), np.zeros(0, np.int64))
"""Of no values."""

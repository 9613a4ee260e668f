"""One vector pass over all keys at once: times laid out key after key, and the few segmented operations that need it.

A key's times occupy a stretch of ``span + 6`` numbers, so that one sort, one running maximum and one search serve all
keys: what belongs to another key is smaller or greater than anything of one's own. The product must fit into 63 bits.
That is asserted and never assumed; where the keys do not fit, they are taken chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from verifier.history.columns import Int64

AFTER: Final = int(np.iinfo(np.int64).max // 4)
"""Later than every time of a record."""

BEFORE: Final = -AFTER
"""Earlier than every time of a record."""

_CAPACITY: Final = int(np.iinfo(np.int64).max)
_MARGIN: Final = 6

Keys = npt.NDArray[np.int64] | npt.NDArray[np.int32]


class Layout:
    """Places ``(key, time)`` on one line. Times are from ``first`` to ``last``, or :data:`BEFORE` or :data:`AFTER`."""

    def __init__(self, keys: int, first: int, last: int) -> None:
        self.first, self._keys = first, keys
        self.width = width_of(first, last)
        if keys * self.width > _CAPACITY:
            raise OverflowError(f"{keys:,} keys of {self.width:,} ns do not fit; take them in chunks")
        self._last = last

    def place(self, key: Keys, time: Int64) -> Int64:
        """One number for each; in order of key, then time."""
        shifted = time - (self.first - 2)
        if len(shifted) and (int(shifted.min()) < 0 or int(shifted.max()) >= self.width):
            shifted[time <= BEFORE] = 0
            shifted[time >= AFTER] = self.width - 2
            if int(shifted.min()) < 0 or int(shifted.max()) >= self.width:
                raise OverflowError("a time lies outside the layout")
        return shifted if self._keys == 1 else np.asarray(key, np.int64) * self.width + shifted


def width_of(first: int, last: int) -> int:
    """Numbers that one key takes."""
    return last - first + _MARGIN


def key_chunks(keys: int, first: int, last: int, capacity: int = _CAPACITY) -> Iterator[tuple[int, int]]:
    """Half-open ranges of keys that fit into one layout each; nearly always one."""
    size = max(1, capacity // width_of(first, last))
    for begin in range(0, keys, size):
        yield begin, min(begin + size, keys)


def running_min_after(values: Int64, segment: Int64, *, inclusive: bool = False) -> tuple[Int64, Int64]:
    """Minimum of all *later* values of the same segment, and the place of one that has it.

    :data:`AFTER` and the place itself for a segment's last. ``inclusive``: the value itself counts too. Segments are
    sorted.
    """
    size = len(values)
    if not size:
        return values, np.zeros(0, np.int64)
    here = np.arange(size)
    # The sign turns the suffix's minimum into a prefix's maximum; a lift by segment keeps segments apart.
    least = -_lifted_running_max(-values[::-1], segment[-1] - segment[::-1])[::-1]
    holds = values == least
    where = np.minimum.accumulate(np.where(holds, here, size)[::-1])[::-1]
    if inclusive:
        return least, where
    after, behind = np.full(size, AFTER, np.int64), here.copy()
    same = np.flatnonzero(segment[1:] == segment[:-1])
    after[same], behind[same] = least[same + 1], where[same + 1]
    return after, behind


def smallest(size: int, at: Int64, values: Int64) -> Int64:
    """Smallest of the values that go to each of ``size`` places; :data:`AFTER` where none does."""
    result = np.full(size, AFTER, np.int64)
    np.minimum.at(result, at, values)
    return result


def greatest(size: int, at: Int64, values: Int64) -> Int64:
    """Greatest of the values that go to each of ``size`` places; :data:`BEFORE` where none does."""
    result = np.full(size, BEFORE, np.int64)
    np.maximum.at(result, at, values)
    return result


def first_of(size: int, at: Int64, values: Int64) -> Int64:
    """The first of the values that go to each of ``size`` places; −1 where none does."""
    result = np.full(size, -1, np.int64)
    result[at[::-1]] = values[::-1]
    return result


def _lifted_running_max(values: Int64, segment: Int64) -> Int64:
    """Maximum of the values so far of the same segment. Segments are sorted, from 0."""
    if int(segment[-1]) == 0:
        return np.maximum.accumulate(values)
    finite = values[(values > BEFORE) & (values < AFTER)]
    first, last = (int(finite.min()), int(finite.max())) if len(finite) else (0, 0)
    segments = int(segment[-1]) + 1
    if segments * width_of(first, last) > _CAPACITY:
        ranks, inverse = np.unique(values, return_inverse=True)
        return np.asarray(ranks[_lifted_running_max(inverse.astype(np.int64), segment)], np.int64)
    layout = Layout(segments, first, last)
    inside = np.maximum.accumulate(layout.place(segment, values)) - np.asarray(segment, np.int64) * layout.width
    result = inside + (first - 2)
    result[inside == 0] = BEFORE
    result[inside == layout.width - 2] = AFTER
    return np.asarray(result, np.int64)

"""Positions kept in order while they come and go, in lists of bounded length: what Scan and Query walk along."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Any, Final

_LONGEST: Final = 1000
"""A list longer than this is halved, so that an insertion never moves more."""


class Ordered:
    """A set of tuples that compare with each other, in order."""

    __slots__ = ("_lasts", "_lists")

    def __init__(self, positions: Iterable[Any] = ()) -> None:
        everything = sorted(positions)
        half = _LONGEST // 2
        self._lists = [everything[at : at + half] for at in range(0, len(everything), half)]
        self._lasts = [part[-1] for part in self._lists]

    def __len__(self) -> int:
        return sum(map(len, self._lists))

    def add(self, position: Any) -> None:
        """``position`` is not in the set."""
        lists, lasts = self._lists, self._lasts
        if not lists:
            lists.append([position])
            lasts.append(position)
            return
        at = bisect_left(lasts, position)
        if at == len(lasts):
            at -= 1
            lists[at].append(position)
            lasts[at] = position
        else:
            insort(lists[at], position)
        part = lists[at]
        if len(part) > _LONGEST:
            half = len(part) // 2
            lists[at : at + 1] = [part[:half], part[half:]]
            lasts.insert(at, part[half - 1])

    def remove(self, position: Any) -> None:
        """``position`` is in the set."""
        at = bisect_left(self._lasts, position)
        part = self._lists[at]
        del part[bisect_left(part, position)]
        if not part:
            del self._lists[at], self._lasts[at]
        else:
            self._lasts[at] = part[-1]

    def between(self, low: Any, high: Any) -> Iterator[Any]:
        """Positions with low <= position < high, in order. The set stays as it is meanwhile."""
        lists = self._lists
        at = bisect_left(self._lasts, low)
        start = bisect_left(lists[at], low) if at < len(lists) else 0
        for number in range(at, len(lists)):
            part = lists[number]
            for index in range(start, len(part)):
                if not part[index] < high:
                    return
                yield part[index]
            start = 0

    def backwards(self, low: Any, high: Any) -> Iterator[Any]:
        """The same in reverse."""
        lists = self._lists
        at = bisect_left(self._lasts, high)
        if at < len(lists):
            part = lists[at]
            for index in range(bisect_left(part, high) - 1, -1, -1):
                if part[index] < low:
                    return
                yield part[index]
        for number in range(min(at, len(lists)) - 1, -1, -1):
            for position in reversed(lists[number]):
                if position < low:
                    return
                yield position


class Above:
    """In place of a value: above every value, or above every text or bytes that begins with ``start``, and no other."""

    __slots__ = ("_start",)

    def __init__(self, start: str | bytes | None = None) -> None:
        self._start = start

    def __lt__(self, other: Any) -> bool:
        return not self > other

    __le__ = __lt__  # it is equal to nothing

    def __gt__(self, other: Any) -> bool:
        start = self._start
        return start is None or bool(other < start) or bool(other.startswith(start))

    __ge__ = __gt__


ABOVE: Final = Above()

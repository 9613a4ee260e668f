"""The core's clock and what is due when: virtual, so that tests decide how time passes.

Rules
-----
1. Time moves only in :meth:`Scheduler.advance`. While an event runs, ``now_ns`` is the time it was due at, or later
   if an earlier call had already moved on: it never goes back.
2. Events run in order of (due, order in which they were asked for).
3. ``soon`` is for what happens now but not inside the caller: no heap, no recursion.
4. Nothing runs before it is due. The caller of ``advance`` decides how late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Event = tuple[int, int, Callable[..., object], tuple[Any, ...]]


class Scheduler:
    """A heap of events and a queue of those that are due at once."""

    __slots__ = ("_heap", "_sequence", "now_ns", "ready")

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        self._heap: list[Event] = []
        self.ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        """What was asked for with :meth:`soon` and has not run yet."""
        self._sequence = 0

    def at(self, due_ns: int, call: Callable[..., object], *args: Any) -> None:
        """Run ``call(*args)`` at ``due_ns``, not before."""
        self._sequence += 1
        heappush(self._heap, (due_ns, self._sequence, call, args))

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Run ``call(*args)`` now, after what is running has returned."""
        self.ready.append((call, args))

    @property
    def next_ns(self) -> int | None:
        """When the earliest event is due; None: nothing waits."""
        return self._heap[0][0] if self._heap else None

    def advance(self, now_ns: int, limit: int = 1_000_000_000) -> None:
        """Run what is due by ``now_ns``, ``limit`` events at most; the rest stays due."""
        heap = self._heap
        if heap and heap[0][0] <= now_ns:
            while heap and heap[0][0] <= now_ns and limit > 0:
                due_ns, _, call, args = heappop(heap)
                if due_ns > self.now_ns:
                    self.now_ns = due_ns
                call(*args)
                if self.ready:
                    self.settle()
                limit -= 1
            if limit <= 0 and heap and heap[0][0] <= now_ns:
                return
        if now_ns > self.now_ns:
            self.now_ns = now_ns

    def settle(self) -> None:
        """Run everything that was asked for with ``soon``."""
        ready = self.ready
        while ready:
            call, args = ready.popleft()
            call(*args)

"""Sends the master's routes to the workers, and the keys of dead workers to others that can read what those recorded.

At a failover every worker sweeps the keys of which its users had a write acknowledged (:mod:`.routes`). The keys of a
worker that has died go to its heir: the first one left on its machine, where its record is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lastwriter.client.routes import Routing


class RouteSender:
    """The latest route, who has swept after it, and who is whose heir."""

    def __init__(
        self,
        send: Callable[[int, dict[str, Any]], None],
        there: Callable[[], Iterable[int]],
        place: Callable[[int], object],
    ) -> None:
        """``send(worker, message)``; ``there()`` are the workers left; ``place(worker)`` tells where its record is."""
        self._send, self._there, self._place = send, there, place
        self._routing = Routing()
        self._dead: list[int] = []
        self._swept: set[tuple[int, str]] = set()

    def decided(self, routing: Routing) -> None:
        """To all workers that are there."""
        self._routing, self._swept = routing, set()
        for worker in list(self._there()):
            self._tell(worker, [dead for dead in self._dead if self._heir(dead) == worker])

    def swept(self, number: int, worker: int, region: str) -> None:
        """A worker has read its keys of a lost Region after that decision."""
        if number == self._routing.number:
            self._swept.add((worker, region))

    def lost(self, worker: int) -> None:
        """A worker has died; if that was in the middle of its sweep, its heir begins anew."""
        self._dead.append(worker)
        heir = self._heir(worker)
        if heir is not None and any((worker, region) not in self._swept for region in self._routing.lost):
            self._tell(heir, [worker])

    def _tell(self, worker: int, orphans: list[int]) -> None:
        self._send(worker, {"worker": worker, "routing": self._routing.message(), "orphans": orphans})

    def _heir(self, dead: int) -> int | None:
        place = self._place(dead)
        return min((worker for worker in self._there() if self._place(worker) == place), default=None)

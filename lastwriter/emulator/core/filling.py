"""A replica that joins a table with items: they are copied in steps, while the table is written to.

Rules
-----
1. What is written from now on comes by the replicators, which are there from the start; what was there before is
   copied from every other replica, for each may have what no other has yet. In whichever order they come, the later
   version stays.
2. ``fill_rate`` items are copied a second (0: all at once). Nothing passes over a link that is broken, for
   everybody or because replication of the table is paused: filling waits.
3. The replica serves nothing until it is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable
from lastwriter.emulator.core.network import Link

if TYPE_CHECKING:
    from lastwriter.emulator.core.members import Member

_STEP_NS: Final = 10_000_000


class Filling:
    """Fills one member; ``done()`` when it is full."""

    def __init__(self, environment: Environment, member: Member, done: Callable[[], None]) -> None:
        self._environment = environment
        self._member = member
        self._done = done
        self._due = 0.0
        engine, replica = member.table.engine, member.store
        assert isinstance(engine, MrecTable)
        assert isinstance(replica, MrecReplica)
        others = [other for other in engine.replicas.values() if other is not replica]
        member.to_fill, member.filled = sum(len(other.items) for other in others), 0
        self._copies = self._copy(replica, others, engine.lanes.links)
        self._step()

    def _step(self) -> None:
        member = self._member
        if member.status != "CREATING":
            return
        rate = self._environment.settings.fill_rate
        self._due = self._due + rate * _STEP_NS / 1e9 if rate else float("inf")
        while self._due >= 1:
            copied = next(self._copies, None)
            if copied is None:
                self._done()
                return
            if not copied:  # no way from there now
                break
            member.filled += 1
            self._due -= 1
        scheduler = self._environment.scheduler
        scheduler.at(scheduler.now_ns + _STEP_NS, self._step)

    def _copy(
        self, replica: MrecReplica, others: list[MrecReplica], links: Mapping[tuple[str, str], Link]
    ) -> Iterator[bool]:
        """Copy one item after the other; False: the link it would take is broken."""
        for other in others:
            link = links[other.region, replica.region]
            for key in list(other.items):
                while link.breaks:
                    yield False
                replica.merge(key, other.items[key])
                yield True

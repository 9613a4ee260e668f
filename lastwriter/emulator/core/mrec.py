"""Tables of one Region, and global tables with multi-Region eventual consistency (MREC): the last writer wins.

Theory of operation
-------------------
1. Every Region has a whole copy and serves reads and writes from it alone. A write is judged against the local copy,
   applied, answered. A table of one Region is this without replicators.
2. The version of an item is (timestamp, Region, item). A local write's timestamp is max(Region clock, timestamp of
   the item or its tombstone + 1), so a local write always applies, also where the clock is behind.
3. One replicator for each ordered pair of replicas carries *local* writes only. What arrives is never passed on (no
   relay): with the A-B link cut, A's writes reach C but not B.
4. A version that arrives applies if and only if it is greater than the one in place: by timestamp, then by Region
   name. A loser leaves no trace. Every Region therefore ends with the same version, whatever the order of arrival.
5. A deletion is a version without an item (a tombstone), kept for the run: else an older write that arrives late
   would bring the item back. Deleting what is not there changes nothing and replicates nothing.
6. A change takes the one-way time of the link plus a replicator's delay drawn for it. Per item and pair, changes
   arrive in the order they were made (each waits for the one before); across items there is no order.
7. A broken link holds changes back and loses none: what is due while it is broken waits, and leaves when it heals.

Known warts: several changes of an item never arrive merged into one, as AWS sometimes does; nothing bounds the
backlog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log, log1p
from random import Random
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.arranged import Observer
from lastwriter.emulator.core.environment import Clock, Environment, Handle
from lastwriter.emulator.core.lanes import Lanes
from lastwriter.emulator.core.network import Link
from lastwriter.emulator.requests.operations import Get, Item, Key, Write
from lastwriter.emulator.requests.transactions import conflict

if TYPE_CHECKING:
    from lastwriter.emulator.core.throughput import Meter

Version = tuple[int, str, Item | None]
"""Timestamp, Region of origin, item (None: tombstone)."""

_DRAWS: Final = 4096


class ReplicatorDelay:
    """Draws what a replicator adds to the way: log-normal, long-tailed, or always the median."""

    __slots__ = ("_draws", "_rng", "_spread", "median_ns")

    def __init__(self, median_s: float, spread: float, rng: Random) -> None:
        self.median_ns = round(median_s * 1e9)
        self._spread = spread if median_s > 0 else 0.0
        self._rng = rng
        self._draws: list[int] = []  # once drawn, a choice among many is quicker than another draw

    def draw(self) -> int:
        """Nanoseconds."""
        if not self._spread:
            return self.median_ns
        if not self._draws:
            mu, sigma = log(self.median_ns), log1p(self._spread)
            self._draws = [round(self._rng.lognormvariate(mu, sigma)) for _ in range(_DRAWS)]
        return self._draws[int(self._rng.random() * _DRAWS)]


class MrecReplica:
    """One Region's copy."""

    __slots__ = ("clock", "items", "locked", "meter", "outgoing", "region", "watcher")

    def __init__(self, region: str, clock: Clock) -> None:
        self.region = region
        self.clock = clock
        self.items: dict[Key, Version] = {}
        self.outgoing: list[Replicator] = []
        self.watcher: Observer | None = None
        self.locked: set[Key] = set()  # held by transactions
        self.meter: Meter | None = None  # where throttling is on

    def visible(self) -> Iterator[tuple[Key, Item]]:
        """Keys and items as a read sees them."""
        return ((key, version[2]) for key, version in self.items.items() if version[2] is not None)

    def merge(self, key: Key, version: Version) -> None:
        """Apply what came from elsewhere, if it wins."""
        current = self.items.get(key)
        if current is None or version[0] > current[0] or (version[0] == current[0] and version[1] > current[1]):
            self.items[key] = version
            if self.watcher is not None:
                self.watcher.changed(key, current[2] if current is not None else None, version[2])


class Replicator:
    """Carries one replica's local writes to one other replica."""

    __slots__ = ("_delay", "_environment", "_held", "_pending", "backlog", "link", "target")

    def __init__(self, link: Link, target: MrecReplica, delay: ReplicatorDelay, environment: Environment) -> None:
        self.link = link
        self.target = target
        self.backlog = 0
        self._delay = delay
        self._environment = environment
        self._pending: dict[Key, list[int | Version]] = {}  # key → [when the last is due, versions in order…]
        self._held: list[Key] = []  # one entry for each change that was due while the link was broken

    def send(self, key: Key, version: Version) -> None:
        """Take a local write."""
        scheduler = self._environment.scheduler
        link = self.link
        due_ns = scheduler.now_ns + link.latency_ns + self._delay.draw()
        if link.jitter_ns:
            due_ns += self._environment.jitter_ns(link)
        pending = self._pending.get(key)
        if pending is None:
            if due_ns <= scheduler.now_ns and not link.breaks and self.target.meter is None:
                self.target.merge(key, version)
                return
            self._pending[key] = [due_ns, version]
        else:
            due_ns = max(due_ns, pending[0])  # type: ignore[assignment]
            pending[0] = due_ns
            pending.append(version)
        self.backlog += 1
        scheduler.at(due_ns, self._arrive, key)

    def release(self) -> None:
        """The link has healed: what was held back leaves now."""
        held, self._held = self._held, []
        scheduler = self._environment.scheduler
        due_ns = scheduler.now_ns + self.link.latency_ns
        for key in held:
            scheduler.at(due_ns + self._environment.jitter_ns(self.link), self._arrive, key)

    def oldest_ns(self) -> int | None:
        """Time, by the source's clock, of the oldest change under way."""
        return min((pending[1][0] for pending in self._pending.values()), default=None)  # type: ignore[index]

    def set_delay(self, delay: ReplicatorDelay) -> None:
        """Draw from ``delay`` for changes made from now on."""
        self._delay = delay

    def _arrive(self, key: Key) -> None:
        if self.link.breaks:
            self._held.append(key)
            return
        meter = self.target.meter
        if meter is None:
            self._merge(key)
        else:
            meter.arrive(key, self._next, self._merge)

    def _next(self, key: Key) -> Item | None:
        """What the next change of the item makes of it."""
        return self._pending[key][1][2]  # type: ignore[index]

    def _merge(self, key: Key) -> None:
        pending = self._pending[key]
        version: Version = pending.pop(1)  # type: ignore[assignment]
        if len(pending) == 1:
            del self._pending[key]
        self.backlog -= 1
        self.target.merge(key, version)


class MrecTable:
    """The copies of one table and the replicators between them."""

    mode: Final = "MREC"
    replica_class = MrecReplica
    replicator_class = Replicator

    def __init__(self, environment: Environment, delay: ReplicatorDelay) -> None:
        self.replicas: dict[str, MrecReplica] = {}
        self._environment = environment
        self._delay = delay
        self.lanes = Lanes(environment.network)
        self.lanes.observers.append(self)

    def add(self, region: str) -> MrecReplica:
        """A new copy, empty: the others' writes come to it from now on."""
        replica = self.replica_class(region, self._environment.clock(region))
        links = self.lanes.links
        for other in self.replicas.values():
            there, back = links[other.region, region], links[region, other.region]
            other.outgoing.append(self.replicator_class(there, replica, self._delay, self._environment))
            replica.outgoing.append(self.replicator_class(back, other, self._delay, self._environment))
        self.replicas[region] = replica
        return replica

    def remove(self, region: str) -> None:
        """Take a copy away; what is on its way to it is dropped."""
        gone = self.replicas.pop(region)
        for replica in self.replicas.values():
            replica.outgoing = [replicator for replicator in replica.outgoing if replicator.target is not gone]
        gone.outgoing = []

    def close(self) -> None:
        """The table is gone."""
        self.lanes.close()

    def set_delay(self, delay: ReplicatorDelay) -> None:
        """Draw replicators' delays from ``delay`` from now on."""
        self._delay = delay
        for replica in self.replicas.values():
            for replicator in replica.outgoing:
                replicator.set_delay(delay)

    # -- data plane

    def write(self, replica: MrecReplica, write: Write, handle: Handle) -> None:
        """PutItem, UpdateItem, DeleteItem."""
        key = write.key
        if replica.locked and key in replica.locked:
            raise conflict()
        version = replica.items.get(key)
        old = version[2] if version is not None else None
        new = write.evaluate(old)
        self.store(replica, key, version, old, new)
        self._environment.answer(handle, write.reply(old, new))

    def store(
        self, replica: MrecReplica, key: Key, version: Version | None, old: Item | None, new: Item | None
    ) -> None:
        """A local change: ``old``, of that ``version``, becomes ``new``."""
        if new is None and old is None:
            return
        timestamp = self._environment.scheduler.now_ns + replica.clock.ahead_ns
        if version is not None and timestamp <= version[0]:
            timestamp = version[0] + 1
        replica.items[key] = version = (timestamp, replica.region, new)
        if replica.watcher is not None:
            replica.watcher.changed(key, old, new)
        for replicator in replica.outgoing:
            replicator.send(key, version)

    def get(self, replica: MrecReplica, get: Get, handle: Handle) -> None:
        """GetItem; strong reads too see the local copy only."""
        version = replica.items.get(get.key)
        self._environment.answer(handle, get.reply(version[2] if version is not None else None))

    def read(self, replica: MrecReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        """Any other read: ``look`` says what the copy shows."""
        self._environment.answer(handle, look())

    # -- state

    def backlog(self, source: str, target: str) -> int:
        """Changes of ``source`` that ``target`` has not applied."""
        replica = self.replicas.get(source)
        if replica is None:
            return 0
        return sum(replicator.backlog for replicator in replica.outgoing if replicator.target.region == target)

    def oldest_ns(self, source: str, target: str) -> int | None:
        """When the oldest of those changes was made; None: there is none."""
        replica = self.replicas.get(source)
        if replica is None:
            return None
        made = [
            at_ns
            for replicator in replica.outgoing
            if replicator.target.region == target and (at_ns := replicator.oldest_ns()) is not None
        ]
        return min(made) - replica.clock.ahead_ns if made else None

    def quiet(self) -> bool:
        """Whether nothing waits to be replicated."""
        return not any(replicator.backlog for replica in self.replicas.values() for replicator in replica.outgoing)

    def caught_up(self, region: str) -> bool:
        """An MREC Region always serves strong reads."""
        return True

    # -- network

    def on_broken(self, link: Link) -> None:
        """Nothing to do: what is due on a broken link is held when it is due."""

    def on_healed(self, link: Link) -> None:
        """Let go of what was held."""
        for replica in self.replicas.values():
            for replicator in replica.outgoing:
                if replicator.link is link:
                    replicator.release()

    def on_latency(self) -> None:
        """Nothing to do: what is sent from now on takes the new time."""

    def on_paused(self, region: str, paused: bool) -> None:
        """Nothing to do: a pause breaks the links too."""

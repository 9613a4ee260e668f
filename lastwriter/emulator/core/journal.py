"""The journal of an MRSC table: entries that spread over three Regions, get a place, and are applied in order.

Theory of operation
-------------------
1. Three Regions hold the journal: three replicas, or two and a *witness*, which holds entries but no table. One
   sequencer stands for the journal: it knows the order, never which Region is reachable; that is decided by messages
   over links.
2. An entry says "make item = image, if its version is still base". Versions of items are places in the journal, not
   times.
3. An entry's first *holder* is its Region of origin. Its message goes to both other Regions; the first to get it is
   the second holder, and the entry is *committed*: it takes its place in the order. A message passes only over a link
   that is whole all the way; else it is sent again when the link heals.
4. At its place an entry either applies everywhere, or (another entry took its item's base first) nowhere: a conflict.
5. A committed entry is delivered to every replica by the quickest holder that reaches it, directly or through the
   third Region, in journal order: no place is ever skipped, so a Region that cannot be reached stands still and
   catches up.
6. The Region of origin hears of the outcome (``then``) when the entry has been delivered to it: it then has the
   acknowledgement and has applied everything up to its own entry. It holds the entry already, so that if the other
   holder is cut off meanwhile, any Region that it can agree with will do: two of three are enough.
7. A *heartbeat* is an entry without effect and without a place of its own: when it has come back to its origin, all
   that was committed before it has been applied there. It is delivered to its origin only; so is a conflict.
8. A Region that could reach no other is *caught up* again when a heartbeat sent after the healing has come back. One
   whose replication was *paused* refuses (``refusing``) until then, as AWS FIS has it.

Known warts: a Region that goes down keeps the entries that only it holds (its disks survive); the sequencer itself
never fails; a link is either whole or broken, with no loss in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lastwriter.emulator.core.arranged import Observer
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.lanes import Lanes
from lastwriter.emulator.core.network import Link
from lastwriter.emulator.requests.operations import Item, Key

Version = tuple[int, Item | None]
"""Place in the journal of the entry that wrote it, item (None: tombstone)."""

ABSENT: Final[Version] = (0, None)
Path = tuple[int, tuple[Link, ...]]
"""Nanoseconds and the links."""


class Site:
    """One of the three Regions: its copy (a witness has none), what it waits for, what is on its way to it."""

    __slots__ = (
        "backlog", "bit", "caught_up", "channel", "items", "paused", "recovery", "refusing", "region",
        "uncommitted", "watcher", "witness",
    )  # fmt: skip

    def __init__(self, region: str, bit: int, witness: bool) -> None:
        self.region = region
        self.bit = bit
        self.witness = witness
        self.items: dict[Key, Version] = {}
        self.watcher: Observer | None = None
        self.uncommitted: dict[Entry, None] = {}  # appended here, no second holder yet; in order
        self.channel: deque[_Delivery] = deque()  # on their way here, in journal order
        self.backlog: deque[Entry] = deque()  # after those in the channel; no way to bring them here now
        self.caught_up = True
        self.recovery = 0  # number of the attempt to catch up; odd: under way
        self.paused = False
        self.refusing = False

    def visible(self) -> Iterator[tuple[Key, Item]]:
        """Keys and items as a read sees them."""
        return ((key, version[1]) for key, version in self.items.items() if version[1] is not None)


class Entry:
    """An entry of the journal, or a heartbeat (``place`` stays 0 and ``writes`` is false)."""

    __slots__ = (
        "appended_ns", "arguments", "base", "conflict", "holders", "item", "key", "origin", "place", "plan", "then",
        "via", "writes",
    )  # fmt: skip

    def __init__(self, origin: Site, appended_ns: int, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.origin = origin
        self.appended_ns = appended_ns
        self.then = then  # called with (entry, *arguments) when the entry is delivered to its origin
        self.arguments = arguments
        self.writes = False
        self.key: Key = None
        self.base = 0
        self.item: Item | None = None
        self.place = 0
        self.conflict = False
        self.holders = 0
        self.plan = 0  # number of the message that is to give it a second holder; older ones are void
        self.via: Link | None = None


class _Delivery:
    """A committed entry on its way to a Region."""

    __slots__ = ("due_ns", "entry", "links")

    def __init__(self, due_ns: int, entry: Entry, links: tuple[Link, ...]) -> None:
        self.due_ns = due_ns
        self.entry = entry
        self.links = links


class Journal:
    """Entries on their way to a place, and from there to the sites. An observer of the network."""

    def __init__(self, environment: Environment, sites: Sequence[Site]) -> None:
        self._environment = environment
        self._scheduler = environment.scheduler
        self._sites = sites
        self._by_region = {site.region: site for site in sites}
        self._readers = [site for site in sites if not site.witness]
        self.lanes = lanes = Lanes(environment.network)
        links = lanes.links
        self._out = {
            site.bit: [(links[site.region, other.region], other) for other in sites if other is not site]
            for site in sites
        }
        self._paths: dict[tuple[int, int], Path | None] = {}
        self._heads: dict[Key, int] = {}  # item → place of the entry that wrote it last
        self._place = 0
        lanes.observers.append(self)
        for site in sites:
            if lanes.paused(site.region):
                site.paused = site.refusing = True
            self._watch(site)

    def close(self) -> None:
        """The table is gone."""
        self.lanes.close()

    def beat(self, origin: Site, then: Callable[..., None], *arguments: Any) -> Entry:
        """Send a heartbeat; ``then(entry, *arguments)`` when it has come back."""
        entry = Entry(origin, self._scheduler.now_ns, then, arguments)
        self.append(entry)
        return entry

    def withdraw(self, entry: Entry) -> bool:
        """Take back an entry that is not committed; whether it was not."""
        if entry not in entry.origin.uncommitted:
            return False
        del entry.origin.uncommitted[entry]
        entry.plan += 1
        entry.arguments = ()
        return True

    # -- from origin to place to sites

    def append(self, entry: Entry) -> None:
        """A new entry at its origin. It may be committed and delivered before this returns."""
        entry.holders = entry.origin.bit
        entry.origin.uncommitted[entry] = None
        self._send(entry)

    def _send(self, entry: Entry) -> None:
        """Plan the message that gives the entry its second holder: over each whole link it left when the entry was
        appended or the link became whole, whichever was later. The first to arrive counts."""
        best: Site | None = None
        best_ns = 0
        appended_ns = entry.appended_ns
        for link, other in self._out[entry.origin.bit]:
            if not link.breaks:
                left_ns = appended_ns if appended_ns > link.up_since_ns else link.up_since_ns
                due_ns = left_ns + link.latency_ns
                if link.jitter_ns:
                    due_ns += self._environment.jitter_ns(link)
                if best is None or due_ns < best_ns:
                    best, best_ns = other, due_ns
                    entry.via = link
        entry.plan += 1
        if best is None:
            entry.via = None
        elif best_ns <= self._scheduler.now_ns:
            self._commit(entry, best)
        else:
            self._scheduler.at(best_ns, self._arrive, entry, best, entry.plan)

    def _arrive(self, entry: Entry, second: Site, plan: int) -> None:
        if entry.plan == plan:
            self._commit(entry, second)

    def _commit(self, entry: Entry, second: Site) -> None:
        """The entry has two holders: it takes its place."""
        origin = entry.origin
        del origin.uncommitted[entry]
        entry.plan += 1
        entry.holders = origin.bit | second.bit
        if entry.writes:
            if self._heads.get(entry.key, 0) == entry.base:
                self._place += 1
                self._heads[entry.key] = entry.place = self._place
                for site in self._readers:
                    self._offer(site, entry)
                return
            entry.conflict = True
        self._offer(origin, entry)

    def _offer(self, site: Site, entry: Entry) -> None:
        """Bring a committed entry to a replica, after all that is before it."""
        if site.backlog:
            site.backlog.append(entry)
            return
        path = self._path_home(entry, site) if entry.origin is site else self._path(entry.holders, site)
        if path is None:
            site.backlog.append(entry)
            return
        now_ns = self._scheduler.now_ns
        due_ns = now_ns + path[0]
        for link in path[1]:
            if link.jitter_ns:
                due_ns += self._environment.jitter_ns(link)
        channel = site.channel
        if channel:
            due_ns = max(due_ns, channel[-1].due_ns)
        elif due_ns <= now_ns:
            self._apply(site, entry)
            return
        delivery = _Delivery(due_ns, entry, path[1])
        channel.append(delivery)
        self._scheduler.at(due_ns, self._deliver, site, delivery)

    def _deliver(self, site: Site, delivery: _Delivery) -> None:
        channel = site.channel
        if channel and channel[0] is delivery:  # else a link broke under it and it went back to the backlog
            channel.popleft()
            self._apply(site, delivery.entry)

    def _apply(self, site: Site, entry: Entry) -> None:
        entry.holders |= site.bit
        if entry.place:
            key = entry.key
            if site.watcher is not None:
                old = site.items.get(key, ABSENT)[1]
                site.items[key] = (entry.place, entry.item)
                site.watcher.changed(key, old, entry.item)
            else:
                site.items[key] = (entry.place, entry.item)
        if entry.origin is site:
            arguments = entry.arguments
            entry.arguments = ()  # what waits refers to its entry: no cycle for the collector
            entry.then(entry, *arguments)

    # -- ways through the network

    def _path(self, holders: int, site: Site) -> Path | None:
        """Quickest way from any of ``holders`` to ``site`` over whole links: nanoseconds and links; None: no way."""
        known = (holders, site.bit)
        if known in self._paths:
            return self._paths[known]
        path = self._paths[known] = self._find_path(holders, site)
        return path

    def _path_home(self, entry: Entry, site: Site) -> Path | None:
        """An entry's own Region holds it from the start, but has to hear of its place: from another holder, or, if
        those are cut off, from whichever Region it can agree with (two of three are enough)."""
        path = self._path(entry.holders & ~site.bit, site)
        if path is not None:
            return path
        ways = []
        for link, other in self._out[site.bit]:
            back = None if link.breaks else self._path(other.bit, site)
            if back is not None:
                ways.append((link.latency_ns + back[0], (link, *back[1])))
        return min(ways, key=lambda way: way[0], default=None)

    def _find_path(self, holders: int, site: Site) -> Path | None:
        if holders & site.bit:
            return (0, ())
        links = self.lanes.links
        ways: list[Path] = []
        for holder in self._sites:
            if not holder.bit & holders:
                continue
            direct = links[holder.region, site.region]
            if not direct.breaks:
                ways.append((direct.latency_ns, (direct,)))
            for third in self._sites:
                if third is not holder and third is not site:
                    first, second = links[holder.region, third.region], links[third.region, site.region]
                    if not first.breaks and not second.breaks:
                        ways.append((first.latency_ns + second.latency_ns, (first, second)))
        return min(ways, key=lambda way: way[0], default=None)

    def on_broken(self, link: Link) -> None:
        """What was on its way over ``link`` has not arrived: find other ways, or wait."""
        if link.source not in self._by_region or link.target not in self._by_region:
            return
        self._paths.clear()
        origin = self._by_region[link.source]
        for entry in [entry for entry in origin.uncommitted if entry.via is link]:
            if entry in origin.uncommitted:
                self._send(entry)
        for site in self._sites:
            intact = 0
            for delivery in site.channel:
                if link in delivery.links:
                    break
                intact += 1
            if intact < len(site.channel):
                stranded: list[Entry] = []
                while len(site.channel) > intact:
                    stranded.append(site.channel.pop().entry)
                site.backlog.extendleft(stranded)
                self._pump(site)
        for site in self._sites:
            self._watch(site)

    def on_healed(self, link: Link) -> None:
        """Send again what waited for a way."""
        if link.source not in self._by_region or link.target not in self._by_region:
            return
        self._paths.clear()
        origin = self._by_region[link.source]
        for entry in list(origin.uncommitted):
            if entry in origin.uncommitted:
                self._send(entry)
        for site in self._sites:
            self._pump(site)
        for site in self._sites:
            self._watch(site)

    def on_latency(self) -> None:
        """Latencies have changed: messages sent from now on take the new time."""
        self._paths.clear()

    def on_paused(self, region: str, paused: bool) -> None:
        """Refuse writes and strong reads from here on, until the Region has caught up after the pause."""
        site = self._by_region.get(region)
        if site is not None:
            site.paused = paused
            site.refusing = True

    def _pump(self, site: Site) -> None:
        waiting, site.backlog = site.backlog, deque()
        for entry in waiting:
            self._offer(site, entry)

    def _watch(self, site: Site) -> None:
        """Notice when a Region loses every other, and let it catch up when it has one again."""
        if not self._connected(site):
            site.caught_up = False
            site.recovery += (
                site.recovery & 1
            )  # a heartbeat from before proves nothing about what is missed from now on
        elif not site.caught_up and not site.recovery & 1:
            site.recovery += 1
            self.beat(site, self._recovered, site, site.recovery)

    def _recovered(self, entry: Entry, site: Site, recovery: int) -> None:
        if site.recovery == recovery:
            site.recovery += 1
            site.caught_up = True
            if not site.paused:
                site.refusing = False

    def _connected(self, site: Site) -> bool:
        """Whether an entry of this Region can get a second holder and the Region can hear of it."""
        ways = self._out[site.bit]
        return any(not link.breaks and self._path(other.bit, site) is not None for link, other in ways)

    # -- state

    def backlog(self, source: str, target: str) -> int:
        """Changes of ``source`` that ``target`` has not applied."""
        return sum(1 for _ in self.waiting(source, target))

    def waiting(self, source: str, target: str) -> Iterator[Entry]:
        """Those changes."""
        origin, site = self._by_region.get(source), self._by_region.get(target)
        if origin is None or site is None or origin.witness or site.witness:
            return
        yield from (entry for entry in origin.uncommitted if entry.writes)
        coming = (*(delivery.entry for delivery in site.channel), *site.backlog)
        yield from (entry for entry in coming if entry.origin is origin and entry.place > 0)

    def quiet(self) -> bool:
        """Whether nothing waits to be committed or delivered."""
        return not any(site.uncommitted or site.channel or site.backlog for site in self._sites)

    def caught_up(self, region: str) -> bool:
        """Whether ``region`` serves strong reads."""
        site = self._by_region.get(region)
        return site is None or (site.caught_up and not site.refusing)

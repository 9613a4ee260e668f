"""Global tables with multi-Region strong consistency (MRSC): one journal across three Regions.

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
4. At its place an entry either applies everywhere, or (another entry took its item's base first) nowhere: then its
   caller gets ReplicatedWriteConflictException, and nothing was written.
5. A committed entry is delivered to every replica by the quickest holder that reaches it, directly or through the
   third Region, in journal order: no place is ever skipped, so a Region that cannot be reached stands still and
   catches up.
6. The Region of origin answers when the entry has been delivered to it: it then has the acknowledgement and has
   applied everything up to its own entry.
7. A strong read appends a *heartbeat*, an entry without effect, and reads when it comes back: everything that was
   committed before has then been applied. An eventual read looks at the local copy at once.
8. A judgement that refuses (a failed condition, an update that does not fit) or finds nothing to do (a delete of
   nothing) writes no entry to be ordered by, so it counts only behind a heartbeat: the local copy may be old.
9. Writers of one Region queue per item. Only races between Regions conflict.
10. Without a second Region nothing commits: the caller gets 500 after ``mrsc_timeout``. What has no entry yet is then
    given up; an entry stays, and may commit when a link heals.
11. A Region that could reach no other is *caught up* again when a heartbeat sent after the healing has come back.
    Strong reads need no special rule: their own heartbeat waits for everything. A Region whose replication was
    *paused* answers writes and strong reads with 500 until it has caught up (AWS FIS does this).

Known warts: a Region that goes down keeps the entries that only it holds (its disks survive); the sequencer itself
never fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from lastwriter.emulator.environment import Environment, Handle
from lastwriter.emulator.errors import ApiError, internal_error
from lastwriter.emulator.network import Link
from lastwriter.emulator.operations import Get, Item, Key, Scan, Write

Version = tuple[int, Item | None]
"""Place in the journal of the entry that wrote it, item (None: tombstone)."""

_ABSENT: Final[Version] = (0, None)
_CONFLICT_MESSAGE: Final = "One or more items in this request are being modified by a request in another Region."


class Operation:
    """A write or strong read in progress at its Region."""

    __slots__ = ("answered", "deadline_ns", "done", "entry", "handle", "new", "old", "request")

    def __init__(self, request: Any, handle: Handle, deadline_ns: int) -> None:
        self.request = request
        self.handle = handle
        self.deadline_ns = deadline_ns
        self.entry: Entry | None = None
        self.old: Item | None = None
        self.new: Item | None = None
        self.answered = False
        self.done = False


class Entry:
    """An entry of the journal, or a heartbeat (``place`` stays 0 and ``writes`` is false)."""

    __slots__ = (
        "appended_ns", "arguments", "base", "conflict", "holders", "item", "key", "origin", "place", "plan", "then",
        "via", "writes",
    )  # fmt: skip

    def __init__(self, origin: Node, appended_ns: int, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
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


class Node:
    """One of the three Regions: its copy (a witness has none), what it waits for, what is on its way to it."""

    __slots__ = (
        "backlog", "bit", "busy", "caught_up", "channel", "items", "paused", "recovery", "refusing", "region",
        "running", "timer", "uncommitted", "witness",
    )  # fmt: skip

    def __init__(self, region: str, bit: int, witness: bool) -> None:
        self.region = region
        self.bit = bit
        self.witness = witness
        self.items: dict[Key, Version] = {}
        self.busy: dict[Key, deque[Operation] | None] = {}  # items being written here → who waits for them
        self.uncommitted: dict[Entry, None] = {}  # appended here, no second holder yet; in order
        self.channel: deque[_Delivery] = deque()  # on their way here, in journal order
        self.backlog: deque[Entry] = deque()  # after those in the channel; no way to bring them here now
        self.running: deque[Operation] = deque()  # not answered at once, in order of their deadlines
        self.timer = False
        self.caught_up = True
        self.recovery = 0  # number of the attempt to catch up; odd: under way
        self.paused = False
        self.refusing = False

    def visible(self) -> Iterator[tuple[Key, Item]]:
        """Keys and items as a read sees them."""
        return ((key, version[1]) for key, version in self.items.items() if version[1] is not None)


class MrscTable:
    """The journal of one table and the Regions that hold it."""

    mode: Final = "MRSC"

    def __init__(self, environment: Environment, regions: tuple[str, ...], witness: str | None) -> None:
        self._environment = environment
        self._scheduler = environment.scheduler
        names = (*regions, witness) if witness else regions
        self._nodes = [Node(name, 1 << index, name == witness) for index, name in enumerate(names)]
        self._by_region = {node.region: node for node in self._nodes}
        self.replicas = {node.region: node for node in self._nodes if not node.witness}
        self._readers = list(self.replicas.values())
        links = environment.network.links
        self._out = {
            node.bit: [(links[node.region, other.region], other) for other in self._nodes if other is not node]
            for node in self._nodes
        }
        self._paths: dict[tuple[int, int], tuple[int, tuple[Link, ...]] | None] = {}
        self._heads: dict[Key, int] = {}  # item → place of the entry that wrote it last
        self._place = 0
        environment.network.observers.append(self)
        for node in self._nodes:
            if environment.network.paused(node.region):
                node.paused = node.refusing = True
            self._watch(node)

    def close(self) -> None:
        """The table is gone."""
        self._environment.network.observers.remove(self)

    # -- data plane

    def write(self, node: Node, write: Write, handle: Handle) -> None:
        """PutItem, UpdateItem, DeleteItem."""
        operation = self._begin(node, write, handle)
        if operation is None:
            return
        key = write.key
        busy = node.busy
        if key in busy:
            queue = busy[key]
            if queue is None:
                queue = busy[key] = deque()
            queue.append(operation)
        else:
            busy[key] = None
            self._judge(node, operation, False)
        if not operation.done:
            self._track(node, operation)

    def get(self, node: Node, get: Get, handle: Handle) -> None:
        """GetItem."""
        if get.consistent:
            self._read_strongly(node, get, handle, self._answer_get)
        else:
            self._environment.answer(handle, get.reply(node.items.get(get.key, _ABSENT)[1]))

    def scan(self, node: Node, scan: Scan, handle: Handle) -> None:
        """Scan."""
        if scan.consistent:
            self._read_strongly(node, scan, handle, self._answer_scan)
        else:
            self._environment.answer(handle, scan.reply(node.visible()))

    # -- reads

    def _read_strongly(self, node: Node, read: Get | Scan, handle: Handle, then: Callable[..., None]) -> None:
        operation = self._begin(node, read, handle)
        if operation is None:
            return
        self._beat(node, operation, then, (node, operation))
        if not operation.done:
            self._track(node, operation)

    def _answer_get(self, entry: Entry, node: Node, operation: Operation) -> None:
        operation.done = True
        if not operation.answered:
            get: Get = operation.request
            self._environment.answer(operation.handle, get.reply(node.items.get(get.key, _ABSENT)[1]))

    def _answer_scan(self, entry: Entry, node: Node, operation: Operation) -> None:
        operation.done = True
        if not operation.answered:
            scan: Scan = operation.request
            self._environment.answer(operation.handle, scan.reply(node.visible()))

    # -- writes

    def _judge(self, node: Node, operation: Operation, current: bool) -> None:
        """Evaluate the write on the local copy; ``current``: behind a heartbeat, so that a refusal counts."""
        write: Write = operation.request
        place, old = node.items.get(write.key, _ABSENT)
        try:
            new = write.evaluate(old)
            if new is not None or old is not None:
                operation.old, operation.new = old, new
                entry = Entry(node, self._scheduler.now_ns, self._written, (operation,))
                entry.writes = True
                entry.key, entry.base, entry.item = write.key, place, new
                operation.entry = entry
                self._append(entry)
                return
            if current:
                self._finish(node, operation, write.reply(None, None))
                return
        except ApiError as error:
            if current:
                self._finish(node, operation, error)
                return
        self._beat(node, operation, self._judge_again, (node, operation))

    def _judge_again(self, entry: Entry, node: Node, operation: Operation) -> None:
        operation.entry = None
        if operation.answered:  # given up meanwhile
            self._finish(node, operation, {})
        else:
            self._judge(node, operation, True)

    def _written(self, entry: Entry, operation: Operation) -> None:
        """The entry has been delivered to its origin."""
        if entry.conflict:
            status = self._environment.settings.conflict_status
            error = ApiError("ReplicatedWriteConflictException", _CONFLICT_MESSAGE, status)
            self._finish(entry.origin, operation, error)
        else:
            write: Write = operation.request
            self._finish(entry.origin, operation, write.reply(operation.old, operation.new))

    def _finish(self, node: Node, operation: Operation, outcome: dict[str, Any] | ApiError) -> None:
        """Answer, and let the next writer of the item begin."""
        operation.done = True
        if not operation.answered:
            operation.answered = True
            if isinstance(outcome, ApiError):
                self._environment.refuse(operation.handle, outcome)
            else:
                self._environment.answer(operation.handle, outcome)
        key = operation.request.key
        queue = node.busy[key]
        if queue is None:
            del node.busy[key]
        else:
            self._scheduler.soon(self._next_writer, node, key, queue)

    def _next_writer(self, node: Node, key: Key, queue: deque[Operation]) -> None:
        while queue:
            operation = queue.popleft()
            if operation.answered:  # it timed out while it waited: nothing of it may happen any more
                operation.done = True
                continue
            if not queue:
                node.busy[key] = None
            self._judge(node, operation, False)
            return
        node.busy.pop(key, None)

    # -- what every request has: refusal while paused, a deadline

    def _begin(self, node: Node, request: Any, handle: Handle) -> Operation | None:
        environment = self._environment
        if node.refusing:
            environment.refuse(handle, internal_error())
            return None
        timeout_ns = round(environment.settings.mrsc_timeout * 1e9)
        return Operation(request, handle, self._scheduler.now_ns + timeout_ns)

    def _track(self, node: Node, operation: Operation) -> None:
        node.running.append(operation)
        if not node.timer:
            node.timer = True
            self._scheduler.at(operation.deadline_ns, self._expire, node)

    def _expire(self, node: Node) -> None:
        """Answer 500 to what is past its deadline; one timer stands for all operations of a Region."""
        running = node.running
        now_ns = self._scheduler.now_ns
        while running and (running[0].done or running[0].deadline_ns <= now_ns):
            operation = running.popleft()
            if operation.done or operation.answered:
                continue
            operation.answered = True
            self._environment.refuse(operation.handle, internal_error())
            entry = operation.entry
            if entry is not None and not entry.writes and entry in node.uncommitted:
                self._give_up(node, operation, entry)
        node.timer = bool(running)
        if running:
            self._scheduler.at(running[0].deadline_ns, self._expire, node)

    def _give_up(self, node: Node, operation: Operation, heartbeat: Entry) -> None:
        """Drop a heartbeat whose caller has been answered, and what it was for."""
        del node.uncommitted[heartbeat]
        heartbeat.plan += 1
        if heartbeat.then == self._judge_again:
            self._finish(node, operation, internal_error())
        operation.done = True

    # -- the journal

    def _beat(self, node: Node, operation: Operation, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        operation.entry = entry = Entry(node, self._scheduler.now_ns, then, arguments)
        self._append(entry)

    def _append(self, entry: Entry) -> None:
        entry.holders = entry.origin.bit
        entry.origin.uncommitted[entry] = None
        self._send(entry)

    def _send(self, entry: Entry) -> None:
        """Plan the message that gives the entry its second holder: over each whole link it left when the entry was
        appended or the link became whole, whichever was later. The first to arrive counts."""
        best: Node | None = None
        best_ns = 0
        appended_ns = entry.appended_ns
        for link, other in self._out[entry.origin.bit]:
            if not link.breaks:
                left_ns = appended_ns if appended_ns > link.up_since_ns else link.up_since_ns
                due_ns = left_ns + link.latency_ns
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

    def _arrive(self, entry: Entry, second: Node, plan: int) -> None:
        if entry.plan == plan:
            self._commit(entry, second)

    def _commit(self, entry: Entry, second: Node) -> None:
        """The entry has two holders: it takes its place."""
        origin = entry.origin
        del origin.uncommitted[entry]
        entry.plan += 1
        entry.holders = origin.bit | second.bit
        if entry.writes:
            if self._heads.get(entry.key, 0) == entry.base:
                self._place += 1
                self._heads[entry.key] = entry.place = self._place
                for node in self._readers:
                    self._offer(node, entry)
                return
            entry.conflict = True
        self._offer(origin, entry)

    def _offer(self, node: Node, entry: Entry) -> None:
        """Bring a committed entry to a replica, after all that is before it."""
        if node.backlog:
            node.backlog.append(entry)
            return
        path = self._path_home(entry, node) if entry.origin is node else self._path(entry.holders, node)
        if path is None:
            node.backlog.append(entry)
            return
        now_ns = self._scheduler.now_ns
        due_ns = now_ns + path[0]
        channel = node.channel
        if channel:
            due_ns = max(due_ns, channel[-1].due_ns)
        elif due_ns <= now_ns:
            self._apply(node, entry)
            return
        delivery = _Delivery(due_ns, entry, path[1])
        channel.append(delivery)
        self._scheduler.at(due_ns, self._deliver, node, delivery)

    def _deliver(self, node: Node, delivery: _Delivery) -> None:
        channel = node.channel
        if channel and channel[0] is delivery:  # else a link broke under it and it went back to the backlog
            channel.popleft()
            self._apply(node, delivery.entry)

    def _apply(self, node: Node, entry: Entry) -> None:
        entry.holders |= node.bit
        if entry.place:
            node.items[entry.key] = (entry.place, entry.item)
        if entry.origin is node:
            entry.then(entry, *entry.arguments)

    # -- ways through the network

    def _path(self, holders: int, node: Node) -> tuple[int, tuple[Link, ...]] | None:
        """Quickest way from any of ``holders`` to ``node`` over whole links: nanoseconds and links; None: no way."""
        known = (holders, node.bit)
        if known in self._paths:
            return self._paths[known]
        path = self._paths[known] = self._find_path(holders, node)
        return path

    def _path_home(self, entry: Entry, node: Node) -> tuple[int, tuple[Link, ...]] | None:
        """An entry's own Region holds it from the start, but has to hear of its place: from another holder, or, if
        those are cut off, from whichever Region it can agree with (two of three are enough)."""
        path = self._path(entry.holders & ~node.bit, node)
        if path is not None:
            return path
        ways = []
        for link, other in self._out[node.bit]:
            back = None if link.breaks else self._path(other.bit, node)
            if back is not None:
                ways.append((link.latency_ns + back[0], (link, *back[1])))
        return min(ways, key=lambda way: way[0], default=None)

    def _find_path(self, holders: int, node: Node) -> tuple[int, tuple[Link, ...]] | None:
        if holders & node.bit:
            return (0, ())
        links = self._environment.network.links
        ways: list[tuple[int, tuple[Link, ...]]] = []
        for holder in self._nodes:
            if not holder.bit & holders:
                continue
            direct = links[holder.region, node.region]
            if not direct.breaks:
                ways.append((direct.latency_ns, (direct,)))
            for third in self._nodes:
                if third is not holder and third is not node:
                    first, second = links[holder.region, third.region], links[third.region, node.region]
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
        for node in self._nodes:
            intact = 0
            for delivery in node.channel:
                if link in delivery.links:
                    break
                intact += 1
            if intact < len(node.channel):
                stranded: list[Entry] = []
                while len(node.channel) > intact:
                    stranded.append(node.channel.pop().entry)
                node.backlog.extendleft(stranded)
                self._pump(node)
        for node in self._nodes:
            self._watch(node)

    def on_healed(self, link: Link) -> None:
        """Send again what waited for a way."""
        if link.source not in self._by_region or link.target not in self._by_region:
            return
        self._paths.clear()
        origin = self._by_region[link.source]
        for entry in list(origin.uncommitted):
            if entry in origin.uncommitted:
                self._send(entry)
        for node in self._nodes:
            self._pump(node)
        for node in self._nodes:
            self._watch(node)

    def on_latency(self) -> None:
        """Latencies have changed: messages sent from now on take the new time."""
        self._paths.clear()

    def on_paused(self, region: str, paused: bool) -> None:
        """Refuse writes and strong reads from here on, until the Region has caught up after the pause."""
        node = self._by_region.get(region)
        if node is not None:
            node.paused = paused
            node.refusing = True

    def _pump(self, node: Node) -> None:
        waiting, node.backlog = node.backlog, deque()
        for entry in waiting:
            self._offer(node, entry)

    def _watch(self, node: Node) -> None:
        """Notice when a Region loses every other, and let it catch up when it has one again."""
        if not self._connected(node):
            node.caught_up = False
            node.recovery += (
                node.recovery & 1
            )  # a heartbeat from before proves nothing about what is missed from now on
        elif not node.caught_up and not node.recovery & 1:
            node.recovery += 1
            self._append(Entry(node, self._scheduler.now_ns, self._recovered, (node, node.recovery)))

    def _recovered(self, entry: Entry, node: Node, recovery: int) -> None:
        if node.recovery == recovery:
            node.recovery += 1
            node.caught_up = True
            if not node.paused:
                node.refusing = False

    def _connected(self, node: Node) -> bool:
        """Whether an entry of this Region can get a second holder and the Region can hear of it."""
        ways = self._out[node.bit]
        return any(not link.breaks and self._path(other.bit, node) is not None for link, other in ways)

    # -- state

    def backlog(self, source: str, target: str) -> int:
        """Changes of ``source`` that ``target`` has not applied."""
        origin, node = self.replicas.get(source), self.replicas.get(target)
        if origin is None or node is None:
            return 0
        waiting = sum(entry.writes for entry in origin.uncommitted)
        waiting += sum(delivery.entry.origin is origin and delivery.entry.place > 0 for delivery in node.channel)
        return waiting + sum(entry.origin is origin and entry.place > 0 for entry in node.backlog)

    def quiet(self) -> bool:
        """Whether nothing waits to be committed or delivered."""
        return not any(node.uncommitted or node.channel or node.backlog for node in self._nodes)

    def caught_up(self, region: str) -> bool:
        """Whether ``region`` serves strong reads."""
        node = self._by_region.get(region)
        return node is None or (node.caught_up and not node.refusing)

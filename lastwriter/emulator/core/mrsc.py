"""Global tables with multi-Region strong consistency (MRSC): what a request does with the journal.

Theory of operation (the journal's own rules are in :mod:`lastwriter.emulator.core.journal`)
---------------------------------------------------------------------------------------
1. A write is judged against the local copy and appends an entry with the version it was judged by. Its Region answers
   when the entry has been delivered to it. Where the journal says conflict, the caller gets
   ReplicatedWriteConflictException, and nothing was written.
2. A strong read sends a heartbeat and reads when it has come back: everything that was committed before it has then
   been applied. An eventual read looks at the local copy at once.
3. A judgement that refuses (a failed condition, an update that does not fit) or finds nothing to do (a delete of
   nothing) writes no entry to be ordered by, so it counts only behind a heartbeat: the local copy may be old.
4. Writers of one Region queue per item. Only races between Regions conflict.
5. Without a second Region nothing commits: the caller gets 500 after ``mrsc_timeout``. What has no entry yet is then
   given up; an entry stays, and may commit when a link heals.
6. While its site is ``refusing``, a Region answers writes and strong reads with 500 at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.environment import Environment, Handle
from lastwriter.emulator.core.journal import ABSENT, Entry, Journal, Site
from lastwriter.emulator.core.lanes import Lanes
from lastwriter.emulator.requests.errors import ApiError, internal_error
from lastwriter.emulator.requests.operations import Get, Item, Key, Write

if TYPE_CHECKING:
    from lastwriter.emulator.core.throughput import Meter

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


class MrscReplica(Site):
    """A Region with a copy, and the requests in progress there."""

    __slots__ = ("busy", "meter", "running", "timer")

    def __init__(self, region: str, bit: int) -> None:
        super().__init__(region, bit, witness=False)
        self.busy: dict[Key, deque[Operation] | None] = {}  # items being written here → who waits for them
        self.running: deque[Operation] = deque()  # not answered at once, in order of their deadlines
        self.timer = False
        self.meter: Meter | None = None  # where throttling is on


class MrscTable:
    """The Regions of one table around its journal."""

    mode: Final = "MRSC"
    journal_class = Journal

    def __init__(self, environment: Environment, regions: tuple[str, ...], witness: str | None) -> None:
        self._environment = environment
        self._scheduler = environment.scheduler
        self.replicas = {region: MrscReplica(region, 1 << index) for index, region in enumerate(regions)}
        sites: list[Site] = list(self.replicas.values())
        if witness is not None:
            sites.append(Site(witness, 1 << len(sites), witness=True))
        self.journal = self.journal_class(environment, sites)

    def close(self) -> None:
        """The table is gone."""
        self.journal.close()

    @property
    def lanes(self) -> Lanes:
        """The table's links."""
        return self.journal.lanes

    def backlog(self, source: str, target: str) -> int:
        """Changes of ``source`` that ``target`` has not applied."""
        return self.journal.backlog(source, target)

    def oldest_ns(self, source: str, target: str) -> int | None:
        """When the oldest of them was made; None: there is none."""
        waiting = self.journal.waiting(source, target)
        return min((entry.appended_ns for entry in waiting), default=None)

    def quiet(self) -> bool:
        """Whether nothing waits to be committed or delivered."""
        return self.journal.quiet()

    def caught_up(self, region: str) -> bool:
        """Whether ``region`` serves strong reads."""
        return self.journal.caught_up(region)

    # -- data plane

    def write(self, replica: MrscReplica, write: Write, handle: Handle) -> None:
        """PutItem, UpdateItem, DeleteItem."""
        operation = self._begin(replica, write, handle)
        if operation is None:
            return
        key = write.key
        busy = replica.busy
        if key in busy:
            queue = busy[key]
            if queue is None:
                queue = busy[key] = deque()
            queue.append(operation)
        else:
            busy[key] = None
            self._judge(replica, operation, False)
        if not operation.done:
            self._track(replica, operation)

    def get(self, replica: MrscReplica, get: Get, handle: Handle) -> None:
        """GetItem."""

        def look() -> dict[str, Any]:
            return get.reply(replica.items.get(get.key, ABSENT)[1])

        self.read(replica, look, get.consistent, handle)

    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        """Any read: ``look`` says what the copy shows, for a strong one behind a heartbeat."""
        if not strong:
            self._environment.answer(handle, look())
            return
        operation = self._begin(replica, look, handle)
        if operation is not None:
            operation.entry = self.journal.beat(replica, self._look, operation)
            if not operation.done:
                self._track(replica, operation)

    # -- reads

    def _look(self, entry: Entry, operation: Operation) -> None:
        """The heartbeat of a strong read has come back."""
        operation.done = True
        if not operation.answered:
            try:
                self._environment.answer(operation.handle, operation.request())
            except ApiError as error:
                self._environment.refuse(operation.handle, error)

    # -- writes

    def _judge(self, replica: MrscReplica, operation: Operation, current: bool) -> None:
        """Evaluate the write on the local copy; ``current``: behind a heartbeat, so that a refusal counts."""
        write: Write = operation.request
        place, old = replica.items.get(write.key, ABSENT)
        try:
            new = write.evaluate(old)
            if new is not None or old is not None:
                operation.old, operation.new = old, new
                entry = Entry(replica, self._scheduler.now_ns, self._written, (replica, operation))
                entry.writes = True
                entry.key, entry.base, entry.item = write.key, place, new
                operation.entry = entry
                self.journal.append(entry)
                return
            if current:
                self._finish(replica, operation, write.reply(None, None))
                return
        except ApiError as error:
            if current:
                self._finish(replica, operation, error)
                return
        operation.entry = self.journal.beat(replica, self._judge_again, replica, operation)

    def _judge_again(self, entry: Entry, replica: MrscReplica, operation: Operation) -> None:
        operation.entry = None
        if operation.answered:  # given up meanwhile
            self._finish(replica, operation, {})
        else:
            self._judge(replica, operation, True)

    def _written(self, entry: Entry, replica: MrscReplica, operation: Operation) -> None:
        """The entry has been delivered to its origin."""
        if entry.conflict:
            status = self._environment.settings.conflict_status
            error = ApiError("ReplicatedWriteConflictException", _CONFLICT_MESSAGE, status)
            self._finish(replica, operation, error)
        else:
            write: Write = operation.request
            self._finish(replica, operation, write.reply(operation.old, operation.new))

    def _finish(self, replica: MrscReplica, operation: Operation, outcome: dict[str, Any] | ApiError) -> None:
        """Answer, and let the next writer of the item begin."""
        operation.done = True
        if not operation.answered:
            operation.answered = True
            if isinstance(outcome, ApiError):
                self._environment.refuse(operation.handle, outcome)
            else:
                self._environment.answer(operation.handle, outcome)
        key = operation.request.key
        queue = replica.busy[key]
        if queue is None:
            del replica.busy[key]
        else:
            self._scheduler.soon(self._next_writer, replica, key, queue)

    def _next_writer(self, replica: MrscReplica, key: Key, queue: deque[Operation]) -> None:
        while queue:
            operation = queue.popleft()
            if operation.answered:  # it timed out while it waited: nothing of it may happen any more
                operation.done = True
                continue
            if not queue:
                replica.busy[key] = None
            self._judge(replica, operation, False)
            return
        replica.busy.pop(key, None)

    # -- what every request has: refusal while paused, a deadline

    def _begin(self, replica: MrscReplica, request: Any, handle: Handle) -> Operation | None:
        environment = self._environment
        if replica.refusing:
            environment.refuse(handle, internal_error())
            return None
        return Operation(request, handle, self._scheduler.now_ns + environment.mrsc_timeout_ns)

    def _track(self, replica: MrscReplica, operation: Operation) -> None:
        replica.running.append(operation)
        if not replica.timer:
            replica.timer = True
            self._scheduler.at(operation.deadline_ns, self._expire, replica)

    def _expire(self, replica: MrscReplica) -> None:
        """Answer 500 to what is past its deadline; one timer stands for all operations of a Region."""
        running = replica.running
        now_ns = self._scheduler.now_ns
        while running and (running[0].done or running[0].deadline_ns <= now_ns):
            operation = running.popleft()
            if operation.done or operation.answered:
                continue
            operation.answered = True
            self._environment.refuse(operation.handle, internal_error())
            entry = operation.entry
            if entry is not None and not entry.writes and self.journal.withdraw(entry):
                self._give_up(replica, operation, entry)
        replica.timer = bool(running)
        if running:
            self._scheduler.at(running[0].deadline_ns, self._expire, replica)

    def _give_up(self, replica: MrscReplica, operation: Operation, heartbeat: Entry) -> None:
        """The caller of a heartbeat has been answered, and it was taken back: drop what it was for."""
        if heartbeat.then == self._judge_again:
            self._finish(replica, operation, internal_error())
        operation.done = True

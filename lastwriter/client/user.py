"""The Locust user that workloads subclass: one process in one Region, with a recorded table and a schedule.

::

    from locust import task
    from lastwriter.client.user import GlobalTableUser

    class Likes(GlobalTableUser):
        @task
        def like(self):
            self.table.add(self.keys.mine())

Put it into ``likes.py`` and run ``locust -f likes.py --emulator``: what the users did is recorded, and can be
verified, like the workloads that come with lastwriter.
"""

from __future__ import annotations

import itertools
import logging
import random
import traceback
import zlib
from collections.abc import Callable, Collection, Mapping
from types import FunctionType
from typing import Any, ClassVar, Final, cast

import gevent
from gevent import GreenletExit
from locust import User
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING, DefaultTaskSet

from lastwriter.client import locust_run, worker
from lastwriter.client.answer import Answer
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.credentials import credentials_for
from lastwriter.client.keys import Key, KeyChooser
from lastwriter.client.patterns import Counter, counter_of
from lastwriter.client.plan import OWNED, Load, Pattern
from lastwriter.client.recording import Recording
from lastwriter.client.retry import Attempts, Breaker
from lastwriter.client.routes import Routing, WaitingClient
from lastwriter.client.schedule import Arrivals, arrivals_of
from lastwriter.client.stream_reader import Records, StreamReader
from lastwriter.client.table import Table
from lastwriter.errors import RunAborted
from verifier.history.schema import Kind
from verifier.rundir import Mode, RunDirectory

_MOST_UNPAUSED: Final = 64
"""Intents without a pause after which a closed loop lets others run. Its requests do that anyway, while they wait, and
a sleep of no length is a sixth of what an intent costs us."""

logger = logging.getLogger(__name__)


class GlobalTableUser(User):
    """One process of a load. Tasks are intents; each is one arrival of the schedule.

    With a rate (open loop) an intent is sent when it is due, however slow the ones before it were; without one the user
    goes on as soon as it has its answer, after ``wait_time``.
    """

    abstract = True

    workload: ClassVar[str] = ""
    """Name in the record; default: the file's."""
    patterns: ClassVar[tuple[Pattern, ...] | None] = None
    """Patterns that the workload can be written as; None: any (or it does not ask which)."""

    modes: ClassVar[tuple[Mode, ...]] = ("MREC", "MRSC")
    """Modes of a table on which the workload can be run: those without what it needs refuse it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What the table must have besides items: ``streams`` (also in MRSC), ``index`` (by group and value), ``ttl``."""

    region: str
    """Region that serves this user: where it lives, or where the routes lead from there (failover `routed`)."""
    lives_in: str
    """Region that this user lives in."""
    regions: tuple[str, ...]
    """Every Region with a replica, in order."""
    epochs: Mapping[str, int]
    """Home Region → epoch of its control record, where that was ever flipped."""
    _breaker: Breaker | None
    number: int
    """Position of this user among those of its load, all workers together."""
    table: Table
    """The table as seen from there (under the pattern ``leader``: from the first Region)."""
    counter: Counter
    """How the load's pattern adds to a counter and reads it: ``self.counter.add(key)``, ``self.counter.read(key)``."""
    keys: KeyChooser
    """Draws keys: ``anything()``, or ``mine()`` where the pattern gives keys an owner."""
    load: Load
    """What the plan says about this load: pattern, retries, …"""
    random: random.Random
    """This process's own, seeded by the run's seed."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._worker = worker.current()
        self._arrivals: Arrivals | None = None
        self._left: int | None = None
        self._unpaused = 0
        self._think_s: float | None = None
        self.on_a_slot = self._worker is not None and self._take_slot(self._worker)

    def attempts(self, also: Collection[str] = (), *, unknown: bool = False) -> Attempts:
        """The attempts of one intent as the load's retry policy has them: ``for attempt in self.attempts(): …``.

        ``also``: errors to try again after; ``unknown``: after an unknown outcome, too (of what is applied once only).
        """
        if self._elsewhere is not None:
            self._elsewhere(0)  # in case that the loop before this one was left early
        return Attempts(self.load, self.random, also, unknown=unknown, breaker=self._breaker, elsewhere=self._elsewhere)

    def read_item(self, key: Key | str, *, strong: bool = True, region: str | None = None) -> Answer | None:
        """Read an item as the load has it: with its retries, and eventually where a strong read fails (degraded reads).

        ``region``: another one than the user's. The answer of the last attempt.
        """
        attempts = self.attempts()
        for attempt in attempts:
            (self.table if region is None else self.table_in(region)).get(key, strong=strong, attempt=attempt)
        if strong and self.load.degraded_reads and (attempts.answer is None or not attempts.answer.ok):
            (self.table if region is None else self.table_in(region)).get(key, strong=False, attempt=attempts)
        return attempts.answer

    @property
    def is_routed(self) -> bool:
        """Whether this user follows the routes (:mod:`lastwriter.client.routes`)."""
        return self.load.failover == "routed"

    def follow_routes(self, routing: Routing) -> None:
        """Go where the routes lead, from the next attempt on."""
        assert self._worker is not None
        asked = self.regions[0] if self.load.pattern == "leader" else self.lives_in
        self.region = routing.to.get(self.lives_in, self.lives_in)
        before, self.table = self.table, self.table_in(routing.to.get(asked, asked))
        if routing.waits_until_ns and self.table.region == asked != before.region:
            client = self._worker.client(asked, self.load)
            self.table = self.table.in_region(asked, WaitingClient(client, routing.waits_until_ns))
        self._breaker = self._worker.breaker(self.table.region) if self._breaker is not None else None
        if self.load.pattern in OWNED and routing.homes:
            self.epochs = {region: epoch for region, (_, epoch) in routing.homes.items()}
            homes = {region: home for region, (home, _) in routing.homes.items()}
            self.keys = KeyChooser(self.keys.keys, self.load.keys, self.region, self.random, homes)

    def table_in(self, region: str) -> Table:
        """The table as seen from another Region: ``self.table_in("us-west-2").get(key)``. Still one call at a time."""
        if region not in self._tables:
            assert self._worker is not None
            self._tables[region] = self.table.in_region(region, self._worker.client(region, self.load))
        return self._tables[region]

    def own_key(self, name: str) -> Key:
        """A key that no other user has: ``self.own_key("canary")`` → ``canary-2-us-east-1-7``."""
        return Key(f"{name}-{self._load_number}-{self.region}-{self.number}", self.number, None, self.region)

    def open_stream(self) -> StreamReader:
        """A reader of this Region's stream, from now on: ``poll()`` it, and end it with :meth:`close_stream`."""
        run = self._worker
        assert run is not None
        credentials, endpoint = credentials_for(run.plan.target), run.plan.endpoints[self.region]
        return StreamReader(endpoint, self.region, run.plan.table, credentials, Records(), from_start=False)

    def close_stream(self, reader: StreamReader) -> None:
        """Keep what was read with the run, to be judged."""
        run = self._worker
        assert run is not None
        reader.close()
        reader.records.write(RunDirectory(run.plan.run_directory).streams / f"{self.region}-{self.number}.parquet")

    def record(self, kind: Kind | str, key: Key | str, value: int | None = None) -> Recording:
        """Record any other call as an operation, an HTTP request to one's own service, say::

        with self.record("add", key, 1) as r:
            reply = self.http.post(...)
            r.ok(reply.json()["count"]) if reply.ok else r.unknown(str(reply.status_code))
        """
        return self.table.record(kind, key, value)

    def wait_time(self) -> float:
        """Closed loop: seconds between intents. The load's ``think`` unless a subclass sets Locust's ``wait_time``."""
        return self.load.think

    def run(self) -> None:  # type: ignore[misc]  # Locust calls it final; the schedule needs a loop of its own
        """Locust's ``User.run`` around a loop that follows the schedule."""
        if not self.on_a_slot or self._worker is None:
            return
        self._state = LOCUST_STATE_WAITING
        self._taskset_instance = _ScheduledTasks(self)
        try:
            self._worker.wait_for_start()
            self._state = LOCUST_STATE_RUNNING
            try:
                self.on_start()
            except Exception as raised:
                if not isinstance(raised, (StopUser, StopTest)):
                    logger.error("%s\n%s", raised, traceback.format_exc())
                    self.environment.events.user_error.fire(
                        user_instance=self, exception=raised, tb=raised.__traceback__
                    )
                raise
            self._taskset_instance.run()
        except (GreenletExit, StopUser, StopTest):
            self.on_stop()  # type: ignore[no-untyped-call]
        finally:
            self.table.close()
            self._worker.forget(self)

    def offered_by(self, at_ns: int) -> int:
        """Intents due by ``at_ns`` of the worker's clock; a closed loop offers what it sends."""
        if self._arrivals is None or self._worker is None:
            return 0
        return self._arrivals.offered_by(at_ns - self._worker.t0_ns)

    def _take_slot(self, run: worker.WorkerRun) -> bool:
        slot = run.take_slot(type(self))
        if slot is None:
            return False
        load = slot.load
        self.load, self.region, self.lives_in = load, slot.region, slot.region
        self.random = random.Random(slot.seed)
        keys = run.keys(slot.load_index)
        self.keys = KeyChooser(keys, load.keys, slot.region, self.random)
        self.regions, self.number, self._load_number = run.regions_in_order, slot.process, slot.load_index + 1
        self.table = run.table(slot)
        self._tables = {self.table.region: self.table}
        self.epochs = {}
        self._breaker = run.breaker(self.table.region) if load.retry == "jittered" else None
        self._first_region = self.table.region
        self._elsewhere = self._next_region if load.failover == "sdk-retry" else None
        self.counter = counter_of(self, f"{zlib.crc32(run.plan.run.encode()):x}_{slot.load_index}_{slot.process}")
        self._left = load.intents
        if type(self).wait_time is GlobalTableUser.wait_time:
            self._think_s = load.think  # asked for after each intent
        if load.rate is not None:
            # Its own generator: what a task draws must not move the arrivals.
            rng = random.Random(f"{slot.seed}/arrivals")
            processes = slot.processes or 1
            self._arrivals = arrivals_of(
                load.rate, load.arrival, run.plan.phases, slot.process, processes, rng, load.intents
            )
        self._choose = _chooser(self, load)
        run.remember(self)
        if self.is_routed and run.routes is not None and run.routes.now.number:
            self.follow_routes(run.routes.now)
        return True

    def _next_region(self, further: int) -> None:
        """Failover `sdk-retry`: have the first, second … further attempt made in another Region; 0: in one's own."""
        first = self.regions.index(self._first_region)
        self.table = self.table_in(self.regions[(first + further) % len(self.regions)])

    def _next_intent(self) -> Callable[..., object]:
        """Wait until the next intent is due and say which task it is; StopUser at the end."""
        run = self._worker
        assert run is not None
        if self._arrivals is None:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise StopUser()
            now_ns = monotonic_ns()
            if run.ends_ns is not None and now_ns >= run.ends_ns:
                raise StopUser()
            run.count_sent(now_ns, offered=True)
            return self._choose()
        due_ns = self._arrivals.take()
        if due_ns is None:
            raise StopUser()
        due_ns += run.t0_ns
        now_ns = monotonic_ns()
        if now_ns < due_ns:
            self._sleep_until(due_ns)
            now_ns = monotonic_ns()
            run.truth.woken(now_ns - due_ns)
        elif run.ends_ns is not None and now_ns >= run.ends_ns:
            raise StopUser()  # what is left of the schedule was offered, and never sent
        run.count_sent(now_ns, late=now_ns - due_ns > worker.LATE_NS)
        self.table.scheduled_ns = due_ns
        return self._choose()

    def _think(self) -> None:
        """Closed loop: the pause after an intent."""
        if self._arrivals is not None:
            return
        pause_s = self.wait_time() if self._think_s is None else self._think_s
        self._unpaused += 1
        if pause_s > 0 or self._unpaused >= _MOST_UNPAUSED:
            self._unpaused = 0
            self._rest(pause_s)

    def _sleep_until(self, due_ns: int) -> None:
        while (left_ns := due_ns - monotonic_ns()) > 0:
            self._rest(left_ns / 1e9)

    def _rest(self, seconds: float) -> None:
        if self._state == LOCUST_STATE_STOPPING:
            raise StopUser()
        self._state = LOCUST_STATE_WAITING
        gevent.sleep(seconds)
        if self._state == LOCUST_STATE_STOPPING:
            raise StopUser()
        self._state = LOCUST_STATE_RUNNING


class _ScheduledTasks(DefaultTaskSet):
    """Locust's task loop with the order turned round: first wait until the intent is due, then do it."""

    def run(self) -> None:  # type: ignore[misc]  # as above
        user = cast(GlobalTableUser, self.user)
        while True:
            try:
                if user._state == LOCUST_STATE_STOPPING:
                    raise StopUser()
                task = user._next_intent()
                try:
                    if isinstance(task, FunctionType):
                        task(user)
                    else:
                        self.execute_task(task)  # type: ignore[no-untyped-call]  # a nested TaskSet
                except RescheduleTaskImmediately:
                    continue
                except (RescheduleTask, InterruptTaskSet):
                    pass
                user._think()
            except (StopUser, StopTest, GreenletExit):
                raise
            except RunAborted as full:
                raise StopUser() from full
            except Exception as raised:
                user.environment.events.user_error.fire(user_instance=user, exception=raised, tb=raised.__traceback__)
                if user._worker is not None:
                    user._worker.task_failed(raised)
                if not user.environment.catch_exceptions:
                    raise
                logger.error("%s\n%s", raised, traceback.format_exc())
                user._rest(max(user.wait_time(), 0.1))  # a task that always fails must not spin


def _chooser(user: GlobalTableUser, load: Load) -> Callable[[], Callable[..., object]]:
    """Draws the next task: by the load's mix, else by Locust's weights."""
    tasks = cast(list[Callable[..., object]], list(user.tasks))
    if load.mix:
        by_name = {task.__name__: task for task in tasks}
        names = [name for name, share in load.mix.items() if share > 0]
        tasks = [by_name[name] for name in names]
        sums = list(itertools.accumulate(load.mix[name] for name in names))
        draw, total, last = user.random.random, sums[-1], len(tasks) - 1

        def by_share() -> Callable[..., object]:
            point = draw() * total
            for index, reached in enumerate(sums):
                if point < reached:
                    return tasks[index]
            return tasks[last]

        return by_share if last else lambda: tasks[0]
    if len(set(tasks)) == 1:
        return lambda: tasks[0]
    uniform, count = user.random.random, len(tasks)
    return lambda: tasks[int(uniform() * count)]


locust_run.install(GlobalTableUser)

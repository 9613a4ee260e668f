"""A Locust worker's part of one run: its recorder, its share of the processes, the start, the end, what it reports."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event
from locust.user.task import LOCUST_STATE_STOPPING

from lastwriter.client import collect, credentials
from lastwriter.client.clients import make_client
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.collect import files_of, forget, read_piece
from lastwriter.client.key_codes import KeyCodes
from lastwriter.client.keys import Key, load_keys
from lastwriter.client.plan import Load, LoadPlan
from lastwriter.client.protocol import DynamoClient
from lastwriter.client.recorder import FLUSH_INTERVAL_S, Recorder, Rows
from lastwriter.client.refusals import RefusalWatch
from lastwriter.client.retry import Breaker
from lastwriter.client.routes import SWEEP, RoutedUser, Routes, Routing
from lastwriter.client.schedule import length_ns
from lastwriter.client.slots import Slot, worker_slots
from lastwriter.client.stats import cells_of
from lastwriter.client.table import Table
from lastwriter.client.telling import telling
from lastwriter.client.truth import Truth
from verifier.rundir import RunDirectory

LATE_NS: Final = 10_000_000
"""An intent sent later than this after it was due counts as late."""

LAST_WORD_S: Final = 0.5
"""How long users may take, beyond the deadline of an attempt, to end in order."""

SECOND_NS: Final = 1_000_000_000

_TOLD_ERRORS: Final = 10
"""Sorts of errors of tasks that a worker tells the master of."""

_MOST_PROCESSES: Final = 1 << 31
"""Process ids are 32 bits; every worker takes its own residue of them."""


class LoadUser(RoutedUser, Protocol):
    """What the worker needs of a user."""

    def offered_by(self, at_ns: int) -> int: ...


class WorkerRun:
    """One run on one worker, from the plan's arrival to the end mark."""

    def __init__(
        self,
        plan: LoadPlan,
        worker: int,
        environment: Any,
        send: Callable[[str, dict[str, Any]], None],
        client_of: Callable[[LoadPlan, str, Load], DynamoClient] | None = None,
        *,
        away: bool = False,
    ) -> None:
        """``send(message type, data)`` goes to the master, which is on another host where ``away``.

        OSError if the history cannot be written, UserError if requests cannot be signed or sent.
        """
        self.plan, self.number = plan, worker
        self.workers = plan.workers or 1
        self.regions_in_order = tuple(plan.endpoints)
        self.t0_ns = 0
        self.ends_ns: int | None = None
        self._sent: dict[int, list[int]] = {}
        self._counts: list[int] = []
        self._counted_until_ns = 0
        """End of the second that :attr:`_counts` is of."""
        self.closed = False
        self._environment, self._send = environment, send
        if client_of is None:
            credentials.credentials_for(plan.target)
        self._client_of = client_of or _client
        self._clients: dict[tuple[str, float, float], DynamoClient] = {}
        for region in plan.endpoints:
            self.client(region, plan.loads[0])  # here, and not when a user comes, it is told what cannot be
        self._started = Event()
        self._slots = worker_slots(plan, worker, self.workers)
        self._keys: dict[int, list[Key]] = {}
        self._key_codes: dict[int, KeyCodes] = {}
        self._processes = iter(range(worker, _MOST_PROCESSES, self.workers))  # small numbers: people read them
        self._users: dict[int, LoadUser] = {}
        self._offered_by_gone = 0
        self._offered_told = 0
        self._offered_second = 0
        self._rows: list[Rows] = []
        self._refusals = RefusalWatch()
        self._task_errors: set[str] = set()
        self._cells: list[dict[str, Any]] = []
        self._greenlets: list[gevent.Greenlet] = []
        self.regions: set[str] = set()
        self._away = away
        history = RunDirectory(collect.away(plan.run) if away else plan.run_directory).history
        history.mkdir(parents=True, exist_ok=True)
        self._history = history
        self.truth = Truth(_lag_file(history, worker), 0)
        self.recorder = Recorder(history / f"worker-{worker}.arrow", worker, on_rows=self._on_rows)
        self._breakers: dict[str, Breaker] = {}
        self.routes = self._routes() if any(load.failover == "routed" for load in plan.loads) else None
        """None: nobody follows any."""
        if plan.t0_ns is not None:
            self.start(plan.t0_ns)

    def start(self, t0_ns: int) -> None:
        """All users are there: begin at ``t0_ns``."""
        if self._started.is_set() or self.closed:
            return
        length = length_ns(self.plan.phases)
        self.t0_ns = t0_ns
        self.ends_ns = None if length is None else t0_ns + length
        self.truth = Truth(_lag_file(self._history, self.number), t0_ns)
        # What is there now stays: collections during the run need not look at it, and stop the loop for less time.
        gc.collect()
        gc.freeze()
        self._started.set()
        self._greenlets = [gevent.spawn(self._report_for_ever), gevent.spawn_later(self._until_start(), self._probe)]

    def wait_for_start(self) -> None:
        """The barrier: users stay here until t0."""
        self._started.wait()
        while (left_ns := self.t0_ns - monotonic_ns()) > 0:
            gevent.sleep(left_ns / 1e9)

    def take_slot(self, user_class: type) -> Slot | None:
        """The next process of the class's workload for this worker; None if the plan has no more."""
        workload = workload_of(user_class)
        for index, load in enumerate(self.plan.loads):
            if load.workload == workload:
                slot = next(self._slots[index], None)
                if slot is not None:
                    self.regions.add(slot.region)
                    return slot
        return None

    def keys(self, load_index: int) -> list[Key]:
        """Every key of a load."""
        if load_index not in self._keys:
            self._keys[load_index] = load_keys(self.plan, load_index)
        return self._keys[load_index]

    def table(self, slot: Slot) -> Table:
        """The table for one user; clients are shared by the users of a Region."""
        codes = self._key_codes.get(slot.load_index)
        if codes is None:
            codes = self._key_codes[slot.load_index] = KeyCodes(self.recorder, self.keys(slot.load_index))
        # Under the pattern `leader` a user lives in its Region and asks another.
        region = self.regions_in_order[0] if slot.load.pattern == "leader" else slot.region
        return Table(
            self.recorder,
            self.client(region, slot.load),
            self.plan.table,
            region,
            slot.load.workload,
            self._processes,
            codes,
            slot.load.item_bytes,
            slot.region,
        )

    def breaker(self, region: str) -> Breaker:
        """The circuit breaker of a Region, of all users of this worker that have one."""
        return self._breakers.setdefault(region, Breaker())

    def take_route(self, message: dict[str, Any], orphans: Iterable[int] = ()) -> None:
        """The master has decided where users go; ``orphans`` are dead workers of this machine, whose keys are ours."""
        if self.routes is not None and not self.closed:
            records = [self._history / f"worker-{number}.arrow" for number in orphans]
            self.routes.take(Routing(**message), records)

    def client(self, region: str, load: Load) -> DynamoClient:
        """The client of a Region, shared by all users that ask it with the same deadlines."""
        place = (region, load.deadline, load.connect_deadline)
        if place not in self._clients:
            client = self._client_of(self.plan, region, load)
            self._clients[place] = telling(client, region, self._environment.events.request)
        return self._clients[place]

    def task_failed(self, raised: BaseException) -> None:
        """A task raised, so its intent was cut short; the master is told of each sort once."""
        error = f"{type(raised).__name__}: {raised}".splitlines()[0]
        if error not in self._task_errors and len(self._task_errors) < _TOLD_ERRORS:
            self._task_errors.add(error)
            self._send("lastwriter-raised", {"worker": self.number, "error": error})

    def count_sent(self, now_ns: int, *, offered: bool = False, late: bool = False) -> None:
        """An intent is sent: late, if it was due more than a little earlier. A closed loop offers what it sends."""
        if now_ns >= self._counted_until_ns:
            second = (now_ns - self.t0_ns) // SECOND_NS
            self._counts = self._sent.setdefault(second, [0, 0, 0])
            self._counted_until_ns = self.t0_ns + (second + 1) * SECOND_NS
        counts = self._counts
        counts[0] += offered
        counts[1] += 1
        counts[2] += late

    def remember(self, user: LoadUser) -> None:
        """A user that takes part."""
        self._users[id(user)] = user

    def forget(self, user: LoadUser) -> None:
        """It has ended."""
        if self._users.pop(id(user), None) is not None:
            self._offered_by_gone += user.offered_by(self._now_or_end())

    def finish(self, grace_s: float | None = None) -> None:
        """Let every user end what it is doing, record the rest as unknown, write the end mark, tell the master. Once.

        Users that still wait for an answer after ``grace_s`` (default: a little more than the longest deadline) are
        killed.
        """
        if self.closed:
            return
        self.closed = True
        try:
            if self.routes is not None:
                self.routes.close()
            self._end_users(self._longest_deadline_s() + LAST_WORD_S if grace_s is None else grace_s)
        finally:
            gc.unfreeze()
            gevent.killall(self._greenlets)
            self.recorder.close()
            self.truth.close()
            self._report()
            for client in self._clients.values():
                client.close()
            self._send(
                "lastwriter-done",
                {
                    "worker": self.number,
                    "rows": self.recorder.rows_written,
                    "failure": self.recorder.failure,
                    "regions": sorted(self.regions),
                    "files": files_of(self._history, self.number),
                },
            )

    def hello(self) -> dict[str, Any]:
        """That this worker is ready, and where its record stays until it is fetched; null: the run directory."""
        return {"worker": self.number, "directory": str(self._history) if self._away else None}

    def piece(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A piece of this worker's record (:func:`lastwriter.client.collect.read_piece`)."""
        return {"worker": self.number, **read_piece(self._history, asked)}

    def fetched(self) -> None:
        """The master has the whole record: it need not stay here."""
        if self._away:
            forget(self._history, self.number)

    def _routes(self) -> Routes:
        load = next(load for load in self.plan.loads if load.failover == "routed")

        def table_in(region: str) -> Table:
            known = KeyCodes(self.recorder, [])
            for codes in self._key_codes.values():
                known.update(codes)
            client = self.client(region, load)
            return Table(self.recorder, client, self.plan.table, region, SWEEP, self._processes, known)

        def tell(facts: dict[str, Any]) -> None:
            self._send("lastwriter-routed", {"worker": self.number, "facts": facts})

        def catch_up() -> None:
            self.recorder.flush()
            self._count_rows()

        return Routes(self.recorder, self._users.values, tell, table_in, catch_up, self.plan.seed)

    def _end_users(self, grace_s: float) -> None:
        group = self._environment.runner.user_greenlets
        me = gevent.getcurrent()
        for greenlet in list(group):
            user = greenlet.args[0] if greenlet.args else None
            if user is not None and greenlet is not me and user._state != LOCUST_STATE_STOPPING:
                gevent.spawn(user.stop, force=False)
        deadline = time.monotonic() + grace_s
        while any(greenlet is not me for greenlet in group) and time.monotonic() < deadline:
            gevent.sleep(0.01)
        gevent.killall([greenlet for greenlet in group if greenlet is not me], block=True, timeout=LAST_WORD_S)

    def _longest_deadline_s(self) -> float:
        return max((load.deadline for load in self.plan.loads), default=0.0)

    def _now_or_end(self) -> int:
        now_ns = monotonic_ns()
        return now_ns if self.ends_ns is None else min(now_ns, self.ends_ns)

    def _until_start(self) -> float:
        return max(0.0, (self.t0_ns - monotonic_ns()) / 1e9)

    def _probe(self) -> None:
        self.truth = Truth(_lag_file(self._history, self.number), self.t0_ns)
        self.truth.probe()

    def _report_for_ever(self) -> None:
        # Workers take turns: their batches should not hold up one another where they share a processor.
        gevent.sleep(FLUSH_INTERVAL_S * (self.number + 1) / self.workers)
        while True:
            self.recorder.flush()
            gevent.sleep(0)  # each of these takes a millisecond or so: users come in between
            self._count_rows()
            gevent.sleep(0)
            self.truth.write()
            self._report()
            failure = self.recorder.failure or self._refusals.verdict(monotonic_ns())
            if failure is not None:
                self._send("lastwriter-failed", {"worker": self.number, "reason": failure})
                return
            gevent.sleep(FLUSH_INTERVAL_S)

    def _on_rows(self, rows: Rows) -> None:
        self._rows.append(rows.copy())  # counted when the report is made, not while a user waits for its row

    def _count_rows(self) -> None:
        batches, self._rows = self._rows, []
        for rows in batches:
            if self.routes is not None:
                self.routes.note(rows)
            for cell in cells_of(rows, self.recorder, self.t0_ns, self.plan.phases):
                answers = cell.ok + cell.fail + cell.unknown
                self._refusals.add(cell.region, cell.kind, answers, cell.errors, monotonic_ns())
                self._cells.append(cell.message())

    def _report(self) -> None:
        """Tell the master what happened since the last report."""
        if not self._started.is_set():
            return
        upto_ns = monotonic_ns()
        self._count_rows()
        cells, self._cells = self._cells, []
        sent, self._sent, self._counted_until_ns = self._sent, {}, 0
        for second, offered in self._newly_offered(min(upto_ns, self._now_or_end())):
            sent.setdefault(second, [0, 0, 0])[0] += offered
        self._send(
            "lastwriter-delta",
            {
                "worker": self.number,
                "upto_ns": upto_ns,
                "intents": [[second, *counts] for second, counts in sent.items()],
                "users": len(self._users),
                "cells": cells,
            },
        )

    def _newly_offered(self, upto_ns: int) -> Iterator[tuple[int, int]]:
        """Open loop: how many intents became due since the last call, by second."""
        while True:
            second_end_ns = self.t0_ns + (self._offered_second + 1) * SECOND_NS - 1
            by_ns = min(upto_ns, second_end_ns)
            due = self._offered_by_gone + sum(user.offered_by(by_ns) for user in self._users.values())
            if due > self._offered_told:
                yield self._offered_second, due - self._offered_told
                self._offered_told = due
            if upto_ns <= second_end_ns:
                return
            self._offered_second += 1


_current: WorkerRun | None = None


def current() -> WorkerRun | None:
    """The run that this process takes part in, if any."""
    return _current


def set_current(run: WorkerRun | None) -> None:
    """Make a run the one that users join."""
    global _current
    _current = run


def workload_of(user_class: type) -> str:
    """Name of a user class's workload: its own ``workload``, else the name of its file."""
    return str(getattr(user_class, "workload", "") or user_class.__module__.rpartition(".")[2])


def warm_up() -> None:
    """Import and work out what would otherwise be done between a plan and its t0, or after it."""
    import lastwriter.client.boto
    import lastwriter.client.wire  # noqa: F401


def _client(plan: LoadPlan, region: str, load: Load) -> DynamoClient:
    return make_client(
        plan.client,
        plan.endpoints[region],
        region,
        credentials.credentials_for(plan.target),
        load.deadline,
        connect_s=load.connect_deadline,
    )


def _lag_file(history: Path, worker: int) -> Path:
    return history / f"worker-{worker}.lag.jsonl"

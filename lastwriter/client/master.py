"""The Locust master's part of one run: t0 when all users are there, what the workers report, the end.

At the end every worker is asked to finish, and says when its record is closed, before Locust stops anybody. Of a run
that was started by hand the master then settles the replicas and reads them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

import click
import gevent
import psutil  # type: ignore[import-untyped]  # comes with Locust
from gevent.event import Event
from locust.runners import MasterRunner

from lastwriter.client.clients import make_client
from lastwriter.client.collect import Collector
from lastwriter.client.credentials import credentials_for
from lastwriter.client.dispatch import Assignment
from lastwriter.client.failover import Failover
from lastwriter.client.heirs import RouteSender
from lastwriter.client.live import Live
from lastwriter.client.plan import LoadPlan
from lastwriter.client.protocol import DynamoClient
from lastwriter.client.rollcall import RollCall
from lastwriter.client.routes import Routing
from lastwriter.client.schedule import length_ns
from lastwriter.client.session import SETTLE_DEADLINE_S, Ended, RunSession, task_error
from lastwriter.client.slots import share_words, slots_by_worker
from lastwriter.errors import UserError
from verifier.rundir import ClockAnchor, PhaseWindow, RunDirectory, WorkerInfo

HEAD_START_S: Final = 0.3
"""Between setting t0 and t0 itself: the message has to be everywhere by then."""

USERS_DEADLINE_S: Final = 20.0
"""How long t0 waits for users that do not come."""

HELLO_DEADLINE_S: Final = 5.0
"""How long the load waits for a worker to say who it is."""

FINISH_SLACK_S: Final = 3.0
"""How long a worker may take to close its record, beyond the deadline of an attempt."""

CLOCK_INTERVAL_S: Final = 5.0
"""Between two readings of the clocks of other hosts."""

_TICK_S: Final = 0.25

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Who started the run: :class:`lastwriter.client.coordinator.Coordinator`."""

    assigned: Assignment | None
    run_time_s: float | None

    def abort(self, reason: str) -> None:
        """The run cannot go on."""
        ...

    def end(self) -> None:
        """The schedule is over."""
        ...

    def control_url(self) -> str | None:
        """The emulator's control port, if there is one."""
        ...


class MasterRun:
    """One run under way, seen from the master."""

    def __init__(
        self,
        owner: Owner,
        runner: Any,
        plan: LoadPlan,
        session: RunSession | None,
        workers: list[str],
        roll: RollCall,
        anchors: Sequence[ClockAnchor] = (),
    ) -> None:
        """``session``: the run directory of a run started by hand; None: somebody else opens and closes it.

        ``workers`` are Locust's ids, in order of the workers' numbers; ``anchors`` what was read of their clocks.
        """
        self._roll, self._anchors = roll, list(anchors)
        self._collecting: dict[int, Collector] = {}
        self._left_behind: list[str] = []
        self._owner, self._runner, self._plan, self._session = owner, runner, plan, session
        self._ids = {client_id: number for number, client_id in enumerate(workers)}
        self._hello: dict[int, dict[str, Any]] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._lost: dict[int, int] = {}
        """Worker → when it was noticed."""
        self._live: Live | None = None
        self._failover: Failover | None = None
        self._routes = RouteSender(
            self._send_to, lambda: [number for number, _ in self._open_workers()], self._record_of
        )
        self._task_errors: set[str] = set()
        # Where every load has only so much to do, nobody needs the rest of the phases.
        self._ends_early = bool(plan.phases) and all(load.intents is not None for load in plan.loads)
        self._early: list[dict[str, Any]] = []
        self._released = self._finished = False
        self._closed = Event()
        self._concluded = Event()
        self._hurry = False
        self._greenlets = [gevent.spawn(self._watch_for_ever)]
        self._end_ns: int | None = None
        self._t0_ns: int | None = None
        self.aborted: str | None = None

    def release(self, t0_ns: int | None = None) -> None:
        """Set t0 as soon as every user is there; with ``t0_ns`` users begin as they come, and it is set already."""
        if not self._released:
            self._released = True
            self._greenlets.append(gevent.spawn(self._release, t0_ns))

    def _begin(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        directory = RunDirectory(self._plan.run_directory)
        stats = self._runner.environment.stats
        self._live = Live(directory, self._plan.phases, self._plan.endpoints, t0_ns, stats)
        self._live.start([{**worker.model_dump(), "pid": self._pid(worker.worker)} for worker in self._worker_infos()])
        for anchor in self._anchors:
            self._live.event("clock", **anchor.model_dump())
        if self._session is not None:
            self._session.begun(t0_ns, self._worker_infos(), self._anchors)
        for delta in self._early:
            self._live.add(self._in_my_time(delta))
        self._greenlets.append(gevent.spawn(self._read_clocks_for_ever))
        if any(load.failover == "routed" for load in self._plan.loads):
            self._failover = Failover(
                self._plan, directory.routes, self._send_route, self._canary_client, self._say_route
            )
            self._greenlets.append(
                gevent.spawn_later(max(0.0, (t0_ns - time.monotonic_ns()) / 1e9), self._failover.start)
            )
        length = length_ns(self._plan.phases)
        if length is None and self._owner.run_time_s is not None:
            length = int(self._owner.run_time_s * 1e9)
        if length is not None:
            self._greenlets.append(gevent.spawn(self._end_at, t0_ns + length))

    def on_message(self, kind: str, sender: str, data: dict[str, Any]) -> None:
        """A message from a worker of this run."""
        if self._ids.get(sender) != data["worker"]:
            return  # of a run before this one
        if kind == "lastwriter-hello":
            self._hello[data["worker"]] = data
        elif kind == "lastwriter-piece":
            if data["worker"] in self._collecting:
                self._collecting[data["worker"]].on_piece(data)
        elif kind == "lastwriter-delta":
            if self._live is None:
                self._early.append(data)
            else:
                self._live.add(self._in_my_time(data))
        elif kind == "lastwriter-raised":
            self._task_errors.add(data["error"])
            if self._live is not None:
                self._live.event("task-error", worker=data["worker"], error=data["error"])
        elif kind == "lastwriter-routed":
            if self._failover is not None:
                ahead_ns, facts = self._roll.offset_ns(sender), data["facts"]
                if facts["event"] == "swept":
                    self._routes.swept(facts["number"], data["worker"], facts["region"])
                times = {name: facts[name] - ahead_ns for name in ("since_ns", "at_ns")}
                self._failover.note({**facts, **times, "worker": data["worker"]})
        elif kind == "lastwriter-done":
            self._done[data["worker"]] = data
        elif kind == "lastwriter-failed":
            self._owner.abort(data["reason"])

    def finish(self) -> None:
        """Ask every worker to close its record and wait until all have, or cannot."""
        if self._finished:
            self._closed.wait(timeout=60)
            return
        self._finished = True
        if self._failover is not None:
            self._failover.close()
        try:
            for number, client_id in self._open_workers():
                logger.debug("asking worker %d to finish", number)
                self._runner.send_message("lastwriter-finish", {"worker": number}, client_id)
            slack_s = FINISH_SLACK_S + max((load.deadline for load in self._plan.loads), default=0.0)
            deadline = time.monotonic() + slack_s
            with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: with what there is
                while self._open_workers() and time.monotonic() < deadline:
                    self._look_for_lost()
                    gevent.sleep(0.02)
            for number, _ in self._open_workers():
                self._lose(number)
            self._end_ns = time.monotonic_ns()
            if self._live is not None:
                self._live.write(self._end_ns, everything=True)
            self._read_clocks()
            self._collect()
            if self._live is not None:
                facts = {} if self.aborted is None else {"aborted": self.aborted}
                self._live.event("end", end_ns=self._end_ns, **facts)
        finally:
            self._closed.set()
            me = gevent.getcurrent()
            gevent.killall([greenlet for greenlet in self._greenlets if greenlet is not me], block=False)

    def conclude(self) -> None:
        """Of a run started by hand: settle, read the replicas, say how to verify."""
        try:
            if self._session is not None:
                self._close(self._session)
        finally:
            self._concluded.set()

    def hurry(self) -> None:
        """Cut the settling short, and wait until the record is closed."""
        self._hurry = True
        self._concluded.wait()

    def _close(self, session: RunSession) -> None:
        plan = self._plan
        end_ns = self._end_ns or time.monotonic_ns()
        start_ns = self._t0_ns
        phases = [PhaseWindow(name="load", start_ns=start_ns, end_ns=end_ns)] if start_ns is not None else []
        ended: Ended = "finished" if self.aborted is None else "aborted"
        try:
            session.loaded(start_ns, end_ns, phases, self._worker_infos(), self._anchors)
            for number, at_ns in sorted(self._lost.items()):
                session.warn(f"{self._loss(number, at_ns)}; its record may be incomplete")
            for sentence in (*self._left_behind, *map(task_error, sorted(self._task_errors))):
                session.warn(sentence)
            logger.info(
                "the load has ended; reading every replica as soon as they agree, within %g s", SETTLE_DEADLINE_S
            )
            try:
                session.settle(plan.endpoints, self._owner.control_url(), stop=lambda: self._hurry)
            except KeyboardInterrupt:
                self._hurry = True
            if self._hurry:
                session.finish("interrupted", "Ctrl-C while the run was settling")
            else:
                session.finish(ended, self.aborted)
        except (UserError, OSError) as error:
            why = str(error)
            if isinstance(error, OSError):
                why = f"{session.directory.path} cannot be written ({error.strerror or error})"
            logger.error(why)
            with contextlib.suppress(UserError, OSError):
                session.finish("aborted", why)
        click.echo(f"\nThis run can be judged now:\n  lastwriter verify {session.directory.path}\n")

    def _worker_infos(self) -> list[WorkerInfo]:
        slots = slots_by_worker(self._plan, len(self._ids))
        return [
            WorkerInfo(
                worker=number,
                host=found.host if (found := self._roll.present(client_id)) else "unknown",
                regions=sorted(self._done.get(number, {}).get("regions") or {slot.region for slot in slots[number]}),
            )
            for client_id, number in sorted(self._ids.items(), key=lambda entry: entry[1])
        ]

    def _pid(self, number: int) -> int | None:
        """Of a worker on this host."""
        client_id = self._client_id(number)
        found = self._roll.present(client_id)
        return found.pid if found is not None and self._roll.is_here(client_id) else None

    def _in_my_time(self, delta: dict[str, Any]) -> dict[str, Any]:
        """A worker's report, its clock read as the master's."""
        client_id = next((client_id for client_id, number in self._ids.items() if number == delta["worker"]), "")
        return {**delta, "upto_ns": delta["upto_ns"] - self._roll.offset_ns(client_id)}

    def _read_clocks_for_ever(self) -> None:
        while True:
            gevent.sleep(CLOCK_INTERVAL_S)
            self._read_clocks()

    def _read_clocks(self) -> None:
        """One more anchor for each host whose clock is not this one's."""
        elsewhere = [
            client_id
            for client_id, number in self._ids.items()
            if number not in self._lost and not self._roll.is_here(client_id)
        ]
        if not elsewhere:
            return
        for anchor in self._roll.read(elsewhere):
            self._anchors.append(anchor)
            if self._live is not None:
                self._live.event("clock", **anchor.model_dump())

    def _collect(self) -> None:
        """Bring here what workers on other hosts have recorded."""
        history = RunDirectory(self._plan.run_directory)
        for client_id, number in sorted(self._ids.items(), key=lambda entry: entry[1]):
            kept = self._hello.get(number, {}).get("directory")
            if kept is None:
                continue
            found = self._roll.present(client_id)
            where = f"{kept} on {found.host if found else 'its host'}"
            files = self._done.get(number, {}).get("files")
            if files is None:
                self._leave_behind(number, where, "it was lost")
                continue

            def ask(data: dict[str, Any], client_id: str = client_id, number: int = number) -> None:
                self._runner.send_message("lastwriter-pull", {**data, "worker": number}, client_id)

            collector = self._collecting[number] = Collector(history, files, ask)
            logger.info("fetching the record of worker %d: %.1f MB", number, collector.total_bytes / 1e6)
            if collector.fetch(partial(self._is_gone, number, client_id)):
                self._runner.send_message("lastwriter-fetched", {"worker": number}, client_id)
            else:
                self._leave_behind(number, where, collector.failure or "it could not be fetched")
        self._collecting.clear()

    def _leave_behind(self, number: int, where: str, why: str) -> None:
        sentence = (
            f"the record of worker {number} was not fetched ({why}): copy {where} into the run's history/, "
            "then verify again"
        )
        logger.warning(sentence)
        self._left_behind.append(sentence)
        if self._live is not None:
            self._live.event("left-behind", worker=number, sentence=sentence)

    def _release(self, t0_ns: int | None) -> None:
        hello_deadline = time.monotonic() + HELLO_DEADLINE_S
        while len(self._hello) < len(self._ids) and time.monotonic() < hello_deadline:
            gevent.sleep(0.01)
        if t0_ns is not None:
            self._begin(t0_ns)
            return
        planned = sum(sum(mine.values()) for mine in (self._owner.assigned or {}).values())
        deadline = time.monotonic() + USERS_DEADLINE_S
        while self._runner.user_count < planned and time.monotonic() < deadline:
            gevent.sleep(0.02)
        if self._runner.user_count < planned:
            logger.warning(
                "%d of %d users are there; the load begins without the rest", self._runner.user_count, planned
            )
        t0_ns = time.monotonic_ns() + int(HEAD_START_S * 1e9)
        for number, client_id in self._open_workers():
            their_t0_ns = t0_ns + self._roll.offset_ns(client_id)
            self._runner.send_message("lastwriter-start", {"worker": number, "t0_ns": their_t0_ns}, client_id)
        self._begin(t0_ns)

    def _send_route(self, routing: Routing) -> None:
        self._look_for_lost()  # who is dead by now leaves its keys to somebody else
        self._routes.decided(routing)

    def _send_to(self, number: int, message: dict[str, Any]) -> None:
        self._runner.send_message("lastwriter-route", message, self._client_id(number))

    def _record_of(self, number: int) -> tuple[str | None, str | None]:
        """Where a worker's record is: on which machine, and in which folder there."""
        found = self._roll.present(self._client_id(number))
        return found.kernel if found is not None else None, self._hello.get(number, {}).get("directory")

    def _client_id(self, number: int) -> str:
        return next(client_id for client_id, its_number in self._ids.items() if its_number == number)

    def _say_route(self, region: str, to: str) -> None:
        if self._live is not None:
            self._live.event("route", region=region, to=to)

    def _canary_client(self, region: str, deadline_s: float) -> DynamoClient:
        plan = self._plan
        return make_client(plan.client, plan.endpoints[region], region, credentials_for(plan.target), deadline_s)

    def _end_at(self, end_ns: int) -> None:
        gevent.sleep(max(0.0, (end_ns - time.monotonic_ns()) / 1e9))
        self._owner.end()

    def _watch_for_ever(self) -> None:
        while True:
            gevent.sleep(_TICK_S)
            if self._live is not None:
                self._live.write(time.monotonic_ns())
                if self._ends_early and self._live.idle():
                    self._owner.end()
                    return
            self._look_for_lost()
            if self._ids and len(self._lost) == len(self._ids):
                self._owner.abort("every worker was lost")
                return

    def _open_workers(self) -> list[tuple[int, str]]:
        """Workers that are there and have not closed their record."""
        return [
            (number, client_id)
            for client_id, number in self._ids.items()
            if number not in self._done and number not in self._lost
        ]

    def _look_for_lost(self) -> None:
        for number, client_id in self._open_workers():
            if self._is_gone(number, client_id):
                self._lose(number)

    def _lose(self, number: int) -> None:
        self._lost[number] = time.monotonic_ns()
        self._routes.lost(number)
        logger.warning("%s; the run goes on", self._loss(number, self._lost[number]))
        if self._live is not None:
            self._live.lost(number)
            self._live.event("worker-lost", worker=number)

    def _loss(self, number: int, at_ns: int) -> str:
        since_s = 0.0 if self._t0_ns is None else max(0.0, (at_ns - self._t0_ns) / 1e9)
        slots = slots_by_worker(self._plan, len(self._ids))
        if slots[number]:
            what = f"nobody takes over its {share_words(slots[number], [slot for mine in slots for slot in mine])}"
        else:
            what = "its users are missing until Locust starts others (at once with --enable-rebalancing)"
        return f"worker {number} was lost {since_s:.1f} s into the load: {what}"

    def _is_gone(self, number: int, client_id: str) -> bool:
        """Its process has ended, or Locust has not heard of it for some seconds."""
        if not isinstance(self._runner, MasterRunner):
            return False
        pid = self._pid(number)
        if pid is not None:
            return not _lives(pid)
        node = self._runner.clients.get(client_id)
        return node is None or node.state == "missing"


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

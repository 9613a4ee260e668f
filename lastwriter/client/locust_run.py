"""Ties lastwriter to Locust: options, messages and events, for the master, a worker, or one process that is both.

Imported by every locustfile through :mod:`lastwriter.client.user`; does nothing where no user class is ours.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import time
from typing import Any, Final

import gevent
from locust import events
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from lastwriter.client import clock, worker
from lastwriter.client.coordinator import Coordinator
from lastwriter.client.dispatch import PlanDispatcher
from lastwriter.client.options import add_options, worker_regions
from lastwriter.client.plan import LoadPlan
from lastwriter.client.rollcall import answer
from lastwriter.client.stats import write_exact_times
from lastwriter.errors import UserError

PARENT_VARIABLE: Final = "LASTWRITER_PARENT"
"""Environment variable with the process id of whoever supervises the run; when it is gone, Locust quits."""

_QUIT_S: Final = 15.0
"""Most time that a process without supervisor takes to end in order."""

_LAST_REQUEST_S: Final = 10.0
"""Most time that a user may take for its last request, unless Locust's ``--stop-timeout`` says otherwise."""

logger = logging.getLogger(__name__)

_installed = False
_runner: Any = None
"""Locust's; None until it has one."""


def install(our_user: type) -> None:
    """Listen to Locust's events, once; ``our_user`` is the class that ours are made of."""
    global _installed
    if not _installed:
        _installed = True
        events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
        events.init.add_listener(functools.partial(_on_init, our_user))  # type: ignore[no-untyped-call]
        _follow_parent()


def _on_init(our_user: type, environment: Any, runner: Any, **_: Any) -> None:
    """Locust knows its options and its role. Ours are the users that have a workload."""
    if not any(issubclass(user_class, our_user) for user_class in environment.user_classes):
        return
    _interrupt_where_it_is_safe()
    global _runner
    _runner = runner
    if isinstance(runner, WorkerRunner):
        _install_worker(environment, runner)
        return
    try:
        coordinator = Coordinator(environment, environment.parsed_options)
    except (UserError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if not interrupted:
            logger.error(error)
        if isinstance(runner, MasterRunner):
            runner.quit()
        sys.exit(130 if interrupted else 2)
    if isinstance(runner, LocalRunner):
        _install_worker(environment, runner)
    _install_coordinator(environment, runner, coordinator)


def _install_coordinator(environment: Any, runner: Any, coordinator: Coordinator) -> None:
    write_exact_times()
    # Users that Locust takes away in the middle of a run (a load shape does) end what they are doing.
    environment.stop_timeout = environment.stop_timeout or _LAST_REQUEST_S
    environment.dispatcher_class = functools.partial(PlanDispatcher, assigned=lambda: coordinator.assigned)
    if coordinator.supervised:
        environment.process_exit_code = 0  # failed operations are what a drill is for
        environment.parsed_options.num_users = coordinator.user_total() or environment.parsed_options.num_users
        environment.parsed_options.spawn_rate = 100  # all at once, in fact; above it Locust warns
    elif environment.parsed_options.headless and environment.parsed_options.run_time:
        # Locust would count from before the table is made and read.
        coordinator.run_time_s = float(environment.parsed_options.run_time)
        environment.parsed_options.run_time = None
        logger.info("the load ends %g s after it has begun", coordinator.run_time_s)
    for what in ("hello", "pong", "delta", "done", "failed", "piece", "routed", "raised"):
        runner.register_message(f"lastwriter-{what}", _listener(coordinator, f"lastwriter-{what}"))
    environment.events.test_start.add_listener(lambda **_: coordinator.begin())
    environment.events.spawning_complete.add_listener(lambda **_: coordinator.all_users_are_there())
    environment.events.test_stopping.add_listener(lambda **_: coordinator.finish())
    environment.events.test_stop.add_listener(lambda **_: coordinator.conclude())
    environment.events.quit.add_listener(lambda **_: coordinator.close())


def _listener(coordinator: Coordinator, kind: str) -> Any:
    def listen(environment: Any, msg: Any) -> None:
        coordinator.on_message(kind, msg.node_id, msg.data)

    return listen


def _install_worker(environment: Any, runner: Any) -> None:
    worker.warm_up()

    def on_plan(environment: Any, msg: Any, **_: Any) -> None:
        plan, number = LoadPlan.model_validate_json(msg.data["plan"]), msg.data["worker"]
        finish()  # a run before this one, if its end was missed
        try:
            away = msg.data["kernel"] != clock.kernel()
            run = worker.WorkerRun(plan, number, environment, runner.send_message, away=away)
        except (OSError, UserError) as error:
            worker.set_current(None)
            what = f"cannot record to {plan.run_directory}" if isinstance(error, OSError) else "cannot take part"
            reason = f"worker {number} {what}: {error}"
            runner.send_message("lastwriter-failed", {"worker": number, "reason": reason})
            runner.send_message("lastwriter-done", {"worker": number, "rows": 0, "failure": reason})
            return
        worker.set_current(run)
        runner.send_message("lastwriter-hello", run.hello())

    def on_start(environment: Any, msg: Any, **_: Any) -> None:
        run = worker.current()
        if run is not None:
            run.start(msg.data["t0_ns"])

    def on_route(environment: Any, msg: Any, **_: Any) -> None:
        run = worker.current()
        if run is not None and run.number == msg.data["worker"]:
            run.take_route(msg.data["routing"], msg.data["orphans"])

    def finish(**_: Any) -> None:
        run = worker.current()
        if run is not None:
            run.finish()

    def on_pull(environment: Any, msg: Any, **_: Any) -> None:
        run = worker.current()
        if run is not None and run.number == msg.data["worker"]:
            runner.send_message("lastwriter-piece", run.piece(msg.data))

    def on_fetched(environment: Any, msg: Any, **_: Any) -> None:
        run = worker.current()
        if run is not None and run.number == msg.data["worker"]:
            run.fetched()

    serves = worker_regions(environment.parsed_options)
    runner.register_message(
        "lastwriter-ping",
        lambda environment, msg, **_: runner.send_message("lastwriter-pong", answer(msg.data, serves)),
    )
    runner.register_message("lastwriter-pull", on_pull)
    runner.register_message("lastwriter-fetched", on_fetched)
    runner.register_message("lastwriter-plan", on_plan)
    runner.register_message("lastwriter-start", on_start)
    runner.register_message("lastwriter-route", on_route)
    # Users may take some seconds to end; meanwhile the worker goes on listening and sending.
    runner.register_message("lastwriter-finish", lambda environment, msg, **_: gevent.spawn(finish))
    environment.events.test_stopping.add_listener(finish)
    # Before Locust's own listener (the last one added is called first) tells the master that this worker has quit.
    environment.events.quitting.add_listener(finish)


def _interrupt_where_it_is_safe() -> None:
    """Have Ctrl-C, and the closing of the terminal, raise KeyboardInterrupt in the main greenlet, where that waits.

    Python would raise it in whichever greenlet runs just then, between any two instructions: a user that has an
    operation id and not yet written its row would die with the id, and the end mark would say that every id has a row.
    """
    hub = gevent.get_hub()

    def interrupt() -> None:
        hub.parent.throw(KeyboardInterrupt())

    gevent.signal_handler(signal.SIGINT, hub.loop.run_callback, interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # `nohup` says to go on
        gevent.signal_handler(signal.SIGHUP, hub.loop.run_callback, interrupt)


def _follow_parent() -> None:
    """End when whoever supervises the run is gone: from the import on, for a worker waits minutes for its master."""
    parent, own = os.environ.get(PARENT_VARIABLE, ""), os.getpid()
    if not parent.isdigit():
        return

    def follow() -> None:
        while os.getppid() == int(parent):
            time.sleep(0.5)
        if os.getpid() != own:
            return  # forked by Locust (--processes): its parent is the master, which follows its own
        logger.error("whoever supervised this run is gone; ending")
        if _runner is None:
            os._exit(1)
        gevent.spawn_later(_QUIT_S, os._exit, 1)
        _runner.quit()

    gevent.spawn(follow)

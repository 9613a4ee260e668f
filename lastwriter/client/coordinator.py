"""What a Locust master does between runs: options, emulator, the plan of the next run, which one is under way.

A run goes plan → users → t0 → load → finish (:mod:`lastwriter.client.master`). The plan reaches the workers by a
message sent in ``test_start``, which arrives before Locust's own that makes them start users. Locust calls all of
this for a run in one process, too.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Literal

import gevent
from locust.runners import LocalRunner

from lastwriter.client import clock
from lastwriter.client import options as cli
from lastwriter.client.clients import make_client
from lastwriter.client.credentials import credentials_for
from lastwriter.client.dispatch import Assignment, assignment
from lastwriter.client.master import MasterRun
from lastwriter.client.plan import LoadPlan
from lastwriter.client.rollcall import RollCall
from lastwriter.client.session import RunSession
from lastwriter.client.slots import is_elastic
from lastwriter.emulator.process import EmulatorProcess, start_emulator
from lastwriter.errors import UserError

logger = logging.getLogger(__name__)


class Coordinator:
    """Runs on the master, or in the only process there is. One at a time is under way; Locust's UI may start many."""

    def __init__(self, environment: Any, options: Any) -> None:
        """UserError if the options cannot be carried out; starts the emulator where one is asked for."""
        self.environment, self.options = environment, options
        self.assigned: Assignment | None = None
        self.run_time_s: float | None = None
        """Length of a load without phases, from t0; None: until somebody stops it."""
        self._roll = RollCall(self._send)
        self._run: MasterRun | None = None
        self._concluding: MasterRun | None = None
        self._plan: LoadPlan | None = None
        self._settings: cli.Settings | None = None
        self._emulator: EmulatorProcess | None = None
        if options.plan:
            self._plan = cli.read_plan(Path(options.plan), environment.user_classes)
        else:
            self._settings = cli.read_settings(options)
            if environment.shape_class is not None and options.rate:
                raise UserError(
                    "--rate fixes how many users there are, and so does the file's LoadTestShape: leave --rate out"
                )
            # The web UI may change these later; what is wrong on the command line is said at once.
            cli.make_loads(options, environment.user_classes, 1)
            if not self._settings.endpoints:
                self._emulator = start_emulator(
                    self._settings.regions, mode=self._settings.mode, witness=self._settings.witness
                )
                where = ", ".join(f"{region} {url}" for region, url in self._emulator.endpoints.items())
                logger.info("emulator: %s, control %s", where, self._emulator.control)

    @property
    def supervised(self) -> bool:
        """The plan comes from a file: whoever wrote it opens and closes the run directory."""
        return self._plan is not None

    def user_total(self) -> int | None:
        """How many users a supervised plan has; None: Locust's options say."""
        if self._plan is None or any(is_elastic(self._plan, load) for load in self._plan.loads):
            return None
        counts = assignment(self._plan, ["all"], self.environment.user_classes) or {}
        return sum(sum(mine.values()) for mine in counts.values())

    def begin(self) -> None:
        """Locust's ``test_start``: give every worker the plan."""
        self.assigned = {}
        try:
            if self._plan is not None:
                plan, session = self._plan, None
            else:
                plan, session = self._open_session()
        except UserError as error:
            self._give_up(str(error), exit_code=2)
            return
        runner = self.environment.runner
        elastic = any(is_elastic(plan, load) for load in plan.loads)
        workers = _worker_ids(runner)
        anchors = self._roll.read(workers)
        serve = [found.regions if (found := self._roll.present(client_id)) else () for client_id in workers]
        if any(serve):
            plan = plan.model_copy(update={"worker_regions": [list(regions) for regions in serve]})
        try:
            self.assigned = assignment(plan, workers, self.environment.user_classes)
        except UserError as error:
            if session is not None:
                session.finish("aborted", str(error))
            self._give_up(str(error), exit_code=2)
            return
        if self.assigned is not None:
            # Locust waits for as many users as its options ask for; the plan knows better.
            runner.target_user_count = sum(sum(mine.values()) for mine in self.assigned.values())
        t0_ns = time.monotonic_ns() if elastic else None
        plan = plan.model_copy(update={"workers": len(workers), "t0_ns": t0_ns})
        self._run = run = MasterRun(self, runner, plan, session, workers, self._roll, anchors)
        for number, client_id in enumerate(workers):
            their_t0_ns = None if t0_ns is None else t0_ns + self._roll.offset_ns(client_id)
            told = plan.model_copy(update={"t0_ns": their_t0_ns}).model_dump_json()
            runner.send_message(
                "lastwriter-plan", {"plan": told, "worker": number, "kernel": clock.kernel()}, client_id
            )
        if t0_ns is not None:
            run.release(t0_ns)

    def all_users_are_there(self) -> None:
        """Locust's ``spawning_complete``: the load can begin."""
        if self._run is not None:
            self._run.release()

    def finish(self) -> None:
        """Locust's ``test_stopping``: close the workers' records before Locust stops anybody."""
        if self._run is not None:
            self._run.finish()

    def conclude(self) -> None:
        """Locust's ``test_stop``: what there is to do when no user runs any more."""
        run, self._run = self._run, None
        if run is not None:
            self._concluding = run
            run.finish()
            run.conclude()
            self._concluding = None
        else:
            self._hurry()

    def close(self) -> None:
        """Locust's ``quit``, the last thing before it exits."""
        self._hurry()
        if self._emulator is not None:
            self._emulator.stop()

    def on_message(self, kind: str, sender: str, data: dict[str, Any]) -> None:
        """A message from a worker."""
        if kind == "lastwriter-pong":
            self._roll.on_pong(sender, data)
        elif self._run is not None:
            self._run.on_message(kind, sender, data)

    def abort(self, reason: str) -> None:
        """The run cannot go on: say so in one line, keep what there is, end."""
        if self._run is not None and self._run.aborted is None:
            self._run.aborted = reason
            self._give_up(reason, exit_code=4)

    def end(self) -> None:
        """The schedule is over."""
        self._leave()

    def _hurry(self) -> None:
        """Ctrl-C while another greenlet closes the run: it is to cut it short, and Locust must not exit before."""
        if self._concluding is not None:
            self._concluding.hurry()

    def _send(self, kind: str, data: dict[str, Any], worker_id: str) -> None:
        self.environment.runner.send_message(kind, data, worker_id)

    def _open_session(self) -> tuple[LoadPlan, RunSession]:
        settings, options = self._settings, self.options
        assert settings is not None
        users = self.environment.runner.target_user_count
        loads = cli.make_loads(options, self.environment.user_classes, users)
        endpoints = self._emulator.endpoints if self._emulator is not None else settings.endpoints
        # Whoever names a control port has an emulator, which is not to see the user's own credentials.
        emulated = self._emulator is not None or settings.control is not None
        target: Literal["emulator", "endpoints"] = "emulator" if emulated else "endpoints"
        seed = cli.draw_seed(options)
        name = "-".join(dict.fromkeys(load.workload for load in loads))
        profile = {
            "name": name,
            "hypothesis": "",
            "target": {"kind": target, "mode": settings.mode, "regions": list(settings.regions)},
            "load": [load.model_dump(mode="json") for load in loads],
            "phases": [],
            "expect": [],
        }
        plan = cli.make_plan(settings, loads, endpoints, target, Path(), seed)
        cli.check_plan(plan, self.environment.user_classes)
        if isinstance(self.environment.runner, LocalRunner) or any(load.failover == "routed" for load in loads):
            for region, url in plan.endpoints.items():  # before a table is made: proxies, certificates
                make_client(plan.client, url, region, credentials_for(target)).close()
        session = RunSession.open(
            settings.results,
            name,
            profile,
            settings.mode,
            settings.regions,
            settings.witness,
            settings.table,
            target,
            settings.client,
            seed,
        )
        try:
            needs = {need for user_class in self.environment.user_classes for need in getattr(user_class, "needs", ())}
            session.prepare({region: endpoints[region] for region in settings.regions}, needs)
            credentials_for(target)
        except BaseException as raised:
            # Locust may be told to stop meanwhile, which kills the greenlet that this runs in.
            why = str(raised) if isinstance(raised, UserError) else "stopped before the load had begun"
            session.finish("aborted", why)
            raise
        directory = session.directory
        where = {"run": directory.name, "run_directory": str(directory.path.resolve())}
        return plan.model_copy(update=where), session

    def control_url(self) -> str | None:
        """The emulator's control port, if there is one."""
        if self._emulator is not None:
            return self._emulator.control
        return self._settings.control if self._settings is not None else None

    def _give_up(self, reason: str, exit_code: int) -> None:
        logger.error(reason)
        self.environment.process_exit_code = exit_code
        self._leave()

    def _leave(self) -> None:
        """Stop; without a web UI to start again from, quit. Not from here: it may be Locust's own greenlet."""
        runner = self.environment.runner
        gevent.spawn(runner.stop if self.environment.web_ui is not None and not self.supervised else runner.quit)


def _worker_ids(runner: Any) -> list[str]:
    """Locust's ids of the workers, in order of their numbers in the run."""
    if isinstance(runner, LocalRunner):
        return [runner._local_worker_node.id]
    ready = runner.clients.ready + runner.clients.running + runner.clients.spawning
    return sorted((node.id for node in ready), key=runner.get_worker_index)

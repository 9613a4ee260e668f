"""Starts, watches and ends everything that a run consists of: emulator, Locust master and workers, faults."""

from __future__ import annotations

import json
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from lastwriter.client.session import RunSession, task_error
from lastwriter.client.slots import Slot, share_words, slots_by_worker
from lastwriter.drill.faults import FaultController
from lastwriter.drill.interrupts import Interrupted, Interrupts, Now
from lastwriter.drill.plan import fault_schedule, load_plan, load_seconds, phase_windows
from lastwriter.drill.processes import Child, Processes, free_port, last_line
from lastwriter.drill.profile import Profile
from lastwriter.drill.progress import Progress
from lastwriter.drill.suspicions import Suspicions
from lastwriter.errors import RunAborted, UserError
from lastwriter.resources import needs_of
from verifier.rundir import ClockAnchor, WorkerInfo, write_atomically

if TYPE_CHECKING:
    from lastwriter.emulator.process import EmulatorProcess

_START_DEADLINE_S: Final = 60.0
"""Most time between starting Locust and the load's t0."""
_END_DEADLINE_S: Final = 30.0
"""Most time that the load may outlast its schedule."""
_LEAVING_S: Final = 3.0
_WRONG_USE: Final = 2
"""Exit code of a Locust master that was asked for something that cannot be."""
_TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a profile; what to run is in the profile."""

    results: Path
    workers: int = 2
    seed: int | None = None
    """Null: drawn, and kept in ``run.json``."""
    client: Literal["wire", "boto3"] = "wire"
    arguments: tuple[str, ...] = ()
    """Of the command that was given, without the seed: for whoever wants the same run again."""


class Supervisor:
    """Starts, watches and ends everything that a run consists of."""

    def __init__(
        self,
        profile: Profile,
        options: RunOptions,
        session: RunSession,
        seed: int,
        locustfiles: list[Path],
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        self._profile = profile
        self._options = options
        self._session = session
        self._seed = seed
        self._locustfiles = locustfiles
        self._progress = progress
        self._interrupts = interrupts
        self._directory = session.directory
        self._slots: list[list[Slot]] = []
        """By worker, once they are known."""

    def run(self) -> str | None:
        """The run up to ``run.json``'s last writing; why it was cut short, or null. Raises what ends it before load."""
        session, profile = self._session, self._profile
        with ExitStack() as stack:
            try:
                with self._interrupts.raising():
                    emulator = self._start_emulator(stack)
                    self._progress.step(f"table {profile.target.table}, {profile.target.mode}")
                    session.prepare(emulator.endpoints, {need for path in self._locustfiles for need in needs_of(path)})
            except Interrupted as interruption:
                session.finish("interrupted", str(interruption))
                raise RunAborted(f"interrupted by {interruption} before the load had begun") from None
            except (UserError, RunAborted) as error:
                session.finish("aborted", str(error))
                raise
            processes = stack.enter_context(Processes(self._directory.logs))
            faults = FaultController(
                emulator.control, fault_schedule(profile), self._directory.faults, self._progress.note, emulator
            )
            stack.callback(faults.stop)
            aborted: str | None = None
            load = _Load()
            try:
                self._drive(load, processes, emulator, faults)
            except Interrupted as interruption:
                aborted = f"interrupted by {interruption}"
            except UserError as error:
                session.finish("aborted", str(error))
                raise
            except RunAborted as error:
                aborted = str(error)
                self._progress.note(f"aborted: {aborted}")
            except Now:
                processes.kill()
                raise
            end_ns = load.end_ns or time.monotonic_ns()
            faults.stop()
            processes.end()
            return self._close(load, end_ns, emulator, aborted)

    def _start_emulator(self, stack: ExitStack) -> EmulatorProcess:
        from lastwriter.emulator.process import start_emulator

        target = self._profile.target
        data = self._directory.emulator if target.data else None
        if data is not None:  # of a run that is killed it stays, with the run
            stack.callback(shutil.rmtree, data, ignore_errors=True)
        emulator = start_emulator(
            target.regions,
            witness=target.witness,
            settings={"seed": self._seed, **target.settings},
            bugs=target.bugs,
            log=self._directory.logs / "emulator.log",
            data=data,
        )
        stack.callback(emulator.stop)
        witness = f", witness {target.witness}" if target.witness else ""
        self._progress.step(f"emulator with {', '.join(target.regions)}{witness}")
        if target.bugs:
            sentence = f"the emulator was told to break its promises (target.bugs): {', '.join(target.bugs)}"
            self._progress.note(sentence)
            self._session.warn(sentence)
        return emulator

    def _drive(self, load: _Load, processes: Processes, emulator: EmulatorProcess, faults: FaultController) -> None:
        """Start Locust, wait for t0, follow the load to its end. Raises RunAborted or Interrupted."""
        with self._interrupts.raising():
            master, workers = self._start_locust(processes, emulator)
            load.children = workers
            live = _Tail(self._directory.live)
            try:
                while not load.ended:
                    ending = not master.running  # looked at before its last lines are read
                    for entry in live.read():
                        self._take(entry, load, faults)
                    if not load.ended:
                        self._watch(load, master, workers, emulator, faults, ending)
                    if load.suspicions is not None:
                        load.suspicions.look(last=load.ended)
                    time.sleep(_TICK_S)
            except Interrupted:
                self._progress.note("ending the load; once more ends everything now")
                with self._interrupts.second_only():
                    faults.stop()
                    master.signal(signal.SIGINT)
                    # Before t0 no worker has anything to write, and one without a master would wait for minutes.
                    self._wait_for_end(load, live, faults, [master, *(workers if load.start_ns else [])])
                raise
            with self._interrupts.second_only():
                self._wait_for_end(load, live, faults, [master, *workers])
            if load.aborted is not None:
                raise RunAborted(load.aborted)

    def _start_locust(self, processes: Processes, emulator: EmulatorProcess) -> tuple[Child, list[Child]]:
        plan = load_plan(
            self._profile,
            self._session.info.run,
            self._directory.path,
            emulator.endpoints,
            self._options.client,
            self._seed,
        )
        plan_file = self._directory.logs / "plan.json"
        self._slots = slots_by_worker(plan, self._options.workers)
        write_atomically(plan_file, plan.model_dump_json(indent=2) + "\n")
        count = self._options.workers
        self._progress.step(f"load with {count} worker{'s' if count > 1 else ''}: {_load_words(self._profile)}")
        port = str(free_port())
        locust = ["-m", "locust", "-f", ",".join(str(path.resolve()) for path in self._locustfiles)]
        locust += ["--headless", "--plan", str(plan_file.resolve())]
        master = processes.start(
            "master",
            [
                *locust,
                "--master",
                *("--master-bind-host", "127.0.0.1", "--master-bind-port", port),
                *("--expect-workers", str(count)),
            ],
        )
        workers = [
            processes.start(
                f"worker-{number}", [*locust, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
            )
            for number in range(count)
        ]
        return master, workers

    def _take(self, entry: dict[str, Any], load: _Load, faults: FaultController) -> None:
        """One line of ``live.jsonl``."""
        event = entry.get("event")
        if event == "start":
            load.start_ns = entry["t0_ns"]
            load.pids = {info["worker"]: info["pid"] for info in entry["worker_info"]}
            load.workers = self._worker_infos(entry["worker_info"])
            self._session.begun(load.start_ns, load.workers)
            _rename(load)
            run = self._session.info.model_copy(update={"start_ns": load.start_ns})
            load.suspicions = Suspicions(self._directory, run, self._progress)
            faults.start(load.start_ns)
        elif event == "worker-lost":
            pid = load.pids.get(entry["worker"])
            if any(worker.process.pid == pid and worker.running for worker in load.children):
                self._lost(f"worker {entry['worker']} does not answer any more", pid, load)
        elif event == "route":
            home = entry["region"] == entry["to"]
            self._progress.note(f"users of {entry['region']} {'return' if home else 'go to ' + entry['to']}")
        elif event == "task-error":
            self._progress.note(task_error(entry["error"]))
            self._session.warn(task_error(entry["error"]))
        elif event == "clock":
            load.anchors.append(ClockAnchor(**{name: entry[name] for name in ClockAnchor.model_fields}))
        elif event == "end":
            load.ended = True
            load.end_ns = entry["end_ns"]
            load.aborted = entry.get("aborted")
        if event is None or event == "start":
            self._progress.live(entry, faults.in_effect)

    def _watch(
        self,
        load: _Load,
        master: Child,
        workers: list[Child],
        emulator: EmulatorProcess,
        faults: FaultController,
        ending: bool,
    ) -> None:
        """Notice what died. A worker's death leaves a run that is incomplete; without the others it cannot go on."""
        if faults.error is not None:
            raise RunAborted(faults.error)
        if emulator.process.poll() is not None and not faults.emulator_is_down:
            raise RunAborted(f"the emulator ended in the middle of the run; see {self._directory.logs}")
        if ending:
            if not load.start_ns and master.process.returncode == _WRONG_USE:
                raise UserError(last_line(master.log))
            raise RunAborted(f"the Locust master ended early ({master.last_words()}); see {master.log}")
        now = time.monotonic()
        for worker in workers:
            if worker.running or worker.process.pid in load.dead:
                continue
            # At the end of the load a worker may leave shortly before the master has said that this is the end.
            if not worker.was_killed and now - load.gone.setdefault(worker.process.pid, now) < _LEAVING_S:
                continue
            load.dead.add(worker.process.pid)
            if not load.start_ns:
                raise RunAborted(f"{_words(worker)} did not start ({worker.last_words()}); see {worker.log}")
            self._lost(f"{_words(worker)} died ({worker.last_words()})", worker.process.pid, load)
        if len(load.dead) == len(workers):
            raise RunAborted("every worker died")
        if not load.start_ns and now > load.opened + _START_DEADLINE_S:
            raise RunAborted(f"the load did not begin within {_START_DEADLINE_S:.0f} s; see {master.log}")
        if load.start_ns and now > load.start_ns / 1e9 + load_seconds(self._profile) + _END_DEADLINE_S:
            raise RunAborted(f"the load did not end when it should have; see {master.log}")

    def _worker_infos(self, told: list[dict[str, Any]]) -> list[WorkerInfo]:
        """Who drives the load, and in which Regions."""
        return [
            WorkerInfo(
                worker=info["worker"],
                host=info["host"],
                regions=sorted({slot.region for slot in self._slots[info["worker"]]}),
            )
            for info in told
        ]

    def _lost(self, what: str, pid: int | None, load: _Load) -> None:
        """Say which part of the load is missing from now on: nobody else can be the processes of a worker."""
        since_s = max(0.0, time.monotonic() - load.start_ns / 1e9)
        everybody = [slot for slots in self._slots for slot in slots]
        share = next(
            (share_words(self._slots[number], everybody) for number, its_pid in load.pids.items() if its_pid == pid),
            "users",
        )
        sentence = f"{what} {since_s:.1f} s into the load: nobody takes over its {share}"
        self._progress.note(f"{sentence}; the run goes on, and is incomplete")
        self._session.warn(sentence)

    def _wait_for_end(self, load: _Load, live: _Tail, faults: FaultController, children: list[Child]) -> None:
        """Until the Locust processes have written what they have and left; they get some seconds for it."""
        deadline = time.monotonic() + _END_DEADLINE_S / 2
        while any(child.running for child in children) and time.monotonic() < deadline:
            time.sleep(_TICK_S / 2)
        for entry in live.read():
            self._take(entry, load, faults)

    def _close(self, load: _Load, end_ns: int, emulator: EmulatorProcess, aborted: str | None) -> str | None:
        """Settle, read the final state, end the record. A second Ctrl-C cuts it short."""
        session, profile = self._session, self._profile
        with self._interrupts.second_only():
            if load.start_ns:
                phases = phase_windows(profile, load.start_ns, end_ns)
                session.loaded(load.start_ns, end_ns, phases, load.workers, load.anchors)
                if emulator.process.poll() is None:
                    self._progress.step("settling: waiting for replication, then reading every replica")
                    before = self._interrupts.count

                    def over() -> bool:
                        return self._interrupts.count > before or emulator.process.poll() is not None

                    session.settle(emulator.endpoints, emulator.control, stop=over)
                    if aborted is None and emulator.process.poll() is not None:
                        aborted = f"the emulator ended while the run was settling; see {self._directory.logs}"
            self._progress.step("closing the record")
            if self._interrupts.count:
                aborted = f"interrupted by {self._interrupts.said}"
                session.finish("interrupted", self._interrupts.said)
            else:
                session.finish("finished" if aborted is None else "aborted", aborted)
        return aborted


def _rename(load: _Load) -> None:
    """Locust numbers its workers as they come, and so does the record; processes and logs are called the same."""
    numbers = {pid: number for number, pid in load.pids.items()}
    named = [(child, numbers[child.process.pid]) for child in load.children if child.process.pid in numbers]
    for child, number in named:  # by way of names that nobody has, for they may have to change places
        child.rename(f"worker-{number}-starting")
    for child, number in named:
        child.rename(f"worker-{number}")


def _words(worker: Child) -> str:
    """``worker 1``, as the record calls it."""
    return worker.name.replace("-", " ")


class _Load:
    """What is known of the load so far."""

    def __init__(self) -> None:
        self.start_ns = 0
        """t0; 0: not begun."""
        self.end_ns: int | None = None
        self.ended = False
        self.opened = time.monotonic()
        self.gone: dict[int, float] = {}
        """Process of a worker → when it was first seen to have left."""
        self.dead: set[int] = set()
        """Processes of workers that left before their time."""
        self.children: list[Child] = []
        self.pids: dict[int, int] = {}
        """Locust's number of a worker → its process."""
        self.workers: list[WorkerInfo] = []
        self.anchors: list[ClockAnchor] = []
        """Readings of other hosts' clocks."""
        self.aborted: str | None = None
        """Why Locust could not go on; null: it could."""
        self.suspicions: Suspicions | None = None


class _Tail:
    """Whole lines that were appended to a JSON-lines file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines() if line.strip()]


def _load_words(profile: Profile) -> str:
    """``counters 200/s, registers 100/s``."""
    return ", ".join(
        f"{load.workload} {load.rate:g}/s" if load.rate is not None else f"{load.workload}, {load.users} users"
        for load in profile.load
    )

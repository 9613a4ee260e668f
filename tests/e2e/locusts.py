"""Locust processes started by hand, and looking at what they left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from lastwriter.client.plan import Load, LoadPlan, PlannedPhase
from lastwriter.client.tables import create_global_table
from lastwriter.emulator.process import start_emulator
from lastwriter.resources import locustfiles_folder
from verifier.history.reader import read_history
from verifier.history.replicas import read_replicas
from verifier.history.schema import Outcome
from verifier.rundir import RunDirectory, RunInfo

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
TIMEOUT_S = 90.0


def locust(folder: Path, *arguments: str, workloads: str = "counters") -> list[str]:
    files = ",".join(str(locustfiles_folder() / f"{name}.py") for name in workloads.split(","))
    return [sys.executable, "-m", "locust", "-f", files, *arguments]


@contextmanager
def started(folder: Path, command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Locust with its output in ``folder/log``; nothing of it is left at the end of the block."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LASTWRITER_", "LOCUST_"))
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**clean, **environment}, stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        family = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def until(condition: Callable[[], Any], what: str, process: subprocess.Popen[str], folder: Path) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found = condition()
            if found:
                return found
        assert process.poll() is None, f"Locust ended while waiting for {what}:\n{said(folder)}"
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}:\n{said(folder)}")


def said(folder: Path) -> str:
    return (folder / "log").read_text()


def runs(folder: Path) -> list[RunDirectory]:
    return [RunDirectory(path) for path in sorted((folder / "results").iterdir())]


def live(directory: RunDirectory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in directory.live.read_text().splitlines()]


def seconds(directory: RunDirectory) -> list[dict[str, Any]]:
    return [line for line in live(directory) if "second" in line]


def info(directory: RunDirectory) -> RunInfo:
    return RunInfo.model_validate_json(directory.run_json.read_bytes())


def assert_counters_balance(directory: RunDirectory) -> int:
    """In MRSC the final counters are the initial ones plus what was acknowledged; how much that was."""
    history = read_history(directory)
    assert history.lost == ()
    history, initial = read_replicas(directory, "initial", history)
    history, final = read_replicas(directory, "final", history)
    adds = history.kind == history.kinds.index("add")
    acknowledged = int(history.value[adds & (history.outcome == Outcome.OK)].sum())
    unknown = int(history.value[adds & (history.outcome == Outcome.UNKNOWN)].sum())
    for region in REGIONS:
        grown = int(final[region].value.sum()) - int(initial[region].value.sum())
        assert acknowledged <= grown <= acknowledged + unknown
    return acknowledged


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Supervised:
    """Master and workers with a plan, as ``lastwriter run`` starts them, on an emulator of their own."""

    def __init__(self, folder: Path, loads: list[Load], phases: list[PlannedPhase]) -> None:
        self.folder = folder
        self.directory = RunDirectory(folder / "run")
        self.directory.history.mkdir(parents=True)
        self._port = str(free_port())
        self._loads, self._phases = loads, phases

    def __enter__(self) -> Supervised:
        self._emulator = start_emulator(REGIONS)
        create_global_table(self._emulator.endpoints, "lastwriter", "MRSC")
        plan = LoadPlan(
            run="run", run_directory=str(self.directory.path), seed=1, mode="MRSC", table="lastwriter",
            endpoints=self._emulator.endpoints, loads=self._loads, phases=self._phases,
        )  # fmt: skip
        (self.folder / "plan.json").write_text(plan.model_dump_json())
        return self

    def __exit__(self, *_: object) -> None:
        self._emulator.stop()

    def start(self, name: str, *arguments: str, before: str = "") -> Any:
        """One of the processes; ``before`` is Python that it runs first."""
        folder = self.folder / name
        folder.mkdir()
        role = {"master": ["--master", "--master-bind-port", self._port]}
        arguments = (*role.get(name, ["--worker", "--master-port", self._port]), *arguments)
        command = locust(folder, "--headless", "--plan", str(self.folder / "plan.json"), *arguments)
        if before:
            command = [sys.executable, "-c", f"{before}; import os; os.execv({command[0]!r}, {command!r})"]
        return started(folder, command)

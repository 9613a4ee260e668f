"""Running the ``lastwriter`` command as a person does, and looking at what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from verifier.rundir import RunDirectory, RunInfo
from verifier.verdict import Verdict

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Drill:
    """One finished run."""

    exit_code: int
    stdout: str
    stderr: str
    directory: RunDirectory

    @property
    def info(self) -> RunInfo:
        return RunInfo.model_validate_json(self.directory.run_json.read_bytes())

    @property
    def verdict(self) -> Verdict:
        return Verdict.model_validate_json(self.directory.verdict.read_bytes())

    @property
    def lost(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.directory.lost.read_text().splitlines()]

    def check(self, name: str) -> Any:
        return next(check for check in self.verdict.checks if check.name == name)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lastwriter", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LASTWRITER_")}


def lastwriter(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def drill(*arguments: str, cwd: Path) -> Drill:
    """``lastwriter run …`` to its end."""
    result = lastwriter("run", *arguments, cwd=cwd)
    runs = sorted((cwd / "results").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    assert runs, result.stderr
    return Drill(result.returncode, result.stdout, result.stderr, RunDirectory(runs[-1].parent))


def drill_of(profile: str, folder: Path) -> Drill:
    """A profile of the test's own, run to its end; it is to meet what it expects."""
    (folder / "drill.yaml").write_text(profile)
    run = drill("drill.yaml", "--seed", "1", cwd=folder)
    assert run.exit_code == 0, run.stderr + run.stdout
    return run


def begin(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """``lastwriter run …`` in a session of its own, output to files in ``cwd``."""
    with (cwd / "stdout").open("w") as out, (cwd / "stderr").open("w") as err:
        return subprocess.Popen(
            command("run", *arguments),
            cwd=cwd, env=environment(), stdout=out, stderr=err, text=True, start_new_session=True,
        )  # fmt: skip


def end(process: subprocess.Popen[str], cwd: Path) -> Drill:
    """Wait for a begun run."""
    process.wait(TIMEOUT_S)
    (run,) = (cwd / "results").iterdir()
    return Drill(process.returncode, (cwd / "stdout").read_text(), (cwd / "stderr").read_text(), RunDirectory(run))


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first truth that ``condition`` tells."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def live_lines(cwd: Path) -> list[dict[str, Any]]:
    """What the Locust master of the run under way has said so far."""
    for path in (cwd / "results").glob("*/live.jsonl"):
        content = path.read_text()
        return [json.loads(line) for line in content[: content.rfind("\n") + 1].splitlines()]
    return []


def wait_until_loaded(process: subprocess.Popen[str], cwd: Path, seconds: int = 2) -> None:
    """Until the load of a begun run has gone on for some seconds."""

    def loaded() -> bool:
        assert process.poll() is None, f"it ended early: {(cwd / 'stderr').read_text()}"
        return len([line for line in live_lines(cwd) if "event" not in line]) >= seconds

    wait_for(loaded, "the load began")


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every process that the run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def of_kind(processes: list[psutil.Process], word: str) -> list[psutil.Process]:
    """Those with a word in their command line: ``--worker``, ``--master``, ``emulator``."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
            if word in process.cmdline():
                found.append(process)
    return found

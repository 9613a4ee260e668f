"""The processes of a run: started with their output in the run directory, ended whatever happens to the run.

Each child leads a session of its own, so that Ctrl-C reaches the run alone, which then ends them in order. A run that
is killed cannot do that: its children watch their parent (``LASTWRITER_PARENT``) and end by themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

PARENT_VARIABLE: Final = "LASTWRITER_PARENT"
"""Environment variable with the process id of the run; a child ends when that is no longer its parent."""

_STAMP: Final = re.compile(r"^\[[^]]*\] \S+/(DEBUG|INFO|WARNING|ERROR|CRITICAL)/\S+: ")
"""``[2026-11-20 23:27:49,222] host/INFO/locust.main: ``"""

_SMALL_TALK: Final = re.compile(r"^\[[^]]*\] \S+/(DEBUG|INFO)/\S+: |Aggregated\s+\d|--------")
"""What says nothing about why a process ended: ``Starting Locust 2.47.0``, the end of a table of requests."""

GRACE_S: Final = 5.0
"""Between asking a process to end and killing it."""


class Child:
    """One process of the run."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return self.process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return (self.process.poll() or 0) < 0

    def wait(self, timeout_s: float) -> bool:
        """Wait for it to end; whether it did."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def rename(self, name: str) -> None:
        """Call it otherwise, its log included."""
        log = self.log.with_name(f"{name}.log")
        self.log.rename(log)
        self.name, self.log = name, log

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.running:
            self.process.send_signal(number)

    def last_words(self) -> str:
        """How it ended, and the last line that it printed, unless that is Locust's small talk."""
        code = self.process.poll()
        if code is None:
            how = "still running"
        elif code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        else:
            how = f"exit code {code}"
        line = last_line(self.log, unless=_SMALL_TALK)
        return f"{how}: {line}" if line else how


class Processes:
    """All processes of a run; leaving the ``with`` block ends every one that still runs."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start ``python ARGUMENTS…`` with its output in ``logs/NAME.log``."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._logs,  # not the user's folder: a locust.conf or pyproject.toml there must not change the run
                env=child_environment(),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def end(self, grace_s: float = GRACE_S) -> None:
        """Ask all to end, wait, then kill what is left."""
        running = [child for child in self._children if child.running]
        for child in running:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for child in running:
            if not child.wait(max(0.0, deadline - time.monotonic())):
                self._kill(child)

    def kill(self) -> None:
        """End all at once."""
        for child in self._children:
            if child.running:
                self._kill(child)

    @staticmethod
    def _kill(child: Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def child_environment() -> dict[str, str]:
    """This environment, without what would change Locust's behaviour, and with the parent to watch."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    environment[PARENT_VARIABLE] = str(os.getpid())
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def last_line(log: Path, unless: re.Pattern[str] | None = None) -> str:
    """The last line with words in a log, without Locust's time stamps; empty if there is none, or only ``unless``."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "" if unless is not None and unless.match(words) else _STAMP.sub("", words)

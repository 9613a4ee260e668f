"""Processes that judge, and the folder they share: neither outlives whoever began them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from verifier.errors import RecordError
from verifier.processes import Workers, scratch

BUSY = """
import sys, time
from pathlib import Path
from verifier.processes import Workers, scratch
if __name__ == "__main__":
    with scratch(Path(sys.argv[1])), Workers(2) as workers:
        workers.all([(pow, 2, 3)], lambda share: print("ready", flush=True))
        workers.all([(time.sleep, 600), (time.sleep, 600)], lambda share: None)
"""


def judging() -> set[int]:
    """Processes of this one that wait for parts, or judge them."""
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_kill_9_leaves_no_process_and_the_next_one_removes_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path)], stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"ready\n"
        children = psutil.Process(busy.pid).children()
        assert children
        with scratch(tmp_path):
            assert len(list(tmp_path.iterdir())) == 2, "who lives keeps its folder"
        busy.kill()
    wait_for(lambda: not any(child.is_running() for child in children))
    (left,) = tmp_path.iterdir()
    with scratch(tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]
        assert left != mine
    assert not list(tmp_path.iterdir())


def test_an_exception_waits_for_nothing_that_is_being_done(tmp_path: Path) -> None:
    before = judging()

    def interrupted(share: float) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:
        workers.all([(pow, 2, 3), (time.sleep, 600)], interrupted)
    assert time.monotonic() - began < 300
    assert judging() <= before


def test_a_process_that_is_killed_is_said_in_a_line() -> None:
    before = judging()

    def kill(share: float) -> None:
        for child in judging() - before:
            with contextlib.suppress(ProcessLookupError):  # told twice: of what is done, and of what is not
                os.kill(child, signal.SIGKILL)

    with pytest.raises(RecordError, match="was killed"), Workers(2) as workers:
        workers.all([(pow, 2, 3), (time.sleep, 600)], kill)

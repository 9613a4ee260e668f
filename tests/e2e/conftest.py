"""Runs that a test begins end with it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e import drills

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """:func:`tests.e2e.drills.begin`; what still runs at the end of the test is killed with everything it started."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
        begun.append(drills.begin(*arguments, cwd=cwd))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            for one in [*drills.family(process), psutil.Process(process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()

"""A run says when its own workers, and not the store, were slow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Begin
from tests.e2e.drills import end, family, of_kind, wait_until_loaded

pytestmark = pytest.mark.e2e

PROFILE = """
name: starved
hypothesis: Whoever measures with a starved worker learns nothing about the store's latency.
target: {mode: MRSC}
load:
  - {workload: registers, rate: 40/s, keys: {count: 5}}
phases:
  - {name: load, duration: 8s}
expect:
  - {metric: p99, op: "<", value: 10s}
  - {metric: lost_updates, op: "==", value: 0}
"""


@contextmanager
def starved(process: psutil.Process, share_s: tuple[float, float] = (0.2, 0.05)) -> Iterator[None]:
    """The process gets no CPU most of the time: stopped and let go on, over and over."""
    over = threading.Event()

    def starve() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not over.is_set():
                process.suspend()
                over.wait(share_s[0])
                process.resume()
                over.wait(share_s[1])

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def test_a_starved_worker_marks_its_seconds_and_no_latency_is_claimed(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "starved.yaml").write_text(PROFILE)
    process = begin("starved.yaml", "--workers", "1", cwd=tmp_path)
    wait_until_loaded(process, tmp_path, seconds=1)
    (worker,) = of_kind(family(process), "--worker")
    with starved(worker):
        wait_until_loaded(process, tmp_path, seconds=5)
    run = end(process, tmp_path)
    verdict = run.verdict
    assert len(verdict.marked_seconds) >= 3
    latency, losses = verdict.expectations
    assert latency.met is None, "10 s would have been kept, but nobody can know"
    assert losses.met is True, "what was lost does not depend on when it was measured"
    assert run.exit_code == 3, run.stdout
    assert "marked" in run.stdout

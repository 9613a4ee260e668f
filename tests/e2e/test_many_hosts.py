"""Workers on several hosts, each with a clock and a disk of its own: their records end up in one run, in order.

Here the hosts are processes whose clocks are shifted by hours, which is more than any skew, and ordinary: a monotonic
clock begins when its host does.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.e2e.drills import lastwriter
from tests.e2e.locusts import (
    REGIONS,
    TIMEOUT_S,
    assert_counters_balance,
    free_port,
    info,
    live,
    locust,
    runs,
    said,
    started,
    until,
)
from verifier.history.reader import read_history
from verifier.verdict import Verdict

pytestmark = pytest.mark.e2e

SHIFTS = {"virginia": "2h", "oregon": "-20min"}


def test_a_worker_group_in_each_region_leaves_one_run(tmp_path: Path) -> None:
    port = str(free_port())
    for name in ("master", "virginia", "ohio", "oregon"):
        (tmp_path / name).mkdir()
    master = locust(
        tmp_path, "--headless", "--emulator", "--mode", "MRSC", "--rate", "90/s", "-u", "9", "-t", "6s",
        "--retry", "jittered", "--master", "--master-bind-port", port, "--expect-workers", "3",
    )  # fmt: skip

    def worker(host: str, region: str) -> object:
        command = locust(tmp_path, "--worker", "--master-port", port, "--worker-regions", region)
        elsewhere = {
            "LASTWRITER_HOST": host,
            "LASTWRITER_CLOCK_SHIFT": SHIFTS.get(host, "0s"),
            "LASTWRITER_SCRATCH": str(tmp_path / host / "scratch"),
        }
        return started(tmp_path / host, command, **elsewhere)

    with (
        started(tmp_path / "master", master) as process,
        worker("virginia", "us-east-1"),  # type: ignore[attr-defined]
        worker("ohio", "us-east-2"),  # type: ignore[attr-defined]
        worker("oregon", "us-west-2"),  # type: ignore[attr-defined]
    ):
        assert process.wait(TIMEOUT_S) in (0, 1), said(tmp_path / "master")  # 1: Locust counts failed attempts
    (directory,) = runs(tmp_path / "master")
    run = info(directory)
    assert {worker.host: worker.regions for worker in run.workers} == dict(
        zip(("virginia", "ohio", "oregon"), ([region] for region in REGIONS), strict=True)
    )
    assert run.warnings == []
    history = read_history(directory)
    assert history.lost == ()
    assert {history.regions[region] for region in set(history.region.tolist())} == set(REGIONS)
    assert assert_counters_balance(directory) > 50
    for host, shift_s in (("virginia", 7200), ("ohio", 0), ("oregon", -1200)):
        mine = [anchor for anchor in run.clock if anchor.host == host]
        assert len(mine) >= 2, "before and after the load, at least"
        assert all(abs(anchor.offset_ns - shift_s * 10**9) <= anchor.epsilon_ns for anchor in mine)
        assert not (tmp_path / host / "scratch").exists() or not list((tmp_path / host / "scratch").iterdir())
    judged = lastwriter("verify", str(directory.path), cwd=tmp_path)
    verdict = Verdict.model_validate_json(directory.verdict.read_bytes())
    assert verdict.complete, judged.stdout
    assert not [row.promise for row in verdict.contract if row.verdict == "violated"], judged.stdout
    assert max(row.exercised for row in verdict.contract) > 100


def test_what_a_killed_worker_elsewhere_recorded_stays_there_and_the_run_says_where(tmp_path: Path) -> None:
    port = str(free_port())
    for name in ("master", "here", "there"):
        (tmp_path / name).mkdir()
    master = locust(
        tmp_path, "--headless", "--emulator", "--mode", "MRSC", "--rate", "60/s", "-u", "6", "-t", "20s",
        "--master", "--master-bind-port", port, "--expect-workers", "2",
    )  # fmt: skip
    command = locust(tmp_path, "--worker", "--master-port", port)
    scratch = tmp_path / "there" / "scratch"
    elsewhere = {"LASTWRITER_HOST": "there", "LASTWRITER_CLOCK_SHIFT": "1h", "LASTWRITER_SCRATCH": str(scratch)}
    with (
        started(tmp_path / "master", master) as process,
        started(tmp_path / "here", command),
        started(tmp_path / "there", command, **elsewhere) as victim,
    ):
        stream = until(
            lambda: next((path for path in scratch.rglob("worker-*.arrow") if path.stat().st_size > 20_000), None),
            "a record there", process, tmp_path / "master",
        )  # fmt: skip
        psutil.Process(victim.pid).kill()
        process.wait(TIMEOUT_S)
    (directory,) = runs(tmp_path / "master")
    (warning,) = (sentence for sentence in info(directory).warnings if "was not fetched" in sentence)
    assert f"{stream.parent} on there" in warning
    assert [line["sentence"] for line in live(directory) if line.get("event") == "left-behind"] == [warning]
    for path in stream.parent.iterdir():
        path.rename(directory.history / path.name)
    assert len(read_history(directory).lost) == 1
    judged = lastwriter("verify", str(directory.path), cwd=tmp_path)
    verdict = Verdict.model_validate_json(directory.verdict.read_bytes())
    assert not verdict.complete
    assert not [row.promise for row in verdict.contract if row.verdict == "violated"], judged.stdout

"""Runs that end otherwise than planned: nothing is left running, and nothing is claimed that was not seen."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Begin
from tests.e2e.drills import end, family, lastwriter, of_kind, wait_for, wait_until_loaded
from verifier.history.reader import read_history
from verifier.rundir import RunInfo

pytestmark = pytest.mark.e2e

LONG = ("quickstart", "--short", "--set", "phases.recovery.short=40s")


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_killed_worker_on_a_correct_store_is_no_finding(begin: Begin, tmp_path: Path) -> None:
    process = begin("quickstart", "--short", "--mode", "MRSC", cwd=tmp_path)
    wait_until_loaded(process, tmp_path, seconds=5)
    worker, _ = of_kind(family(process), "--worker")
    worker.kill()
    run = end(process, tmp_path)
    said = re.search(r"worker (\d) died \(killed by SIGKILL\)", run.stderr)
    assert said is not None, run.stderr
    assert run.info.ended == "finished", "the run goes on"
    verdict = run.verdict
    assert not verdict.complete
    assert {lost.worker for lost in read_history(run.directory).lost} == {int(said[1])}, "it is called as in the record"
    assert any(reason.startswith(f"worker {said[1]}'s record") for reason in verdict.incomplete_reasons)
    assert {path.name for path in run.directory.logs.glob("worker*")} == {"worker-0.log", "worker-1.log"}
    assert all(check.verdict != "violated" for check in verdict.checks), run.stdout
    assert verdict.contract_verdict != "violated"
    assert run.exit_code in (0, 3)
    (short,) = (warning for warning in run.verdict.warnings if "died" in warning)
    assert re.search(r"s into the load: nobody takes over its \d+ of \d+ users, 1\d\d/s of 240/s", short)
    assert short in run.stdout
    assert short in run.stderr


def test_sigkill_of_the_run_leaves_no_process(begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_until_loaded(process, tmp_path)
    children = family(process)
    assert len(children) >= 4, "emulator, master, two workers"
    process.kill()
    process.wait()
    wait_for(lambda: gone(children), "every process of a killed run ended", 20)
    listed = lastwriter("runs", cwd=tmp_path)
    assert "not verified, never ended" in listed.stdout
    (path,) = (tmp_path / "results").glob("*/run.json")
    info = RunInfo.model_validate_json(path.read_bytes())
    assert info.start_ns is not None
    assert len(info.workers) == 2, "so that nobody's record can be missing unnoticed"
    # what was recorded until then can be judged; nothing is claimed that was not seen
    judged = lastwriter("verify", "latest", cwd=tmp_path)
    assert judged.returncode in (1, 3), judged.stderr


def test_sigkill_of_the_run_before_its_load_leaves_no_process(begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_for(lambda: len(of_kind(family(process), "--worker")) == 2, "the workers are starting")
    children = family(process)
    process.kill()
    process.wait()
    wait_for(lambda: gone(children), "every process of a killed run ended", 40)


def test_ctrl_c_ends_the_load_and_judges_what_there_is(begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_until_loaded(process, tmp_path, seconds=3)
    children = family(process)
    process.send_signal(signal.SIGINT)
    run = end(process, tmp_path)
    assert run.exit_code == 4
    assert "interrupted by Ctrl-C" in run.stderr
    assert run.info.ended == "interrupted"
    assert run.info.settled
    assert run.verdict.incomplete_reasons == ["the run was interrupted: Ctrl-C"], "every worker ended in order"
    assert run.verdict.headline in run.stdout
    assert run.directory.report.exists()
    assert gone(children)


def test_ctrl_c_before_the_load_waits_for_no_worker(begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_for(lambda: len(of_kind(family(process), "--worker")) == 2, "the workers are starting")
    children = family(process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    run = end(process, tmp_path)
    assert time.monotonic() - began < 15, "what they would get if there were something to wait for"
    assert run.exit_code == 4
    assert run.stderr.splitlines()[-1].startswith("lastwriter: interrupted by Ctrl-C; nothing was recorded")
    assert gone(children)


def test_an_emulator_that_dies_while_the_run_settles_is_not_waited_for(begin: Begin, tmp_path: Path) -> None:
    # nothing is shipped for minutes, so that the run is settling until somebody ends it
    process = begin("quickstart", "--short", "--set", "target.settings.replicator_delay=10min", cwd=tmp_path)
    wait_for(lambda: "settling" in (tmp_path / "stderr").read_text(), "the run is settling")
    of_kind(family(process), "emulator")[0].kill()
    run = end(process, tmp_path)
    assert run.exit_code == 4
    assert "the emulator ended while the run was settling" in run.stderr.splitlines()[-1]
    assert not any("60 s" in warning for warning in run.info.warnings)
    assert run.verdict.operations


def test_a_second_ctrl_c_ends_everything_now(begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_until_loaded(process, tmp_path)
    children = family(process)
    stopped = of_kind(children, "--master")[0]
    stopped.suspend()  # a master that does not answer: the first Ctrl-C would wait for it
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "once more ends everything" in (tmp_path / "stderr").read_text(), "the first was heard")
    process.send_signal(signal.SIGINT)
    run = end(process, tmp_path)
    assert run.exit_code == 4
    assert run.stderr.splitlines()[-1].startswith("lastwriter: ended at once")
    assert not run.directory.verdict.exists()
    assert run.info.ended == "aborted"
    wait_for(lambda: gone(children), "everything ended")


@pytest.mark.parametrize("victim", ["--master", "emulator"])
def test_a_run_that_cannot_go_on_says_so(victim: str, begin: Begin, tmp_path: Path) -> None:
    process = begin(*LONG, cwd=tmp_path)
    wait_until_loaded(process, tmp_path)
    children = family(process)
    of_kind(children, victim)[0].kill()
    run = end(process, tmp_path)
    assert run.exit_code == 4
    assert ("master" if victim == "--master" else "emulator") in run.stderr.splitlines()[-1]
    assert run.info.ended == "aborted"
    assert gone(children)


def test_two_runs_at_once_do_not_meet(begin: Begin, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    processes = [begin("counters-strict", "--short", "--mode", "MRSC", cwd=home) for home in homes]
    runs = [end(process, home) for process, home in zip(processes, homes, strict=True)]
    assert [run.exit_code for run in runs] == [0, 0], [run.stderr for run in runs]
    assert all(run.verdict.complete for run in runs)


def test_nothing_of_these_tests_runs_on() -> None:
    mine = [p for p in psutil.Process(os.getpid()).children(recursive=True) if "lastwriter" in " ".join(p.cmdline())]
    assert mine == []

"""Processes of a run: they end with it, and how they ended is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from lastwriter.drill.interrupts import Interrupted, Interrupts, Now
from lastwriter.drill.processes import PARENT_VARIABLE, Processes, child_environment, free_port

READY = "import signal, sys, time; print('ready', flush=True); "


def started(processes: Processes, name: str, code: str) -> int:
    child = processes.start(name, ["-c", code])
    deadline = time.monotonic() + 20
    while not child.log.read_text().startswith("ready"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child.process.pid


def test_leaving_ends_all_even_those_that_will_not(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        mild = started(processes, "mild", READY + "time.sleep(60)")
        stubborn = started(
            processes,
            "stubborn",
            READY.replace("print", "signal.signal(signal.SIGTERM, signal.SIG_IGN); print") + "time.sleep(60)",
        )
        processes.end(grace_s=0.2)
        assert not psutil.pid_exists(mild)
        assert not psutil.pid_exists(stubborn)


def test_an_exception_ends_all(tmp_path: Path) -> None:
    seen: list[int] = []

    def failing() -> None:
        with Processes(tmp_path) as processes:
            seen.append(started(processes, "child", READY + "time.sleep(60)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert not psutil.pid_exists(seen[0])


def test_how_a_child_ended_and_its_last_line(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("failing", ["-c", "print('what went wrong\\n'); raise SystemExit(3)"])
        assert child.wait(20)
        assert child.last_words() == "exit code 3: what went wrong"
        assert not child.was_killed
        victim = processes.start("victim", ["-c", "import time; time.sleep(60)"])
        victim.signal(signal.SIGKILL)
        assert victim.wait(20)
        assert victim.last_words() == "killed by SIGKILL"
        assert victim.was_killed


def test_lines_about_starting_are_not_quoted_as_the_reason_of_an_end(tmp_path: Path) -> None:
    stamp = "[2026-11-20 23:27:49,222] host/{}/locust.main: {}"
    for line, said in (
        (stamp.format("INFO", "Starting Locust 2.47.0"), "exit code 3"),
        (stamp.format("ERROR", "Address in use"), "exit code 3: Address in use"),
        ("         Aggregated     420     0(0.00%) |      3       1      32      2", "exit code 3"),
    ):
        with Processes(tmp_path) as processes:
            child = processes.start("failing", ["-c", f"print({line!r}); raise SystemExit(3)"])
            assert child.wait(20)
            assert child.last_words() == said


def test_a_child_can_be_called_otherwise_while_it_runs(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        started(processes, "first", READY + "sys.stdin.read(); time.sleep(60)")
        (child,) = processes._children
        child.rename("second")
        assert (child.name, child.log) == ("second", tmp_path / "second.log")
        assert child.log.read_text() == "ready\n"
        assert [path.name for path in tmp_path.iterdir()] == ["second.log"]


def test_children_know_their_parent_and_nothing_of_the_users_locust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUST_HEADLESS", "false")
    environment = child_environment()
    assert environment[PARENT_VARIABLE] == str(os.getpid())
    assert not any(name.startswith("LOCUST") for name in environment)


def test_free_ports_are_free() -> None:
    assert free_port() > 0


def test_the_first_interrupt_is_an_event_and_the_second_ends_everything() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(Interrupted, match=r"^Ctrl-C$"), interrupts.raising():
            signal.raise_signal(signal.SIGINT)
        with interrupts.second_only():
            pass  # the first is over
        with pytest.raises(Now), interrupts.second_only():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Now), interrupts.raising():
            pass
        with interrupts.next_one():
            pass
    assert interrupts.count == 2


def test_an_interrupt_where_it_would_do_harm_waits() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.count == 1
        with interrupts.second_only():
            pass
        with pytest.raises(Interrupted), interrupts.raising():
            pass

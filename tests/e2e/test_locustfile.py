"""Locustfiles started by hand, as any locustfile is: headless, with processes, with the web UI, ended by Ctrl-C."""

from __future__ import annotations

import csv
import json
import signal
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from lastwriter.client.plan import Keys, Load, PlannedPhase
from lastwriter.emulator.process import start_emulator
from tests.e2e.locusts import (
    REGIONS,
    TIMEOUT_S,
    Supervised,
    assert_counters_balance,
    free_port,
    info,
    live,
    locust,
    runs,
    said,
    seconds,
    started,
    until,
)
from verifier.history.reader import read_history
from verifier.history.schema import Outcome

pytestmark = pytest.mark.e2e


def test_headless_it_leaves_a_run_that_can_be_verified(tmp_path: Path) -> None:
    command = locust(
        tmp_path, "--headless", "--emulator", "--mode", "MRSC", "-u", "6", "-r", "6", "-t", "5s", "--retry", "jittered",
        "--csv", "stats",
    )  # fmt: skip
    with started(tmp_path, command) as process:
        process.wait(TIMEOUT_S)
    (directory,) = runs(tmp_path)
    assert f"lastwriter verify {directory.path.relative_to(tmp_path)}" in said(tmp_path)
    run = info(directory)
    assert (run.mode, run.target, run.ended, run.settled) == ("MRSC", "emulator", "finished", True)
    assert [worker.regions for worker in run.workers] == [REGIONS]
    acknowledged = assert_counters_balance(directory)
    assert acknowledged > 0
    with (tmp_path / "stats_stats.csv").open() as file:
        stats = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
    adds = stats["us-east-2", "add"]  # Locust's own statistics show our requests …
    assert any(float(adds[share]) % 1 for share in ("50%", "95%", "99%")), "… and not in whole milliseconds"
    assert sum(line["regions"][region]["ok"] for line in seconds(directory) for region in REGIONS) == int(
        (read_history(directory).outcome == Outcome.OK).sum()
    )
    assert live(directory)[0]["event"] == "start"
    assert live(directory)[-1] == {"event": "end", "end_ns": run.end_ns}
    assert "Tag=us-west-2/read," in directory.latency.read_text()
    lag = [json.loads(line) for line in (directory.history / "worker-0.lag.jsonl").read_text().splitlines()]
    assert [line["second"] for line in lag] == list(range(len(lag)))
    assert lag[0]["t_ns"] == run.start_ns


def test_in_the_web_ui_every_start_is_a_run_of_its_own(tmp_path: Path) -> None:
    port = free_port()

    def ask(path: str, **form: Any) -> dict[str, Any]:
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    master = free_port()
    command = locust(
        tmp_path, "--emulator", "--processes", "2", "--web-host", "127.0.0.1", "--web-port", str(port),
        "--master-bind-port", str(master), "--master-port", str(master),
    )  # fmt: skip
    with started(tmp_path, command) as process:
        for number, keys in ((1, 3), (2, 7)):
            until(lambda: ask("/stats/requests")["state"] in ("ready", "stopped"), "the web UI", process, tmp_path)
            until(lambda: len(ask("/stats/requests")["workers"]) == 2, "two workers", process, tmp_path)
            ask("/swarm", user_count=4, spawn_rate=4, keys=keys, pattern="naive", retry="none", rate="", host="")
            until(lambda n=number: len(seconds(runs(tmp_path)[n - 1])) > 1, "two seconds of load", process, tmp_path)
            until(
                lambda: {stat["name"] for stat in ask("/stats/requests")["stats"]} >= {"add", "read"},
                "our requests in Locust's statistics", process, tmp_path,
            )  # fmt: skip
            slowest = max(stat["max_response_time"] for stat in ask("/stats/requests")["stats"])
            assert slowest % 1, "not in whole milliseconds"
            ask("/stop", stop=1)
        until(lambda: all(info(run).ended for run in runs(tmp_path)), "the second run's end", process, tmp_path)
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
    first, second = runs(tmp_path)
    for directory, keys in ((first, 3), (second, 7)):
        assert info(directory).ended == "finished"
        history = read_history(directory)
        assert history.lost == ()
        assert len(history.keys) == keys
        assert set(history.worker) == {0, 1}
        assert f"lastwriter verify {directory.path.relative_to(tmp_path)}" in said(tmp_path)
    assert not [line for line in said(tmp_path).splitlines() if "Traceback" in line], said(tmp_path)


def test_ctrl_c_in_the_middle_closes_the_record_and_takes_the_emulator_along(tmp_path: Path) -> None:
    command = locust(
        tmp_path, "--headless", "--emulator", "--rate", "100/s", "--mode", "MRSC", workloads="counters,registers"
    )
    with started(tmp_path, command) as process:
        until(lambda: seconds(runs(tmp_path)[0]), "a second of load", process, tmp_path)
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("emulator" in child.cmdline() for child in family)
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
        assert not psutil.wait_procs(family, timeout=10)[1], "nothing is left running"
    (directory,) = runs(tmp_path)
    assert info(directory).settled
    assert read_history(directory).lost == ()
    assert set(read_history(directory).workloads) == {"counters", "registers"}
    offered = sum(line["offered"] for line in seconds(directory))
    sent = sum(line["sent"] for line in seconds(directory))
    assert 50 < sent <= offered


def test_ctrl_c_while_settling_still_closes_the_run(tmp_path: Path) -> None:
    command = locust(tmp_path, "--headless", "--emulator", "-u", "3", "-r", "3", "-t", "1s")
    with started(tmp_path, command) as process:
        until(lambda: live(runs(tmp_path)[0])[-1].get("event") == "end", "the end of the load", process, tmp_path)
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
    (directory,) = runs(tmp_path)
    assert info(directory).ended in ("interrupted", "finished")
    assert read_history(directory).lost == ()
    assert f"lastwriter verify {directory.path.relative_to(tmp_path)}" in said(tmp_path)
    assert "Traceback" not in said(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "where is the table? Add --emulator"),
        (["--emulator", "--regions", "us-east-1,mars-1"], "mars-1"),
        (["--endpoints", "us-east-1=http://127.0.0.1:9,us-east-2=http://127.0.0.1:9"], "us-east-1"),
        (["--endpoints", "us-east-1=https://192.0.2.1:9,us-east-2=https://192.0.2.1:9"], "HTTPS_PROXY names one for"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIDRUN", "AWS_SECRET_ACCESS_KEY": "secret", "HTTPS_PROXY": "http://127.0.0.1:9"}
    with started(tmp_path, locust(tmp_path, "--headless", "-t", "2s", *arguments), **keys) as process:
        assert process.wait(TIMEOUT_S) == 2, said(tmp_path)
    assert line in said(tmp_path)
    assert "Traceback" not in said(tmp_path)


def test_a_token_that_expires_in_mid_run_ends_it_in_one_line(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: [{access_key: ASIARUN, secret_key: secret-of-the-run, session_token: token, expires: 12s}]")
    with start_emulator(REGIONS, auth=keys) as emulator:
        endpoints = ",".join(f"{region}={url}" for region, url in emulator.endpoints.items())
        user = {
            "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "ASIARUN", "AWS_SECRET_ACCESS_KEY": "secret-of-the-run",
            "AWS_SESSION_TOKEN": "token",
        }  # fmt: skip
        command = locust(tmp_path, "--headless", "--rate", "100/s", "-t", "60s", "--endpoints", endpoints)
        with started(tmp_path, command, **user) as process:
            assert process.wait(TIMEOUT_S) == 4, said(tmp_path)
    (line,) = (line for line in said(tmp_path).splitlines() if "every request of the last" in line)
    assert "ExpiredTokenException; renew the credentials" in line
    assert "secret-of-the-run" not in said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    (directory,) = runs(tmp_path)
    assert info(directory).ended == "aborted"
    history = read_history(directory)
    assert int((history.outcome == Outcome.OK).sum()) > 20, "what was recorded before is kept"


def test_without_credentials_it_says_so_and_ends(tmp_path: Path) -> None:
    with start_emulator(REGIONS) as emulator:
        endpoints = ",".join(f"{region}={url}" for region, url in emulator.endpoints.items())
        nobody = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        command = locust(tmp_path, "--headless", "-t", "2s", "--endpoints", endpoints)
        with started(tmp_path, command, **nobody) as process:
            assert process.wait(TIMEOUT_S) == 2, said(tmp_path)
    assert len([line for line in said(tmp_path).splitlines() if "no AWS credentials found" in line]) == 1
    assert "Traceback" not in said(tmp_path)


def test_a_killed_worker_is_noticed_and_the_run_goes_on(tmp_path: Path) -> None:
    loads = [
        Load(workload="counters", rate="60/s", keys=Keys(count=3), retry="jittered"),
        Load(workload="counters", users=2, intents=3, mix={"increment": "100%"}, keys=Keys(prefix="few")),
    ]
    phases = [PlannedPhase(name=name, duration="2s") for name in ("first", "second", "third")]
    run = Supervised(tmp_path, loads, phases)
    directory, log = run.directory, tmp_path / "master"
    with (
        run,
        run.start("master", "--expect-workers", "2") as master,
        run.start("one") as one,
        run.start("other") as other,
    ):
        until(lambda: seconds(directory), "a second of load", master, log)
        one.kill()
        assert master.wait(TIMEOUT_S) == 0, said(log)
        assert other.wait(TIMEOUT_S) == 0
    events = [line for line in live(directory) if "event" in line]
    assert [event["event"] for event in events] == ["start", "worker-lost", "end"]
    assert all(worker["regions"] == REGIONS for worker in events[0]["worker_info"])
    (victim,) = (worker["worker"] for worker in events[0]["worker_info"] if worker["pid"] == one.pid)
    assert events[1]["worker"] == victim
    t0_ns = events[0]["t0_ns"]
    assert events[2]["end_ns"] - t0_ns >= 6e9, "the run went on to the end of its schedule"
    assert {line["phase"] for line in seconds(directory)} >= {"first", "second", "third"}
    history = read_history(directory)
    assert {lost.worker for lost in history.lost} == {victim}
    assert (history.start_ns >= t0_ns).all(), "nobody began before t0"
    due = history.scheduled_ns[history.attempt == 1]
    assert (due < t0_ns + 6_000_000_000).all(), "and nothing was due after the end; attempts may follow"
    few = [number for number, key in enumerate(history.keys) if key.startswith("few-")]
    mine = (history.worker != victim) & (history.attempt == 1) & np.isin(history.key, few)
    assert int(mine.sum()) == 3, "each process of that load stops after three intents"


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_there_is(tmp_path: Path) -> None:
    loads = [Load(workload="counters", rate="200/s", keys=Keys(count=50), retry="jittered")]
    run = Supervised(tmp_path, loads, [PlannedPhase(name="long", duration="60s")])
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    with run, run.start("master") as master, run.start("worker", before=limit) as worker:
        assert master.wait(TIMEOUT_S) == 4, said(tmp_path / "master")
        worker.wait(TIMEOUT_S)
    (line,) = (line for line in said(tmp_path / "master").splitlines() if "ERROR" in line)
    assert "worker 0 cannot record any more" in line
    end = live(run.directory)[-1]
    assert end["event"] == "end"
    assert "worker-0.arrow" in end["aborted"]
    history = read_history(run.directory)
    assert len(history) > 20
    assert history.lost, "what could not be written is allowed for"

"""Operations per CPU-second of a Locust worker, everything on: ours beside a plain Locust + boto3 locustfile.

    .venv/bin/python benchmarks/load.py                      # the ratio; the promise is ≥ 20
    .venv/bin/python benchmarks/load.py --tls                # over HTTPS with certificate checks, ≥ 15
    .venv/bin/python benchmarks/load.py --sustained 600s     # 10,000 operations a second by two workers
    .venv/bin/python benchmarks/load.py --accuracy 30s       # recorded latency beside the server's own log

Both run as a Locust master and one worker with the same number of users, half increments, half strong reads, against
one lean server in another process. They take turns. CPU time is the worker's own (user and system) from the start of
the load to its exit: users, schedule, requests, recording, statistics and what it tells the master.

plain boto3       benchmarks/peers/plain_boto3.py; nothing is recorded but Locust's statistics
lastwriter        locustfiles/counters.py, closed loop: marks, one row an operation on disk, histograms

`--sustained` is an open loop, so that what cannot be sent in time shows as late or as not sent. `--accuracy` is one at
half of that rate: what a worker records as an update's latency, less what the server's log says it took there (from the
request's arrival in the server's socket until the answer is written), is what the client and loopback added; its p99 is
to be a millisecond at most.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import client as lean  # benchmarks/client.py, for its server and certificates
import numpy as np
import psutil

from lastwriter.client.plan import Load, LoadPlan, PlannedPhase
from lastwriter.units import parse_duration
from verifier.history.reader import read_history
from verifier.rundir import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
PROMISE, PROMISE_TLS, RATE, BYTES = 20, 15, 10_000, 60
ACCURACY_MS = 1.0
KINDS = ("plain boto3", "lastwriter")


def main() -> None:
    """Run the rounds, or the long run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the load in one round of one kind")
    parser.add_argument("--users", type=int, default=10, help="10 is boto3's default pool of connections")
    parser.add_argument("--tls", action="store_true", help="HTTPS with certificate checks")
    parser.add_argument("--sustained", type=parse_duration, metavar="DURATION", help="the long run instead, e.g. 600s")
    parser.add_argument("--accuracy", type=parse_duration, metavar="DURATION", help="recorded beside true latency")
    parser.add_argument("--rate", type=int, default=RATE, help="of the long run, operations a second; default: 10000")
    parser.add_argument("--workers", type=int, default=2, help="of the long run; default: 2")
    options = parser.parse_args()
    if options.accuracy:
        accuracy(options.accuracy, options.rate // 2, options.workers)
        return
    with lean.server(lean.certificates() if options.tls else None) as endpoint:
        if options.sustained:
            sustain(endpoint, options.sustained, options.rate, options.workers)
        else:
            compare(endpoint, options.rounds, options.seconds, options.users)


def compare(endpoint: str, rounds: int, seconds: float, users: int) -> None:
    """Ours and the peer, in turns."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in random.sample(KINDS, len(KINDS)):
            with tempfile.TemporaryDirectory() as folder:
                rates[kind].append(one_round(kind, endpoint, seconds, users, Path(folder)))
    print(f"one worker, {users} users, {rounds} rounds of {seconds:g} s")
    print(f"{'':14} {'operations per CPU-s':>22} {'µs each':>9}  ratio to {KINDS[0]}: median (lowest – highest round)")
    for kind in KINDS:
        ratios = [rate / peer for rate, peer in zip(rates[kind], rates[KINDS[0]], strict=True)]
        rate = statistics.median(rates[kind])
        print(
            f"{kind:14} {rate:22,.0f} {1e6 / rate:9.1f}  {statistics.median(ratios):5.1f} "
            f"({min(ratios):.1f} – {max(ratios):.1f})"
        )
    promise = PROMISE_TLS if endpoint.startswith("https") else PROMISE
    print(f"{'met' if statistics.median(ratios) >= promise else 'NOT MET'}: ≥ {promise} × {KINDS[0]}")


def one_round(kind: str, endpoint: str, seconds: float, users: int, folder: Path) -> float:
    """Operations per CPU-second of the worker."""
    if kind == KINDS[0]:
        locustfile = PEERS / "plain_boto3.py"
        arguments = ["-u", str(users), "-r", str(users), "-t", f"{seconds:g}s", "--stop-timeout", "2"]
    else:
        locustfile = ROOT / "locustfiles" / "counters.py"
        load = Load(workload="counters", users=users, mix={"increment": "50%", "read": "50%"}, keys={"count": 100})  # type: ignore[arg-type]
        arguments = ["--plan", str(write_plan(folder, endpoint, load, seconds))]
    with locust(locustfile, endpoint, folder, 1, arguments) as (master, workers):
        finish([master, *workers], seconds + 60, folder)
    with (folder / "stats_stats.csv").open() as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    if total["Failure Count"] != "0":
        raise SystemExit(f"{kind}: {total['Failure Count']} operations failed, so its figure would mean nothing")
    return int(total["Request Count"]) / json.loads((folder / "measured-0.json").read_text())["cpu_s"]


def sustain(endpoint: str, seconds: float, rate: int, count: int) -> None:
    """An open loop for a long time: what was sent, late, recorded, and what it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mix: Any = {"increment": "50%", "read": "50%"}
        load = Load(workload="counters", rate=f"{rate}/s", processes=40 * count, mix=mix, keys={"count": 1000})  # type: ignore[arg-type]
        plan = write_plan(folder, endpoint, load, seconds)
        memory: list[list[float]] = []
        with locust(ROOT / "locustfiles" / "counters.py", endpoint, folder, count, ["--plan", str(plan)]) as (
            master, workers,
        ):  # fmt: skip
            while master.poll() is None:
                time.sleep(min(5.0, seconds / 10))
                if live(folder) and all(worker.poll() is None for worker in workers):
                    memory.append([psutil.Process(worker.pid).memory_info().rss / 1e6 for worker in workers])
            finish([master, *workers], 60, folder)
        lines = [line for line in live(folder) if "second" in line]
        offered, sent, late = (sum(line[name] for line in lines) for name in ("offered", "sent", "late"))
        directory = RunDirectory(folder / "run")
        history = read_history(directory)
        disk = sum(path.stat().st_size for path in directory.history.glob("*.arrow")) / len(history)
        cpu_s = sum(json.loads((folder / f"measured-{number}.json").read_text())["cpu_s"] for number in range(count))
        slow = (history.end_ns - history.scheduled_ns) / 1e6
        print(f"{count} workers, {rate:,}/s for {seconds:g} s: offered {offered:,}, sent {sent:,}, late {late:,}")
        print(f"CPU of a worker: {cpu_s / seconds / count:.0%} of a core; {len(history) / cpu_s:,.0f} a CPU-second")
        print(f"latency p50 {statistics.median(slow[::97]):.1f} ms, highest {slow.max():.0f} ms")
        settled = memory[len(memory) // 5 :]
        print(
            f"memory of each worker, MB: {words(settled[0])} after a fifth of the time, {words(settled[-1])} at the end"
        )
        print(f"{'met' if sent >= 0.999 * rate * seconds else 'NOT MET'}: {sent / seconds:,.0f} operations a second")
        print(f"{'met' if disk <= BYTES else 'NOT MET'}: {disk:.1f} B an operation on disk ≤ {BYTES}")
        grown = max(end / begin for begin, end in zip(settled[0], settled[-1], strict=True)) - 1
        print(f"{'met' if grown <= 0.1 else 'NOT MET'}: memory flat (+{grown:.1%})")


def accuracy(seconds: float, rate: int, count: int) -> None:
    """How much the client adds to the latencies that it records."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "server.npy"
        load = Load(workload="counters", rate=f"{rate}/s", processes=40 * count, keys={"count": 1000})  # type: ignore[arg-type]
        with lean.server(log=log) as endpoint:
            plan = write_plan(folder, endpoint, load, seconds)
            with locust(ROOT / "locustfiles" / "counters.py", endpoint, folder, count, ["--plan", str(plan)]) as (
                master, workers,
            ):  # fmt: skip
                finish([master, *workers], seconds + 60, folder)
        history = read_history(RunDirectory(folder / "run"))
        marks, came_ns, answered_ns = np.load(log).T
        order = np.argsort(marks)
        at = np.searchsorted(marks[order], history.op)
        known = (at < len(marks)) & (marks[order][np.minimum(at, len(marks) - 1)] == history.op)
        row = order[at[known]]
        there_ms = (came_ns[row] - history.start_ns[known]) / 1e6
        back_ms = (history.end_ns[known] - answered_ns[row]) / 1e6
        added_ms = there_ms + back_ms
        p50, p99, most = np.percentile(added_ms, [50, 99, 100])
        print(f"{count} workers, {rate:,}/s for {seconds:g} s; {int(known.sum()):,} updates found in the server's log")
        print(f"recorded less true: p50 {p50:.2f} ms, p99 {p99:.2f} ms, highest {most:.1f} ms")
        for way, took_ms in (("until the server had it", there_ms), ("until the answer counted as read", back_ms)):
            print(
                f"  {way}: "
                + ", ".join(f"p{share:g} {np.percentile(took_ms, share):.2f} ms" for share in (1, 50, 90, 99))
            )
        early = int((back_ms < 0).sum() + (there_ms < 0).sum())
        print(
            f"{'NOT MET' if early else 'met'}: none came before it was sent or ended before it was answered ({early})"
        )
        print(f"{'met' if p99 <= ACCURACY_MS else 'NOT MET'}: p99 ≤ {ACCURACY_MS} ms")


def words(megabytes: list[float]) -> str:
    """``151, 152``."""
    return ", ".join(f"{one:.0f}" for one in megabytes)


def write_plan(folder: Path, endpoint: str, load: Load, seconds: float) -> Path:
    """What our Locust processes are told."""
    (folder / "run" / "history").mkdir(parents=True)
    plan = LoadPlan(
        run="benchmark", run_directory=str(folder / "run"), seed=1, mode="MREC", table="counters",
        endpoints={"us-east-1": endpoint}, loads=[load],
        phases=[PlannedPhase(name="all", duration=f"{seconds:g}s")],  # type: ignore[arg-type]
    )  # fmt: skip
    path = folder / "plan.json"
    path.write_text(plan.model_dump_json())
    return path


def live(folder: Path) -> list[dict[str, Any]]:
    """What our master has said so far."""
    path = folder / "run" / "live.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def locust(
    locustfile: Path, endpoint: str, folder: Path, workers: int, arguments: list[str]
) -> Iterator[tuple[subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A master and its workers; none of them outlives the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PEERS / "measured_locust.py"), "-f", str(locustfile), "--headless", *more]
        environment = {**os.environ, "ENDPOINT": endpoint, "MEASURED": str(folder / f"measured-{name}.json")}
        if endpoint.startswith("https"):
            environment["AWS_CA_BUNDLE"] = str(lean.certificates() / "ca.pem")
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        return started[-1]

    try:
        master = start(
            "master", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
            "--expect-workers", str(workers), "--csv", str(folder / "stats"), *arguments,
        )  # fmt: skip
        ours = arguments if "--plan" in arguments else []
        yield master, [start(str(number), "--worker", "--master-port", port, *ours) for number in range(workers)]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()


def finish(processes: list[subprocess.Popen[bytes]], seconds: float, folder: Path) -> None:
    """Wait until all have ended; what they said, if one of them could not do its work."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))
    if not (folder / "stats_stats.csv").exists() or any(process.returncode for process in processes[1:]):
        said = "".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.log")))
        raise SystemExit(f"{said}\nLocust gave up: there is nothing to measure")


if __name__ == "__main__":
    main()

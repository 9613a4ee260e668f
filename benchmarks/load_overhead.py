"""What an intent costs a worker besides the wire client: task loop, schedule, marks, recording, statistics.

The same UpdateItem goes to a client that answers at once: (a) called in a bare loop, (b) through ``self.table.add`` in
a plain loop, (c) as the task of a Locust user in a closed loop, (d) the same in an open loop that is always behind, so
that it never waits. All but (a) record to a file and count statistics. Rounds are interleaved; the figures are
microseconds of process CPU an operation, the median of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events, task
from locust.env import Environment
from locust.exception import StopUser

from lastwriter.client import worker
from lastwriter.client.plan import Keys, Load, LoadPlan, PlannedPhase
from lastwriter.client.protocol import Reply
from lastwriter.client.user import GlobalTableUser
from verifier.history.schema import Outcome

BODY = {
    "Attributes": {
        "pk": {"S": "k"},
        "v": {"N": "12345"},
        "_w": {"N": "281474976710911"},
        "_p": {"N": "281474976710910"},
    }
}


class InstantClient:
    """Answers before it is asked."""

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        now = time.monotonic_ns()
        return Reply(Outcome.OK, 200, BODY, None, now, now)

    def close(self) -> None: ...


class Adder(GlobalTableUser):
    """One task, no thoughts."""

    workload = "adder"

    @task
    def add(self) -> None:
        for attempt in self.attempts():
            self.table.add(self.keys.mine(), 1, attempt)


def make_run(folder: Path, load: Load, phases: list[PlannedPhase]) -> tuple[worker.WorkerRun, Environment]:
    environment = Environment(user_classes=[Adder], events=events)
    environment.create_local_runner()
    plan = LoadPlan(
        run="benchmark", run_directory=str(folder), seed=1, mode="MREC", table="t",
        endpoints={"us-east-1": "http://127.0.0.1:1"}, loads=[load], phases=phases, workers=1,
    )  # fmt: skip
    run = worker.WorkerRun(plan, 0, environment, lambda kind, data: None, lambda *_: InstantClient())
    worker.set_current(run)
    return run, environment


def bare(count: int, folder: Path) -> float:
    client = InstantClient()
    began = time.process_time()
    for _ in range(count):
        client.request("UpdateItem", {"TableName": "t"})
    return time.process_time() - began


def table(count: int, folder: Path) -> float:
    run, environment = make_run(folder, Load(workload="adder", users=1, keys=Keys(count=10)), [])
    user = Adder(environment)
    add, key = user.table.add, user.keys.anything()
    run.start(time.monotonic_ns())
    began = time.process_time()
    for _ in range(count):
        add(key)
    run.recorder.flush()
    spent = time.process_time() - began
    end(run)
    return spent


def locust_user(count: int, folder: Path, **load: Any) -> float:
    phases = [PlannedPhase(name="all", duration="1h")] if "rate" in load else []  # type: ignore[arg-type]
    run, environment = make_run(folder, Load(workload="adder", intents=count, keys=Keys(count=10), **load), phases)
    user = Adder(environment)
    # Open loop: begun long ago, so that every intent is overdue.
    run.start(time.monotonic_ns() - (3_000_000_000_000 if phases else 0))
    began = time.process_time()
    with contextlib.suppress(StopUser):
        user.run()
    run.recorder.flush()
    spent = time.process_time() - began
    end(run)
    return spent


def end(run: worker.WorkerRun) -> None:
    run.finish(0)
    gevent.sleep(0)
    worker.set_current(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=20_000, help="a round; default: 20000")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cases = {
        "bare client": bare,
        "self.table.add": table,
        "closed loop": lambda count, folder: locust_user(count, folder, users=1),
        "open loop": lambda count, folder: locust_user(count, folder, rate="1000000/s", processes=1),
    }
    spent: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, case in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                spent[name].append(case(options.operations, Path(folder)) / options.operations * 1e6)
    floor = statistics.median(spent["bare client"])
    for name, figures in spent.items():
        figure = statistics.median(figures)
        print(f"{name:16} {figure:6.2f} µs an operation, {figure - floor:6.2f} more than the bare client")


if __name__ == "__main__":
    main()

"""A made-up run directory: a tiny simulation of last writer wins, recorded as a real run is.

The page is tested on it because it is quick, seeded, and holds what a short real drill rarely holds all at once:
losses, stale reads, unknown outcomes, a fault, keys that try to be HTML. Nothing here is measured.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from verifier.history.schema import ABSENT, COLUMNS, META_END, REPLICA_COLUMNS, op_id
from verifier.rundir import FaultRecord, PhaseWindow, RunDirectory, RunInfo, Versions, WorkerInfo, write_atomically

SECOND = 1_000_000_000
T0 = 7_000 * SECOND
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
HOSTILE_KEY = "</script><script>alert('key')</script>\u2028<img src=x onerror=alert(1)>&amp;"


@dataclass
class Item:
    """One item in one replica."""

    value: int
    w: int
    p: int
    stamp: tuple[float, str]


@dataclass
class World:
    """Replicas, and changes on their way between them."""

    rng: random.Random
    cut: tuple[float, float]
    links: tuple[tuple[str, str], ...]
    replicas: dict[str, dict[str, Item]] = field(default_factory=lambda: {region: {} for region in REGIONS})
    travelling: list[tuple[float, int, str, str, Item]] = field(default_factory=list)
    sent: int = 0

    def advance(self, now: float) -> None:
        """Apply what has arrived by ``now``."""
        while self.travelling and self.travelling[0][0] <= now:
            _, _, region, key, item = heapq.heappop(self.travelling)
            mine = self.replicas[region].get(key)
            if mine is None or mine.stamp < item.stamp:
                self.replicas[region][key] = item

    def write(self, now: float, region: str, key: str, value: int, w: int) -> Item:
        """Write locally and send to the others."""
        old = self.replicas[region].get(key)
        item = Item(value, w, old.w if old else ABSENT, (now, region))
        self.replicas[region][key] = item
        for other in REGIONS:
            if other != region:
                arrival = now + 0.3 * self.rng.lognormvariate(0, 0.6)
                if (region, other) in self.links and self.cut[0] - 0.3 < arrival and now < self.cut[1]:
                    arrival = self.cut[1] + 0.2 * self.rng.random()
                self.sent += 1
                heapq.heappush(self.travelling, (arrival, self.sent, other, key, item))
        return item


def make_run(
    results: Path,
    *,
    seconds: float = 60.0,
    rate: float = 120.0,
    seed: int = 1,
    hostile: bool = False,
    keys: int = 8,
    name: str = "2026-11-20T23-05-00Z-quickstart-MREC",
) -> RunDirectory:
    """Make ``results/<name>`` with everything but a verdict and a report; the last third of it is after the fault."""
    rng = random.Random(seed)
    onset, healed = seconds / 3, seconds * 2 / 3
    links = (("us-east-1", "eu-west-1"), ("eu-west-1", "us-east-1"))
    world = World(rng, (onset, healed), links)
    names = [f"counters-{i}" for i in range(keys)] + [f"registers-{i}" for i in range(keys)]
    if hostile:
        names[0] = HOSTILE_KEY
    rows: list[dict[str, Any]] = []
    sequences = [0, 0]
    processes = {(region, n): 1 + index * 10 + n for index, region in enumerate(REGIONS) for n in range(6)}
    fresh = 1000
    scheduled = 0.05
    while scheduled < seconds:
        region = rng.choice(REGIONS)
        slot = (region, rng.randrange(6))
        process = processes[slot]
        worker = process % 2
        key = rng.choice(names)
        counter = names.index(key) < keys
        kind = rng.choices(["read", "read_eventual", "add" if counter else "write"], [3, 1, 4])[0]
        slow = 4.0 if onset < scheduled < healed and region != "us-west-2" else 1.0
        start = scheduled + 0.0002 * rng.lognormvariate(0, 1)
        service = 0.004 * slow * rng.lognormvariate(0, 0.5)
        fate = rng.random()
        op = op_id(worker, sequences[worker])
        sequences[worker] += 1
        row: dict[str, Any] = {
            "op": op, "intent": op, "attempt": 1, "token": None, "worker": worker, "process": process, "region": region,
            "home_region": None, "workload": "counters" if counter else "registers", "kind": kind, "key_class": None,
            "key": key, "logical_key": None, "value": None, "expect": None, "result": None, "saw": None, "prev": None,
            "outcome": 0, "error": None, "units": 1.0, "scheduled_ns": _ns(scheduled), "start_ns": _ns(start),
            "end_ns": _ns(start + service),
        }  # fmt: skip
        write = kind in ("add", "write")
        if write:
            row["value"] = 1 if counter else op & 0xFFFF
        in_fault = onset < scheduled < healed and region == "eu-west-1"
        if fate < 0.002 or (in_fault and fate < 0.01):
            row |= {"outcome": 1, "error": "ThrottlingException"}
        elif write and (fate < 0.003 or (in_fault and fate < 0.03)):
            row |= {"outcome": 2, "error": "Timeout", "end_ns": _ns(start + 2)}
            world.advance(start)
            if rng.random() < 0.5:
                old = world.replicas[region].get(key)
                world.write(start, region, key, (old.value if old else 0) + 1 if counter else op & 0xFFFF, op)
            fresh += 1
            processes[slot] = fresh
        else:
            moment = start + service / 2
            world.advance(moment)
            item = world.replicas[region].get(key)
            if write:
                value = (item.value if item else 0) + 1 if counter else op & 0xFFFF
                item = world.write(moment, region, key, value, op)
            row |= {"saw": ABSENT} if item is None else {"result": item.value, "saw": item.w, "prev": item.p}
        rows.append(row)
        scheduled += rng.expovariate(rate)
    world.advance(float("inf"))

    directory = RunDirectory(results / name)
    directory.history.mkdir(parents=True)
    for worker in (0, 1):
        mine = [row for row in rows if row["worker"] == worker]
        metadata = {**(COLUMNS.metadata or {}), META_END: str(len(mine)).encode()}
        table = pa.Table.from_pylist(mine, schema=COLUMNS).replace_schema_metadata(metadata)
        pq.write_table(table, directory.history / f"worker-{worker}.parquet", compression="zstd")
    for when in ("initial", "final"):
        (directory.path / when).mkdir()
        for region in REGIONS:
            items = world.replicas[region] if when == "final" else {}
            table = pa.Table.from_pylist(
                [
                    {"key": key, "value": item.value, "w": item.w, "p": item.p, "item": "{}",
                     "start_ns": _ns(seconds + 5), "end_ns": _ns(seconds + 5.1)}
                    for key, item in sorted(items.items())
                ],
                schema=REPLICA_COLUMNS,
            )  # fmt: skip
            pq.write_table(table, directory.replica(when, region))  # type: ignore[arg-type]
    fault = FaultRecord(
        id="fault-1", kind="link-cut", links=[links[0]], asked_ns=_ns(onset - 0.02), onset_ns=_ns(onset),
        clear_asked_ns=_ns(healed - 0.01), healed_ns=_ns(healed), parameters={"one_way": False},
    )  # fmt: skip
    write_atomically(directory.faults, fault.model_dump_json() + "\n")
    write_atomically(directory.run_json, _info(name, seconds, seed).model_dump_json(by_alias=True, indent=2))
    return directory


def _info(name: str, seconds: float, seed: int) -> RunInfo:
    third = seconds / 3
    return RunInfo(
        schema=1,
        run=name,
        profile=orjson.loads(
            orjson.dumps(
                {
                    "name": "quickstart",
                    "hypothesis": "With one link cut for a third of the run, an MREC table keeps every promise of its "
                    "mode, and increments from several Regions are lost all the same.",
                    "target": {"kind": "emulator", "mode": "MREC", "regions": list(REGIONS)},
                    "load": [{"workload": "counters", "rate": "60/s"}, {"workload": "registers", "rate": "60/s"}],
                    "phases": [
                        {"name": "baseline", "duration": f"{third:g}s"},
                        {"name": "fault", "duration": f"{third:g}s", "faults": [{"kind": "link-cut"}]},
                        {"name": "recovery", "duration": f"{third:g}s"},
                    ],
                    "expect": [
                        {"metric": "contract_breaches", "op": "==", "value": 0},
                        {"metric": "lost_updates", "op": ">", "value": 0, "mode": "MREC"},
                        {"metric": "lost_updates", "op": "<", "value": 5, "phase": "fault"},
                    ],
                }
            )
        ),
        mode="MREC",
        regions=list(REGIONS),
        table="lastwriter-quickstart",
        target="emulator",
        client="wire",
        seed=seed,
        versions=Versions(lastwriter="0.1.0", python="3.11.2", locust="2.47.0", botocore="1.44.5"),
        workers=[WorkerInfo(worker=0, host="laptop", regions=[]), WorkerInfo(worker=1, host="laptop", regions=[])],
        created="2026-11-20T23:05:00Z",
        created_ns=T0 - 2 * SECOND,
        start_ns=T0,
        end_ns=_ns(seconds),
        phases=[
            PhaseWindow(name=phase, start_ns=_ns(i * third), end_ns=_ns((i + 1) * third))
            for i, phase in enumerate(("baseline", "fault", "recovery"))
        ],
        ended="finished",
        settled=True,
        queues_empty=True,
    )


def _ns(seconds: float) -> int:
    return T0 + round(seconds * SECOND)

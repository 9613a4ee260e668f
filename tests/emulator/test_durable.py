"""A core made again of its records is the core that made them, at every moment, however it was left."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from lastwriter.emulator.core.restoring import Restoring
from lastwriter.emulator.core.snapshot import snapshot
from lastwriter.emulator.faults import FaultSpec
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, TABLE, World

KINDS: list[dict[str, Any]] = [
    {"kind": "region-isolated", "regions": [EAST]},
    {"kind": "link-cut", "links": [(EAST, OREGON)]},
    {"kind": "link-latency", "links": [(EAST, OHIO)], "latency": "80ms", "jitter": "100ms"},
    {"kind": "region-down", "regions": [OHIO]},
    {"kind": "clock-skew", "regions": [OREGON], "offset": "2s"},
]


def through_json(records: list[list[Any]]) -> list[list[Any]]:
    """What reading the records back gives."""
    back: list[list[Any]] = orjson.loads(orjson.dumps(records))
    return back


def restored(records: list[list[Any]], w: World, start: bool = False, **more: Any) -> World:
    """Another world, with a core of these records, at the same moment."""
    again = World(None, records=[], now_ns=w.now_ns, **more)
    restoring = Restoring(again.core, w.now_ns / 1e9)
    restoring.take(through_json(records), w.now_ns, w.now_ns / 1e9)
    restoring.finish()
    if start:
        restoring.start()
    return again


def state(w: World) -> list[bytes]:
    """Everything, in no order."""
    return sorted(orjson.dumps(_timeless(record)) for record in snapshot(w.core, w.now_ns / 1e9))


def _timeless(record: list[Any]) -> list[Any]:
    """When a stream's record was made is known to the frame that it is in, which here is all there is."""
    if record[0] == "s":
        return [*record[:2], {**record[2], "records": [one[1:] for one in record[2]["records"]]}]
    return record


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_at_every_moment_the_records_are_the_state(mode: str, seed: int) -> None:
    rng = random.Random(seed)
    records: list[list[Any]] = []
    settings = {"replicator_delay": "50ms", "mrsc_timeout": "300ms", "seed": seed, "client_latency": "1ms"}
    w = World(mode, records=records, **settings)
    fault: str | None = None
    for step in range(240):
        key = f"k{rng.randrange(5)}"
        region = rng.choice(REGIONS)
        kind = rng.random()
        if kind < 0.5:
            w.put(region, key, str(step))
        elif kind < 0.65:
            w.send(region, "DeleteItem", Key={"pk": {"S": key}})
        elif kind < 0.75:
            w.send(region, "GetItem", Key={"pk": {"S": key}}, ConsistentRead=True)
        elif kind < 0.8 and mode == "MREC":
            put = {"Put": {"TableName": TABLE, "Item": {"pk": {"S": key}, "v": {"S": "t"}}}}
            w.send(region, "TransactWriteItems", TransactItems=[put], ClientRequestToken=f"t{step}")
        w.wait(rng.randrange(30 * MS))
        if rng.random() < 0.05:
            if fault is None:
                fault = w.book.set(FaultSpec(**rng.choice(KINDS)))
            else:
                w.heal(fault)
                fault = None
        if step % 20 == 19:
            again = restored(records, w, **settings)
            assert state(again) == state(w)
            third = restored(list(snapshot(w.core, w.now_ns / 1e9)), w, **settings)
            assert state(third) == state(w)
    if fault is not None:
        w.heal(fault)
    again = restored(records, w, start=True, **settings)
    w.settle()
    again.settle()
    shown = [[again.value(region, f"k{n}") for n in range(5)] for region in REGIONS]
    assert shown[0] == shown[1] == shown[2]
    if mode == "MREC":  # under MRSC what was in doubt may turn out otherwise
        assert shown[0] == [w.value(EAST, f"k{n}") for n in range(5)]

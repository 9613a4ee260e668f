"""A core made again of its records is the core that made them, at every moment, however it was left."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from lastwriter.emulator.core.restoring import Restoring
from lastwriter.emulator.core.snapshot import snapshot
from lastwriter.emulator.faults import FaultSpec
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, TABLE, World, create_request, indexed_request, keys

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


def test_tables_are_made_again_as_they_are_after_every_change() -> None:
    records: list[list[Any]] = []
    w = World(None, records=records, replicator_delay="0ms", latency_scale="0%")
    arn = f"arn:aws:dynamodb:{EAST}:000000000000:table/{TABLE}"
    strong = {"TableName": "strong", "MultiRegionConsistency": "STRONG"}
    index = {
        "IndexName": "by-h",
        "KeySchema": keys("h"),
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    changes: list[tuple[str, str, dict[str, Any]]] = [
        (EAST, "CreateTable", indexed_request(local=True)),
        (EAST, "PutItem", {"Item": {"pk": {"S": "a"}, "sk": {"N": "1"}, "g": {"S": "x"}}}),
        (EAST, "TagResource", {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]}),
        (EAST, "UpdateTable", {"ReplicaUpdates": [{"Create": {"RegionName": OHIO}}]}),
        (OHIO, "UpdateTable", {"DeletionProtectionEnabled": True}),
        (EAST, "UpdateTimeToLive", {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "until"}}),
        (EAST, "UpdateTable", {"ReplicaUpdates": [{"Create": {"RegionName": OREGON}}]}),
        (
            EAST,
            "UpdateTable",
            {
                "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "S"}],
                "GlobalSecondaryIndexUpdates": [{"Create": index}],
            },
        ),
        (OREGON, "PutItem", {"Item": {"pk": {"S": "b"}, "sk": {"N": "2"}, "h": {"S": "y"}}}),
        (EAST, "UpdateTable", {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-g"}}]}),
        (EAST, "UpdateTable", {"ReplicaUpdates": [{"Delete": {"RegionName": OREGON}}]}),
        (EAST, "CreateTable", create_request("strong")),
        (
            EAST,
            "UpdateTable",
            {**strong, "ReplicaUpdates": [{"Create": {"RegionName": OHIO}}, {"Create": {"RegionName": OREGON}}]},
        ),
        (OHIO, "PutItem", {"TableName": "strong", "Item": {"pk": {"S": "k"}}}),
        (
            EAST,
            "UpdateTable",
            {
                "TableName": "strong",
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            },
        ),
        (
            EAST,
            "UpdateTable",
            {
                "TableName": "strong",
                "ReplicaUpdates": [{"Delete": {"RegionName": OHIO}}, {"Delete": {"RegionName": OREGON}}],
            },
        ),
        (EAST, "PutItem", {"TableName": "strong", "Item": {"pk": {"S": "l"}}}),
        (EAST, "DeleteTable", {"TableName": "strong"}),
    ]
    for region, operation, request in changes:
        call = w.ask(region, operation, **request)
        assert call.ok, (operation, request, call.body)
        w.settle()
        for written in (records, list(snapshot(w.core, w.now_ns / 1e9))):
            again = restored(written, w, start=True, replicator_delay="0ms", latency_scale="0%")
            again.settle()
            assert _shown(again) == _shown(w), (operation, request)


def _shown(w: World) -> dict[tuple[str, str], Any]:
    """What every Region says of every table, and what is in it."""
    found: dict[tuple[str, str], Any] = {}
    for region in REGIONS:
        listed = w.ask(region, "ListTables", TableName=None).body or {}
        for name in listed["TableNames"]:
            described = w.ask(region, "DescribeTable", TableName=name).body
            arn = (described or {})["Table"]["TableArn"]
            found[region, name] = (
                described,
                sorted(map(str, (w.ask(region, "Scan", TableName=name).body or {})["Items"])),
                w.ask(region, "ListTagsOfResource", ResourceArn=arn).body,
                w.ask(region, "DescribeTimeToLive", TableName=name).body,
            )
    return found

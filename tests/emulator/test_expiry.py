"""Time to live: who deletes what and when, and what the other Regions see of it. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, OHIO, OREGON, REGIONS, S, World, create_request

START_S = 1_800_000_000


def enable(w: World, region: str = EAST, enabled: bool = True, attribute: str = "until") -> Any:
    specification = {"Enabled": enabled, "AttributeName": attribute}
    return w.ask(region, "UpdateTimeToLive", TimeToLiveSpecification=specification)


def world(mode: str | None = "MREC", **settings: Any) -> World:
    return World(mode, wall=START_S, **settings)


def put(w: World, region: str, key: str, in_s: float, kind: str = "N") -> None:
    w.ask(region, "PutItem", Item={"pk": {"S": key}, "v": {"S": "1"}, "until": {kind: str(START_S + in_s)}})


def test_items_go_when_their_time_has_come_in_every_region() -> None:
    w = world(ttl_delay="2s", replicator_delay="100ms")
    put(w, EAST, "before", 10)
    assert enable(w).ok
    put(w, OHIO, "after", 20)
    put(w, OHIO, "text", 20, "S")
    put(w, OHIO, "ancient", -6 * 365 * 86400)
    w.to(11 * S)
    assert [w.value(region, "before") for region in REGIONS] == ["1"] * 3
    w.to(13 * S)
    assert [w.value(region, "before") for region in REGIONS] == [None] * 3
    w.to(30 * S)
    assert [w.value(region, "after") for region in REGIONS] == [None] * 3
    assert [w.value(EAST, key) for key in ("text", "ancient")] == ["1", "1"]


def test_an_item_whose_time_was_put_off_stays() -> None:
    w = world(replicator_delay="0ms", latency_scale="0%")
    enable(w)
    put(w, EAST, "k", 10)
    w.to(5 * S)
    put(w, OHIO, "k", 100)
    w.to(50 * S)
    assert w.value(EAST, "k") == "1"
    w.to(102 * S)
    assert w.value(EAST, "k") is None


def test_a_deletion_replicates() -> None:
    w = world()
    enable(w)
    fault = w.fault("region-isolated", OREGON)
    put(w, OREGON, "only there", 5)
    w.to(10 * S)
    assert w.value(OREGON, "only there") is None
    w.heal(fault)
    w.settle()
    assert [w.value(region, "only there") for region in REGIONS] == [None] * 3


def removals(w: World, region: str) -> list[bool]:
    """Of each deletion in the Region's stream: whether it bears the service's mark."""
    arn = w.ask(region, "DescribeTable").body["Table"]["LatestStreamArn"]  # type: ignore[index]
    shard = w.ask(region, "DescribeStream", StreamArn=arn).body["StreamDescription"]["Shards"][0]["ShardId"]  # type: ignore[index]
    request = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    token = w.ask(region, "GetShardIterator", **request).body["ShardIterator"]  # type: ignore[index]
    records = w.ask(region, "GetRecords", ShardIterator=token).body["Records"]  # type: ignore[index]
    return ["userIdentity" in record for record in records if record["eventName"] == "REMOVE"]


def test_only_the_region_that_deletes_marks_it_as_the_services_doing() -> None:
    w = world(replicator_delay="100ms", latency_scale="0%")
    enable(w)
    put(w, EAST, "k", 5)
    w.wait(S)
    put(w, OHIO, "k", 5)  # Ohio wrote it last
    w.to(30 * S)
    assert [removals(w, region) for region in REGIONS] == [[False], [True], [False]]


def test_what_the_region_that_wrote_it_cannot_delete_everywhere_others_do() -> None:
    w = world(replicator_delay="100ms", latency_scale="0%", ttl_delay="1s")
    enable(w)
    put(w, EAST, "k", 5)
    w.wait(S)
    fault = w.fault("region-isolated", EAST)
    w.to(10 * S)
    assert [w.value(region, "k") for region in REGIONS] == [None, "1", "1"]
    w.to(20 * S)
    assert [w.value(region, "k") for region in REGIONS] == [None, None, None]
    w.heal(fault)
    w.settle()
    assert removals(w, EAST) == [True]
    assert sum(map(sum, (removals(w, region) for region in (OHIO, OREGON)))) >= 1


def test_after_a_change_the_setting_rests_and_mistakes_are_said_first() -> None:
    w = world(ttl_cooldown="1800s")
    assert enable(w).ok
    w.wait(1799 * S)
    refused = enable(w, OHIO, enabled=False)
    assert refused.error == "ValidationException"
    assert "modified multiple times within a fixed interval" in str(refused.body)
    assert "already enabled" in str(enable(w).body)
    w.wait(S)
    assert enable(w, OHIO, enabled=False).ok
    assert "modified multiple times" in str(enable(w).body)


def test_no_change_while_a_replica_is_being_filled() -> None:
    w = world(None, fill_rate=1)
    w.send(EAST, "CreateTable", **create_request())
    put(w, EAST, "k", 500)
    w.send(EAST, "UpdateTable", ReplicaUpdates=[{"Create": {"RegionName": OHIO}}])
    assert "not allowed while the replica is being added to table with name: orders in region us-east-2" in str(
        enable(w).body
    )
    w.wait(2 * S)
    assert enable(w).ok


def test_the_setting_is_the_whole_tables() -> None:
    w = world()
    assert w.ask(OHIO, "DescribeTimeToLive").body == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    assert "TimeToLive is already disabled" in str(enable(w, enabled=False).body)
    reply = enable(w)
    assert reply.body == {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "until"}}
    described = {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}}
    assert w.ask(OHIO, "DescribeTimeToLive").body == described
    assert "TimeToLive is already enabled" in str(enable(w, OHIO).body)
    assert "active on a different AttributeName: current AttributeName is until" in str(enable(w, attribute="x").body)
    assert enable(w, OHIO, enabled=False).ok
    put(w, EAST, "k", 1)
    w.to(60 * S)
    assert w.value(EAST, "k") == "1"


def test_a_replica_added_later_deletes_too() -> None:
    w = world(None)
    w.send(EAST, "CreateTable", **create_request())
    enable(w)
    w.send(EAST, "UpdateTable", ReplicaUpdates=[{"Create": {"RegionName": OHIO}}])
    w.fault("region-isolated", OHIO)
    put(w, OHIO, "k", 5)
    w.to(10 * S)
    assert w.value(OHIO, "k") is None


def test_a_table_that_is_gone_leaves_nothing_to_do() -> None:
    w = world(None)
    w.send(EAST, "CreateTable", **create_request())
    enable(w)
    put(w, EAST, "k", 5)
    assert w.send(EAST, "DeleteTable").ok
    assert w.send(EAST, "CreateTable", **create_request()).ok
    put(w, EAST, "k", 5)
    w.to(10 * S)
    assert w.value(EAST, "k") == "1"
    assert w.core.next_ns is None


def test_mrsc_has_none() -> None:
    assert "Time to live is not supported for global tables" in str(enable(world("MRSC")).body)
    w = world(None)
    w.send(EAST, "CreateTable", **create_request())
    enable(w)
    strong = [{"Create": {"RegionName": region}} for region in (OHIO, OREGON)]
    call = w.send(EAST, "UpdateTable", ReplicaUpdates=strong, MultiRegionConsistency="STRONG")
    assert "Time to live is not supported for global tables" in str(call.body)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "Value null at 'timeToLiveSpecification'"),
        ({"TimeToLiveSpecification": {"AttributeName": "a"}}, "Value null at 'timeToLiveSpecification.enabled'"),
        ({"TimeToLiveSpecification": {"AttributeName": "", "Enabled": True}}, "greater than or equal to 1"),
    ],
)
def test_what_a_setting_has_to_say(request_: dict[str, Any], words: str) -> None:
    call = world().ask(EAST, "UpdateTimeToLive", **request_)
    assert call.error == "ValidationException"
    assert words in str(call.body)

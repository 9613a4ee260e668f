"""A replica added to a table with items, and an index made of it, in virtual time: filled in steps, then there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, OREGON, TABLE, S, World, create_request

QUICK = {"replicator_delay": "10ms", "replicator_delay_spread": "0%", "latency_scale": "0%"}


def world(items: int, **settings: Any) -> World:
    w = World(None, wall=1_800_000_000, **{**QUICK, **settings})
    assert w.send(EAST, "CreateTable", **create_request()).ok
    for number in range(items):
        assert w.put(EAST, f"k{number}", "old").ok
    return w


def add(w: World, region: str, at: str = EAST) -> None:
    call = w.send(at, "UpdateTable", ReplicaUpdates=[{"Create": {"RegionName": region}}])
    assert call.ok, call.body


def table(w: World, region: str) -> dict[str, Any]:
    body = w.ask(region, "DescribeTable").body
    assert body is not None
    described: dict[str, Any] = body["Table"]
    return described


def replica(w: World, region: str, of: str = EAST) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in table(w, of)["Replicas"] if one["RegionName"] == region)
    return found


def count(w: World, region: str) -> int:
    body = w.ask(region, "Scan", Select="COUNT").body
    assert body is not None
    return int(body["Count"])


def test_a_replica_is_there_at_once_unless_filling_takes_time() -> None:
    w = world(100)
    add(w, OHIO)
    assert table(w, OHIO)["TableStatus"] == "ACTIVE"
    assert count(w, OHIO) == 100


def test_a_replica_is_filled_in_steps_and_serves_nothing_before() -> None:
    w = world(200, fill_rate=100)
    add(w, OHIO)
    w.wait(S)
    assert table(w, OHIO)["TableStatus"] == "CREATING"
    shown = replica(w, OHIO)
    assert (shown["ReplicaStatus"], shown["ReplicaStatusPercentProgress"]) == ("CREATING", "50")
    assert "LatestStreamArn" not in table(w, OHIO)
    for operation, request in {
        "GetItem": {"Key": {"pk": {"S": "k1"}}},
        "PutItem": {"Item": {"pk": {"S": "k1"}}},
        "DescribeTimeToLive": {},
        "UpdateTable": {"DeletionProtectionEnabled": True},
        "TagResource": {"ResourceArn": table(w, OHIO)["TableArn"], "Tags": [{"Key": "a", "Value": "b"}]},
    }.items():
        assert w.ask(OHIO, operation, **request).error == "ResourceNotFoundException", operation
    refused = w.ask(OHIO, "DeleteTable")
    assert refused.error == "ResourceInUseException"
    assert refused.body
    assert "is being used" in refused.body["message"]
    assert w.send(EAST, "UpdateTable", DeletionProtectionEnabled=True).error == "ResourceInUseException"
    assert w.send(EAST, "DeleteTable").error == "ResourceInUseException"
    w.wait(S + 50 * MS)
    assert table(w, OHIO)["TableStatus"] == table(w, EAST)["TableStatus"] == "ACTIVE"
    assert "ReplicaStatusPercentProgress" not in replica(w, OHIO)
    assert count(w, OHIO) == 200


def test_no_member_changes_while_another_is_filled() -> None:
    w = world(100, fill_rate=50)
    add(w, OREGON)
    w.wait(3 * S)
    add(w, OHIO)
    for region in (EAST, OREGON):
        assert w.send(region, "UpdateTable", TableClass="STANDARD").error == "ResourceInUseException"
        more = [{"Create": {"RegionName": "eu-west-1"}}]
        assert not w.send(region, "UpdateTable", ReplicaUpdates=more).ok
    w.wait(5 * S)  # from two Regions
    assert w.send(OREGON, "UpdateTable", TableClass="STANDARD").ok


def test_what_is_written_meanwhile_arrives_and_is_not_overwritten_by_what_is_copied() -> None:
    w = world(200, fill_rate=100)
    add(w, OHIO)
    for number in range(200):  # some already copied, some not
        w.put(EAST, f"k{number}", "new")
        w.wait(5 * MS)
    w.send(EAST, "DeleteItem", Key={"pk": {"S": "k0"}})
    w.wait(2 * S)
    w.settle()
    assert {w.value(OHIO, f"k{number}") for number in range(1, 200)} == {"new"}
    assert w.value(OHIO, "k0") is None


def test_a_new_replica_gets_what_its_source_has_not_got_yet() -> None:
    w = world(1)
    add(w, OHIO)
    w.settle()
    cut = w.cut(EAST, OHIO)
    w.put(OHIO, "only in Ohio", "x")
    add(w, OREGON)
    assert w.value(OREGON, "only in Ohio") == "x"
    assert w.value(EAST, "only in Ohio") is None
    w.heal(cut)
    w.settle()
    assert count(w, EAST) == 2


@pytest.mark.parametrize("rate", [0, 1000])
def test_filling_waits_for_a_link_that_is_cut(rate: int) -> None:
    w = world(50, fill_rate=rate)
    cut = w.cut(EAST, OHIO)
    add(w, OHIO)
    w.wait(10 * S)
    assert table(w, OHIO)["TableStatus"] == "CREATING"
    w.heal(cut)
    w.wait(S)
    assert table(w, OHIO)["TableStatus"] == "ACTIVE"
    assert count(w, OHIO) == 50


def test_filling_waits_for_replication_that_is_paused_for_the_table() -> None:
    w = world(50, fill_rate=1000)
    add(w, OREGON)
    w.wait(S)
    paused = w.fault("replication-paused", EAST, tables=[TABLE])
    w.put(EAST, "meanwhile", "x")
    add(w, OHIO, at=OREGON)
    w.wait(10 * S)
    assert table(w, OHIO)["TableStatus"] == "CREATING"
    w.heal(paused)
    w.settle()
    assert table(w, OHIO)["TableStatus"] == "ACTIVE"
    assert count(w, OHIO) == 51


def test_copied_items_are_not_in_the_new_replicas_stream() -> None:
    w = world(10, fill_rate=100)
    add(w, OHIO)
    w.wait(S)
    w.put(EAST, "later", "x")
    w.settle()
    arn = table(w, OHIO)["LatestStreamArn"]
    described = w.ask(OHIO, "DescribeStream", StreamArn=arn).body
    assert described
    shard = described["StreamDescription"]["Shards"][0]["ShardId"]
    found = w.ask(OHIO, "GetShardIterator", StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON").body
    assert found
    page = w.ask(OHIO, "GetRecords", ShardIterator=found["ShardIterator"]).body
    assert page
    assert [one["dynamodb"]["Keys"]["pk"]["S"] for one in page["Records"]] == ["later"]


def test_an_index_takes_time_to_be_filled_and_is_not_read_before() -> None:
    w = world(0, fill_rate=100)
    for number in range(100):
        assert w.send(EAST, "PutItem", Item={"pk": {"S": f"k{number}"}, "g": {"S": "x"}}).ok
    create = {
        "IndexName": "by-g",
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    call = w.send(
        EAST,
        "UpdateTable",
        AttributeDefinitions=[{"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )
    assert call.ok, call.body
    w.wait(S // 2)
    index = table(w, EAST)["GlobalSecondaryIndexes"][0]
    assert (index["IndexStatus"], index["Backfilling"]) == ("CREATING", True)
    assert table(w, EAST)["TableStatus"] == "ACTIVE"
    query = {
        "IndexName": "by-g",
        "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": {":g": {"S": "x"}},
    }
    assert w.ask(EAST, "Query", **query).error == "ValidationException"
    assert w.send(EAST, "PutItem", Item={"pk": {"S": "new"}, "g": {"S": "x"}}).ok
    w.wait(S)
    index = table(w, EAST)["GlobalSecondaryIndexes"][0]
    assert (index["IndexStatus"], "Backfilling" in index) == ("ACTIVE", False)
    body = w.ask(EAST, "Query", **query).body
    assert body
    assert body["Count"] == 101


def test_after_an_outage_an_index_is_behind_the_table() -> None:
    w = world(0, index_delay="2s")
    create = {
        "IndexName": "by-v",
        "KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    defined = [{"AttributeName": "v", "AttributeType": "S"}]
    w.send(EAST, "UpdateTable", AttributeDefinitions=defined, GlobalSecondaryIndexUpdates=[{"Create": create}])
    add(w, OHIO)
    cut = w.fault("region-isolated", OHIO)
    for number in range(10):
        w.put(EAST, f"k{number}", "x")
    w.wait(60 * S)
    w.heal(cut)
    w.wait(S)
    assert count(w, OHIO) == 10
    query = {"IndexName": "by-v", "KeyConditionExpression": "v = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}
    of_index = [w.ask(region, "Query", **query).body for region in (EAST, OHIO)]
    assert [body["Count"] for body in of_index if body] == [10, 0]
    w.wait(2 * S)
    body = w.ask(OHIO, "Query", **query).body
    assert body
    assert body["Count"] == 10

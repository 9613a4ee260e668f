"""Streams in both modes, in virtual time: what each Region records, in which order, and what is gone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, TABLE, S, World, create_request

START_S = 1_800_000_000
VIEWS = ("NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY")


def streamed(view: str = "NEW_AND_OLD_IMAGES") -> dict[str, Any]:
    return create_request() | {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}}


NO_STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/2026-01-01T00:00:00.000"
NO_SHARD = {"StreamArn": NO_STREAM, "ShardId": "shardId-00000000000000000000-00000000"}


def ask(w: World, region: str, operation: str, **request: Any) -> dict[str, Any]:
    call = w.ask(region, operation, **request)
    assert call.ok, call.body
    assert call.body is not None
    return call.body


def arn_of(w: World, region: str) -> str:
    return str(ask(w, region, "DescribeTable")["Table"]["LatestStreamArn"])


def iterator(w: World, region: str, arn: str, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    shard = ask(w, region, "DescribeStream", StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    request = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": kind, **more}
    return str(ask(w, region, "GetShardIterator", **request)["ShardIterator"])


def records(w: World, region: str, arn: str | None = None, **more: Any) -> list[dict[str, Any]]:
    token: str | None = iterator(w, region, arn or arn_of(w, region))
    found: list[dict[str, Any]] = []
    while token is not None:
        page = ask(w, region, "GetRecords", ShardIterator=token, **more)
        found += page["Records"]
        if not page["Records"]:
            break
        token = page.get("NextShardIterator")
    return found


def changes(w: World, region: str) -> list[tuple[str, str, str | None, str | None]]:
    """Event, key, value before and after."""
    shown = []
    for record in records(w, region):
        images = record["dynamodb"]
        old, new = (images.get(name, {}).get("v", {}).get("S") for name in ("OldImage", "NewImage"))
        shown.append((record["eventName"], images["Keys"]["pk"]["S"], old, new))
    return shown


def test_what_happened_in_order() -> None:
    w = World(None, wall=START_S)
    w.send(EAST, "CreateTable", **streamed())
    w.put(EAST, "a", "1")
    w.put(EAST, "a", "2")
    w.put(EAST, "a", "2")  # changes nothing
    w.send(EAST, "DeleteItem", Key={"pk": {"S": "a"}})
    w.send(EAST, "DeleteItem", Key={"pk": {"S": "a"}})
    assert changes(w, EAST) == [("INSERT", "a", None, "1"), ("MODIFY", "a", "1", "2"), ("REMOVE", "a", "2", None)]
    first = records(w, EAST)[0]
    assert first["dynamodb"] == {
        "ApproximateCreationDateTime": START_S,
        "Keys": {"pk": {"S": "a"}},
        "NewImage": {"pk": {"S": "a"}, "v": {"S": "1"}},
        "SequenceNumber": "100000000000000000000",
        "SizeBytes": 8,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    assert (first["awsRegion"], first["eventSource"], first["eventVersion"]) == (EAST, "aws:dynamodb", "1.1")


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_type_says_which_images(view: str) -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **streamed(view))
    w.put(EAST, "a", "1")
    w.put(EAST, "a", "2")
    images = {"NewImage", "OldImage"} & set(records(w, EAST)[1]["dynamodb"])
    assert images == {"NEW_IMAGE": {"NewImage"}, "OLD_IMAGE": {"OldImage"}, "KEYS_ONLY": set()}.get(
        view, {"NewImage", "OldImage"}
    )


def test_in_mrec_a_write_that_loses_leaves_no_record_where_it_is_dropped() -> None:
    w = World("MREC", replicator_delay="100ms", replicator_delay_spread="0%")
    w.put(EAST, "k", "loser")
    w.wait(MS)
    w.put(OHIO, "k", "winner")
    w.settle()
    assert changes(w, EAST) == [("INSERT", "k", None, "loser"), ("MODIFY", "k", "loser", "winner")]
    assert changes(w, OHIO) == [("INSERT", "k", None, "winner")]


@pytest.mark.parametrize("seed", range(5))
def test_in_mrec_records_lead_from_nothing_to_what_the_region_has(seed: int) -> None:
    w = World("MREC", seed=seed)
    rng = random.Random(seed)
    for number in range(200):
        w.wait(rng.randrange(20) * MS)
        w.put(rng.choice(REGIONS), rng.choice("abcd"), str(number))
    w.settle()
    for region in REGIONS:
        state: dict[str, str | None] = {}
        for _, key, old, new in changes(w, region):
            assert state.get(key) == old
            state[key] = new
        assert state == {key: w.value(region, key) for key in state}


@pytest.mark.parametrize("seed", range(5))
def test_in_mrsc_streams_are_the_same_in_every_region(seed: int) -> None:
    w = World("MRSC", seed=seed, create=streamed())
    rng = random.Random(seed)
    faults: list[str] = []
    for number in range(200):
        w.wait(rng.randrange(20) * MS)
        w.put(rng.choice(REGIONS), rng.choice("abcd"), str(number))
        if rng.random() < 0.05:
            faults.append(w.fault("region-isolated", rng.choice(REGIONS)))
        if faults and rng.random() < 0.1:
            w.heal(faults.pop())
    for fault in faults:
        w.heal(fault)
    w.settle()
    first = changes(w, EAST)
    assert len(first) > 50
    assert changes(w, OHIO) == changes(w, OREGON) == first


def test_in_mrsc_a_stream_is_a_choice() -> None:
    w = World("MRSC")
    assert "LatestStreamArn" not in ask(w, EAST, "DescribeTable")["Table"]
    on = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    ask(w, EAST, "UpdateTable", StreamSpecification=on)
    w.put(EAST, "k", "1")
    w.settle()
    assert [len(records(w, region)) for region in REGIONS] == [1, 1, 1]


def test_a_deletion_by_time_to_live_says_so_where_it_was_made() -> None:
    w = World("MREC", wall=START_S)
    w.ask(EAST, "UpdateTimeToLive", TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    w.fault("region-isolated", OREGON)
    w.ask(OREGON, "PutItem", Item={"pk": {"S": "k"}, "until": {"N": str(START_S + 5)}})
    w.put(OREGON, "by hand", "1")
    w.ask(OREGON, "DeleteItem", Key={"pk": {"S": "by hand"}})
    w.to(10 * S)
    removed = {one["dynamodb"]["Keys"]["pk"]["S"]: one for one in records(w, OREGON) if one["eventName"] == "REMOVE"}
    assert removed["k"]["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    assert "userIdentity" not in removed["by hand"]


def test_iterators_begin_where_they_are_told() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **streamed())
    arn = arn_of(w, EAST)
    for number in range(5):
        w.put(EAST, "k", str(number))
    third = records(w, EAST)[2]["dynamodb"]["SequenceNumber"]

    def values(kind: str, **more: Any) -> list[str]:
        page = ask(w, EAST, "GetRecords", ShardIterator=iterator(w, EAST, arn, kind, **more))
        return [record["dynamodb"]["NewImage"]["v"]["S"] for record in page["Records"]]

    assert values("TRIM_HORIZON") == list("01234")
    assert values("LATEST") == []
    assert values("AT_SEQUENCE_NUMBER", SequenceNumber=third) == list("234")
    assert values("AFTER_SEQUENCE_NUMBER", SequenceNumber=third) == list("34")
    latest = iterator(w, EAST, arn, "LATEST")
    w.put(EAST, "k", "5")
    assert len(ask(w, EAST, "GetRecords", ShardIterator=latest)["Records"]) == 1
    assert [len(records(w, EAST, Limit=limit)) for limit in (1, 2, 1000)] == [6, 6, 6]


def test_records_are_trimmed_by_number_and_age_and_iterators_expire() -> None:
    w = World(None, stream_records=3)
    w.send(EAST, "CreateTable", **streamed())
    oldest = iterator(w, EAST, arn_of(w, EAST))
    for number in range(5):
        w.put(EAST, "k", str(number))
    assert [change[3] for change in changes(w, EAST)] == list("234")
    assert w.ask(EAST, "GetRecords", ShardIterator=oldest).error == "TrimmedDataAccessException"
    newer = iterator(w, EAST, arn_of(w, EAST))
    w.wait(15 * 60 * S + S)
    assert w.ask(EAST, "GetRecords", ShardIterator=newer).error == "ExpiredIteratorException"
    w.wait(24 * 3600 * S)
    assert records(w, EAST) == []


def test_a_stream_that_was_switched_off_is_read_to_its_end() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **streamed())
    w.put(EAST, "k", "1")
    first = arn_of(w, EAST)
    ask(w, EAST, "UpdateTable", StreamSpecification={"StreamEnabled": False})
    w.put(EAST, "k", "2")
    ask(w, EAST, "UpdateTable", StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    w.put(EAST, "k", "3")
    assert first != arn_of(w, EAST)
    page = ask(w, EAST, "GetRecords", ShardIterator=iterator(w, EAST, first))
    assert (len(page["Records"]), "NextShardIterator" in page) == (1, False)
    assert len(records(w, EAST)) == 1
    described = ask(w, EAST, "DescribeStream", StreamArn=first)["StreamDescription"]
    assert described["StreamStatus"] == "DISABLED"
    assert "EndingSequenceNumber" in described["Shards"][0]["SequenceNumberRange"]
    arns = [one["StreamArn"] for one in ask(w, EAST, "ListStreams")["Streams"]]
    assert set(arns) == {first, arn_of(w, EAST)}
    w.wait(25 * 3600 * S)
    assert [one["StreamArn"] for one in ask(w, EAST, "ListStreams")["Streams"]] == [arn_of(w, EAST)]


def test_streams_are_listed_by_region_and_table() -> None:
    w = World("MREC")
    for number in range(3):
        w.send(EAST, "CreateTable", **streamed() | {"TableName": f"table-{number}"})
    page = ask(w, EAST, "ListStreams", TableName=None, Limit=2)
    rest = ask(w, EAST, "ListStreams", TableName=None, ExclusiveStartStreamArn=page["LastEvaluatedStreamArn"])
    names = [one["TableName"] for one in (*page["Streams"], *rest["Streams"])]
    assert sorted(names) == sorted([TABLE, "table-0", "table-1", "table-2"])
    assert len(ask(w, OHIO, "ListStreams", TableName=None)["Streams"]) == 1


@pytest.mark.parametrize(
    ("operation", "request_", "name"),
    [
        ("DescribeStream", {"StreamArn": NO_STREAM}, "ResourceNotFoundException"),
        ("DescribeStream", {}, "ValidationException"),
        ("GetShardIterator", {**NO_SHARD, "ShardIteratorType": "LATEST"}, "ResourceNotFoundException"),
        ("GetShardIterator", {**NO_SHARD, "ShardIteratorType": "FIRST"}, "ValidationException"),
        ("GetRecords", {}, "ValidationException"),
        ("GetRecords", {"ShardIterator": "bm9uc2Vuc2U="}, "ValidationException"),
        ("GetRecords", {"ShardIterator": "§"}, "ValidationException"),
        ("GetRecords", {"ShardIterator": "x", "Limit": 0}, "ValidationException"),
        ("ListStreams", {"Limit": 101}, "ValidationException"),
    ],
)
def test_what_the_streams_api_refuses(operation: str, request_: dict[str, Any], name: str) -> None:
    assert World("MREC").ask(EAST, operation, **request_).error == name

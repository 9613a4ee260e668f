"""BatchGetItem and BatchWriteItem in both modes, in virtual time: limits, parts that fail, order of what they see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, TABLE, World, create_request

MODES = ("MREC", "MRSC")


def puts(*keys: str, value: str = "1") -> dict[str, Any]:
    return {TABLE: [{"PutRequest": {"Item": {"pk": {"S": key}, "v": {"S": value}}}} for key in keys]}


def gets(*keys: str, **more: Any) -> dict[str, Any]:
    return {TABLE: {"Keys": [{"pk": {"S": key}} for key in keys], **more}}


def found(w: World, region: str, *keys: str, **more: Any) -> list[str]:
    call = w.ask(region, "BatchGetItem", RequestItems=gets(*keys, **more))
    assert call.ok, call.body
    assert call.body is not None
    assert call.body["UnprocessedKeys"] == {}
    return [item["pk"]["S"] for item in call.body["Responses"][TABLE]]


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_is_written_and_read_everywhere(mode: str) -> None:
    w = World(mode)
    call = w.ask(EAST, "BatchWriteItem", RequestItems=puts("a", "b", "c"))
    assert call.body == {"UnprocessedItems": {}}
    w.settle()
    for region in REGIONS:
        assert found(w, region, "c", "missing", "a") == ["c", "a"]
    writes = [{"DeleteRequest": {"Key": {"pk": {"S": "a"}}}}, *puts("d")[TABLE]]
    assert w.ask(OHIO, "BatchWriteItem", RequestItems={TABLE: writes}).ok
    w.settle()
    assert found(w, OREGON, "a", "d") == ["d"]


def test_in_mrec_the_items_of_a_batch_arrive_elsewhere_one_by_one() -> None:
    w = World("MREC", seed=5)
    keys = [f"k{number}" for number in range(25)]
    w.ask(EAST, "BatchWriteItem", RequestItems=puts(*keys))
    seen = set()
    while len(found(w, OHIO, *keys)) < 25:
        seen.add(len(found(w, OHIO, *keys)))
        w.wait(5 * MS)
    assert len(seen) > 10


def test_in_mrsc_a_strong_batch_is_behind_one_heartbeat_and_an_eventual_one_is_local() -> None:
    w = World("MRSC")
    w.ask(EAST, "BatchWriteItem", RequestItems=puts("a", "b"))
    assert found(w, OREGON, "a", "b") == []
    start_ns = w.now_ns
    strong = w.get(OREGON, "a", consistent=True).took_ns
    again_ns = w.now_ns
    assert found(w, OREGON, "a", "b", ConsistentRead=True) == ["a", "b"]
    assert w.now_ns - again_ns == strong
    assert strong == again_ns - start_ns > 10 * MS


def test_a_batch_of_two_tables_of_both_modes() -> None:
    w = World("MRSC")
    w.core.control.make_global(create_request("other"), REGIONS, "MREC", None)
    items = puts("a") | {"other": puts("b")[TABLE]}
    assert w.ask(EAST, "BatchWriteItem", RequestItems=items).ok
    keys = gets("a", ConsistentRead=True) | {"other": gets("b")[TABLE]}
    call = w.ask(EAST, "BatchGetItem", RequestItems=keys)
    assert call.body is not None
    assert {name: len(items) for name, items in call.body["Responses"].items()} == {TABLE: 1, "other": 1}


def test_in_mrsc_an_item_that_lost_a_race_is_unprocessed_and_the_others_are_written() -> None:
    w = World("MRSC")
    w.put(EAST, "raced", "0")
    w.settle()
    winner = w.put(OHIO, "raced", "winner")
    w.wait(MS)
    call = w.send(EAST, "BatchWriteItem", RequestItems=puts("raced", "free"))
    w.settle()
    assert winner.ok
    assert call.body == {"UnprocessedItems": puts("raced")}
    assert w.value(OREGON, "free", consistent=True) == "1"
    assert w.value(OREGON, "raced", consistent=True) == "winner"


def test_in_mrsc_a_batch_that_only_lost_races_is_refused_with_the_conflict() -> None:
    w = World("MRSC")
    w.put(OHIO, "raced", "winner")
    w.wait(MS)
    call = w.send(EAST, "BatchWriteItem", RequestItems=puts("raced"))
    w.settle()
    assert (call.status, call.error) == (409, "ReplicatedWriteConflictException")


def test_in_mrsc_a_batch_without_a_second_region_may_still_happen() -> None:
    w = World("MRSC")
    fault = w.fault("region-isolated", EAST)
    call = w.ask(EAST, "BatchWriteItem", RequestItems=puts("a", "b"))
    assert (call.status, call.error) == (500, "InternalServerError")
    strong = w.ask(EAST, "BatchGetItem", RequestItems=gets("a", ConsistentRead=True))
    assert (strong.status, strong.error) == (500, "InternalServerError")
    w.heal(fault)
    w.settle()
    assert found(w, OHIO, "a", "b") == ["a", "b"]


def test_16_mb_are_a_reply_and_the_rest_is_unprocessed() -> None:
    w = World("MREC")
    big = "x" * 390_000
    keys = [f"k{number:02}" for number in range(50)]
    for key in keys:
        w.put(EAST, key, big)
    call = w.ask(EAST, "BatchGetItem", RequestItems=gets(*keys, ConsistentRead=True))
    assert call.body is not None
    count = len(call.body["Responses"][TABLE])
    assert count == 16 * 1024 * 1024 // (390_000 + len("pk") + 3 + len("v"))
    assert call.body["UnprocessedKeys"] == gets(*keys[count:], ConsistentRead=True)


NO_TABLES = "Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1"


@pytest.mark.parametrize(
    ("operation", "request_items", "message"),
    [
        ("BatchGetItem", None, "Value null at 'requestItems' failed to satisfy constraint: Member must not be null"),
        ("BatchWriteItem", None, "Value null at 'requestItems' failed to satisfy constraint: Member must not be null"),
        ("BatchGetItem", {}, NO_TABLES),
        ("BatchWriteItem", {}, "The requestItems parameter is required for BatchWriteItem"),
    ],
)
def test_a_batch_needs_tables(operation: str, request_items: Any, message: str) -> None:
    call = World("MREC").ask(EAST, operation, RequestItems=request_items)
    assert call.error == "ValidationException"
    assert message in str(call.body)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (puts(*map(str, range(26))), "Map value must satisfy constraint: [Member must have length less than or equal"),
        (puts(*map(str, range(25))) | {"other": puts("x")[TABLE]}, "Too many items requested for the BatchWriteItem"),
        (puts("a", "a"), "Provided list of item keys contains duplicates"),
        (
            {TABLE: [*puts("a")[TABLE], {"DeleteRequest": {"Key": {"pk": {"S": "a"}}}}]},
            "Provided list of item keys contains duplicates",
        ),
        ({TABLE: [{"PutRequest": {"Item": {"pk": {"N": "1"}}}}]}, "The provided key element does not match the schema"),
        ({TABLE: [{"PutRequest": {"Item": {"v": {"N": "1"}}}}]}, "The provided key element does not match the schema"),
        ({TABLE: [{"PutRequest": {"Item": {"pk": {"S": ""}}}}]}, "cannot contain an empty string value. Key: pk"),
        ({TABLE: [{}]}, "must contain exactly one of the supported request types"),
    ],
)
def test_what_a_batch_write_may_not_say(items: dict[str, Any], message: str) -> None:
    w = World("MREC")
    call = w.ask(EAST, "BatchWriteItem", RequestItems=items)
    assert call.error == "ValidationException"
    assert message in str(call.body)
    assert w.value(EAST, "a") is None


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            gets(*map(str, range(101))),
            f"Value at 'RequestItems.{TABLE}.member.Keys' failed to satisfy constraint: "
            "Member must have length less than or equal to 100",
        ),
        (gets(*map(str, range(100))) | {"other": gets("x")[TABLE]}, "Too many items requested for the BatchGetItem"),
        (gets("a", "a"), "Provided list of item keys contains duplicates"),
        (gets("a", ProjectionExpression="a, a"), "Two document paths overlap with each other"),
        (gets("a", ProjectionExpression="a", AttributesToGet=["a"]), "Can not use both expression and non-expression"),
    ],
)
def test_what_a_batch_get_may_not_say(items: dict[str, Any], message: str) -> None:
    call = World("MREC").ask(EAST, "BatchGetItem", RequestItems=items)
    assert call.error == "ValidationException"
    assert message in str(call.body)


@pytest.mark.parametrize(
    ("operation", "items"),
    [("BatchWriteItem", {"other": puts("x")[TABLE]}), ("BatchGetItem", {"other": gets("x")[TABLE]})],
)
def test_a_table_that_there_is_not(operation: str, items: dict[str, Any]) -> None:
    assert World("MREC").ask(EAST, operation, RequestItems=items).error == "ResourceNotFoundException"


def test_capacity_is_added_up_for_each_table() -> None:
    w = World("MREC")
    call = w.ask(EAST, "BatchWriteItem", RequestItems=puts("a", "b"), ReturnConsumedCapacity="INDEXES")
    assert call.body is not None
    assert call.body["ConsumedCapacity"] == [
        {"TableName": TABLE, "CapacityUnits": 2.0, "Table": {"CapacityUnits": 2.0}}
    ]
    call = w.ask(EAST, "BatchGetItem", RequestItems=gets("a", "b", "c"), ReturnConsumedCapacity="TOTAL")
    assert call.body is not None
    assert call.body["ConsumedCapacity"] == [{"TableName": TABLE, "CapacityUnits": 1.5}]

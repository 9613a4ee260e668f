"""Query and indexes in both modes, in virtual time: what a strong one sees, and how far an index is behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, OREGON, World, indexed_request

MODES = ("MREC", "MRSC")


def put(w: World, region: str, sort: int, **more: dict[str, Any]) -> None:
    w.ask(region, "PutItem", Item={"pk": {"S": "p"}, "sk": {"N": str(sort)}, **more})


def sorts(w: World, region: str, **more: Any) -> list[str]:
    call = w.ask(
        region,
        "Query",
        **{"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}, **more},
    )
    assert call.ok, call.body
    assert call.body is not None
    return [item["sk"]["N"] for item in call.body["Items"]]


def by_g(w: World, region: str, value: str) -> list[str]:
    return sorts(
        w,
        region,
        IndexName="by-g",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": {"S": value}},
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_query_returns_a_partition_in_order_in_every_region(mode: str) -> None:
    w = World(mode, create=indexed_request())
    for sort in (10, 9, -1):
        put(w, EAST, sort)
    w.ask(EAST, "PutItem", Item={"pk": {"S": "q"}, "sk": {"N": "5"}})
    w.settle()
    for region in (EAST, OHIO, OREGON):
        assert sorts(w, region) == ["-1", "9", "10"]
        assert sorts(w, region, ScanIndexForward=False, Limit=2) == ["10", "9"]
    w.ask(OHIO, "DeleteItem", Key={"pk": {"S": "p"}, "sk": {"N": "9"}})
    w.settle()
    assert sorts(w, OREGON) == ["-1", "10"]


def test_a_strong_query_of_mrsc_goes_behind_a_heartbeat() -> None:
    w = World("MRSC", create=indexed_request())
    put(w, EAST, 1)
    assert sorts(w, OREGON) == []
    start_ns = w.now_ns
    assert sorts(w, OREGON, ConsistentRead=True) == ["1"]
    assert w.now_ns - start_ns > 10 * MS


def test_a_strong_query_of_an_isolated_mrsc_region_fails() -> None:
    w = World("MRSC", create=indexed_request())
    w.fault("region-isolated", EAST)
    call = w.ask(
        EAST,
        "Query",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "p"}},
        ConsistentRead=True,
    )
    assert (call.status, call.error) == (500, "InternalServerError")
    assert sorts(w, EAST) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_global_index_is_sparse_and_follows_changes_of_its_key(mode: str) -> None:
    w = World(mode, create=indexed_request())
    put(w, EAST, 1, g={"S": "x"}, a={"S": "kept"}, b={"S": "left out"})
    put(w, EAST, 2)
    w.settle()
    call = w.ask(OHIO, "Scan", IndexName="by-g")
    assert call.body is not None
    assert call.body["Items"] == [{"pk": {"S": "p"}, "sk": {"N": "1"}, "g": {"S": "x"}, "a": {"S": "kept"}}]
    put(w, EAST, 1, g={"S": "y"})
    put(w, EAST, 2, g={"S": "y"})
    w.settle()
    assert by_g(w, OREGON, "x") == []
    assert by_g(w, OREGON, "y") == ["1", "2"]


@pytest.mark.parametrize("mode", MODES)
def test_a_global_index_is_behind_its_table_by_the_delay_set_and_in_order(mode: str) -> None:
    w = World(mode, create=indexed_request(), index_delay="300ms")
    put(w, EAST, 1, g={"S": "x"})
    written_ns = w.now_ns
    assert sorts(w, EAST) == ["1"]
    assert by_g(w, EAST, "x") == []
    put(w, EAST, 1, g={"S": "y"})
    w.to(written_ns + 299 * MS)
    assert by_g(w, EAST, "x") == []
    w.to(written_ns + 300 * MS)
    if mode == "MREC":  # there the second write was in the same instant
        assert by_g(w, EAST, "y") == ["1"]
    w.settle()
    assert by_g(w, EAST, "x") == []
    assert by_g(w, EAST, "y") == ["1"]


@pytest.mark.parametrize("mode", MODES)
def test_index_keys_of_another_type_are_refused_at_the_write(mode: str) -> None:
    w = World(mode, create=indexed_request())
    call = w.ask(EAST, "PutItem", Item={"pk": {"S": "p"}, "sk": {"N": "1"}, "g": {"N": "1"}})
    assert call.error == "ValidationException"
    assert "Type mismatch for Index Key g Expected: S Actual: N IndexName: by-g" in str(call.body)


def test_a_global_index_has_no_strong_reads_and_an_unknown_one_is_refused() -> None:
    w = World("MREC", create=indexed_request())
    query = {"KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
    call = w.ask(EAST, "Query", IndexName="by-g", ConsistentRead=True, **query)
    assert "Consistent reads are not supported on global secondary indexes" in str(call.body)
    call = w.ask(EAST, "Query", IndexName="by-h", **query)
    assert "The table does not have the specified index: by-h" in str(call.body)


def test_what_is_wrong_with_a_request_is_said_before_its_table_is_missed() -> None:
    w = World(None)
    assert w.ask(EAST, "Query").error == "ValidationException"
    assert w.ask(EAST, "GetItem").error == "ValidationException"
    assert w.ask(EAST, "GetItem", Key={"pk": {"S": "p"}}).error == "ResourceNotFoundException"

"""What writes cost with indexes, and item collections: the figures that AWS was measured to give."""

from __future__ import annotations

from typing import Any

import pytest

from lastwriter.emulator.requests.operations import Item, compile_query, compile_write, parse_create_table
from tests.emulator.replicas import arranged
from tests.emulator.virtual import EAST, TABLE, World, indexed_request

LOCAL_ALL = {"IndexName": "by-l", "Projection": {"ProjectionType": "ALL"}}
CREATE = indexed_request(local=True)
CREATE["LocalSecondaryIndexes"] = [{**CREATE["LocalSecondaryIndexes"][0], **LOCAL_ALL}]
SCHEMA, _ = parse_create_table(CREATE)
KEY = {"pk": {"S": "p"}, "sk": {"N": "1"}}
FULL: Item = {**KEY, "g": {"S": "x"}, "l": {"S": "L1"}, "a": {"S": "p"}, "other": {"S": "o"}}


def cost(old: Item | None, new: Item | None, detail: str = "INDEXES") -> dict[str, Any]:
    request = {"TableName": TABLE, "ReturnConsumedCapacity": detail}
    if new is None:
        write = compile_write("DeleteItem", {**request, "Key": KEY}, SCHEMA)
    else:
        write = compile_write("PutItem", {**request, "Item": new}, SCHEMA)
    consumed: dict[str, Any] = write.reply(old, write.evaluate(old))["ConsumedCapacity"]
    return consumed


def arms(old: Item | None, new: Item | None) -> tuple[float, float, float | None, float | None]:
    """Total, table, global index, local index; None where there is no such entry at all."""
    consumed = cost(old, new)
    kinds = [consumed.get(kind) for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")]
    units = [next(iter(kind.values()))["CapacityUnits"] if kind is not None else None for kind in kinds]
    return consumed["CapacityUnits"], consumed["Table"]["CapacityUnits"], units[0], units[1]


def without(item: Item, *names: str) -> Item:
    return {name: value for name, value in item.items() if name not in names}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, without(FULL, "l"), (2, 1, 1, None)),
        (None, without(FULL, "g", "l"), (1, 1, None, None)),
        (None, without(FULL, "g"), (2, 1, None, 1)),
        (None, FULL, (3, 1, 1, 1)),
        (FULL, FULL, (1, 1, None, None)),
        (FULL, FULL | {"other": {"S": "o2"}}, (2, 1, None, 1)),
        (FULL, FULL | {"a": {"S": "p2"}}, (3, 1, 1, 1)),
        (FULL, FULL | {"g": {"S": "moved"}}, (4, 1, 2, 1)),
        (FULL, without(FULL, "g"), (3, 1, 1, 1)),
        (FULL, FULL | {"l": {"S": "L2"}}, (3, 1, None, 2)),
        (FULL, None, (3, 1, 1, 1)),
        (without(FULL, "g", "l"), None, (1, 1, None, None)),
        (None, None, (1, 1, None, None)),
        (FULL, FULL | {"a": {"S": "x" * 3000}}, (9, 3, 3, 3)),
    ],
)
def test_an_index_costs_what_the_change_costs_it(
    old: Item | None, new: Item | None, expected: tuple[float, float, float | None, float | None]
) -> None:
    assert arms(old, new) == expected
    assert cost(old, new, "TOTAL") == {"TableName": TABLE, "CapacityUnits": expected[0]}


@pytest.mark.parametrize(("index", "kind"), [("by-l", "LocalSecondaryIndexes"), ("by-g", "GlobalSecondaryIndexes")])
def test_reading_an_index_costs_at_the_index(index: str, kind: str) -> None:
    condition = {"by-l": "pk = :v", "by-g": "g = :v"}[index]
    query = {
        "TableName": TABLE,
        "IndexName": index,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {":v": {"S": {"by-l": "p", "by-g": "x"}[index]}},
        "ReturnConsumedCapacity": "INDEXES",
    }
    reply = compile_query(query, SCHEMA).reply(arranged(SCHEMA, [FULL]))
    assert reply["Count"] == 1
    assert reply["ConsumedCapacity"] == {
        "TableName": TABLE,
        "CapacityUnits": 0.5,
        "Table": {"CapacityUnits": 0.0},
        kind: {index: {"CapacityUnits": 0.5}},
    }


def test_item_collections_are_those_of_tables_with_local_indexes() -> None:
    metrics = {"ItemCollectionKey": {"pk": {"S": "p"}}, "SizeEstimateRangeGB": [0.0, 1.0]}
    size = {"ReturnItemCollectionMetrics": "SIZE"}
    w = World("MREC", create=CREATE)
    assert w.ask(EAST, "PutItem", Item=FULL, **size).body == {"ItemCollectionMetrics": metrics}
    assert w.ask(EAST, "PutItem", Item=FULL).body == {}
    put = {"PutRequest": {"Item": FULL}}
    batch = w.ask(EAST, "BatchWriteItem", RequestItems={TABLE: [put]}, **size).body or {}
    assert batch["ItemCollectionMetrics"] == {TABLE: [metrics]}
    delete = {"Delete": {"TableName": TABLE, "Key": KEY}}
    transaction = w.ask(EAST, "TransactWriteItems", TransactItems=[delete], **size).body or {}
    assert transaction["ItemCollectionMetrics"] == {TABLE: [metrics]}
    plain = World("MREC")
    assert plain.put(EAST, "k", "v", **size).body == {}


def test_a_batch_and_a_transaction_add_indexes_up() -> None:
    w = World("MREC", create=CREATE)
    sparse = without(FULL, "g", "l") | {"sk": {"N": "2"}}
    puts = [{"PutRequest": {"Item": item}} for item in (without(FULL, "l"), sparse)]
    body = w.ask(EAST, "BatchWriteItem", RequestItems={TABLE: puts}, ReturnConsumedCapacity="INDEXES").body or {}
    one = {"CapacityUnits": 1.0}
    assert body["ConsumedCapacity"] == [
        {
            "TableName": TABLE,
            "CapacityUnits": 3.0,
            "Table": {"CapacityUnits": 2.0},
            "GlobalSecondaryIndexes": {"by-g": one},
        }
    ]
    put = {"Put": {"TableName": TABLE, "Item": FULL | {"sk": {"N": "3"}}}}
    body = w.ask(EAST, "TransactWriteItems", TransactItems=[put], ReturnConsumedCapacity="INDEXES").body or {}
    two = {"CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}
    assert body["ConsumedCapacity"] == [
        {
            "TableName": TABLE,
            "CapacityUnits": 6.0,
            "WriteCapacityUnits": 6.0,
            "Table": two,
            "GlobalSecondaryIndexes": {"by-g": two},
            "LocalSecondaryIndexes": {"by-l": two},
        }
    ]

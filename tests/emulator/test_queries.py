"""Query, and Scan of an index: against plain Python, page by page, and how they are refused."""

# ruff: noqa: E501 - DynamoDB's messages read better unbroken

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.operations import compile_query, compile_scan, parse_create_table
from tests.emulator.replicas import arranged

Item = dict[str, Any]

TABLE, _ = parse_create_table(
    {
        "TableName": "table",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "g", "AttributeType": "S"},
            {"AttributeName": "l", "AttributeType": "S"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]},
            }
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "by-l",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    }
)


def query(items: list[Item], **parameters: Any) -> dict[str, Any]:
    compiled = compile_query({"TableName": "table", **parameters}, TABLE)
    return compiled.reply(arranged(TABLE, items))


def scan(items: list[Item], **parameters: Any) -> dict[str, Any]:
    compiled = compile_scan({"TableName": "table", **parameters}, TABLE)
    return compiled.reply(arranged(TABLE, items))


def all_pages(read: Any, items: list[Item], **parameters: Any) -> list[Item]:
    found: list[Item] = []
    start = None
    for _ in range(100):
        reply = read(items, ExclusiveStartKey=start, **parameters)
        found += reply["Items"]
        start = reply.get("LastEvaluatedKey")
        if start is None:
            return found
    raise AssertionError("pages without end")


def refused(call: Any, *arguments: Any, **parameters: Any) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments, **parameters)
    assert caught.value.name == "ValidationException"
    return caught.value.message


sort_keys = st.sampled_from([Decimal(text) for text in ("-10", "-1", "-0.5", "0", "1", "1.5", "2", "10", "100")])
stores = st.dictionaries(
    st.tuples(st.sampled_from(["p", "q"]), sort_keys),
    st.fixed_dictionaries(
        {}, optional={"g": st.sampled_from(["x", "y"]), "l": st.sampled_from(["a", "ab", "b"]), "a": st.just("1")}
    ),
    max_size=12,
)


def to_items(store: dict[tuple[str, Decimal], dict[str, str]]) -> list[Item]:
    return [
        {"pk": {"S": pk}, "sk": {"N": format(sk, "f")}, **{name: {"S": value} for name, value in rest.items()}}
        for (pk, sk), rest in store.items()
    ]


RANGES: dict[str, Any] = {
    "sk = :a": lambda sk, a, b: sk == a,
    "sk < :a": lambda sk, a, b: sk < a,
    ":a >= sk": lambda sk, a, b: sk <= a,
    "sk > :a": lambda sk, a, b: sk > a,
    "sk >= :a": lambda sk, a, b: sk >= a,
    "sk BETWEEN :a AND :b": lambda sk, a, b: a <= sk <= b,
}


@given(stores, st.sampled_from(sorted(RANGES)), sort_keys, sort_keys, st.booleans(), st.none() | st.integers(1, 3))
def test_a_range_of_a_partition(
    store: Any, condition: str, one: Decimal, two: Decimal, forward: bool, limit: int | None
) -> None:
    low, high = sorted([one, two])
    expected = sorted((sk for pk, sk in store if pk == "p" and RANGES[condition](sk, low, high)), reverse=not forward)
    values = {":p": {"S": "p"}, ":a": {"N": format(low, "f")}}
    if ":b" in condition:
        values[":b"] = {"N": format(high, "f")}
    found = all_pages(
        query,
        to_items(store),
        KeyConditionExpression=f"pk = :p AND {condition}",
        ExpressionAttributeValues=values,
        ScanIndexForward=forward,
        Limit=limit,
    )
    assert [Decimal(item["sk"]["N"]) for item in found] == expected


@given(stores, st.booleans(), st.integers(1, 3), st.sampled_from(["by-g", "by-l"]))
def test_an_index(store: Any, forward: bool, limit: int, index: str) -> None:
    attribute, value = ("g", "x") if index == "by-g" else ("pk", "p")
    found = all_pages(
        query,
        to_items(store),
        IndexName=index,
        KeyConditionExpression=f"{attribute} = :v AND begins_with(l, :l)",
        ExpressionAttributeValues={":v": {"S": value}, ":l": {"S": "a"}},
        ScanIndexForward=forward,
        Limit=limit,
    )
    expected = {
        (pk, sk)
        for (pk, sk), rest in store.items()
        if rest.get("l", "").startswith("a") and (rest.get("g") == "x" if index == "by-g" else pk == "p")
    }
    if index == "by-g":
        expected = {key for key in expected if "g" in store[key]}
    keys = [(item["pk"]["S"], Decimal(item["sk"]["N"])) for item in found]
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    order = [item["l"]["S"] for item in found]
    assert order == sorted(order, reverse=not forward)
    kept = {"pk", "sk", "g", "l", "a"} if index == "by-g" else {"pk", "sk", "l"}
    assert all(item.keys() <= kept for item in found)


@given(stores, st.integers(1, 3))
def test_a_scan_of_an_index(store: Any, limit: int) -> None:
    found = all_pages(scan, to_items(store), IndexName="by-g", Limit=limit)
    expected = {key for key, rest in store.items() if "g" in rest and "l" in rest}
    assert len(found) == len(expected)
    assert {(item["pk"]["S"], Decimal(item["sk"]["N"])) for item in found} == expected


def test_a_local_index_fetches_whole_items_if_asked_to() -> None:
    item = {"pk": {"S": "p"}, "sk": {"N": "1"}, "l": {"S": "a"}, "z": {"S": "more"}}
    asked = {"IndexName": "by-l", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
    assert query([item], **asked)["Items"] == [{"pk": {"S": "p"}, "sk": {"N": "1"}, "l": {"S": "a"}}]
    assert query([item], **asked, Select="ALL_ATTRIBUTES")["Items"] == [item]


def test_filter_count_and_capacity() -> None:
    items = to_items({("p", Decimal(at)): {"a": str(at)} for at in range(10)})
    reply = query(
        items,
        KeyConditionExpression="pk = :p",
        FilterExpression="a IN (:one, :two)",
        ExpressionAttributeValues={":p": {"S": "p"}, ":one": {"S": "1"}, ":two": {"S": "2"}},
        Select="COUNT",
        ReturnConsumedCapacity="INDEXES",
    )
    assert reply == {
        "Count": 2,
        "ScannedCount": 10,
        "ConsumedCapacity": {"TableName": "table", "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.5}},
    }


def test_capacity_of_an_index() -> None:
    reply = query(
        [],
        IndexName="by-g",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": {"S": "x"}},
        ReturnConsumedCapacity="INDEXES",
    )
    assert reply["ConsumedCapacity"] == {
        "TableName": "table",
        "CapacityUnits": 0.5,
        "Table": {"CapacityUnits": 0.0},
        "GlobalSecondaryIndexes": {"by-g": {"CapacityUnits": 0.5}},
    }


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
        ("", "Invalid KeyConditionExpression: The expression can not be empty;"),
        ("a-b", 'Invalid KeyConditionExpression: Syntax error; token: "-", near: "a-b"'),
        ("sk = :n", "Query condition missed key schema element: pk"),
        ("attr = :s", "Query condition missed key schema element: pk"),
        ("pk = :s AND attr = :s", "Query condition missed key schema element: sk"),
        ("pk > :s", "Query key condition not supported"),
        ("pk = :n", "One or more parameter values were invalid: Condition parameter type does not match schema type"),
        ("pk = :s AND begins_with(sk, :s)", "One or more parameter values were invalid: Condition parameter type does not match schema type"),
        ("pk = :s OR sk = :n", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT pk = :s", "Invalid operator used in KeyConditionExpression: NOT"),
        ("pk <> :s", "Invalid operator used in KeyConditionExpression: <>"),
        ("pk IN (:s)", "Invalid operator used in KeyConditionExpression: IN"),
        ("attribute_exists(pk)", "Invalid operator used in KeyConditionExpression: attribute_exists"),
        ("pk = :s AND contains(sk, :s)", "Invalid operator used in KeyConditionExpression: contains"),
        ("size(pk) = :n", "KeyConditionExpressions cannot contain nested operations"),
        (":s BETWEEN pk AND :s", "Invalid condition in KeyConditionExpression: BETWEEN operator must have the key attribute as its first operand"),
        ("begins_with(:s, pk)", "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its first operand"),
        (":s = :s", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        ("pk = sk", "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"),
        ("pk.a = :s", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("pk = :s AND pk = :s", "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key"),
        ("pk = :s AND sk = :n AND a = :s", "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)"),
        ("pk = :e", "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"),
        ("pk = :s AND sk BETWEEN :n AND :m", "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {N:0}"),
    ],
)  # fmt: skip
def test_key_conditions_that_are_refused(condition: str | None, message: str) -> None:
    values = {":s": {"S": "x"}, ":n": {"N": "1"}, ":m": {"N": "0"}, ":e": {"S": ""}}
    used = {name: value for name, value in values.items() if condition and name in condition}
    assert refused(query, [], KeyConditionExpression=condition, ExpressionAttributeValues=used or None) == message


WHOLE = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
RANGE = {
    "KeyConditionExpression": "pk = :p AND sk > :n",
    "ExpressionAttributeValues": {":p": {"S": "p"}, ":n": {"N": "5"}},
}


def place(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"N": sk}}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({**WHOLE, "IndexName": "none"}, "The table does not have the specified index: none"),
        ({"IndexName": "by-g", "KeyConditionExpression": "g = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}, "ConsistentRead": True}, "Consistent reads are not supported on global secondary indexes"),
        ({"IndexName": "by-g", "KeyConditionExpression": "g = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}, "Select": "ALL_ATTRIBUTES"}, "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index by-g because its projection type is not ALL"),
        ({**WHOLE, "Select": "INVALID_VALUE"}, "1 validation error detected: Value 'INVALID_VALUE' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]"),
        ({**WHOLE, "Select": "ALL_PROJECTED_ATTRIBUTES"}, "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"),
        ({**WHOLE, "FilterExpression": "pk = :p"}, "Filter Expression can only contain non-primary key attributes: Primary key attribute: pk"),
        ({**WHOLE, "FilterExpression": "#missing = :p"}, "Invalid FilterExpression: An expression attribute name used in the document path is not defined; attribute name: #missing"),
        ({**WHOLE, "ExpressionAttributeNames": {"#unused": "x"}}, "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}"),
        ({**WHOLE, "KeyConditions": {}}, "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {KeyConditions} Expression parameters: {KeyConditionExpression}"),
        ({**WHOLE, "ExclusiveStartKey": {"pk": {"S": "p"}}}, "The provided starting key is invalid: The provided key element does not match the schema"),
        ({**WHOLE, "ExclusiveStartKey": place("q", "1")}, "The provided starting key is outside query boundaries based on provided conditions"),
        ({**RANGE, "ExclusiveStartKey": place("p", "5")}, "The provided starting key does not match the range key predicate"),
        ({**RANGE, "ExclusiveStartKey": place("q", "6")}, "The query can return at most one row and cannot be restarted"),
        ({**WHOLE, "ExclusiveStartKey": {"pk": {"S": "p"}, "sk": {"N": "dog"}}}, "The parameter cannot be converted to a numeric value: dog"),
    ],
)  # fmt: skip
def test_queries_that_are_refused(parameters: dict[str, Any], message: str) -> None:
    assert refused(query, [], **parameters) == message

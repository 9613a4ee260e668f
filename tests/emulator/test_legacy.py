"""Parameters that expressions replaced: they do what the expressions do, and say mistakes as DynamoDB does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, TABLE, World

KEY = {"pk": {"S": "k"}}
ITEM = {
    **KEY,
    "n": {"N": "3"},
    "s": {"S": "hello"},
    "b": {"B": "aGkgdGhlcmU="},
    "ss": {"SS": ["a", "b"]},
    "l": {"L": [{"N": "2"}, {"S": "x"}]},
    "t": {"BOOL": True},
}
INVALID = "One or more parameter values were invalid: "
COUNTED = "1 validation error detected: "


@pytest.fixture
def w() -> World:
    world = World("MREC")
    assert world.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM).ok
    return world


def op(operator: str, *values: Any) -> dict[str, Any]:
    return {"ComparisonOperator": operator, "AttributeValueList": list(values)}


HOLDS = [
    {"n": op("EQ", {"N": "3.0"})}, {"t": op("EQ", {"BOOL": True})}, {"ss": op("EQ", {"SS": ["b", "a"]})},
    {"n": op("NE", {"N": "4"})}, {"n": op("NE", {"S": "3"})}, {"q": op("NE", {"N": "1"})},
    {"n": op("LE", {"N": "3"})}, {"n": op("LT", {"N": "4"})}, {"n": op("GE", {"N": "3"})}, {"s": op("GT", {"S": "h"})},
    {"n": op("IN", {"N": "1"}, {"N": "3"})}, {"n": op("BETWEEN", {"N": "1"}, {"N": "3"})},
    {"s": op("CONTAINS", {"S": "ell"})}, {"ss": op("CONTAINS", {"S": "a"})}, {"l": op("CONTAINS", {"N": "2"})},
    {"b": op("CONTAINS", {"B": "aGVyZQ=="})}, {"s": op("NOT_CONTAINS", {"S": "dog"})},
    {"s": op("NOT_CONTAINS", {"N": "1"})}, {"s": op("BEGINS_WITH", {"S": "he"})}, {"s": op("NOT_NULL")},
    {"q": op("NULL")}, {"q": {"ComparisonOperator": "NULL"}},
    {"n": op("EQ", {"N": "3"}), "s": op("BEGINS_WITH", {"S": "h"})},
]  # fmt: skip
FAILS = [
    {"n": op("EQ", {"N": "4"})}, {"n": op("EQ", {"S": "3"})}, {"q": op("EQ", {"N": "3"})}, {"n": op("NE", {"N": "3"})},
    {"n": op("LE", {"N": "2"})}, {"n": op("LE", {"S": "9"})}, {"q": op("GE", {"N": "0"})},
    {"n": op("IN", {"N": "1"}, {"N": "2"})}, {"ss": op("IN", {"S": "a"})}, {"n": op("BETWEEN", {"N": "4"}, {"N": "9"})},
    {"s": op("CONTAINS", {"S": "dog"})}, {"q": op("CONTAINS", {"S": "x"})}, {"s": op("NOT_CONTAINS", {"S": "ell"})},
    {"q": op("NOT_CONTAINS", {"N": "1"})}, {"n": op("BEGINS_WITH", {"S": "3"})}, {"q": op("NOT_NULL")},
    {"s": op("NULL")}, {"n": op("EQ", {"N": "3"}), "s": op("EQ", {"S": "x"})},
]  # fmt: skip


@pytest.mark.parametrize(("given", "holds"), [*((one, True) for one in HOLDS), *((one, False) for one in FAILS)])
def test_conditions(w: World, given: dict[str, Any], holds: bool) -> None:
    put = w.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM, Expected=given)
    assert put.error == (None if holds else "ConditionalCheckFailedException")
    update = {"AttributeUpdates": {"z": {"Value": {"N": "1"}}}, "Expected": given}
    assert w.ask(EAST, "UpdateItem", TableName=TABLE, Key=KEY, **update).ok is holds
    found = w.ask(EAST, "Scan", TableName=TABLE, ScanFilter=given)
    assert found.body is not None
    assert (found.body["Count"], found.body["ScannedCount"]) == (int(holds), 1)
    assert w.ask(EAST, "DeleteItem", TableName=TABLE, Key=KEY, Expected=given).ok is holds


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"n": {"Value": {"N": "3"}}}, True),
        ({"n": {"Exists": True, "Value": {"N": "3"}}}, True),
        ({"n": {"Value": {"N": "3"}, "ComparisonOperator": "GE"}}, True),
        ({"q": {"Exists": False}}, True),
        ({"n": {"Value": {"N": "4"}}}, False),
        ({"q": {"Value": {"N": "3"}}}, False),
        ({"n": {"Exists": False}}, False),
        ({}, True),
    ],
)
def test_expected_values(w: World, given: dict[str, Any], holds: bool) -> None:
    assert w.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM, Expected=given).ok is holds


@pytest.mark.parametrize(("operator", "holds"), [(None, False), ("AND", False), ("OR", True)])
def test_conditional_operator(w: World, operator: str | None, holds: bool) -> None:
    given = {"n": {"Value": {"N": "3"}}, "s": {"Value": {"S": "x"}}}
    assert w.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM, Expected=given, ConditionalOperator=operator).ok is holds


def test_the_same_request_twice_is_judged_anew(w: World) -> None:
    for number in (3, 4, 3):
        given = {"n": {"Value": {"N": str(number)}}}
        assert w.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM, Expected=given).ok is (number == 3)
        assert w.ask(EAST, "PutItem", TableName=TABLE, Item=ITEM).ok


def test_updates(w: World) -> None:
    changes = {
        "new": {"Value": {"S": "x"}},
        "s": {"Action": "PUT", "Value": {"S": "bye"}},
        "n": {"Action": "ADD", "Value": {"N": "-5"}},
        "count": {"Action": "ADD", "Value": {"N": "1"}},
        "ss": {"Action": "DELETE", "Value": {"SS": ["a"]}},
        "more": {"Action": "ADD", "Value": {"SS": ["z"]}},
        "l": {"Action": "ADD", "Value": {"L": [{"S": "y"}]}},
        "fresh": {"Action": "ADD", "Value": {"L": [{"S": "y"}]}},
        "b": {"Action": "DELETE"},
        "none": {"Action": "DELETE"},
    }
    call = w.ask(EAST, "UpdateItem", TableName=TABLE, Key=KEY, AttributeUpdates=changes, ReturnValues="ALL_NEW")
    assert call.body is not None
    assert call.body["Attributes"] == {
        **KEY, "new": {"S": "x"}, "s": {"S": "bye"}, "n": {"N": "-2"}, "count": {"N": "1"}, "ss": {"SS": ["b"]},
        "more": {"SS": ["z"]}, "l": {"L": [{"N": "2"}, {"S": "x"}, {"S": "y"}]}, "fresh": {"L": [{"S": "y"}]},
        "t": {"BOOL": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({}, {"pk": {"S": "new"}}),
        ({"a": {"Value": {"N": "1"}}}, {"pk": {"S": "new"}, "a": {"N": "1"}}),
        ({"a": {"Action": "ADD", "Value": {"N": "1"}}}, {"pk": {"S": "new"}, "a": {"N": "1"}}),
        ({"a": {"Action": "DELETE"}}, None),
    ],
)
def test_updates_of_what_is_not_there(w: World, changes: dict[str, Any], item: dict[str, Any] | None) -> None:
    key = {"pk": {"S": "new"}}
    assert w.ask(EAST, "UpdateItem", TableName=TABLE, Key=key, AttributeUpdates=changes).ok
    call = w.ask(EAST, "GetItem", TableName=TABLE, Key=key)
    assert call.body is not None
    assert call.body.get("Item") == item


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"a": {}}, INVALID + "Only DELETE action is allowed when no attribute value is specified"),
        (
            {"a": {"Action": "DELETE", "Value": {"N": "1"}}},
            INVALID + "DELETE action with value is not supported for the type N",
        ),
        ({"a": {"Action": "ADD", "Value": {"S": "x"}}}, INVALID + "ADD action is not supported for the type S"),
        (
            {"a": {"Action": "PASTE", "Value": {"S": "x"}}},
            "Value 'PASTE' at 'attributeUpdates.a.member.action' failed to satisfy constraint: Member must satisfy "
            "enum value set: [ADD, PUT, DELETE]",
        ),
    ],
)
def test_what_updates_cannot_be(w: World, changes: dict[str, Any], says: str) -> None:
    call = w.ask(EAST, "UpdateItem", TableName=TABLE, Key=KEY, AttributeUpdates=changes)
    assert call.body is not None
    assert call.body["message"] == COUNTED + says


def test_updates_that_do_not_fit_the_item(w: World) -> None:
    def says(changes: dict[str, Any]) -> str:
        call = w.ask(EAST, "UpdateItem", TableName=TABLE, Key=KEY, AttributeUpdates=changes)
        assert call.body is not None
        return str(call.body["message"])

    mismatch = "Type mismatch for attribute to update"
    assert says({"s": {"Action": "ADD", "Value": {"N": "1"}}}) == mismatch
    assert says({"ss": {"Action": "DELETE", "Value": {"NS": ["1"]}}}) == mismatch
    key = INVALID + "Cannot update attribute pk. This attribute is part of the key"
    assert says({"pk": {"Value": {"S": "x"}}}) == key


WRONG = [
    ({"n": op("EQ", {"N": "1"}, {"N": "2"})}, "Invalid number of argument(s) for the EQ ComparisonOperator"),
    ({"n": op("NULL", {"N": "1"})}, "Invalid number of argument(s) for the NULL ComparisonOperator"),
    ({"n": op("IN")}, "Invalid number of argument(s) for the IN ComparisonOperator"),
    ({"n": op("BETWEEN", {"N": "1"})}, "Invalid number of argument(s) for the BETWEEN ComparisonOperator"),
    ({"n": op("IN", {"N": "1"}, {"S": "1"})}, "AttributeValues inside AttributeValueList must be of same type"),
    ({"n": op("BEGINS_WITH", {"N": "1"})}, "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type"),
    ({"n": op("CONTAINS", {"L": []})}, "ComparisonOperator CONTAINS is not valid for L AttributeValue type"),
    ({"n": op("LT", {"SS": ["a"]})}, "ComparisonOperator LT is not valid for SS AttributeValue type"),
]


@pytest.mark.parametrize(("given", "says"), WRONG)
@pytest.mark.parametrize("parameter", ["ScanFilter", "Expected"])
def test_what_conditions_cannot_be(w: World, parameter: str, given: dict[str, Any], says: str) -> None:
    if parameter == "ScanFilter":
        call = w.ask(EAST, "Scan", TableName=TABLE, ScanFilter=given)
    else:
        call = w.ask(EAST, "DeleteItem", TableName=TABLE, Key=KEY, Expected=given)
    assert call.body is not None
    assert call.body["message"] == (COUNTED if parameter == "Expected" else "") + INVALID + says


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": {}}, "Value must be provided when Exists is null for Attribute: n"),
        ({"n": {"Exists": True}}, "Value must be provided when Exists is true for Attribute: n"),
        ({"n": {"Exists": False, "Value": {"N": "1"}}}, "Value cannot be used when Exists is false for Attribute: n"),
        (
            {"n": {"Exists": False, **op("EQ", {"N": "1"})}},
            "Exists and ComparisonOperator cannot be used together for Attribute: n",
        ),
        (
            {"n": {"Value": {"N": "1"}, **op("EQ", {"N": "1"})}},
            "Value and AttributeValueList cannot be used together for Attribute: n",
        ),
        (
            {"n": {"AttributeValueList": [{"N": "1"}]}},
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: n",
        ),
        (
            {"n": {"ComparisonOperator": "EQ"}},
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: n",
        ),
    ],
)
def test_what_expected_cannot_be(w: World, given: dict[str, Any], says: str) -> None:
    call = w.ask(EAST, "DeleteItem", TableName=TABLE, Key=KEY, Expected=given)
    assert call.body is not None
    assert call.body["message"] == COUNTED + INVALID + says


def test_between_needs_an_order(w: World) -> None:
    call = w.ask(EAST, "Scan", TableName=TABLE, ScanFilter={"n": op("BETWEEN", {"N": "4"}, {"N": "3"})})
    assert call.body is not None
    assert call.body["message"] == (
        "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
    )


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"ConditionalOperator": "OR"}, "ConditionalOperator cannot be used without Filter or Expected"),
        (
            {"Expected": {}, "ConditionalOperator": "OR"},
            "ConditionalOperator cannot be used without Filter or Expected",
        ),
        (
            {"Expected": {"n": {"Exists": False}}, "ConditionalOperator": "OR"},
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        ),
        (
            {"Expected": {"n": {"Exists": False}}, "ConditionExpression": "attribute_exists(pk)"},
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            "{Expected} Expression parameters: {ConditionExpression}",
        ),
    ],
)
def test_what_does_not_go_together(w: World, parameters: dict[str, Any], says: str) -> None:
    call = w.ask(EAST, "DeleteItem", TableName=TABLE, Key=KEY, **parameters)
    assert call.body is not None
    assert call.body["message"] == COUNTED + says


SORTED = "sorted"


@pytest.fixture
def letters() -> World:
    world = World("MREC")
    created = world.ask(
        EAST,
        "CreateTable",
        TableName=SORTED,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    assert created.ok
    for number, letter in enumerate(("alpha", "beta", "delta", "epsilon", "gamma")):
        item = {"pk": {"S": "p"}, "sk": {"S": letter}, "n": {"N": str(number)}}
        assert world.ask(EAST, "PutItem", TableName=SORTED, Item=item).ok
    return world


def query(world: World, **parameters: Any) -> list[str] | str:
    call = world.ask(EAST, "Query", TableName=SORTED, **parameters)
    assert call.body is not None
    return [item["sk"]["S"] for item in call.body["Items"]] if call.ok else str(call.body["message"])


IN_P = {"pk": op("EQ", {"S": "p"})}


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        (None, ["alpha", "beta", "delta", "epsilon", "gamma"]),
        (op("BEGINS_WITH", {"S": "al"}), ["alpha"]),
        (op("BETWEEN", {"S": "beta"}, {"S": "epsilon"}), ["beta", "delta", "epsilon"]),
        (op("GT", {"S": "delta"}), ["epsilon", "gamma"]),
        (op("EQ", {"S": "delta"}), ["delta"]),
        (op("LE", {"S": "beta"}), ["alpha", "beta"]),
    ],
)
def test_key_conditions(letters: World, sort: dict[str, Any] | None, found: list[str]) -> None:
    conditions = {**IN_P, **({"sk": sort} if sort else {})}
    assert query(letters, KeyConditions=conditions) == found
    assert query(letters, KeyConditions=conditions, ScanIndexForward=False) == found[::-1]


def test_query_filter(letters: World) -> None:
    assert query(letters, KeyConditions=IN_P, QueryFilter={"n": op("GE", {"N": "3"})}) == ["epsilon", "gamma"]
    text = {"FilterExpression": "n = :n", "ExpressionAttributeValues": {":n": {"N": "3"}}}
    assert query(letters, KeyConditions=IN_P, **text) == ["epsilon"]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
        ({"KeyConditions": {}}, "Conditions can be of length 1 or 2 only"),
        ({"KeyConditions": {"sk": op("EQ", {"S": "a"})}}, "Query condition missed key schema element: pk"),
        ({"KeyConditions": {"pk": op("GT", {"S": "a"})}}, "Query key condition not supported"),
        (
            {"KeyConditions": {**IN_P, "sk": op("NE", {"S": "a"})}},
            "Attempted conditional constraint is not an indexable operation",
        ),
        (
            {"KeyConditions": {"pk": op("EQ", {"N": "1"})}},
            INVALID + "Condition parameter type does not match schema type",
        ),
        (
            {"KeyConditions": IN_P, "QueryFilter": {"sk": op("EQ", {"S": "a"})}},
            "QueryFilter can only contain non-primary key attributes: Primary key attribute: sk",
        ),
        (
            {"KeyConditions": IN_P, "KeyConditionExpression": "pk = :p"},
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            "{KeyConditions} Expression parameters: {KeyConditionExpression}",
        ),
        (
            {"KeyConditions": IN_P, "QueryFilter": {"n": op("NULL")}, "FilterExpression": "n = :n"},
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            "{QueryFilter} Expression parameters: {FilterExpression}",
        ),
    ],
)
def test_what_a_query_cannot_ask(letters: World, parameters: dict[str, Any], says: str) -> None:
    assert query(letters, **parameters) == says

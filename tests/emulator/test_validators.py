"""Requests judged by their shape, for every operation that DynamoDB has."""

# ruff: noqa: E501 - DynamoDB's messages read better unbroken

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.emulator.requests import model
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.validators import check_shape

INDEX = {"KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
TABLE = {"TableName": "orders"}


def refused(operation: str, request: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ApiError) as raised:
        check_shape(operation, request)
    return raised.value.name, raised.value.message


@pytest.mark.parametrize(
    ("operation", "request_", "failures"),
    [
        ("ListTables", {"Limit": 0}, ["Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"]),
        ("ListTables", {"Limit": 101}, ["Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"]),
        (
            "ListTables",
            {"ExclusiveStartTableName": "a;", "Limit": 500},
            [
                "Value 'a;' at 'exclusiveStartTableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
                "Value 'a;' at 'exclusiveStartTableName' failed to satisfy constraint: Member must have length greater than or equal to 3",
                "Value '500' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
            ],
        ),
        ("DescribeTable", {"TableName": "abc;"}, ["Value 'abc;' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"]),
        ("DeleteTable", {"TableName": ""}, ["Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 1"]),
        ("UpdateTimeToLive", TABLE, ["Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null"]),
        (
            "UpdateTimeToLive",
            {**TABLE, "TimeToLiveSpecification": {"AttributeName": ""}},
            [
                "Value null at 'timeToLiveSpecification.enabled' failed to satisfy constraint: Member must not be null",
                "Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ],
        ),
        ("TagResource", {"ResourceArn": "a:b:c:d:e:f/g"}, ["Value null at 'tags' failed to satisfy constraint: Member must not be null"]),
        (
            "UpdateTable",
            {**TABLE, "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-day"}}, {"Update": {"IndexName": "a"}}]},
            ["Value 'a' at 'globalSecondaryIndexUpdates.2.member.update.indexName' failed to satisfy constraint: Member must have length greater than or equal to 3"],
        ),
        (
            "UpdateTable",
            {**TABLE, "ProvisionedThroughput": {"ReadCapacityUnits": 0}},
            [
                "Value null at 'provisionedThroughput.writeCapacityUnits' failed to satisfy constraint: Member must not be null",
                "Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ],
        ),
        (
            "CreateTable",
            {
                **TABLE,
                "AttributeDefinitions": [],
                "KeySchema": INDEX["KeySchema"],
                "LocalSecondaryIndexes": [{**INDEX, "IndexName": "aa"}],
                "GlobalSecondaryIndexes": [{**INDEX, "IndexName": "zz"}],
            },
            [
                "Value 'zz' at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must have length greater than or equal to 3",
                "Value 'aa' at 'localSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must have length greater than or equal to 3",
            ],
        ),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": TABLE}, None], "ClientRequestToken": "x" * 37},
            [
                f"Value '{'x' * 37}' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to 36",
                "Value null at 'transactItems.1.member.put.item' failed to satisfy constraint: Member must not be null",
                "Value null at 'transactItems.2.member' failed to satisfy constraint: Member must not be null",
            ],
        ),
        (
            "Query",
            {**TABLE, "ReturnConsumedCapacity": "ALL", "Select": "SOME", "KeyConditions": {"pk": {"ComparisonOperator": "IS"}}},
            [
                "Value 'ALL' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]",
                "Value 'SOME' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
                "Value 'IS' at 'keyConditions.pk.member.comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
            ],
        ),
    ],
)  # fmt: skip
def test_constraints_are_listed_together(operation: str, request_: dict[str, Any], failures: list[str]) -> None:
    count = f"{len(failures)} validation error{'s' if len(failures) > 1 else ''} detected: "
    assert refused(operation, request_) == ("ValidationException", count + "; ".join(failures))


def test_no_more_than_ten_failures_are_listed() -> None:
    words = refused("TransactWriteItems", {"TransactItems": [None] * 30})[1]
    assert words.startswith("10 validation errors detected: ")
    assert words.count("; ") == 9


@pytest.mark.parametrize("operation", ["CreateTable", "DescribeTable", "DeleteTable", "UpdateTable"])
def test_the_table_is_missed_first(operation: str) -> None:
    words = "The parameter 'TableName' is required but was not present in the request"
    assert refused(operation, {}) == ("ValidationException", words)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (True, "TRUE_VALUE cannot be converted to String"),
        (23, "NUMBER_VALUE cannot be converted to String"),
        (34.56, "DECIMAL_VALUE cannot be converted to String"),
        ([], "Unrecognized collection type class java.lang.String"),
        ({}, "Start of structure or map found where not expected"),
    ],
)
def test_strings(value: Any, says: str) -> None:
    assert refused("DescribeTable", {"TableName": value}) == ("SerializationException", says)


@pytest.mark.parametrize(
    ("operation", "request_", "says"),
    [
        ("ListTables", {"Limit": "1"}, "STRING_VALUE cannot be converted to Integer"),
        ("ListTables", {"Limit": True}, "TRUE_VALUE cannot be converted to Integer"),
        ("UpdateTable", {"ProvisionedThroughput": 1}, "Unexpected field type"),
        ("UpdateTable", {"ProvisionedThroughput": []}, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.ProvisionedThroughput"),
        ("UpdateTable", {"ProvisionedThroughput": {"ReadCapacityUnits": "1"}}, "STRING_VALUE cannot be converted to Long"),
        ("CreateTable", {"KeySchema": "pk"}, "Unexpected field type"),
        ("CreateTable", {"KeySchema": {}}, "Start of structure or map found where not expected"),
        ("CreateTable", {"KeySchema": ["pk"]}, "Unexpected value type in payload"),
        ("CreateTable", {"KeySchema": [["pk"]]}, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.KeySchemaElement"),
        ("TagResource", {"Tags": [{"Key": 1}]}, "NUMBER_VALUE cannot be converted to String"),
        ("Query", {"KeyConditions": {"pk": 1}}, "Unexpected value type in payload"),
        ("Query", {"KeyConditions": []}, "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.Condition>"),
        ("PutItem", {"Expected": {"a": {"Exists": "true"}}}, "Unexpected token received from parser"),
    ],
)  # fmt: skip
def test_wrong_types(operation: str, request_: dict[str, Any], says: str) -> None:
    assert refused(operation, request_) == ("SerializationException", says)


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    check_shape("ListTables", {"hi": "yo", "Limit": None, "ExclusiveStartTableName": None})
    check_shape("DescribeTable", {"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/orders"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_json_is_judged(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(model.operations())))
    name = next(name for name in model.SERVICES if operation in model.service(name)["operations"])
    shapes = model.service(name)["shapes"]
    members = shapes[model.service(name)["operations"][operation]["input"]["shape"]]["members"]
    request = {key: data.draw(JSON) for key in members if data.draw(st.booleans())}
    try:
        check_shape(operation, request)
    except ApiError as error:
        assert error.name in ("SerializationException", "ValidationException")  # noqa: PT017 - both outcomes are fine

"""Any JSON in any place of any request: an answer or a refusal, never an exception that is the emulator's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.settings import Settings
from tests.emulator.virtual import EAST, OHIO, OREGON, REGIONS, TABLE, indexed_request, keys

ITEM = {"pk": {"S": "p"}, "sk": {"N": "1"}, "g": {"S": "x"}, "l": {"S": "y"}, "m": {"M": {"a": {"L": [{"N": "1"}]}}}}
KEY = {"pk": {"S": "p"}, "sk": {"N": "1"}}
ARN = f"arn:aws:dynamodb:{EAST}:000000000000:table/{TABLE}"
BACKUP = f"{ARN}/backup/00000000000000-6baa9455"
"""As the emulator draws it that everything begins with."""
BY_H = {"IndexName": "by-h", "KeySchema": keys("h"), "Projection": {"ProjectionType": "ALL"}}
CHECKED = {
    "TableName": TABLE,
    "ConditionExpression": "attribute_exists(#p)",
    "ExpressionAttributeNames": {"#p": "pk"},
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {"Item": ITEM, **CHECKED}),
    (
        "Query",
        {
            "TableName": TABLE,
            "IndexName": "by-l",
            "KeyConditionExpression": "pk = :p AND l BETWEEN :l AND :l",
            "ExpressionAttributeValues": {":p": {"S": "p"}, ":l": {"S": "y"}},
            "ExclusiveStartKey": {**KEY, "l": {"S": "y"}},
            "Limit": 3,
            "ReturnConsumedCapacity": "INDEXES",
        },
    ),
    ("Scan", {"TableName": TABLE, "Segment": 0, "TotalSegments": 2, "Select": "COUNT", "ExclusiveStartKey": KEY}),
    (
        "BatchGetItem",
        {
            "RequestItems": {TABLE: {"Keys": [KEY], "ProjectionExpression": "g", "ConsistentRead": True}},
            "ReturnConsumedCapacity": "TOTAL",
        },
    ),
    (
        "BatchWriteItem",
        {
            "RequestItems": {
                TABLE: [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": {**KEY, "sk": {"N": "2"}}}}]
            },
            "ReturnItemCollectionMetrics": "SIZE",
        },
    ),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"Item": ITEM, "TableName": TABLE}},
                {"ConditionCheck": {**CHECKED, "Key": {**KEY, "sk": {"N": "3"}}}},
                {
                    "Update": {
                        "TableName": TABLE,
                        "Key": {**KEY, "sk": {"N": "4"}},
                        "UpdateExpression": "ADD v :one",
                        "ExpressionAttributeValues": {":one": {"N": "1"}},
                    }
                },
            ],
            "ClientRequestToken": "token",
            "ReturnConsumedCapacity": "INDEXES",
        },
    ),
    (
        "UpdateItem",
        {
            "TableName": TABLE,
            "Key": KEY,
            "AttributeUpdates": {"v": {"Action": "ADD", "Value": {"N": "1"}}, "w": {"Action": "DELETE"}},
            "Expected": {
                "v": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"N": "1"}, {"N": "2"}]},
                "w": {"Exists": True, "Value": {"S": "x"}},
            },
            "ConditionalOperator": "OR",
        },
    ),
    (
        "Query",
        {
            "TableName": TABLE,
            "KeyConditions": {
                "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p"}]},
                "sk": {"ComparisonOperator": "GT", "AttributeValueList": [{"N": "0"}]},
            },
            "QueryFilter": {"g": {"ComparisonOperator": "NOT_CONTAINS", "AttributeValueList": [{"S": "x"}]}},
        },
    ),
    ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": TABLE, "Key": KEY, "ProjectionExpression": "g"}}]}),
    (
        "UpdateTable",
        {
            "TableName": TABLE,
            "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "S"}],
            "GlobalSecondaryIndexUpdates": [{"Create": BY_H}],
        },
    ),
    (
        "UpdateTable",
        {
            "TableName": TABLE,
            "BillingMode": "PROVISIONED",
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            "GlobalSecondaryIndexUpdates": [
                {
                    "Update": {
                        "IndexName": "by-g",
                        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
                    }
                }
            ],
        },
    ),
    ("UpdateTable", {"TableName": TABLE, "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-g"}}]}),
    ("UpdateTable", {"TableName": TABLE, "ReplicaUpdates": [{"Create": {"RegionName": OHIO}}]}),
    (
        "UpdateTable",
        {
            "TableName": TABLE,
            "ReplicaUpdates": [{"Create": {"RegionName": OHIO}}],
            "MultiRegionConsistency": "STRONG",
            "GlobalTableWitnessUpdates": [{"Create": {"RegionName": OREGON}}],
        },
    ),
    ("UpdateTable", {"TableName": TABLE, "StreamSpecification": {"StreamEnabled": False}}),
    ("UpdateTable", {"TableName": TABLE, "DeletionProtectionEnabled": True}),
    (
        "UpdateTimeToLive",
        {"TableName": TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "until"}},
    ),
    ("TagResource", {"ResourceArn": ARN, "Tags": [{"Key": "a", "Value": "b"}]}),
    ("UntagResource", {"ResourceArn": ARN, "TagKeys": ["a"]}),
    ("ListTagsOfResource", {"ResourceArn": ARN, "NextToken": "0"}),
    ("ListTables", {"Limit": 1, "ExclusiveStartTableName": "a"}),
    ("ListStreams", {"TableName": TABLE, "Limit": 1, "ExclusiveStartStreamArn": ARN}),
    ("DescribeStream", {"StreamArn": f"{ARN}/stream/1970-01-01T00:00:00.000", "ExclusiveStartShardId": "x"}),
    (
        "GetShardIterator",
        {
            "StreamArn": f"{ARN}/stream/1970-01-01T00:00:00.000",
            "ShardId": "shardId",
            "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "SequenceNumber": "100000000000000000000",
        },
    ),
    ("GetRecords", {"ShardIterator": "YSAwIDA=", "Limit": 1}),
    ("UpdateTable", {"TableName": TABLE, "OnDemandThroughput": {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": -1}}),
    ("UpdateTable", {"TableName": TABLE, "TableClass": "STANDARD_INFREQUENT_ACCESS"}),
    ("CreateBackup", {"TableName": TABLE, "BackupName": "nightly"}),
    ("DescribeBackup", {"BackupArn": BACKUP}),
    ("DeleteBackup", {"BackupArn": BACKUP}),
    (
        "ListBackups",
        {
            "TableName": TABLE,
            "Limit": 1,
            "BackupType": "ALL",
            "TimeRangeLowerBound": 0,
            "TimeRangeUpperBound": 1.5,
            "ExclusiveStartBackupArn": BACKUP,
        },
    ),
    (
        "UpdateContinuousBackups",
        {
            "TableName": TABLE,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 3},
        },
    ),
    ("DescribeContinuousBackups", {"TableName": TABLE}),
    (
        "RestoreTableFromBackup",
        {
            "TargetTableName": "again",
            "BackupArn": BACKUP,
            "BillingModeOverride": "PROVISIONED",
            "ProvisionedThroughputOverride": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            "GlobalSecondaryIndexOverride": [],
            "SSESpecificationOverride": {"Enabled": True},
        },
    ),
    (
        "RestoreTableToPointInTime",
        {
            "TargetTableName": "again",
            "SourceTableName": TABLE,
            "RestoreDateTime": 0.0,
            "OnDemandThroughputOverride": {},
        },
    ),
    ("CreateGlobalTable", {"GlobalTableName": TABLE, "ReplicationGroup": [{"RegionName": EAST}]}),
    ("UpdateGlobalTable", {"GlobalTableName": TABLE, "ReplicaUpdates": [{"Delete": {"RegionName": EAST}}]}),
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("1" * 50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("S"), inner, max_size=3),
    max_leaves=6,
)


def deep(levels: int, wrapped: Callable[[Any], Any]) -> Any:
    value: Any = {"S": "x"}
    for _ in range(levels):
        value = wrapped(value)
    return value


DEEP = [
    deep(500, lambda value: {"M": {"n": value}}),
    deep(500, lambda value: {"L": [value]}),
    deep(1000, lambda value: [value]),
    deep(1000, lambda value: {"Key": value}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found += places(child, (*path, name))
    return found


def copied(value: Any, levels: int = 20) -> Any:
    """Down to what is as deep as that."""
    if not levels or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        return [copied(one, levels - 1) for one in value]
    return {name: copied(one, levels - 1) for name, one in value.items()}


def put_in(request: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copied(request)
    holder: Any = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return changed


def world() -> Core:
    core = Core(REGIONS, Settings.parse({"client_latency": "0ms"}))
    stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
    for request in (
        ("CreateTable", indexed_request(local=True) | stream),
        ("PutItem", {"TableName": TABLE, "Item": ITEM}),
        ("CreateBackup", {"TableName": TABLE, "BackupName": "nightly"}),
        (
            "UpdateContinuousBackups",
            {"TableName": TABLE, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
        ),
    ):
        ((_, status, body),) = core.handle(EAST, *request, 0, 0)
        assert status == 200, body
    return core


@pytest.mark.parametrize(("operation", "request_"), REQUESTS, ids=lambda value: value if type(value) is str else "")
def test_a_request_as_it_should_be_is_understood(operation: str, request_: dict[str, Any]) -> None:
    ((_, status, body),) = world().handle(EAST, operation, request_, 0, 0)
    assert status == 200 or "SerializationException" not in str(body), body


@pytest.mark.parametrize(("operation", "request_"), REQUESTS, ids=lambda value: value if type(value) is str else "")
@settings(max_examples=30)
@given(st.data())
def test_any_json_in_any_place_is_answered(operation: str, request_: dict[str, Any], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(request_)[1:]))
    answered(world(), operation, put_in(request_, path, data.draw(anything)))


@pytest.mark.parametrize(("operation", "request_"), REQUESTS, ids=lambda value: value if type(value) is str else "")
def test_anything_as_deep_as_json_is_read_is_answered(operation: str, request_: dict[str, Any]) -> None:
    core = world()
    for path in places(request_)[1:]:
        for value in DEEP:
            answered(core, operation, put_in(request_, path, value))
            answered(core, operation, put_in({**request_, "deep": value, "TableName": "!"}, path, value))


def answered(core: Core, operation: str, request: dict[str, Any]) -> None:
    replies = core.handle(EAST, operation, request, 0, 0)
    while not replies and core.next_ns is not None:
        replies = core.on_timer(core.next_ns)
    ((_, status, body),) = replies
    assert status == 200 or (status == 400 and "__type" in body)

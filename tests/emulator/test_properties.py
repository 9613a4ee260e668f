"""UpdateTable beside members: global indexes, billing, streams, protection; what AWS says to the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, OHIO, OREGON, TABLE, Call, S, World, create_request, indexed_request, keys

BY_H = {"IndexName": "by-h", "KeySchema": keys("h"), "Projection": {"ProjectionType": "ALL"}}
CREATE_H = {
    "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "S"}],
    "GlobalSecondaryIndexUpdates": [{"Create": BY_H}],
}
UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}


def update(w: World, region: str = EAST, **request: Any) -> Call:
    return w.send(region, "UpdateTable", **request)


def described(w: World, region: str = EAST) -> dict[str, Any]:
    body = w.ask(region, "DescribeTable").body
    assert body is not None
    table: dict[str, Any] = body["Table"]
    return table


def by_h(w: World, region: str, value: str = "x") -> Call:
    return w.ask(
        region,
        "Query",
        IndexName="by-h",
        KeyConditionExpression="h = :h",
        ExpressionAttributeValues={":h": {"S": value}},
    )


def set_value(w: World, name: str, value: dict[str, Any]) -> Call:
    return w.ask(
        EAST,
        "UpdateItem",
        Key={"pk": {"S": "b"}},
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": value},
    )


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_an_index_is_made_filled_followed_and_dropped_in_every_region(mode: str) -> None:
    w = World(mode, table_creation="10s")  # not for the table that is there from the start
    w.ask(EAST, "PutItem", Item={"pk": {"S": "a"}, "h": {"S": "x"}})
    w.ask(EAST, "PutItem", Item={"pk": {"S": "b"}, "h": {"N": "1"}})
    w.wait(5 * S)
    assert update(w, **CREATE_H).ok
    index = described(w)["GlobalSecondaryIndexes"][0]
    assert (described(w)["TableStatus"], index["IndexStatus"], index["Backfilling"]) == ("UPDATING", "CREATING", False)
    assert "Cannot read from backfilling global secondary index: by-h" in str(by_h(w, EAST).body)
    assert update(w, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-h"}}]).error == "ResourceInUseException"
    w.wait(10 * S)
    index = described(w)["GlobalSecondaryIndexes"][0]
    assert (described(w)["TableStatus"], index["IndexStatus"], index["Backfilling"]) == ("ACTIVE", "CREATING", True)
    assert w.send(EAST, "DeleteTable").error == "ResourceInUseException"
    w.wait(10 * S)
    index = described(w, OHIO)["GlobalSecondaryIndexes"][0]
    assert index["IndexStatus"] == "ACTIVE"
    assert index["IndexArn"] == f"arn:aws:dynamodb:us-east-2:000000000000:table/{TABLE}/index/by-h"
    assert {one["AttributeName"] for one in described(w)["AttributeDefinitions"]} == {"h", "pk"}
    w.ask(OREGON, "PutItem", Item={"pk": {"S": "c"}, "h": {"S": "x"}})
    w.settle()
    for region in (EAST, OHIO, OREGON):
        body = by_h(w, region).body
        assert body is not None
        assert sorted(item["pk"]["S"] for item in body["Items"]) == ["a", "c"]
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "b"}, "h": {"N": "1"}}).error == "ValidationException"
    assert set_value(w, "v", {"S": "an item that the index leaves out can still be updated"}).ok
    assert "Type mismatch for Index Key h Expected: S Actual: N" in str(set_value(w, "h", {"N": "2"}).body)
    assert "attempted to update a secondary index key to a value" in str(set_value(w, "h", {"S": ""}).body)
    assert update(w, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-h"}}]).ok
    assert described(w)["GlobalSecondaryIndexes"][0]["IndexStatus"] == "DELETING"
    w.wait(10 * S)
    assert "GlobalSecondaryIndexes" not in described(w)
    assert [one["AttributeName"] for one in described(w)["AttributeDefinitions"]] == ["pk"]
    assert "The table does not have the specified index: by-h" in str(by_h(w, OHIO).body)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "b"}, "h": {"N": "1"}}).ok


def test_a_replica_added_later_has_the_indexes() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **indexed_request())
    w.ask(EAST, "PutItem", Item={"pk": {"S": "p"}, "sk": {"N": "1"}, "g": {"S": "x"}})
    assert update(w, ReplicaUpdates=[{"Create": {"RegionName": OHIO}}]).ok
    w.settle()
    body = w.ask(OHIO, "Scan", IndexName="by-g").body
    assert body is not None
    assert body["Count"] == 1


@pytest.mark.parametrize(
    ("request_", "name", "words"),
    [
        ({"GlobalSecondaryIndexUpdates": []}, "ValidationException", "List of GlobalSecondaryIndexUpdates is empty"),
        (
            {"GlobalSecondaryIndexUpdates": [{"Create": BY_H, "Delete": {"IndexName": "by-g"}}]},
            "ValidationException",
            "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object",
        ),
        (
            {**CREATE_H, "GlobalSecondaryIndexUpdates": [{"Create": {**BY_H, "IndexName": "by-g"}}]},
            "ValidationException",
            "Attempting to create an index which already exists",
        ),
        (
            {"GlobalSecondaryIndexUpdates": [{"Create": BY_H}]},
            "ValidationException",
            "Some index key attributes are not defined in AttributeDefinitions. Keys: [h]",
        ),
        (
            {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-h"}}]},
            "ResourceNotFoundException",
            f"Requested resource not found: Index by-h for table {TABLE}",
        ),
        (
            {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-l"}}]},
            "ValidationException",
            "Cannot delete an index that is not a GlobalSecondaryIndex: by-l",
        ),
        (
            {**CREATE_H, "GlobalSecondaryIndexUpdates": [{"Create": BY_H}, {"Delete": {"IndexName": "by-g"}}]},
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        ),
        (
            {"GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-g", "ProvisionedThroughput": UNITS}}]},
            "ValidationException",
            "The only Updates for index: by-g when TableThroughputMode is PAY_PER_REQUEST",
        ),
        (
            {**CREATE_H, "ProvisionedThroughput": UNITS},
            "ValidationException",
            "You cannot create or delete index while updating table IOPS",
        ),
        (
            {"DeletionProtectionEnabled": True, "BillingMode": "PROVISIONED"},
            "ValidationException",
            "DeletionProtection modification must be the only operation in the request",
        ),
        ({"ProvisionedThroughput": UNITS}, "ValidationException", "Neither ReadCapacityUnits nor WriteCapacityUnits"),
        (
            {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS},
            "ValidationException",
            "ProvisionedThroughput must be specified for index: by-g",
        ),
        (
            {"BillingMode": "PROVISIONED"},
            "ValidationException",
            "ProvisionedThroughput must be specified when BillingMode is PROVISIONED",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": False}},
            "ValidationException",
            f"Table has no stream to disable: TableName: {TABLE}",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": True}},
            "ValidationException",
            "If stream is being enabled then UpdateViewType is required",
        ),
    ],
)
def test_what_update_table_refuses_and_leaves_as_it_was(request_: dict[str, Any], name: str, words: str) -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **indexed_request(local=True))
    before = described(w)
    call = update(w, **request_)
    assert (call.error, words in str(call.body)) == (name, True), call.body
    assert described(w) == before


def test_billing_there_and_back() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **indexed_request())
    both = {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": UNITS,
        "GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-g", "ProvisionedThroughput": UNITS}}],
    }
    assert update(w, **both).ok
    table = described(w)
    assert "BillingModeSummary" not in table
    for shown in (table, table["GlobalSecondaryIndexes"][0]):
        assert shown["ProvisionedThroughput"] == {"NumberOfDecreasesToday": 0, **UNITS}
    same = update(w, ProvisionedThroughput=UNITS)
    assert "The provisioned throughput for the table will not change." in str(same.body)
    assert update(w, BillingMode="PAY_PER_REQUEST").ok
    assert described(w)["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_streams_on_and_off() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **create_request())
    on = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}
    assert update(w, **on).ok
    assert described(w)["StreamSpecification"] == on["StreamSpecification"]
    assert f"Table already has an enabled stream: TableName: {TABLE}" in str(update(w, **on).body)
    assert update(w, StreamSpecification={"StreamEnabled": False}).ok
    assert "StreamSpecification" not in described(w)
    assert "LatestStreamArn" in described(w)


def test_the_stream_of_an_mrec_group_stays() -> None:
    call = update(World("MREC"), StreamSpecification={"StreamEnabled": False})
    assert "Disabling Stream is not allowed for a Global Table replica." in str(call.body)


def test_a_protected_replica_is_not_deleted() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **create_request())
    update(w, ReplicaUpdates=[{"Create": {"RegionName": OHIO}}])
    assert update(w, OHIO, DeletionProtectionEnabled=True).ok
    call = update(w, ReplicaUpdates=[{"Delete": {"RegionName": OHIO}}])
    assert f"Cannot delete table {TABLE} in region us-east-2 because it has deletion protection" in str(call.body)


def test_local_indexes_are_not_for_mrsc() -> None:
    w = World(None)
    w.send(EAST, "CreateTable", **indexed_request(local=True))
    strong = [{"Create": {"RegionName": region}} for region in (OHIO, OREGON)]
    call = update(w, ReplicaUpdates=strong, MultiRegionConsistency="STRONG")
    assert "Local secondary indexes are not supported for global tables with MultiRegionConsistency" in str(call.body)


ARN = f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}"


def tags(w: World, region: str = EAST, arn: str = ARN) -> dict[str, str]:
    body = w.ask(region, "ListTagsOfResource", ResourceArn=arn).body
    assert body is not None
    return {one["Key"]: one["Value"] for one in body["Tags"]}


def test_tags_are_a_regions_own() -> None:
    w = World("MREC")
    assert w.ask(EAST, "TagResource", ResourceArn=ARN, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]).ok
    assert w.ask(EAST, "TagResource", ResourceArn=ARN, Tags=[{"Key": "a", "Value": "2"}]).ok
    assert tags(w) == {"a": "2", "b": ""}
    assert tags(w, OHIO, ARN.replace(EAST, OHIO)) == {}
    assert w.ask(EAST, "UntagResource", ResourceArn=ARN, TagKeys=["a", "zz"]).ok
    assert tags(w) == {"b": ""}


def test_tags_come_ten_at_a_time_and_with_create_table() -> None:
    w = World(None)
    given = [{"Key": f"k{number:02}", "Value": "v"} for number in range(12)]
    assert w.send(EAST, "CreateTable", **create_request(), Tags=given).ok
    first = w.ask(EAST, "ListTagsOfResource", ResourceArn=ARN).body or {}
    rest = w.ask(EAST, "ListTagsOfResource", ResourceArn=ARN, NextToken=first["NextToken"]).body or {}
    assert first["Tags"] + rest["Tags"] == given
    assert "NextToken" not in rest


@pytest.mark.parametrize(
    ("operation", "request_", "name", "words"),
    [
        ("TagResource", {"ResourceArn": ARN, "Tags": []}, "ValidationException", "Atleast one Tag needs to be"),
        ("UntagResource", {"ResourceArn": ARN, "TagKeys": []}, "ValidationException", "Atleast one Tag Key needs"),
        ("TagResource", {"ResourceArn": ARN, "Tags": [{"Key": "aws:x", "Value": ""}]}, "ValidationException", "aws:"),
        ("TagResource", {"ResourceArn": ARN, "Tags": [{"Key": "x"}]}, "ValidationException", "Value: null"),
        (
            "TagResource",
            {"ResourceArn": ARN, "Tags": [{"Key": f"k{number}", "Value": ""} for number in range(51)]},
            "ValidationException",
            "Number of Tags exceed the current limit",
        ),
        ("ListTagsOfResource", {"ResourceArn": "nonsense"}, "ValidationException", "ARNs must start with 'arn:'"),
        ("ListTagsOfResource", {"ResourceArn": ARN + "x"}, "ResourceNotFoundException", "ResourcArn: " + ARN + "x not"),
        ("ListTagsOfResource", {"ResourceArn": ARN.replace(EAST, OHIO)}, "ValidationException", "Invalid TableArn"),
    ],
)
def test_what_tags_cannot_be(operation: str, request_: dict[str, Any], name: str, words: str) -> None:
    call = World("MREC").ask(EAST, operation, **request_)
    assert (call.error, words in str(call.body)) == (name, True), call.body


def test_limits_and_endpoints() -> None:
    w = World(None)
    assert (w.ask(EAST, "DescribeLimits").body or {})["TableMaxReadCapacityUnits"] == 40_000
    w.core.control.addresses[EAST] = "127.0.0.1:8000"
    endpoint = {"Address": "127.0.0.1:8000", "CachePeriodInMinutes": 1440}
    assert w.ask(EAST, "DescribeEndpoints").body == {"Endpoints": [endpoint]}

"""What an application sends through boto3 besides single items: shapes in and out, over sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.running import client, clients, emulator
from tests.emulator.virtual import create_request, indexed_request, keys


@pytest.fixture(scope="module")
def east() -> Iterator[Any]:
    with emulator() as running:
        yield clients(running)[0]


def test_query_and_indexes_with_paginators(east: Any) -> None:
    east.create_table(**indexed_request("pages", local=True))
    for sort in range(7):
        item = {"pk": {"S": "p"}, "sk": {"N": str(sort)}, "l": {"S": f"l{9 - sort}"}}
        east.put_item(TableName="pages", Item=item | ({"g": {"S": "odd"}} if sort % 2 else {}))
    pages = east.get_paginator("query").paginate(
        TableName="pages",
        KeyConditionExpression="pk = :p AND sk > :n",
        ExpressionAttributeValues={":p": {"S": "p"}, ":n": {"N": "0"}},
        ConsistentRead=True,
        PaginationConfig={"PageSize": 2},
    )
    assert [item["sk"]["N"] for page in pages for item in page["Items"]] == list("123456")
    odd = east.query(
        TableName="pages",
        IndexName="by-g",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": {"S": "odd"}},
    )
    assert odd["Count"] == 3
    local = east.query(
        TableName="pages",
        IndexName="by-l",
        KeyConditionExpression="pk = :p AND begins_with(l, :l)",
        ExpressionAttributeValues={":p": {"S": "p"}, ":l": {"S": "l"}},
        Select="COUNT",
    )
    assert (local["Count"], local["ScannedCount"]) == (7, 7)
    scanned = [
        item["sk"]["N"]
        for segment in range(3)
        for page in east.get_paginator("scan").paginate(TableName="pages", Segment=segment, TotalSegments=3)
        for item in page["Items"]
    ]
    assert sorted(scanned) == list("0123456")


def test_batches(east: Any) -> None:
    east.create_table(**create_request("batches"))
    puts = [{"PutRequest": {"Item": {"pk": {"S": f"k{number}"}, "v": {"N": "1"}}}} for number in range(25)]
    written = east.batch_write_item(RequestItems={"batches": puts}, ReturnConsumedCapacity="TOTAL")
    assert written["UnprocessedItems"] == {}
    assert written["ConsumedCapacity"] == [{"TableName": "batches", "CapacityUnits": 25.0}]
    read = east.batch_get_item(
        RequestItems={
            "batches": {
                "Keys": [{"pk": {"S": "k3"}}, {"pk": {"S": "none"}}],
                "ProjectionExpression": "#v",
                "ExpressionAttributeNames": {"#v": "v"},
                "ConsistentRead": True,
            }
        }
    )
    assert read["Responses"] == {"batches": [{"v": {"N": "1"}}]}
    assert read["UnprocessedKeys"] == {}
    with pytest.raises(east.exceptions.ResourceNotFoundException):
        east.batch_get_item(RequestItems={"nowhere": {"Keys": [{"pk": {"S": "k"}}]}})


def test_transactions(east: Any) -> None:
    east.create_table(**create_request("transactions"))
    key = {"TableName": "transactions", "Key": {"pk": {"S": "a"}}}
    item = {"pk": {"S": "a"}, "v": {"N": "1"}}
    absent = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    put = {"Put": {"TableName": "transactions", "Item": item, **absent}}
    east.transact_write_items(TransactItems=[put])
    with pytest.raises(east.exceptions.TransactionCanceledException) as raised:
        east.transact_write_items(TransactItems=[put])
    assert raised.value.response["CancellationReasons"] == [
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": item}
    ]
    read = east.transact_get_items(TransactItems=[{"Get": key}, {"Get": {**key, "Key": {"pk": {"S": "b"}}}}])
    assert read["Responses"] == [{"Item": item}, {}]
    put["Put"] = {"TableName": "transactions", "Item": item}
    east.transact_write_items(TransactItems=[put], ClientRequestToken="token")
    put["Put"] = {"TableName": "transactions", "Item": {**item, "v": {"N": "2"}}}
    with pytest.raises(east.exceptions.IdempotentParameterMismatchException):
        east.transact_write_items(TransactItems=[put], ClientRequestToken="token")


def test_tables_are_changed_tagged_and_given_a_time_to_live(east: Any) -> None:
    arn = east.create_table(**create_request("changed"))["TableDescription"]["TableArn"]
    east.get_waiter("table_exists").wait(TableName="changed", WaiterConfig={"Delay": 1})
    index = {"IndexName": "by-h", "KeySchema": keys("h"), "Projection": {"ProjectionType": "ALL"}}
    changed = east.update_table(
        TableName="changed",
        AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )["TableDescription"]
    assert changed["GlobalSecondaryIndexes"][0]["IndexStatus"] == "CREATING"
    assert east.describe_table(TableName="changed")["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE"
    east.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "a"}])
    assert east.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    specification = {"Enabled": True, "AttributeName": "until"}
    east.update_time_to_live(TableName="changed", TimeToLiveSpecification=specification)
    described = east.describe_time_to_live(TableName="changed")["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    assert east.describe_endpoints()["Endpoints"][0]["CachePeriodInMinutes"] == 1440


def test_streams(east: Any) -> None:
    view = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    arn = east.create_table(**create_request("streamed"), **view)["TableDescription"]["LatestStreamArn"]
    east.put_item(TableName="streamed", Item={"pk": {"S": "a"}, "b": {"B": b"bytes"}})
    streams = client(east.meta.endpoint_url, "us-east-1", service="dynamodbstreams")
    assert [one["StreamArn"] for one in streams.list_streams(TableName="streamed")["Streams"]] == [arn]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    page = streams.get_records(ShardIterator=streams.get_shard_iterator(**start)["ShardIterator"])
    assert [record["dynamodb"]["NewImage"]["b"] for record in page["Records"]] == [{"B": b"bytes"}]
    assert streams.get_records(ShardIterator=page["NextShardIterator"])["Records"] == []

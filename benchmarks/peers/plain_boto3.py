"""The peer of benchmarks/load.py: a locustfile as most people write it, a boto3 client shared by all users."""

import os
import time
from collections.abc import Callable
from typing import Any

import boto3
from locust import User, events, task

TABLE = "counters"
KEYS = 100

dynamodb = boto3.client(
    "dynamodb",
    region_name="us-east-1",
    endpoint_url=os.environ["ENDPOINT"],
    aws_access_key_id="AKIDEXAMPLE",
    aws_secret_access_key="secret",
)


class Plain(User):
    """Half of it increments, half of it strong reads."""

    turn = 0

    @task
    def increment(self) -> None:
        self.timed(
            "UpdateItem",
            dynamodb.update_item,
            UpdateExpression="SET #p = if_not_exists(#w, :none), #w = :op ADD v :v",
            ExpressionAttributeNames={"#p": "_p", "#w": "_w"},
            ExpressionAttributeValues={":none": {"N": "-1"}, ":op": {"N": str(self.turn)}, ":v": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )

    @task
    def read(self) -> None:
        self.timed("GetItem", dynamodb.get_item, ConsistentRead=True)

    def timed(self, name: str, call: Callable[..., Any], **arguments: Any) -> None:
        self.turn += 1
        error = None
        began = time.perf_counter()
        try:
            call(TableName=TABLE, Key={"pk": {"S": f"counter-{self.turn % KEYS}"}}, **arguments)
        except Exception as raised:  # noqa: BLE001 - Locust counts it
            error = raised
        took_ms = (time.perf_counter() - began) * 1000
        events.request.fire(
            request_type="dynamodb", name=name, response_time=took_ms, response_length=0, exception=error
        )

"""Both clients against the emulator: the same requests get the same outcomes, errors and bodies, faults included."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastwriter.client.clients import make_client
from lastwriter.client.credentials import EMULATOR_CREDENTIALS
from lastwriter.client.protocol import DynamoClient, Reply
from lastwriter.client.tables import create_global_table
from lastwriter.emulator.process import EmulatorProcess, start_emulator
from verifier.history.schema import Outcome

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
TABLES = ("of-wire", "of-boto3")  # each client has its own, so that both start from nothing


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    quick = {"latency_scale": "0%", "replicator_delay": "1ms", "mrsc_timeout": "100ms"}
    with start_emulator(REGIONS, settings=quick) as running:
        for table in TABLES:
            create_global_table(running.endpoints, table, "MRSC")
        yield running


@pytest.fixture(scope="module")
def clients(emulator: EmulatorProcess) -> Iterator[tuple[DynamoClient, DynamoClient]]:
    region = REGIONS[0]
    wire = make_client("wire", emulator.endpoints[region], region, EMULATOR_CREDENTIALS, 2.0)
    boto3 = make_client("boto3", emulator.endpoints[region], region, EMULATOR_CREDENTIALS, 2.0)
    yield wire, boto3
    wire.close()
    boto3.close()


def _seen(got: Reply, table: str) -> tuple[Outcome, int, str | None, Any]:
    return got.outcome, got.status, got.error, json.loads(json.dumps(got.body).replace(table, "TABLE"))


def _both(clients: tuple[DynamoClient, DynamoClient], operation: str, body: dict[str, Any]) -> tuple[Any, ...]:
    """What both make of a request; fails unless it is the same."""
    results = []
    for client, table in zip(clients, TABLES, strict=True):
        asked = {"TableName": table, **body}
        results.append(_seen(client.request(operation, asked), table))
    assert results[0] == results[1]
    return results[0]


keys = st.sampled_from(["a", "b", "c"]).map(lambda name: {"pk": {"S": name}})
numbers = st.one_of(st.integers(-5, 5).map(str), st.sampled_from(["1.5", "1E+3", "-0", "1" * 38, "1" * 39, "x", ""]))
values = st.recursive(
    st.one_of(
        numbers.map(lambda text: {"N": text}),
        st.sampled_from(["", "x", "é\u2028\U0001f600", "x" * 3000]).map(lambda text: {"S": text}),
        st.sampled_from(["", "AAEC", "/+8="]).map(lambda text: {"B": text}),
        st.just({"BS": ["AAEC", "aGk="]}),
        st.just({"NS": ["1", "2"]}),
        st.just({"BOOL": True}),
        st.just({"NULL": True}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda members: {"L": members}),
        st.dictionaries(st.sampled_from(["B", "BS", "S", "x"]), inner, max_size=2).map(lambda members: {"M": members}),
    ),
    max_leaves=4,
)
returns = st.sampled_from([{}, {"ReturnValues": "ALL_OLD"}, {"ReturnValues": "ALL_NEW"}, {"ReturnValues": "NO"}])
conditions = st.sampled_from(
    [
        {},
        {"ConditionExpression": "attribute_exists(v)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"},
        {"ConditionExpression": "attribute_not_exists(pk)"},
        {"ConditionExpression": "v = v2 AND (", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"},
    ]
)
capacity = st.sampled_from([{}, {"ReturnConsumedCapacity": "TOTAL"}])


def _merged(*parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


requests = st.one_of(
    st.tuples(
        st.just("PutItem"),
        st.builds(
            lambda key, value, *more: _merged({"Item": {**key, "v": value}}, *more),
            *(keys, values, returns, conditions, capacity),
        ),
    ),
    st.tuples(
        st.just("GetItem"),
        st.builds(
            lambda key, *more: _merged({"Key": key, "ConsistentRead": True}, *more),
            keys,
            st.sampled_from([{}, {"ProjectionExpression": "v"}, {"ProjectionExpression": "v["}]),
            capacity,
        ),
    ),
    st.tuples(
        st.just("DeleteItem"), st.builds(lambda key, *more: _merged({"Key": key}, *more), keys, returns, conditions)
    ),
    st.tuples(
        st.just("UpdateItem"),
        st.builds(
            lambda key, expression, value, *more: _merged(
                {"Key": key, "UpdateExpression": expression, "ExpressionAttributeValues": {":x": value}}, *more
            ),
            keys,
            st.sampled_from(["ADD v :x", "SET v = :x", "SET v = if_not_exists(w, :x)", "SET v = v + :x", "SET"]),
            *(values, returns, conditions, capacity),
        ),
    ),
    st.tuples(st.just("Scan"), st.sampled_from([{"ConsistentRead": True}, {"ConsistentRead": True, "Limit": 1}])),
    st.tuples(
        st.sampled_from(["GetItem", "UpdateItem"]),
        st.sampled_from(
            [
                {"TableName": "nowhere", "Key": {"pk": {"S": "k"}}},
                {"TableName": "", "Key": {"pk": {"S": "k"}}},
                {"Key": {"pk": {"N": "1"}}},
                {"Key": {"pk": {"S": ""}}},
                {"Key": {}},
                {"Key": {"pk": {"S": "k"}, "sk": {"S": "k"}}},
            ]
        ),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, min_size=1, max_size=8))
def test_the_same_requests_get_the_same_answers(
    clients: tuple[DynamoClient, DynamoClient], script: list[tuple[str, dict[str, Any]]]
) -> None:
    for operation, body in script:
        _both(clients, operation, body)


def test_what_the_answers_are(clients: tuple[DynamoClient, DynamoClient]) -> None:
    """So that the test above is known to compare something."""
    key = {"pk": {"S": "known"}}
    _both(clients, "DeleteItem", {"Key": key})
    put = {"Item": {**key, "v": {"N": "1"}, "b": {"B": "AAEC"}}}
    assert _both(clients, "PutItem", put) == (Outcome.OK, 200, None, {})
    again = {**put, "ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    outcome, status, error, body = _both(clients, "PutItem", again)
    assert (outcome, status, error) == (Outcome.FAIL, 400, "ConditionalCheckFailedException")
    assert body["Item"] == put["Item"]
    assert _both(clients, "GetItem", {"Key": key, "ConsistentRead": True})[3] == {"Item": put["Item"]}
    outcome, status, error, _ = _both(clients, "GetItem", {"TableName": "nowhere", "Key": key})
    assert (outcome, status, error) == (Outcome.FAIL, 400, "ResourceNotFoundException")
    large = {"Item": {**key, "pad": {"S": "x" * 500_000}}}
    outcome, status, error, _ = _both(clients, "PutItem", large)
    assert (outcome, status, error) == (Outcome.FAIL, 400, "ValidationException")


@pytest.mark.parametrize(
    ("fault", "write", "read"),
    [
        (
            {"kind": "replication-paused", "regions": ["us-east-1"]},
            (Outcome.UNKNOWN, 500, "InternalServerError"),
            (Outcome.FAIL, 500, "InternalServerError"),
        ),
        (
            {"kind": "region-isolated", "regions": ["us-east-1"]},
            (Outcome.UNKNOWN, 500, "InternalServerError"),
            (Outcome.FAIL, 500, "InternalServerError"),
        ),
        ({"kind": "region-down", "regions": ["us-east-1"]}, (Outcome.FAIL, 0, "ConnectError"), None),
        ({"kind": "region-down", "regions": ["us-east-1"], "hang": True}, (Outcome.UNKNOWN, 0, "Timeout"), None),
        ({"kind": "region-throttled", "regions": ["us-east-1"]}, (Outcome.FAIL, 400, "ThrottlingException"), None),
        (
            {"kind": "region-impaired", "regions": ["us-east-1"], "errors": "100%"},
            (Outcome.UNKNOWN, 500, "InternalServerError"),
            None,
        ),
        (
            {"kind": "region-impaired", "regions": ["us-east-1"], "errors_after": "100%"},
            (Outcome.UNKNOWN, 500, "InternalServerError"),
            None,
        ),
        ({"kind": "reply-lost", "regions": ["us-east-1"]}, (Outcome.UNKNOWN, 0, "ConnectionReset"), None),
        ({"kind": "reply-lost", "regions": ["us-east-1"], "hang": True}, (Outcome.UNKNOWN, 0, "Timeout"), None),
        ({"kind": "connection-reset", "regions": ["us-east-1"]}, (Outcome.UNKNOWN, 0, "ConnectionReset"), None),
        (
            {"kind": "clock-skew", "regions": ["us-east-1"], "offset": "2s"},
            (Outcome.OK, 200, None),
            (Outcome.OK, 200, None),
        ),
        (
            {"kind": "link-cut", "links": [["us-east-1", "us-east-2"]]},
            (Outcome.OK, 200, None),
            (Outcome.OK, 200, None),
        ),
    ],
)
def test_under_faults(emulator: EmulatorProcess, fault: dict[str, Any], write: Any, read: Any) -> None:
    endpoint = emulator.endpoints["us-east-1"]
    key = {"Key": {"pk": {"S": "faulty"}}}
    id_ = _control(emulator, "POST", "/_lastwriter/faults", fault)["id"]
    pair = [make_client(kind, endpoint, "us-east-1", EMULATOR_CREDENTIALS, 0.5) for kind in ("wire", "boto3")]  # type: ignore[arg-type]
    try:
        both = (pair[0], pair[1])
        add = {**key, "UpdateExpression": "ADD v :x", "ExpressionAttributeValues": {":x": {"N": "1"}}}
        assert _both(both, "UpdateItem", add)[:3] == write
        expected = read or (Outcome.FAIL, *write[1:])
        assert _both(both, "GetItem", {**key, "ConsistentRead": True})[:3] == expected
    finally:
        _control(emulator, "DELETE", f"/_lastwriter/faults/{id_}")
        for client in pair:
            client.close()


def _control(emulator: EmulatorProcess, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        emulator.control + path, None if body is None else json.dumps(body).encode(), method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)

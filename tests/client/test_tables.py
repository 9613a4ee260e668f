"""Global tables are made, kept, removed and read; what stands in the way is one line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lastwriter.client import tables
from lastwriter.client.clients import make_client
from lastwriter.client.credentials import EMULATOR_CREDENTIALS
from lastwriter.emulator.process import EmulatorProcess, start_emulator
from lastwriter.errors import UserError
from tests.client.scripted_server import Request, ScriptedServer, reply
from verifier.history.schema import REPLICA_COLUMNS

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
KEY = {"pk": {"S": "k"}}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    settings = {"latency_scale": "0%", "replicator_delay": "1ms", "table_creation": "50ms"}
    with start_emulator(REGIONS, settings=settings) as running:
        yield running


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return request.node.name.replace("[", "-").replace("]", "").replace(" ", "_")


def _describe(emulator: EmulatorProcess, region: str, table: str) -> dict[str, Any]:
    client = make_client("boto3", emulator.endpoints[region], region, EMULATOR_CREDENTIALS)
    try:
        return client.request("DescribeTable", {"TableName": table}).body.get("Table", {})
    finally:
        client.close()


def _one_line(raised: pytest.ExceptionInfo[UserError]) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


def _first(emulator: EmulatorProcess, count: int) -> dict[str, str]:
    return dict(list(emulator.endpoints.items())[:count])


@pytest.mark.parametrize(
    ("mode", "count", "witness"),
    [("MREC", 1, None), ("MREC", 2, None), ("MREC", 3, None), ("MRSC", 3, None), ("MRSC", 2, "us-west-2")],
)
def test_made_kept_and_removed(
    emulator: EmulatorProcess, table: str, mode: Any, count: int, witness: str | None
) -> None:
    endpoints, said = _first(emulator, count), []
    assert tables.create_global_table(endpoints, table, mode, witness, progress=said.append)
    assert said[0] == f"creating {table} in us-east-1"
    for region in endpoints:
        found = _describe(emulator, region, table)
        assert found["TableStatus"] == "ACTIVE"
        assert {each["RegionName"] for each in found.get("Replicas", ())} == set(endpoints) - {region}
        assert all(each["ReplicaStatus"] == "ACTIVE" for each in found.get("Replicas", ()))
        assert found.get("MultiRegionConsistency") == ("STRONG" if mode == "MRSC" else None)
        assert [each["RegionName"] for each in found.get("GlobalTableWitnesses", ())] == ([witness] if witness else [])
    said.clear()
    assert not tables.create_global_table(endpoints, table, mode, witness, progress=said.append)
    assert said == []
    assert tables.delete_global_table(endpoints, table)
    assert all(not _describe(emulator, region, table) for region in emulator.endpoints)
    assert not tables.delete_global_table(endpoints, table)


def test_what_an_interrupted_call_left_is_completed(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(_first(emulator, 1), table, "MREC")
    assert tables.create_global_table(_first(emulator, 2), table, "MREC")
    assert tables.create_global_table(emulator.endpoints, table, "MREC")
    assert not tables.create_global_table(emulator.endpoints, table, "MREC")


def test_a_table_that_is_something_else(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(emulator.endpoints, table, "MREC")
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MRSC")
    assert _one_line(raised).startswith(f"table {table} in us-east-1 is MREC, and MRSC was asked for")
    with pytest.raises(UserError) as raised:
        tables.delete_global_table(_first(emulator, 2), table)
    assert "has replicas in us-west-2 too" in _one_line(raised)
    assert len(_describe(emulator, "us-east-1", table)["Replicas"]) == 2, "nothing was deleted"


def test_an_mrsc_table_is_frozen(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(_first(emulator, 2), table, "MRSC", "us-west-2")
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MRSC")
    assert "us-east-1 and us-east-2 with witness us-west-2, which cannot be changed" in _one_line(raised)


def test_an_mrsc_table_is_made_from_an_empty_one(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(_first(emulator, 1), table, "MREC")
    client = make_client("boto3", emulator.endpoints["us-east-1"], "us-east-1", EMULATOR_CREDENTIALS)
    client.request("PutItem", {"TableName": table, "Item": KEY})
    client.close()
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MRSC")
    assert f"us-east-1: UpdateTable of table {table} was refused: ValidationException" in _one_line(raised)


def test_a_table_in_another_region_only(emulator: EmulatorProcess, table: str) -> None:
    west = {"us-west-2": emulator.endpoints["us-west-2"]}
    tables.create_global_table(west, table, "MREC")
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MREC")
    assert f"table {table} is in us-west-2 but not in us-east-1" in _one_line(raised)
    tables.create_global_table(_first(emulator, 1), table, "MREC")
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MREC")
    assert f"table {table} in us-west-2 is a table of its own" in _one_line(raised)


def test_a_table_with_another_key(emulator: EmulatorProcess, table: str) -> None:
    client = make_client("boto3", emulator.endpoints["us-east-1"], "us-east-1", EMULATOR_CREDENTIALS)
    made = client.request(
        "CreateTable",
        {
            "TableName": table,
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    client.close()
    assert made.error is None
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MREC")
    assert "has the key id (N, HASH); the workloads need the partition key pk (S) alone" in _one_line(raised)


@pytest.mark.parametrize(
    ("mode", "count", "witness", "words"),
    [
        ("MRSC", 2, None, "MRSC needs exactly three Regions"),
        ("MRSC", 3, "eu-west-1", "MRSC needs exactly three Regions"),
        ("MRSC", 1, "eu-west-1", "MRSC needs exactly three Regions"),
        ("MREC", 2, "eu-west-1", "MREC has no witness"),
        ("MRSC", 2, "us-east-1", "is also the Region of a replica"),
        ("MREC", 0, None, "no Region given"),
    ],
)
def test_a_number_of_regions_that_the_mode_does_not_have(
    mode: Any, count: int, witness: str | None, words: str
) -> None:
    endpoints = dict.fromkeys(REGIONS[:count], "http://127.0.0.1:1")
    with pytest.raises(UserError) as raised:
        tables.create_global_table(endpoints, "t", mode, witness)
    assert words in _one_line(raised)


def _nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastwriter.client.replica._CONNECT_PATIENCE_S", 0.05)
    endpoint = _nobody()
    for call in (
        lambda: tables.create_global_table({"us-east-1": endpoint}, "t", "MREC"),
        lambda: tables.delete_global_table({"us-east-1": endpoint}, "t"),
        lambda: tables.read_replica(endpoint, "us-east-1", "t"),
    ):
        with pytest.raises(UserError) as raised:
            call()
        assert _one_line(raised).startswith(f"us-east-1: no answer from {endpoint} (")


def test_the_wait_has_an_end(emulator: EmulatorProcess, table: str) -> None:
    with pytest.raises(UserError) as raised:
        tables.create_global_table(emulator.endpoints, table, "MREC", wait_s=0.01)
    assert "did not become ready in time" in _one_line(raised)


def test_read_strongly_sorted_and_with_times(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(emulator.endpoints, table, "MRSC")
    client = make_client("boto3", emulator.endpoints["us-west-2"], "us-west-2", EMULATOR_CREDENTIALS)
    items: list[dict[str, Any]] = [
        {"pk": {"S": "b"}, "v": {"N": "-7"}, "_w": {"N": "281474976710657"}, "_p": {"N": "-1"}, "bin": {"B": "AAEC"}},
        {"pk": {"S": "a"}, "v": {"N": "1.5"}, "_w": {"S": "not a number"}},
        {"pk": {"S": "é"}, "v": {"N": "9223372036854775808"}, "m": {"M": {"z": {"L": []}, "a": {"NULL": True}}}},
    ]
    for item in items:
        assert client.request("PutItem", {"TableName": table, "Item": item}).error is None
    client.close()
    for region, endpoint in emulator.endpoints.items():
        found = tables.read_replica(endpoint, region, table)
        assert found.schema.equals(REPLICA_COLUMNS, check_metadata=True)
        rows = found.to_pylist()
        assert [(row["key"], row["value"], row["w"], row["p"]) for row in rows] == [
            ("a", None, None, None),
            ("b", -7, 281474976710657, -1),
            ("é", None, None, None),
        ]
        assert [json.loads(row["item"]) for row in rows] == [items[1], items[0], items[2]]
        assert rows[2]["item"].index('"a"') < rows[2]["item"].index('"z"')
        assert all(0 < row["start_ns"] <= row["end_ns"] for row in rows)


def test_an_empty_replica(emulator: EmulatorProcess, table: str) -> None:
    tables.create_global_table(_first(emulator, 1), table, "MREC")
    found = tables.read_replica(emulator.endpoints["us-east-1"], "us-east-1", table)
    assert found.num_rows == 0
    assert found.schema.equals(REPLICA_COLUMNS, check_metadata=True)


def test_every_page_is_read_and_a_failed_one_asked_for_again() -> None:
    pages = [
        {"Items": [{"pk": {"S": "c"}, "v": {"N": "3"}}], "LastEvaluatedKey": {"pk": {"S": "c"}}},
        {"Items": [], "LastEvaluatedKey": {"pk": {"S": "b"}}},
        {"Items": [{"pk": {"S": "a"}, "v": {"N": "1"}}]},
    ]
    starts: list[Any] = []
    trouble = [
        [reply(b'{"__type":"x#InternalServerError"}', "500 No")],
        ["reset"],
        [reply(b'{"Items":[]}', crc=1)],
        [reply(b'{"__type":"x#ThrottlingException"}', "400 Bad Request")],
    ]

    def answer(request: Request) -> list[Any]:
        body = json.loads(request.body)
        assert body["ConsistentRead"] is True
        if trouble:
            return trouble.pop()
        starts.append(body.get("ExclusiveStartKey"))
        return [reply(json.dumps(pages[len(starts) - 1]).encode())]

    with ScriptedServer(answer) as server:
        found = tables.read_replica(server.endpoint, "us-east-1", "t")
    assert found["key"].to_pylist() == ["a", "c"]
    assert found["value"].to_pylist() == [1, 3]
    assert starts == [None, {"pk": {"S": "c"}}, {"pk": {"S": "b"}}]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("ResourceNotFoundException", "create the table there, or check its name"),
        ("AccessDeniedException", "let these credentials do that"),
        ("ExpiredTokenException", "renew the credentials"),
        ("InvalidSignatureException", "this host's clock"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, hint: str) -> None:
    body = json.dumps({"__type": f"x#{code}", "message": "No,\nnot today."}).encode()
    with ScriptedServer(lambda _: [reply(body, "400 Bad Request")]) as server:
        with pytest.raises(UserError) as raised:
            tables.read_replica(server.endpoint, "us-east-1", "t")
        line = _one_line(raised)
        assert line.startswith(f"us-east-1: Scan of table t was refused: {code}: No, not today; ")
        assert hint in line
        assert len(server.requests) == 1
        if code != "ResourceNotFoundException":
            with pytest.raises(UserError) as raised:
                tables.create_global_table({"us-east-1": server.endpoint}, "t", "MREC")
            assert f"us-east-1: DescribeTable of table t was refused: {code}" in _one_line(raised)


def test_items_that_are_not_ours() -> None:
    with (
        ScriptedServer(lambda _: [reply(b'{"Items":[{"id":{"N":"1"}}]}')]) as server,
        pytest.raises(UserError, match="no partition key pk"),
    ):
        tables.read_replica(server.endpoint, "us-east-1", "t")


def test_the_control_plane_needs_no_gevent() -> None:
    code = "import sys, lastwriter.client.tables; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

"""Both clients where access is judged: an emulator with keys, tokens that expire, denials and TLS.

Whatever the operation, both are told the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lastwriter.client import signer
from lastwriter.client.clients import ClientKind, make_client
from lastwriter.client.credentials import CredentialSource, Keys, StaticCredentials
from lastwriter.client.protocol import Reply
from lastwriter.client.tables import create_global_table
from lastwriter.emulator.process import EmulatorProcess, start_emulator
from tests.certificates import certificates
from verifier.history.schema import Outcome

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
TABLES: dict[ClientKind, str] = {"wire": "of-wire", "boto3": "of-boto3"}

PLAIN = StaticCredentials("AKIAPLAIN", "the-plain-secret")
SESSION = StaticCredentials("ASIASESSION", "the-session-secret", "the-token/+=")
DENIED = [
    "PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem",
    "ConditionCheckItem",
]  # fmt: skip
KEYS = {
    "keys": [
        {"access_key": "AKIAPLAIN", "secret_key": "the-plain-secret"},
        {"access_key": "AKIAOLD", "secret_key": "old", "session_token": "old", "expires": "2020-01-01T00:00:00Z"},
        {
            "access_key": "ASIASESSION",
            "secret_key": "the-session-secret",
            "session_token": "the-token/+=",
            "expires": "1h",
        },
        {"access_key": "AKIADENIED", "secret_key": "denied", "deny": DENIED},
    ]
}

KEY = {"pk": {"S": "k"}}
OPERATIONS: dict[str, dict[str, Any]] = {
    "PutItem": {"Item": {**KEY, "v": {"N": "1"}}},
    "GetItem": {"Key": KEY, "ConsistentRead": True},
    "UpdateItem": {
        "Key": KEY, "UpdateExpression": "ADD v :x", "ExpressionAttributeValues": {":x": {"N": "1"}},
        "ReturnValues": "ALL_NEW",
    },
    "Query": {"KeyConditionExpression": "pk = :k", "ExpressionAttributeValues": {":k": {"S": "k"}}},
    "Scan": {"ConsistentRead": True},
    "BatchGetItem": {"RequestItems": {"TABLE": {"Keys": [KEY], "ConsistentRead": True}}},
    "BatchWriteItem": {"RequestItems": {"TABLE": [{"PutRequest": {"Item": {"pk": {"S": "b"}}}}]}},
    "TransactWriteItems": {"TransactItems": [{"Put": {"TableName": "TABLE", "Item": {"pk": {"S": "t"}}}}]},
    "TransactGetItems": {"TransactItems": [{"Get": {"TableName": "TABLE", "Key": KEY}}]},
    "DeleteItem": {"Key": KEY, "ReturnValues": "ALL_OLD"},
}  # fmt: skip
"""Every operation of the data plane, in an order that makes each have something to show."""


class Changing:
    """Credentials that are replaced while they are in use, as a refresh does."""

    def __init__(self, now: Keys) -> None:
        self.now = now

    def keys(self) -> Keys:
        return self.now


@pytest.fixture(scope="module", params=["http", "https"])
def emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    keys = tmp_path_factory.mktemp("access") / "keys.yaml"
    keys.write_text(yaml.safe_dump(KEYS))
    pem = certificates()
    tls = {"tls_certificate": pem / "server.pem", "tls_key": pem / "server.key"} if request.param == "https" else {}
    quick = {"latency_scale": "0%", "replicator_delay": "1ms"}
    with pytest.MonkeyPatch.context() as patch:
        # Tables are made by boto3 as a user makes them: with keys from the environment, and the bundle named there.
        patch.setenv("AWS_CA_BUNDLE", str(pem / "ca.pem"))
        with start_emulator(REGIONS, settings=quick, auth=keys, **tls) as running:
            for table in TABLES.values():
                create_global_table(running.endpoints, table, "MREC", credentials=PLAIN)
            yield running


def ask(emulator: EmulatorProcess, kind: ClientKind, credentials: CredentialSource, operation: str) -> Reply:
    body = json.loads(json.dumps(OPERATIONS[operation]).replace("TABLE", TABLES[kind]))
    if "RequestItems" not in body and "TransactItems" not in body:
        body["TableName"] = TABLES[kind]
    client = make_client(
        kind, emulator.endpoints["us-east-1"], "us-east-1", credentials, 5.0, str(certificates() / "ca.pem")
    )
    try:
        return client.request(operation, body)
    finally:
        client.close()


def both(emulator: EmulatorProcess, credentials: CredentialSource, operation: str) -> tuple[Any, ...]:
    """What both are told; fails unless it is the same."""
    told = []
    for kind in TABLES:
        reply = ask(emulator, kind, credentials, operation)
        body = json.loads(json.dumps(reply.body, sort_keys=True).replace(TABLES[kind], "TABLE"))
        told.append((reply.outcome, reply.status, reply.error, body))
    assert told[0] == told[1]
    return told[0]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whoever_may_is_answered_the_same(emulator: EmulatorProcess, operation: str) -> None:
    for credentials in (PLAIN, SESSION):
        assert both(emulator, credentials, operation)[:3] == (Outcome.OK, 200, None)


def test_what_a_transaction_is_refused_with_is_the_same(emulator: EmulatorProcess, monkeypatch: Any) -> None:
    put = {"TableName": "TABLE", "Item": {"pk": {"S": "once"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    other = {"Put": {"TableName": "TABLE", "Item": {"pk": {"S": "other"}}}}
    token = {"ClientRequestToken": "TABLE-token"}
    for body, error in (
        ({"TransactItems": [{"Put": put}], **token}, None),
        ({"TransactItems": [{"Put": put}], **token}, None),
        ({"TransactItems": [other], **token}, "IdempotentParameterMismatchException"),
        ({"TransactItems": [other, {"Put": put}]}, "TransactionCanceledException"),
        ({"TransactItems": [other, other]}, "ValidationException"),
    ):
        monkeypatch.setitem(OPERATIONS, "TransactWriteItems", body)
        outcome, status, said, told = both(emulator, PLAIN, "TransactWriteItems")
        assert (outcome, status, said) == ((Outcome.OK, 200, None) if error is None else (Outcome.FAIL, 400, error))
        if error == "TransactionCanceledException":
            assert [reason["Code"] for reason in told["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]


@pytest.mark.parametrize(
    ("credentials", "error"),
    [
        (StaticCredentials("AKIAPLAIN", "not-the-secret"), "InvalidSignatureException"),
        (StaticCredentials("AKIANOBODY", "x"), "UnrecognizedClientException"),
        (StaticCredentials("ASIASESSION", "the-session-secret", "another"), "UnrecognizedClientException"),
        (StaticCredentials("AKIAOLD", "old", "old"), "ExpiredTokenException"),
        (StaticCredentials("AKIADENIED", "denied"), "AccessDeniedException"),
    ],
    ids=["secret", "unknown", "token", "expired", "denied"],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_whoever_may_not_is_refused_the_same(
    emulator: EmulatorProcess, credentials: StaticCredentials, error: str, operation: str
) -> None:
    outcome, status, name, _ = both(emulator, credentials, operation)
    # The closed list of what certainly did nothing is of single items and transactions: a batch may be half done.
    expected = Outcome.UNKNOWN if operation == "BatchWriteItem" else Outcome.FAIL
    assert (outcome, status, name) == (expected, 400, error)


def test_a_clock_that_is_off_is_told_in_the_same_words(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed an hour ago by this host's clock: refused, and every request after the clock is right is answered."""
    import datetime as real

    import botocore.auth

    an_hour = real.timedelta(hours=1)
    now = botocore.auth.get_current_datetime
    wall = signer.time.time
    with monkeypatch.context() as off:
        off.setattr(botocore.auth, "get_current_datetime", lambda *of, **by: now(*of, **by) - an_hour)
        off.setattr(signer.time, "time", lambda: wall() - 3600)
        wire = ask(emulator, "wire", PLAIN, "UpdateItem")
        boto3 = ask(emulator, "boto3", PLAIN, "UpdateItem")
    for reply in (wire, boto3):
        assert (reply.outcome, reply.status, reply.error) == (Outcome.FAIL, 400, "InvalidSignatureException")
        assert "Signature expired" in str(reply.body)
    assert both(emulator, PLAIN, "UpdateItem")[0] == Outcome.OK


@pytest.mark.parametrize("kind", TABLES)
def test_a_token_that_expires_in_mid_run_is_replaced_without_a_new_client(
    emulator: EmulatorProcess, kind: ClientKind
) -> None:
    source = Changing(SESSION.keys())
    client = make_client(
        kind, emulator.endpoints["us-east-1"], "us-east-1", source, 5.0, str(certificates() / "ca.pem")
    )
    get = {"TableName": TABLES[kind], "Key": KEY}

    def ask_until(error: str | None) -> None:
        """Keys are looked for once a second."""
        deadline = time.monotonic() + 30
        while client.request("GetItem", get).error != error:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    try:
        ask_until(None)
        source.now = Keys("AKIAOLD", "old", "old")
        ask_until("ExpiredTokenException")
        source.now = PLAIN.keys()
        ask_until(None)
    finally:
        client.close()

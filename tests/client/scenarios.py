"""What a server or a network can do to one request, and what every client must make of it.

Run as a program it plays all of them under gevent's monkey patching, as Locust processes do, and prints what came out.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from dataclasses import dataclass
from typing import Any

if __name__ == "__main__" and "--patched" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

from lastwriter.client.clients import make_client
from lastwriter.client.credentials import StaticCredentials
from tests.client.scripted_server import ScriptedServer, Step, chunked, reply
from verifier.history.schema import Outcome

OK, FAIL, UNKNOWN = Outcome.OK, Outcome.FAIL, Outcome.UNKNOWN
DEADLINE_S = 10.0
SHORT_DEADLINE_S = 0.3  # where nothing comes
CREDENTIALS = StaticCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjE+/=")

ITEM = b'{"Attributes":{"v":{"N":"7"},"_w":{"N":"281474976710657"},"b":{"B":"AAEC"}}}'
BODY = json.loads(ITEM)
CONDITION = (
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",'
    b'"message":"The conditional request failed","Item":{"v":{"N":"7"},"bs":{"BS":["AAEC"]}}}'
)
VALIDATION = b'{"__type":"com.amazon.coral.validate#ValidationException","Message":"no"}'
INTERNAL = b'{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"no"}'
CONFLICT = b'{"__type":"com.amazonaws.dynamodb.v20120810#ReplicatedWriteConflictException","message":"no"}'
THROTTLE = (
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"no",'
    b'"ThrottlingReasons":[{"reason":"TableWriteKeyRangeThroughputExceeded","resource":"arn"}]}'
)
BUSY = b'{"__type":"com.amazonaws.dynamodb.v20120810#TransactionInProgressException","message":"no"}'

REQUEST: dict[str, Any] = {
    "TableName": "counters",
    "Key": {"pk": {"S": "k-é-1"}, "B": {"B": "AAEC/w=="}},
    "UpdateExpression": "SET #p = if_not_exists(#w, :none), #w = :op ADD v :d",
    "ExpressionAttributeNames": {"#w": "_w", "#p": "_p"},
    "ExpressionAttributeValues": {
        ":none": {"N": "-1"},
        ":op": {"N": "281474976710657"},
        ":d": {"N": "1"},
        ":m": {"M": {"B": {"L": [{"B": "aGk="}, {"BOOL": True}, {"NULL": True}]}, "BS": {"BS": ["aGk="]}}},
    },
    "ReturnValues": "ALL_NEW",
}


@dataclass(frozen=True)
class Scenario:
    """One request's fate. ``write`` and ``read`` are the outcomes of an UpdateItem and of a GetItem."""

    steps: tuple[Step, ...]
    write: Outcome
    read: Outcome
    status: int
    error: str | None
    body: Any = None
    """None: not looked at further than that the clients agree."""


def _pieces(data: bytes, *cuts: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True):
        steps += [data[a:b], 0.005]
    return tuple(steps)


def _refused(body: bytes, status: str, write: Outcome, error: str) -> Scenario:
    return Scenario((reply(body, status),), write, FAIL, int(status[:3]), error, json.loads(body))


_plain = reply(ITEM)
_head_end = _plain.index(b"\r\n\r\n") + 4
_large = b'{"Attributes":{"pad":{"S":"' + b"x" * 300_000 + b'"}}}'
_packed = gzip.compress(ITEM, mtime=0)

SCENARIOS: dict[str, Scenario] = {
    "whole": Scenario((_plain,), OK, OK, 200, None, BODY),
    "in pieces": Scenario(_pieces(_plain, 5, 12, 40, _head_end - 2, _head_end, _head_end + 9), OK, OK, 200, None, BODY),
    "large": Scenario((reply(_large),), OK, OK, 200, None, json.loads(_large)),
    "chunked": Scenario((chunked(ITEM, 1, 10, 30),), OK, OK, 200, None, BODY),
    "chunked in pieces": Scenario(_pieces(chunked(ITEM, 10, 30), 60, 85, 97, 120), OK, OK, 200, None, BODY),
    "interim reply": Scenario((b"HTTP/1.1 100 Continue\r\n\r\n" + _plain,), OK, OK, 200, None, BODY),
    "interim reply first": Scenario((b"HTTP/1.1 100 Continue\r\n\r\n", 0.005, _plain), OK, OK, 200, None, BODY),
    "until the end": Scenario((reply(ITEM, length=False), "close"), OK, OK, 200, None, BODY),
    "asked to close": Scenario((reply(ITEM, extra="Connection: close\r\n"), "close"), OK, OK, 200, None, BODY),
    "odd spelling": Scenario(
        (
            b"HTTP/1.1 200 \r\ncontent-LENGTH:%d\r\nX-AMZ-CRC32:   %d  \r\nX: \r\n\r\n%b"
            % (len(ITEM), zlib.crc32(ITEM), ITEM),
        ),
        *(OK, OK, 200, None, BODY),
    ),
    "compressed": Scenario((reply(_packed, extra="Content-Encoding: gzip\r\n"),), OK, OK, 200, None, BODY),
    "badly compressed": Scenario(
        (reply(_packed[:-9], extra="Content-Encoding: gzip\r\n"),), UNKNOWN, FAIL, 200, "BadReply", {}
    ),
    "wrong checksum": Scenario((reply(ITEM, crc=1),), UNKNOWN, FAIL, 200, "BadChecksum", {}),
    "no checksum": Scenario((reply(ITEM, crc=None),), UNKNOWN, FAIL, 200, "BadChecksum", {}),
    "garbled checksum": Scenario((reply(ITEM, crc="x"),), UNKNOWN, FAIL, 200, "BadChecksum", {}),
    "refusal with a wrong checksum": Scenario(
        (reply(CONDITION, "400 Bad Request", crc=1),), UNKNOWN, FAIL, 400, "BadChecksum", {}
    ),
    "not JSON": Scenario((reply(b"{nonsense"),), UNKNOWN, FAIL, 200, "BadReply", {}),
    "not an object": Scenario((reply(b"[1]"),), UNKNOWN, FAIL, 200, "BadReply", {}),
    "condition": _refused(CONDITION, "400 Bad Request", FAIL, "ConditionalCheckFailedException"),
    "validation": _refused(VALIDATION, "400 Bad Request", FAIL, "ValidationException"),
    "throttled": _refused(THROTTLE, "400 Bad Request", FAIL, "ProvisionedThroughputExceededException"),
    "conflict 409": _refused(CONFLICT, "409 Conflict", FAIL, "ReplicatedWriteConflictException"),
    "conflict 400": _refused(CONFLICT, "400 Bad Request", FAIL, "ReplicatedWriteConflictException"),
    "refusal behind a 500": _refused(
        CONFLICT, "500 Internal Server Error", UNKNOWN, "ReplicatedWriteConflictException"
    ),
    "in progress": _refused(BUSY, "400 Bad Request", UNKNOWN, "TransactionInProgressException"),
    "internal": _refused(INTERNAL, "500 Internal Server Error", UNKNOWN, "InternalServerError"),
    "refusal without a checksum": Scenario(
        (reply(VALIDATION, "400 Bad Request", crc=None),),
        FAIL,
        FAIL,
        400,
        "ValidationException",
        json.loads(VALIDATION),
    ),
    "bare 503": Scenario((reply(b"", "503 Slow Down", crc=None),), UNKNOWN, FAIL, 503, "HTTP503", {}),
    "502 page": Scenario((reply(b"<html>", "502 Bad Gateway", crc=None),), UNKNOWN, FAIL, 502, "HTTP502", {}),
    "redirect": Scenario((reply(b"", "302 Found", crc=None),), UNKNOWN, FAIL, 302, "HTTP302", {}),
    "closed without a byte": Scenario(("close",), UNKNOWN, FAIL, 0, "ConnectionReset", {}),
    "closed after an interim reply": Scenario(
        (b"HTTP/1.1 100 Continue\r\n\r\n", 0.02, "close"), UNKNOWN, FAIL, 0, "ConnectionReset", {}
    ),
    "reset without a byte": Scenario(("reset",), UNKNOWN, FAIL, 0, "ConnectionReset", {}),
    "closed in the body": Scenario((_plain[:-5], 0.02, "close"), UNKNOWN, FAIL, 0, "ShortReply", {}),
    "reset in the body": Scenario((_plain[:-5], 0.02, "reset"), UNKNOWN, FAIL, 0, "ConnectionReset", {}),
    "closed in a chunk": Scenario((chunked(ITEM, 10)[:-20], 0.02, "close"), UNKNOWN, FAIL, 0, "ShortReply", {}),
    "no answer": Scenario(("hang",), UNKNOWN, FAIL, 0, "Timeout", {}),
    "half an answer": Scenario((_plain[:-5], "hang"), UNKNOWN, FAIL, 0, "Timeout", {}),
    "garbage": Scenario((b"SSH-2.0-OpenSSH_9.6\r\n\r\n",), UNKNOWN, FAIL, 0, "BadReply", {}),
}


def play(kind: str, scenario: Scenario, operation: str) -> list[Any]:
    """What one client makes of a scenario: outcome, status, error, body; and the request that the server saw."""
    deadline_s = SHORT_DEADLINE_S if "hang" in scenario.steps else DEADLINE_S
    with ScriptedServer(lambda _: scenario.steps) as server:
        client = make_client(kind, server.endpoint, "us-east-1", CREDENTIALS, deadline_s)  # type: ignore[arg-type]
        try:
            body = REQUEST if operation == "UpdateItem" else {"TableName": "counters", "Key": {"pk": {"S": "k"}}}
            got = client.request(operation, body)
        finally:
            client.close()
        assert 0 < got.start_ns <= got.end_ns
        assert len(server.requests) == 1, "one attempt, and one only"
        sent = server.requests[0]
    target = sent.headers["x-amz-target"]
    return [int(got.outcome), got.status, got.error, got.body, target, json.loads(sent.body)]


def main() -> None:
    """Play everything with both clients; JSON to stdout."""
    out = {
        f"{kind} {operation} {name}": play(kind, scenario, operation)
        for kind in ("wire", "boto3")
        for operation in ("UpdateItem", "GetItem")
        for name, scenario in SCENARIOS.items()
    }
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()

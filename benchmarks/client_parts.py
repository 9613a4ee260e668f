"""What the parts of one request cost in the wire client, each beside what it was chosen over.

    .venv/bin/python benchmarks/client_parts.py

Microseconds of thread CPU, the median of interleaved rounds (and the lowest, which a busy machine disturbs least).
"""

from __future__ import annotations

import argparse
import os
import random
import select
import socket
import statistics
import time
import zlib
from collections.abc import Callable
from typing import Any

os.environ.setdefault("BOTO_DISABLE_CRT", "true")

import botocore.auth
import gevent
import orjson
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from lastwriter.client.credentials import StaticCredentials
from lastwriter.client.http_reply import HttpReply
from lastwriter.client.outcome import interpret
from lastwriter.client.reply_parser import ReplyParser, parse_whole
from lastwriter.client.signer import CONTENT_TYPE, TARGET_PREFIX, Signer

TOKEN = "IQoJb3JpZ2luX2VjE" + "Ab9/" * 200
BODY: dict[str, Any] = {
    "TableName": "counters",
    "Key": {"pk": {"S": "counter-17"}},
    "UpdateExpression": "SET #p = if_not_exists(#w, :none), #w = :op ADD v :v",
    "ExpressionAttributeNames": {"#p": "_p", "#w": "_w"},
    "ExpressionAttributeValues": {":none": {"N": "-1"}, ":op": {"N": "281474976710999"}, ":v": {"N": "1"}},
    "ReturnValues": "ALL_NEW",
}
ANSWER = orjson.dumps(
    {"Attributes": {"pk": {"S": "counter-17"}, "v": {"N": "12345"}, "_w": {"N": "281474976710999"}, "_p": {"N": "7"}}}
)
REPLY = (
    b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
    b"x-amzn-RequestId: 0123456789ABCDEF0123456789ABCDEFVV4KQNSO5AEMVJF66Q9ASUAAJG\r\nx-amz-crc32: %d\r\n\r\n%b"
    % (len(ANSWER), zlib.crc32(ANSWER), ANSWER)
)


def parts() -> dict[str, Callable[[], object]]:
    """Name → one call of the part."""
    endpoint = "https://dynamodb.us-east-1.amazonaws.com/"
    body = orjson.dumps(BODY)
    signer = Signer(StaticCredentials("AKIDEXAMPLE", "secret", TOKEN), "us-east-1", "dynamodb.us-east-1.amazonaws.com")
    theirs = botocore.auth.SigV4Auth(ReadOnlyCredentials("AKIDEXAMPLE", "secret", TOKEN), "dynamodb", "us-east-1")
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET_PREFIX + "UpdateItem"}

    def botocores() -> None:
        theirs.add_auth(AWSRequest("POST", endpoint, headers, data=body))

    ours, _peer = socket.socketpair()
    ours.setblocking(False)
    poll = select.poll()
    poll.register(ours, select.POLLIN)

    def peek() -> None:
        try:
            ours.recv(1)
        except BlockingIOError:
            return

    def timeout() -> None:
        gevent.Timeout.start_new(5.0).close()

    whole = HttpReply(200, zlib.crc32(ANSWER), ANSWER, True)
    keep = (_peer,)
    return {
        "sign: whole request, hash states kept": lambda: signer.request("UpdateItem", body),
        "sign: botocore's SigV4Auth": botocores,
        "reply: one expression": lambda: parse_whole(REPLY),
        "reply: llhttp with callbacks": lambda: ReplyParser().receive(REPLY),
        "idle connection still open: poll": lambda: poll.poll(0),
        "idle connection still open: recv": peek,
        "deadline: a gevent.Timeout a call": timeout,
        "body to JSON (orjson)": lambda: orjson.dumps(BODY),
        "checksum, JSON, outcome": lambda: keep and interpret("UpdateItem", whole),
    }


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    measured = parts()
    costs: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(options.rounds):
        for name in random.sample(list(measured), len(measured)):
            call = measured[name]
            began = time.thread_time_ns()
            for _ in range(options.calls):
                call()
            costs[name].append((time.thread_time_ns() - began) / options.calls / 1e3)
    for name, rounds in costs.items():
        print(f"{name:42} {statistics.median(rounds):8.2f} µs   lowest {min(rounds):7.2f}")


if __name__ == "__main__":
    main()

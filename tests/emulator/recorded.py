"""Load on an emulator that is a process: threads with connections of their own, recorded as a worker does it."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.emulator.drills import NAMES, row_of
from tests.emulator.virtual import TABLE
from tests.verifier.builders import Item, Op
from verifier.history.schema import ABSENT

_DEADLINE_S = 10.0


class Load:
    """Increments and writes with marks, and strong reads, in every Region, until stopped.

    A request whose connection breaks is of unknown outcome; its process goes on under another number.
    """

    def __init__(self, endpoints: Mapping[str, str], seed: int, own: bool, processes: int = 2) -> None:
        """``own``: every item is written in one Region only."""
        self.ops: list[Op] = []
        self._endpoints = endpoints
        self._own = own
        self._stop = threading.Event()
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._run, args=(region, random.Random(f"{seed} {region} {number}")), daemon=True)
            for number in range(processes)
            for region in endpoints
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more; wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_DEADLINE_S * 2)
            assert not thread.is_alive()

    @property
    def acknowledged(self) -> int:
        """Operations so far that were answered with success."""
        return sum(op.outcome == "ok" for op in list(self.ops))

    def _run(self, region: str, rng: random.Random) -> None:
        process = next(self._names)
        keys = [f"k{number}" for number in range(6) if not self._own or number % 3 == self._place(region)]
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            op = next(self._numbers)
            read = rng.random() < 0.3
            key = f"k{rng.randrange(6)}" if read else rng.choice(keys)
            number = int(key[1:])
            row: dict[str, Any] = {"key": key, "op": op, "region": region, "process": process}
            row["kind"] = "read" if read else "add" if number < 3 else "write"
            request: dict[str, Any] = {"TableName": TABLE, "Key": {"pk": {"S": key}}}
            if read:
                request["ConsistentRead"] = True
            else:
                row["value"] = value = 1 if number < 3 else op
                change = "ADD #v :v" if number < 3 else ", #v = :v"
                request |= {
                    "UpdateExpression": f"SET #p = if_not_exists(#w, :none), #w = :op {change}",
                    "ExpressionAttributeNames": NAMES,
                    "ExpressionAttributeValues": {
                        ":none": {"N": str(ABSENT)},
                        ":op": {"N": str(op)},
                        ":v": {"N": str(value)},
                    },
                    "ReturnValues": "ALL_NEW",
                }
            start_ns = time.monotonic_ns()
            try:
                if connection is None:
                    connection = _connect(self._endpoints[region])
                status, body = call(connection, "GetItem" if read else "UpdateItem", request)
            except (OSError, http.client.HTTPException):
                status, body = 500, {"__type": "ConnectionError"}
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.02)
            made = row_of(row, status, body, start_ns, time.monotonic_ns())
            self.ops.append(made)
            if made.outcome == "unknown":
                process = next(self._names)

    def _place(self, region: str) -> int:
        return list(self._endpoints).index(region)


def call(connection: http.client.HTTPConnection, operation: str, request: Mapping[str, Any]) -> tuple[int, Any]:
    """One request; OSError or HTTPException if it was not answered."""
    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    connection.request("POST", "/", json.dumps(request), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read() or b"null")


def final(endpoints: Mapping[str, str], keys: Sequence[str]) -> dict[str, dict[str, Item]]:
    """Every replica, read strongly."""
    found: dict[str, dict[str, Item]] = {}
    for region, url in endpoints.items():
        connection = _connect(url)
        found[region] = {}
        for key in keys:
            start_ns = time.monotonic_ns()
            request = {"TableName": TABLE, "Key": {"pk": {"S": key}}, "ConsistentRead": True}
            status, body = call(connection, "GetItem", request)
            assert status == 200, body
            item = body.get("Item")
            if item is not None:
                numbers = [int(item[name]["N"]) for name in ("v", "_w", "_p")]
                found[region][key] = Item(*numbers, start_ns, time.monotonic_ns())
        connection.close()
    return found


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_DEADLINE_S)
    connection.connect()
    return connection

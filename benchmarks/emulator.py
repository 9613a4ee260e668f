"""Requests a CPU-second of the emulator over HTTP, at zero latency, beside moto's server.

    .venv/bin/python benchmarks/emulator.py [--seconds 3] [--rounds 3] [--moto PATH_TO_moto_server]

Emulator and moto are processes of their own; a lean uvloop client in this process keeps 64 connections busy (512 where
links take 20 ms) with one request each, of the size and with the headers of boto3's, and counts 200s. CPU time is the
server's, user and system, as the kernel counts it. Rounds are interleaved; the median of a contender's rounds is shown.
On a machine that does other things besides, even a CPU-second does less: trust the ratios then.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import uvloop

from lastwriter.emulator.process import start_emulator

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
CONNECTIONS = 64
MANY_CONNECTIONS = 512
KEYS = 2048
HEADERS = (
    "Host: 127.0.0.1",
    "Accept-Encoding: identity",
    "User-Agent: Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux#6 md/arch#x86_64 lang/python#3.11 md/pyimpl#CPython",
    "X-Amz-Date: 20261001T{time:06d}Z",
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261001/us-east-1/dynamodb/aws4_request, SignedHeaders="
    "content-type;host;x-amz-date;x-amz-target, Signature={signature}",
    "Content-Type: application/x-amz-json-1.0",
)


def request(operation: str, body: dict[str, object]) -> bytes:
    """One HTTP request. Its date and its signature are its own, as an SDK's are."""
    data = json.dumps(body).encode()
    signature = hashlib.sha256(data).hexdigest()
    lines = (
        "POST / HTTP/1.1",
        *(line.format(time=int(signature[:4], 16), signature=signature) for line in HEADERS),
        f"X-Amz-Target: DynamoDB_20120810.{operation}",
        f"Content-Length: {len(data)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + data


def requests(operation: str) -> list[bytes]:
    """One request a key."""
    made = []
    for number in range(KEYS):
        body: dict[str, object] = {"TableName": "bench", "Key": {"pk": {"S": f"key-{number:04d}"}}}
        if operation == "UpdateItem":
            body |= {
                "UpdateExpression": "ADD n :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}},
                "ReturnValues": "UPDATED_NEW",
            }
        elif operation == "GetItem":
            body["ConsistentRead"] = True
        made.append(request(operation, body))
    return made


class Peer(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._next = number  # every connection has keys of its own, so that MRSC has no conflicts
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        """The next request."""
        load = self._load
        self._transport.write(load.requests[self._next % KEYS])  # type: ignore[union-attr]
        self._next += load.connections

    def data_received(self, data: bytes) -> None:
        """A reply, or a part of it."""
        if self._data:
            data = self._data + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._data = data
            return
        lower = data[:head].lower()
        at = lower.index(b"content-length:") + 15
        end = lower.find(b"\r", at)
        length = int(data[at : end if end >= 0 else head])
        if len(data) < head + 4 + length:
            self._data = data
            return
        self._data = b""
        if data.startswith(b"HTTP/1.1 200"):
            self._load.ok += 1
        else:
            raise SystemExit(f"not a success: {data[:400]!r}")
        if self._load.going:
            self.send()


class Load:
    """Keeps connections to some URLs busy with an operation."""

    def __init__(self, urls: list[str], operation: str, connections: int) -> None:
        self.requests = requests(operation)
        self.connections = connections
        self.ok = 0
        self.going = True
        self._urls = urls

    async def run(self, seconds: float, cpu: Callable[[], float]) -> float:
        """Successes a CPU-second of the server."""
        loop = asyncio.get_running_loop()
        transports = []
        for number in range(self.connections):
            parts = urlsplit(self._urls[number % len(self._urls)])
            transport, _ = await loop.create_connection(
                lambda number=number: Peer(self, number), parts.hostname, parts.port
            )
            transports.append(transport)
        await asyncio.sleep(seconds / 4)
        before, start = self.ok, cpu()
        await asyncio.sleep(seconds)
        done, used = self.ok - before, cpu() - start
        self.going = False
        for transport in transports:
            transport.abort()
        return done / max(used, 1e-9)


def measure(urls: list[str], pid: int, operation: str, seconds: float, connections: int) -> float:
    """One round."""
    process = psutil.Process(pid)

    def cpu() -> float:
        times = process.cpu_times()
        return times.user + times.system

    return uvloop.run(Load(urls, operation, connections).run(seconds, cpu))


@contextmanager
def moto(command: str) -> Iterator[tuple[list[str], int]]:
    """moto's server with the table."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen([command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        import boto3

        boto3.client(
            "dynamodb", endpoint_url=url, region_name=REGIONS[0], aws_access_key_id="x", aws_secret_access_key="x"
        ).create_table(
            TableName="bench",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield [url], process.pid
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load a round (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved (default 3)")
    beside = Path(sys.executable).with_name("moto_server")
    parser.add_argument("--moto", default=str(beside) if beside.exists() else shutil.which("moto_server"))
    options = parser.parse_args()
    settings = {"latency_scale": "0%", "replicator_delay": "0ms"}
    rates: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        contenders: dict[str, tuple[list[str], int]] = {}
        for name, regions, mode, more in (
            ("one Region", REGIONS[:1], "MREC", {}),
            ("MREC, three replicas", REGIONS, "MREC", {}),
            ("MREC, 0.5 s behind", REGIONS, "MREC", {"replicator_delay": "500ms"}),
            ("MRSC, three replicas", REGIONS, "MRSC", {}),
            ("MRSC, 20 ms links", REGIONS, "MRSC", {"latency_scale": "128%", "client_latency": "0ms"}),
        ):
            running = stack.enter_context(
                start_emulator(regions, table="bench", mode=mode, settings={**settings, **more})
            )
            contenders[name] = (list(running.endpoints.values()), running.process.pid)
        if options.moto:
            contenders["moto's server"] = stack.enter_context(moto(options.moto))
        for _ in range(options.rounds):
            for name, (urls, pid) in contenders.items():
                connections = MANY_CONNECTIONS if "20 ms" in name else CONNECTIONS
                for operation in ("UpdateItem", "GetItem"):
                    rates.setdefault((name, operation), []).append(
                        measure(urls, pid, operation, options.seconds, connections)
                    )
    print("requests a CPU-second of the server, strong reads, median of", options.rounds, "rounds")
    base = {
        operation: statistics.median(rates["moto's server", operation]) for name, operation in rates if "moto" in name
    }
    for (name, operation), values in rates.items():
        median = statistics.median(values)
        peer = base.get(operation)
        ratio = f"{median / peer:8.0f} × moto" if peer else "(moto answered nothing in time)" if base else ""
        print(f"{name:<22} {operation:<11} {median:10,.0f} /CPU-s {ratio}")


if __name__ == "__main__":
    main()

"""Emulator processes for tests: started with the command a user has, reached over sockets."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from lastwriter.emulator.process import EmulatorProcess, start_emulator
from tests.emulator.virtual import REGIONS

FAST = {"latency_scale": "0%", "replicator_delay": "0ms"}


@contextmanager
def emulator(regions: tuple[str, ...] = REGIONS, **more: Any) -> Iterator[EmulatorProcess]:
    """An emulator for the block."""
    with start_emulator(regions, **{"settings": FAST, **more}) as running:
        yield running


def client(endpoint: str, region: str, read_timeout: float = 10, service: str = "dynamodb") -> Any:
    """A boto3 client that never retries."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout, connect_timeout=5),
    )


def clients(running: EmulatorProcess) -> list[Any]:
    """One client a Region, in order."""
    return [client(url, region) for region, url in running.endpoints.items()]


def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request to the control port, JSON in and out."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def connect(url: str) -> socket.socket:
    """A plain connection."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def until(condition: Callable[[], Any], deadline_s: float = 20) -> Any:
    """Poll until the condition holds; what it returned."""
    end = time.monotonic() + deadline_s
    while not (result := condition()):
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)
    return result

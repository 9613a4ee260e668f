"""A server on loopback that does to each request exactly what a test says, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.certificates import certificates


@dataclass
class Request:
    connection: int
    """Number of the connection that it came on, from 0."""
    head: str
    headers: dict[str, str]
    body: bytes


Step = bytes | float | str
"""Bytes to send, seconds to dawdle, or ``close`` / ``reset`` / ``hang``."""


@dataclass
class ScriptedServer:
    """``answer(request)`` gives the steps to take; after them the connection waits for the next request."""

    answer: Callable[[Request], Iterable[Step]]
    tls: bool = False
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> ScriptedServer:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        if self.tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificates() / "server.pem", certificates() / "server.key")
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with_shutdown(connection)
        for thread in self._threads:
            thread.join(5)

    @property
    def endpoint(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many were opened so far."""
        return len(self._open)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._open) - 1), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open[number] = connection
            buffer = b""
            while True:
                request, buffer = _read_request(connection, buffer, number)
                if request is None:
                    return
                self.requests.append(request)
                for step in self.answer(request):
                    if isinstance(step, bytes):
                        connection.sendall(step)
                    elif isinstance(step, float):
                        time.sleep(step)
                    elif step == "hang":
                        self._stop.wait(30)
                        return
                    elif step == "reset":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        connection.close()
                        return
                    else:
                        assert step == "close"
                        with_shutdown(connection)
                        return
        except OSError:
            return
        finally:
            connection.close()


def with_shutdown(connection: socket.socket) -> None:
    """Close so that the peer sees the end at once, whoever else still holds the descriptor."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def reply(
    body: bytes = b"{}", status: str = "200 OK", crc: int | str | None = "right", extra: str = "", length: bool = True
) -> bytes:
    """The bytes of a plain reply as DynamoDB sends it."""
    head = f"HTTP/1.1 {status}\r\nServer: Server\r\nContent-Type: application/x-amz-json-1.0\r\n"
    if length:
        head += f"Content-Length: {len(body)}\r\n"
    head += "x-amzn-RequestId: 0ABCDEF\r\n"
    if crc is not None:
        head += f"x-amz-crc32: {zlib.crc32(body) if crc == 'right' else crc}\r\n"
    return (head + extra + "\r\n").encode() + body


def chunked(body: bytes, *cuts: int) -> bytes:
    """``body`` in chunks that end at ``cuts``."""
    pieces = [body[a:b] for a, b in zip((0, *cuts), (*cuts, len(body)), strict=True)]
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def _read_request(connection: socket.socket, buffer: bytes, number: int) -> tuple[Any, bytes]:
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(65536)
        if not data:
            return None, b""
        buffer += data
    head, _, buffer = buffer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(buffer) < int(headers["content-length"]):
        data = connection.recv(65536)
        if not data:
            return None, b""
        buffer += data
    length = int(headers["content-length"])
    return Request(number, lines[0], headers, buffer[:length]), buffer[length:]

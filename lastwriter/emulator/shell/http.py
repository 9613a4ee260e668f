"""HTTP/1.1 for the emulator: reads requests, answers by callback, in order, with no task a request.

Rules
-----
1. A :class:`Connection` hands each complete request to its :class:`Service` with an :class:`Exchange`, and goes on
   reading. The exchange is answered once, at once or later; replies leave in the order of the requests (pipelining).
2. What is not HTTP is answered with 400 and the connection closed; a body above 16 MB with 413; a header section
   above 64 kB with 431. ``Expect: 100-continue`` is answered before the body comes.
3. A peer that does not read its replies, or sends thousands of requests ahead, is not read from until it catches up.
4. A connection may be cut at any time; exchanges of a connection that is gone swallow their replies.
5. Replies are compressed, and requests unpacked, as :mod:`~lastwriter.emulator.shell.encodings` says.
6. A service that judges signatures gets every header with the exchange (:class:`Head`); others never see one.
7. What a client sends again and again in one piece is read by :mod:`~lastwriter.emulator.shell.heads` where that sees
   the same as llhttp, which reads everything else.
8. What connections read is taken once the loop has read all that there is (:mod:`~lastwriter.emulator.shell.inbox`).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import struct
from collections import deque
from typing import Any, Final, NamedTuple, Protocol, cast
from zlib import crc32

import httptools
import orjson

from lastwriter.emulator.requests.errors import internal_error
from lastwriter.emulator.shell.counts import Counts
from lastwriter.emulator.shell.encodings import BadEncodingError, accepted, compressed, unpacked
from lastwriter.emulator.shell.heads import Heads, headers_of
from lastwriter.emulator.shell.inbox import Inbox

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
"""DynamoDB takes more of a request that came compressed; how much more is not documented."""
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_PIPELINED: Final = 1000
_LINGER_S: Final = 1.0
_REASONS: Final = {
    200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 413: "Payload Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_HEAD: Final = (
    f"HTTP/1.1 %d %s\r\nServer: Server\r\nContent-Type: {_CONTENT_TYPE}\r\nConnection: %s\r\n"
    "x-amzn-RequestId: %s%%d\r\nx-amz-crc32: %%d\r\nContent-Length: %%d\r\n\r\n%%b"
)
_request_prefix: Final = secrets.token_hex(20).upper()
_request_number: Final = itertools.count(10**11)
_HEADS: Final = {
    keep: {
        status: (_HEAD % (status, reason, "keep-alive" if keep else "close", _request_prefix)).encode()
        for status, reason in _REASONS.items()
    }
    for keep in (True, False)
}
_SUCCESS: Final = _HEADS[True][200]


class Service(Protocol):
    """Answers the requests of one port."""

    hanging: bool
    """Whether requests are swallowed."""
    signed: bool
    """Whether it wants to see the head of every request."""
    inbox: Inbox | None
    """Where what has been read waits to be taken; None: it does not wait."""
    connections: set[Connection]
    counts: Counts

    def request(self, exchange: Exchange, method: bytes, path: bytes, target: bytes | None, body: bytes) -> None:
        """A complete request. ``target``: the X-Amz-Target header."""


class Head(NamedTuple):
    """A request as it came, for whoever judges its signature."""

    method: bytes
    url: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes
    """Compressed, if it is."""


class Exchange:
    """One request on a connection, and where its reply goes."""

    __slots__ = ("_connection", "_payload", "keep", "service")

    def __init__(self, connection: Connection, keep: bool) -> None:
        self._connection: Connection | None = connection
        self._payload: bytes | None = None
        self.keep = keep
        self.service = connection._service

    @property
    def head(self) -> Head | None:
        """The request's head, if its service wants to see it."""
        return None

    def cut(self) -> None:
        """Reset the connection instead of an answer."""
        if self._connection is not None:
            self._connection.reset()

    def reply(self, status: int, body: Any, content_type: str | None = None) -> None:
        """Answer with ``body`` (JSON-able, or bytes as they are). Only the first answer counts."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        data = body if type(body) is bytes else orjson.dumps(body)
        if status == 200 and self.keep and content_type is None:
            head = _SUCCESS
        else:
            heads = _HEADS[self.keep]
            head = heads.get(status) or heads[500]
            if content_type is not None:
                head = head.replace(_CONTENT_TYPE.encode(), content_type.encode())
        self._payload = payload = head % (next(_request_number), crc32(data), len(data), data)
        exchanges, transport = connection.exchanges, connection._transport
        if len(exchanges) == 1 and self.keep and transport is not None and not connection._paused:  # as mostly
            exchanges.popleft()
            transport.write(payload)
        else:
            connection.ready(self)


class PeculiarExchange(Exchange):
    """One whose reply may be compressed, or whose head is looked at."""

    __slots__ = ("_encoding", "_head")

    def __init__(self, connection: Connection, keep: bool, encoding: str | None, head: Head | None) -> None:
        super().__init__(connection, keep)
        self._encoding = encoding
        self._head = head

    @property
    def head(self) -> Head | None:
        """As it came."""
        return self._head

    def reply(self, status: int, body: Any, content_type: str | None = None) -> None:
        """As :meth:`Exchange.reply`; the checksum is that of the bytes sent."""
        data = body if type(body) is bytes else orjson.dumps(body)
        packed = compressed(data, self._encoding) if self._encoding is not None and status == 200 else None
        if packed is None:
            super().reply(status, data, content_type)
        else:
            super().reply(status, packed, f"{content_type or _CONTENT_TYPE}\r\nContent-Encoding: {self._encoding}")


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_accepted",
        "_between",
        "_blocked",
        "_body",
        "_encoded",
        "_expect",
        "_head_bytes",
        "_headers",
        "_heads",
        "_inbox",
        "_parser",
        "_path",
        "_paused",
        "_refused",
        "_service",
        "_size",
        "_target",
        "_transport",
        "exchanges",
    )  # fmt: skip

    def __init__(self, service: Service) -> None:
        self._service = service
        self._inbox = service.inbox
        self._transport: asyncio.Transport | None = None
        self.exchanges: deque[Exchange] = deque()
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._blocked = False  # the peer does not read
        self._paused = False  # we do not read
        self._refused = False
        self._heads = Heads()
        self.on_message_begin()
        self._between = True  # the parser has seen the end of a request, and nothing of another

    # -- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it asked for may still happen."""
        self._service.connections.discard(self)
        self._transport = None
        for exchange in self.exchanges:
            exchange._connection = None
        self.exchanges.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        inbox = self._inbox
        if inbox is None:
            self.take(data)
            return
        arrived = inbox.arrived
        if not arrived:
            inbox.wake()
        arrived.append((self, data))

    def eof_received(self) -> bool:
        """The client sends no more: what it has asked is answered within a second, then the connection closes."""
        transport = self._transport
        if self._refused or self._inbox is None or transport is None or transport.get_extra_info("ssl_object"):
            return False
        self.data_received(b"")
        return True

    def take(self, data: bytes) -> None:
        """Bytes, in their turn; empty: they have come to an end."""
        if self._refused:
            return
        between = self._between
        service = self._service
        if between and not service.hanging:
            plain = self._heads.read(data)
            if plain is not None:
                exchange = self._signed(data, plain[1]) if service.signed else Exchange(self, True)
                exchanges = self.exchanges
                exchanges.append(exchange)
                if len(exchanges) >= _MAX_PIPELINED:
                    self._regulate()
                target, body = plain
                service.request(exchange, b"POST", b"/", target, body)
                return
        if not data:
            self.finish()
            if self.exchanges and self._transport is not None:  # some replies never come, and nobody may be there
                asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if between and self._between:
                self._heads.learn(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "Upgrade is not supported")
        except httptools.HttpParserError:
            self._refuse(400, "This is not HTTP/1.1")
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(431, "The header section is larger than 64 kB")

    def _signed(self, data: bytes, body: bytes) -> Exchange:
        """The exchange of a request that a layout has read, with its head."""
        headers = headers_of(data[: len(data) - len(body)])
        return PeculiarExchange(self, True, None, Head(b"POST", b"/", headers, body))

    def pause_writing(self) -> None:
        """The peer does not read its replies."""
        self._blocked = True
        self._regulate()

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        self._regulate()

    # -- parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._between = False
        self._target: bytes | None = None
        self._path = b""
        self._body: bytes | list[bytes] = b""
        self._size = 0
        self._expect = False
        self._accepted: bytes | None = None
        self._encoded: bytes | None = None
        self._headers: list[tuple[bytes, bytes]] | None = [] if self._service.signed else None

    def on_url(self, url: bytes) -> None:
        """The path, possibly in pieces."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those that matter are told by their length first."""
        length = len(name)
        if self._headers is not None:
            self._headers.append((name.lower(), value))
        if length == 12:
            if name.lower() == b"x-amz-target":
                self._target = value
        elif length == 6:
            if name.lower() == b"expect":
                self._expect = value.lower() == b"100-continue"
        elif length == 15:
            if name.lower() == b"accept-encoding":
                self._accepted = value
        elif length == 16:
            if name.lower() == b"content-encoding":
                self._encoded = value
        elif length == 14 and name.lower() == b"content-length" and len(value) > 7 and int(value) > MAX_BODY_BYTES:
            self._refuse(413, "The request is larger than 16 MB")

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._head_bytes = 0
        if self._expect and self._transport is not None and not self._refused and not self._service.hanging:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = 0
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            self._refuse(413, "The request is larger than 16 MB")
        elif not self._body:
            self._body = data
        elif isinstance(self._body, list):
            self._body.append(data)
        else:
            self._body = [self._body, data]

    def on_message_complete(self) -> None:
        """The request is all there."""
        self._head_bytes = 0
        if self._refused or self._service.hanging:
            self._refused = True  # a hanging Region answers nothing on this connection any more
            return
        keep = self._parser.should_keep_alive()
        self._between = keep
        method = self._parser.get_method()
        body = self._body if isinstance(self._body, bytes) else b"".join(self._body)
        head = Head(method, self._path, self._headers, body) if self._headers is not None else None
        exchange: Exchange
        if head is not None or self._accepted is not None:
            exchange = PeculiarExchange(self, keep, accepted(self._accepted), head)
        else:
            exchange = Exchange(self, keep)
        self.exchanges.append(exchange)
        if len(self.exchanges) >= _MAX_PIPELINED:
            self._regulate()
        if self._encoded is not None:
            try:
                body = unpacked(body, self._encoded, MAX_UNPACKED_BYTES)
            except BadEncodingError:
                exchange.reply(500, internal_error().body())
                return
        self._service.request(exchange, method, self._path, self._target, body)

    # -- replies

    def ready(self, exchange: Exchange) -> None:
        """``exchange`` has its reply: send what is next in order."""
        exchanges, transport = self.exchanges, self._transport
        if transport is None or not exchanges or exchanges[0] is not exchange:
            return
        while exchange._payload is not None:
            exchanges.popleft()
            transport.write(exchange._payload)
            if not exchange.keep:
                self._close(transport)
                return
            if not exchanges:
                break
            exchange = exchanges[0]
        if self._paused:
            self._regulate()

    def reset(self) -> None:
        """Cut the connection: the peer sees a reset."""
        transport = self._transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def hang(self) -> None:
        """Never answer what was asked on this connection, nor what is asked after it."""
        for exchange in self.exchanges:
            exchange._connection = None
        self._refused = self._refused or bool(self.exchanges)
        self.exchanges.clear()

    @property
    def mute(self) -> bool:
        """Whether this connection will never answer any more."""
        return self._refused

    def finish(self) -> None:
        """Close once what was asked has been answered."""
        if self._transport is not None:
            if not self.exchanges:
                self._transport.close()
            else:
                self.exchanges[-1].keep = False

    def _refuse(self, status: int, message: str) -> None:
        if self._refused or self._transport is None:
            return
        self._refused = True
        exchange = Exchange(self, False)
        self.exchanges.append(exchange)
        exchange.reply(status, {"__type": "com.amazon.coral.service#SerializationException", "Message": message})

    def _close(self, transport: asyncio.Transport) -> None:
        """The last reply has been written. A peer that is still sending has to be heard out for a while: closing at
        once would reset the connection and could take the reply with it."""
        if self._refused and transport.can_write_eof():
            transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, transport.close)
        else:
            self._refused = True
            transport.close()

    def _regulate(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        pause = self._blocked or len(self.exchanges) >= _MAX_PIPELINED
        if pause != self._paused:
            self._paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

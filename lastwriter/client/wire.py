"""The data plane's own client: signed requests over gevent, one attempt each, and the truth about what became of it.

How it works
------------
1. A connection carries one request at a time. Idle ones wait in a pool, last used first; a greenlet that finds none
   opens another, so there are as many as greenlets were ever waiting at once.
2. Each connection has one read watcher that stays with the hub for its life. What arrives is read and parsed there,
   and the greenlet is woken once, with the whole reply. ``end_ns`` is when the kernel had the last byte of it, where
   it says so (:mod:`~lastwriter.client.arrival`), else when that was read: never when the greenlet gets its turn.
3. What greenlets ask for is sent together, when all that the hub's turn brought has been handled: while one request
   after another leaves, the server is awake for all but the first, and the caches hold the code of sending. Waking a
   server that has just gone to sleep costs a client as much as a quarter of all else. ``start_ns`` is when its own
   request leaves, so that waiting for this is in no service time; it is in what is counted from the schedule.
4. A connection that the server closed while it was idle must not be used: a request written to it may look sent, and
   then nobody can tell it from one that was processed and not answered. So the watcher drops it at once, and it is
   looked at again right before sending, in case the hub had no turn since.
5. Where nothing of a request left (the first ``send`` fails), a new connection is tried: no server saw it, so that is
   not a retry. From the first byte on there is one attempt, and every doubt ends as *unknown* (see
   :mod:`~lastwriter.client.outcome`).
6. Deadlines are kept by one timer for all connections: late by a tenth of the deadline at most, and an answer that is
   already there when the deadline is noticed is read, not thrown away.

A client belongs to the thread whose hub opened its connections. It works with and without monkey patching.
"""

from __future__ import annotations

import _socket
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.socket
import gevent.ssl
import orjson
from botocore.httpsession import get_cert_path
from gevent.hub import get_hub
from gevent.monkey import get_original
from greenlet import getcurrent

from lastwriter.client.arrival import Arrival
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.credentials import CredentialSource, CredentialsUnavailable
from lastwriter.client.endpoint import host_header, parse_endpoint, proxy_for
from lastwriter.client.http_reply import HttpReply, MalformedReply
from lastwriter.client.outcome import (
    BAD_REPLY,
    CONNECT_ERROR,
    CONNECTION_RESET,
    CREDENTIALS_ERROR,
    SHORT_REPLY,
    TIMEOUT,
    classify,
    interpret,
)
from lastwriter.client.protocol import Reply
from lastwriter.client.reply_parser import ReplyParser, parse_whole
from lastwriter.client.signer import Signer
from lastwriter.errors import UserError

_READ: Final = 1
_WRITE: Final = 2
_RECEIVE_BYTES: Final = 65536
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_poll = get_original("select", "poll")  # gevent's own would let other greenlets run


class WireClient:
    """A :class:`~lastwriter.client.protocol.DynamoClient` of one endpoint, shared by any number of greenlets."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: CredentialSource,
        deadline_s: float = 5.0,
        ca_bundle: str | None = None,
        connect_s: float | None = None,
    ) -> None:
        """``ca_bundle``: PEM file of trusted authorities; default: AWS_CA_BUNDLE, else the ones that botocore trusts.
        ``connect_s``: how long a connection may take to make; default, and at most: the deadline.

        Raises UserError for an endpoint that is no URL, one behind a proxy, and for an unreadable bundle.
        """
        scheme, self._host, self._port = parse_endpoint(endpoint)
        if proxy_for(scheme, self._host):
            raise UserError(
                f"the wire client does not go through proxies, and {scheme.upper()}_PROXY names one for {self._host}: "
                f"add that to NO_PROXY where it can be reached directly, or use --client boto3"
            )
        self._tls = _tls_context(ca_bundle) if scheme == "https" else None
        self._signer = Signer(credentials, region, host_header(scheme, self._host, self._port))
        self._deadline_ns = int(deadline_s * 1e9)
        self._connect_ns = self._deadline_ns if connect_s is None else min(int(connect_s * 1e9), self._deadline_ns)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._outbox: list[_Connection] = []
        self._timer: Any = None

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        """Send one attempt and wait for its reply or the deadline.

        What kills the greenlet meanwhile (GreenletExit, a Timeout of the caller's) passes through; the attempt is then
        unknown, and its connection is closed.
        """
        payload = orjson.dumps(body)
        start_ns = monotonic_ns()
        try:
            message = self._signer.request(operation, payload)
        except CredentialsUnavailable:
            return Reply(classify(operation, 0, CREDENTIALS_ERROR), 0, {}, CREDENTIALS_ERROR, start_ns, monotonic_ns())
        deadline_ns = start_ns + self._deadline_ns
        idle = self._idle
        while True:
            reused = True
            if idle:
                connection = idle.pop()
            else:
                reused = False
                made = self._connect(min(deadline_ns, monotonic_ns() + self._connect_ns))
                if made is None:
                    return Reply(classify(operation, 0, CONNECT_ERROR), 0, {}, CONNECT_ERROR, start_ns, monotonic_ns())
                connection = made
            outbox = self._outbox
            if not outbox:
                connection.hub.loop.run_callback(self._send_all)
            outbox.append(connection)
            connection.exchange(message, deadline_ns)
            reply = connection.reply
            if reply is not None:
                if reply.keep_alive:
                    idle.append(connection)
                else:
                    connection.close()
                outcome, answer, error = interpret(operation, reply)
                return Reply(outcome, reply.status, answer, error, connection.start_ns, connection.end_ns)
            error = connection.error
            connection.close()
            if error == CONNECT_ERROR and reused:
                continue
            return Reply(classify(operation, 0, error), 0, {}, error, connection.start_ns, connection.end_ns)

    def close(self) -> None:
        """Close every connection; requests in flight end as reset."""
        for connection in tuple(self._open):
            connection.abort()

    def _send_all(self) -> None:
        """Called in the hub, when everybody who had an answer has had a turn."""
        outbox, self._outbox = self._outbox, []
        outbox.reverse()
        try:
            while outbox:
                outbox.pop().transmit()
        finally:
            if outbox:  # a raw greenlet raised, into the hub: the others' requests are sent all the same
                outbox[0].hub.loop.run_callback(self._send_all)
                self._outbox += outbox

    def _connect(self, deadline_ns: int) -> _Connection | None:
        timeout = gevent.Timeout.start_new(max(0.0, (deadline_ns - monotonic_ns()) / 1e9))
        sock: Any = None
        try:
            sock = gevent.socket.create_connection((self._host, self._port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._host)
        except gevent.Timeout as fired:
            if sock is not None:
                sock.close()
            if fired is not timeout:
                raise
            return None
        except (OSError, UnicodeError):  # resolver, connect, TLS and certificate errors; a name that cannot be a name
            if sock is not None:
                sock.close()
            return None
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        finally:
            timeout.close()
        connection = _Connection(sock, self._tls is not None, self._forget)
        self._open.add(connection)
        if self._timer is None:
            tick_s = min(0.1, self._deadline_ns / 1e10)
            self._timer = get_hub().loop.timer(tick_s, tick_s, ref=False)
            self._timer.start(self._watch)
        return connection

    def _forget(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._open and self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _watch(self) -> None:
        now_ns = monotonic_ns()
        for connection in tuple(self._open):
            if 0 < connection.deadline_ns < now_ns:
                connection.expire()


class _Connection:
    """One connection to the endpoint: at most one exchange at a time."""

    __slots__ = (
        "_arrival",
        "_closed",
        "_expires_ns",
        "_fd",
        "_forget",
        "_greenlet",
        "_message",
        "_parser",
        "_poll",
        "_receive",
        "_send",
        "_sender",
        "_sock",
        "_tls",
        "_watcher",
        "deadline_ns",
        "end_ns",
        "error",
        "hub",
        "reply",
        "start_ns",
    )

    def __init__(self, sock: Any, tls: bool, forget: Callable[[_Connection], None]) -> None:
        if tls:
            sock.settimeout(0.0)
        else:
            # The C socket itself: gevent's would wait inside each call with a watcher of its own.
            sock = _socket.socket(sock.family, sock.type, sock.proto, sock.detach())
            sock.setblocking(False)
        self._sock = sock
        self._tls = tls
        self._send = sock.send
        self._receive = sock.recv
        self._arrival = None if tls else Arrival.of(sock)
        self._fd: int = sock.fileno()
        self._forget = forget
        poll = _poll()
        poll.register(self._fd, select.POLLIN)
        self._poll = poll.poll
        self._closed = False
        self._message = b""
        self._sender: Any = None
        """Who waits for its request to be sent …"""
        self._greenlet: Any = None
        """… and then for the answer."""
        self._parser: ReplyParser | None = None
        self.hub = get_hub()
        self._watcher = self.hub.loop.io(self._fd, _READ)
        self._watcher.start(self._on_readable)
        self.deadline_ns = self._expires_ns = 0
        self.start_ns = self.end_ns = 0
        self.reply: HttpReply | None = None
        self.error: str | None = None

    def is_fresh(self) -> bool:
        """Whether the peer has neither closed the idle connection nor sent what nobody asked for."""
        if not self._poll(0):
            return True
        try:  # readable: only TLS may have something to say (a session ticket) and be as fresh as before
            self._receive(1)
        except _WOULD_BLOCK:
            return True
        except OSError:
            return False
        return False

    def exchange(self, message: bytes, deadline_ns: int) -> None:
        """Wait until ``message`` was sent (:meth:`transmit`) and answered.

        Afterwards ``reply`` or ``error`` is set, ``start_ns`` and ``end_ns``.
        """
        self.reply = self.error = self._parser = None
        self._message, self._expires_ns = message, deadline_ns
        self.start_ns = monotonic_ns()
        self._sender = getcurrent()
        try:
            self.hub.switch()
            if self._message and self.reply is None and self.error is None:
                self._send_rest(memoryview(self._message))
                if self.reply is None and self.error is None:
                    self.hub.switch()
        except BaseException:
            self.close()
            raise
        finally:
            self._sender = self._greenlet = None
            self.deadline_ns = 0

    def transmit(self) -> None:
        """Send what :meth:`exchange` waits to have sent. Called in the hub."""
        sender, message = self._sender, self._message
        if sender is None:
            return  # killed meanwhile
        self._sender = None
        if self._closed or not self.is_fresh():
            self._fail(sender, self.error or CONNECT_ERROR)
            return
        self._greenlet, self.deadline_ns = sender, self._expires_ns
        self.start_ns = monotonic_ns()
        try:
            sent = self._send(message)
        except _WOULD_BLOCK:
            sent = 0
        except OSError:
            # Of a plain socket the kernel took nothing; what TLS had written by then is not known.
            self._fail(sender, CONNECTION_RESET if self._tls else CONNECT_ERROR)
            return
        if sent < len(message):
            self._message = message[sent:]
            sender.switch()
        else:
            self._message = b""

    def _fail(self, greenlet: Any, error: str) -> None:
        self._greenlet = None
        self.error, self.end_ns = error, monotonic_ns()
        greenlet.switch()

    def expire(self) -> None:
        """The deadline has passed: take the answer if it is there, else give up. Called in the hub."""
        self._on_readable()
        if self._greenlet is not None:
            self._end(None, TIMEOUT)

    def abort(self) -> None:
        """Close; an exchange under way ends as reset, at the hub's next turn."""
        self.close()
        if self._sender is not None:
            self.error = CONNECTION_RESET  # nothing was sent, and nothing will be: `transmit` says so
        elif self._greenlet is not None and self.reply is None:
            self.error = CONNECTION_RESET
            self.end_ns = monotonic_ns()
            self.hub.loop.run_callback(self._wake)

    def close(self) -> None:
        """Close, once and for all."""
        if self._closed:
            return
        self._closed = True
        self._watcher.stop()
        self._watcher.close()
        self._sock.close()
        self._forget(self)

    def _send_rest(self, rest: memoryview) -> None:
        writable = self.hub.loop.io(self._fd, _WRITE)
        try:
            writable.start(self._wake)
            while rest:
                self.hub.switch()
                if self.reply is not None or self.error is not None:
                    # Answered before the request was whole: the rest is not sent, so nothing can follow it.
                    if self.reply is not None:
                        self.reply = self.reply._replace(keep_alive=False)
                    return
                try:
                    rest = rest[self._send(rest) :]
                except _WOULD_BLOCK:
                    continue
                except OSError:
                    self.error = CONNECTION_RESET
                    self.end_ns = monotonic_ns()
                    return
        finally:
            writable.stop()
            writable.close()

    def _wake(self) -> None:
        greenlet = self._greenlet
        if greenlet is not None:
            greenlet.switch()

    def _end(self, reply: HttpReply | None, error: str | None) -> None:
        self.reply = reply
        self.error = error
        self.end_ns = monotonic_ns() if reply is None else self.end_ns
        greenlet, self._greenlet = self._greenlet, None
        greenlet.switch()

    def _on_readable(self) -> None:
        """Called in the hub whenever something can be read."""
        if self._closed:
            return
        while True:
            arrival = self._arrival
            try:
                if arrival is None:
                    data = self._receive(_RECEIVE_BYTES)
                    end_ns = monotonic_ns()
                else:
                    data, end_ns = arrival.receive(self.start_ns)
            except _WOULD_BLOCK:
                return
            except OSError:
                data = None
            greenlet = self._greenlet
            if greenlet is None:
                self.close()  # idle: closed by the server, or it sent what nobody asked for
                return
            if data is None:
                self._end(None, CONNECTION_RESET)
                return
            self.end_ns = end_ns
            parser = self._parser
            if parser is None:
                reply = parse_whole(data)
                if reply is not None:
                    self.reply, self._greenlet = reply, None
                    greenlet.switch()
                    return
                parser = self._parser = ReplyParser()
            try:
                reply = parser.receive(data)
            except MalformedReply:
                self._end(None, BAD_REPLY if data else SHORT_REPLY)
                return
            if reply is not None or not data:
                # The end without a byte of the answer (a 1xx is none) leaves no reply and nothing malformed.
                self._end(reply, CONNECTION_RESET if reply is None else None)
                return
            if not self._tls:
                return
            # TLS: what was decrypted and not yet read does not make the descriptor readable.


def _tls_context(ca_bundle: str | None) -> Any:
    path = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True)
    try:
        # By name: without monkey patching, create_default_context would make a context that blocks the hub.
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except OSError as error:
        raise UserError(f"certificate bundle {path} cannot be read: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

"""Ports: kept while nobody listens on them, listened on, refused; and the connections of each."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from lastwriter.emulator.shell.counts import Counts
from lastwriter.emulator.shell.http import Connection, Exchange
from lastwriter.emulator.shell.inbox import Inbox

_HANDSHAKE_S: Final = 10.0
_GOODBYE_S: Final = 0.2  # an SDK whose connection is closed while it is idle says nothing


class Port:
    """A port that stays ours while nobody listens on it, so that a Region can refuse connections and come back.

    A bound socket that does not listen makes the kernel refuse; the one that listens shares the port with it.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:  # sharing would hide that somebody else has the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            self.port: int = probe.getsockname()[1]
        self._host = host
        self._family = family
        self._holder = self._bound()

    def listen(self) -> socket.socket:
        """A listening socket; closing it makes the port refuse."""
        listener = self._bound()
        listener.listen(1024)
        # Connections inherit it, so that those which a killed emulator left half closed do not keep its successor out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        return listener

    @property
    def url(self) -> str:
        """Of the endpoint."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"

    def close(self) -> None:
        """Give the port up."""
        self._holder.close()

    def _bound(self) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        # Not SO_REUSEADDR: with it, somebody else's probe would find the port free while nobody listens.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((self._host, self.port))
        return sock


class Listening:
    """A port with its connections."""

    signed = False
    """See :class:`lastwriter.emulator.shell.http.Service`."""
    inbox: Inbox | None = None
    """The same."""

    def __init__(self, port: Port) -> None:
        self.hanging = False
        self.counts = Counts()
        self.connections: set[Connection] = set()
        self._port = port
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None

    def listen(self) -> asyncio.Task[None] | None:
        """Listen from now on; the task ends when connections are accepted too."""
        if self._listener is None:
            self._listener = self._port.listen()
            self._opening = asyncio.get_running_loop().create_task(self._accept(self._listener))
        return self._opening

    def refuse(self) -> None:
        """Do not listen."""
        self._listener = None
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        tls = self._port.tls
        server = await loop.create_server(
            lambda: Connection(self),
            sock=listener,
            backlog=1024,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_S if tls is not None else None,
            ssl_shutdown_timeout=_GOODBYE_S if tls is not None else None,
        )
        if self._listener is listener:
            self._server = server
        else:  # told to refuse meanwhile
            server.close()

    def request(self, exchange: Exchange, method: bytes, path: bytes, target: bytes | None, body: bytes) -> None:
        """See :class:`lastwriter.emulator.shell.http.Service`."""
        raise NotImplementedError

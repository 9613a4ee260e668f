"""What clients have sent, taken in one go: all that a turn of the loop has read.

A request costs half as much again if the sockets are read and written between one and the next: kernel and interpreter
push each other out of the processor's caches. So a turn of the loop first reads every socket that has something, then
comes here, then writes (uvloop gathers writes by itself).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastwriter.emulator.shell.http import Connection


class Inbox:
    """Calls ``take`` with everything that has arrived, once in a turn in which something has."""

    __slots__ = ("_arrived", "_loop", "_take")

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[tuple[Connection, bytes]]], None]) -> None:
        self._loop = loop
        self._take = take
        self._arrived: list[tuple[Connection, bytes]] = []

    def put(self, connection: Connection, data: bytes) -> None:
        """``connection`` has read ``data``; empty: its client will send no more."""
        if not self._arrived:
            self._loop.call_soon(self._hand_over)
        self._arrived.append((connection, data))

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._take(arrived)

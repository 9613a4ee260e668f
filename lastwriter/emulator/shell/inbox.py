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

    __slots__ = ("_loop", "_take", "arrived")

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[tuple[Connection, bytes]]], None]) -> None:
        self._loop = loop
        self._take = take
        self.arrived: list[tuple[Connection, bytes]] = []
        """What connections have read; empty bytes: the client will send no more. Say :meth:`wake` before the first."""

    def wake(self) -> None:
        """Something arrives after nothing."""
        self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        arrived, self.arrived = self.arrived, []
        self._take(arrived)

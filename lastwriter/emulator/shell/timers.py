"""Wakes the core when something is due: a timerfd on Linux, else the loop's own timers. A little late, never early.

uvloop's ``call_later`` counts whole milliseconds and may fire 1.1 ms before its time. A timerfd on CLOCK_MONOTONIC,
which is what ``time.monotonic_ns`` reads, fires at the nanosecond asked for or after it. Elsewhere the loop's timer
is asked for two milliseconds more than needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

_CLOCK_MONOTONIC: Final = 1
_NONBLOCK_CLOEXEC: Final = 0o4000 | 0o2000000
_ABSOLUTE: Final = 1
_ROUND_UP_S: Final = 0.002


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class Waker:
    """One alarm: calls ``wake`` at the time last asked for, or after it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._armed_ns: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._descriptor = -1
        if sys.platform == "linux":
            self._library = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._library.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._descriptor >= 0:
            self._setting = _Setting()
            self._pointer = ctypes.byref(self._setting)
            loop.add_reader(self._descriptor, self._readable)

    def at(self, due_ns: int | None) -> None:
        """Wake at ``due_ns`` of ``time.monotonic_ns`` instead of what was asked for before; None: nothing is due."""
        armed_ns = self._armed_ns
        if due_ns is None or due_ns == armed_ns:
            return  # an alarm too many does no harm
        if armed_ns is not None and armed_ns < due_ns:
            return  # it will ask again then
        self._armed_ns = due_ns
        if self._descriptor >= 0:
            value = self._setting.value
            value.seconds, value.nanoseconds = divmod(max(due_ns, 1), 1_000_000_000)
            self._library.timerfd_settime(self._descriptor, _ABSOLUTE, self._pointer, None)
        else:
            if self._handle is not None:
                self._handle.cancel()
            delay_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
            self._handle = self._loop.call_later(delay_s + _ROUND_UP_S, self._fire)

    def close(self) -> None:
        """No more alarms."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._handle is not None:
            self._handle.cancel()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)
        self._fire()

    def _fire(self, *_: Any) -> None:
        self._armed_ns = None
        self._wake()

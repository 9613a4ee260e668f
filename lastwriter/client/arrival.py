"""When what is read from a socket had arrived: the kernel's own stamp, on the clock of the record.

A reply may lie in the socket for milliseconds before it is read: the loop is busy with others, or another program has
the processor. That is the client's time and not the store's. Linux stamps every packet as it comes in
(``SO_TIMESTAMPNS``, socket(7)) and hands out the stamp of the last one read, on the wall clock. How far that is from
the record's clock is looked at with every reply, so a clock that is being slewed does no harm; if it was set in the
meantime, or the two looks were torn apart, that reply counts as having arrived when it was read.

A stamp is never from before the request, and never from after the reading.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any, Final

from lastwriter.client.clock import monotonic_ns

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; where it means something else, no stamp comes
_RECEIVE_BYTES: Final = 65536
_STAMP: Final = struct.Struct("ll")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0
_SECOND_NS: Final = 1_000_000_000
_SET_NS: Final = 100_000
"""Wall clock and record's clock do not drift apart by this much between two replies unless one was set; and who took
longer than this for the two looks was interrupted between them."""


class Arrival:
    """Reads from one socket, and says when that arrived."""

    __slots__ = ("_ahead_ns", "_receive")

    def __init__(self, sock: Any) -> None:
        self._receive = sock.recvmsg
        self._ahead_ns = time.time_ns() - monotonic_ns()
        """Wall clock less record's clock, when last looked at."""

    @classmethod
    def of(cls, sock: Any) -> Arrival | None:
        """For a connected socket of the operating system's; None where there are no such stamps."""
        if not sys.platform.startswith("linux"):
            return None
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:
            return None
        return cls(sock)

    def receive(self, since_ns: int) -> tuple[bytes, int]:
        """What there is (empty: the peer closed), and when the last of it had arrived, not before ``since_ns``.

        Raises OSError as ``recv`` does.
        """
        data, ancillary, _, _ = self._receive(_RECEIVE_BYTES, _ANCILLARY_BYTES)
        # In this order: whatever comes between the two looks makes an answer seem later, never earlier.
        wall_ns = time.time_ns()
        read_ns = monotonic_ns()
        ahead_ns, before_ns = wall_ns - read_ns, self._ahead_ns
        self._ahead_ns = ahead_ns
        if ancillary and -_SET_NS < ahead_ns - before_ns < _SET_NS:
            seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
            arrived_ns: int = seconds * _SECOND_NS + nanoseconds - ahead_ns
            if since_ns <= arrived_ns <= read_ns:
                return data, arrived_ns
        return data, read_ns

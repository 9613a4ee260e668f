"""Heads that a client sends again and again: learned once, then read by one regular expression.

A client's SDK sends its headers in the same order with the same names every time; only values differ. The first request
of a connection goes through llhttp, with a callback a header. If it came in one piece and is of the plainest kind, its
*layout* becomes a pattern in which every name stands as it is, and the next requests are matched with it: a third of
the cost. Whatever does not match to the last byte, llhttp reads. So a layout may be narrow, but must never see
anything that llhttp would see otherwise, or refuse:

1. Values are printable ASCII; ``\\r\\n`` stands where a header ends and nowhere else.
2. Exactly one Content-Length, of at most seven digits, and as many bytes after the head: nothing missing, nothing
   of a next request.
3. Exactly one X-Amz-Target. No header that changes how the message is read or answered: Transfer-Encoding,
   Content-Encoding, Expect, Upgrade, a Connection that says anything but keep-alive, an Accept-Encoding other than
   identity.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_START: Final = b"POST / HTTP/1.1\r\n"
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_LINE: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+): ([ -~]*)")
_KEPT: Final = rb"(?i:keep-alive)"
_AS_IT_IS: Final = rb"(?i:identity)?"
_VALUES: Final = {
    b"content-length": rb"([0-9]{1,7}+)",
    b"x-amz-target": rb"([A-Za-z0-9_.]*+)",
    b"connection": _KEPT,
    b"accept-encoding": _AS_IT_IS,
}
_UNCOMPRESSED: Final = (b"", b"identity")
_READ_OTHERWISE: Final = {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"proxy-connection"}
_LAYOUTS: Final = 64
_LONGEST_HEAD: Final = 8192


class Layout:
    """Names of a head in their order."""

    __slots__ = ("_breaks", "_length_first", "_match")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        lines = [re.escape(name) + b": " + _VALUES.get(name.lower(), rb"[^\r]*+") + rb"\r\n" for name in names]
        self._match = re.compile(re.escape(_START) + b"".join(lines) + rb"\r\n").match
        self._breaks = b"\r\n" * (len(names) + 2)
        lower = [name.lower() for name in names]
        self._length_first = lower.index(b"content-length") < lower.index(b"x-amz-target")

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """X-Amz-Target and body, if ``data`` is one request of this layout."""
        found = self._match(data)
        if found is None:
            return None
        end = found.end()
        length, target = found.groups() if self._length_first else found.group(2, 1)
        if len(data) - end != int(length) or data[:end].translate(None, _PRINTABLE) != self._breaks:
            return None
        return target, data[end:]


def headers_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Names in lower case and values of a head that a layout has read."""
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:-2]]
    return [(name.lower(), value) for name, _, value in lines]


def learn(data: bytes) -> Layout | None:
    """The layout of the request at the start of ``data``; None: it is one for llhttp."""
    end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD)
    if end < 0 or not data.startswith(_START):
        return None
    names = []
    for line in data[len(_START) : end].split(b"\r\n"):
        parts = _LINE.fullmatch(line)
        if parts is None or parts[1].lower() in _READ_OTHERWISE:
            return None
        if parts[1].lower() == b"accept-encoding" and parts[2].strip().lower() not in _UNCOMPRESSED:
            return None
        names.append(parts[1])
    lower = [name.lower() for name in names]
    if lower.count(b"content-length") != 1 or lower.count(b"x-amz-target") != 1:
        return None
    return _layout(tuple(names))


@lru_cache(_LAYOUTS)
def _layout(names: tuple[bytes, ...]) -> Layout:
    return Layout(names)

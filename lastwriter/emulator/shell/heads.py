"""Heads that a client sends again and again: learned once, then read by one regular expression, or by comparing.

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

Most values do not differ either, and those that do (a date, a signature) keep their length. Two heads of a layout make
a *template*: where they agree, the next must agree too, to the byte; where they differ, it may have any printable
ASCII. That is a few comparisons: a third of the cost again. X-Amz-Target and whatever rule 3 names must agree.
"""

from __future__ import annotations

import re
from functools import lru_cache
from os.path import commonprefix
from typing import Final

_START: Final = b"POST / HTTP/1.1\r\n"
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_LINE: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+): ([ -~]*)")
_WORD_BEGUN: Final = re.compile(rb"[A-Za-z0-9]*\Z")
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
_TEMPLATES: Final = 4
_LESSONS: Final = 16
"""Heads that are learned from; then a connection whose heads differ all the time is left to what reads them."""
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


class Template:
    """A head of one length, of which most stays as it is."""

    __slots__ = ("_end", "_fixed", "_free", "_length", "_target")

    def __init__(self, end: int, fixed: list[tuple[int, bytes]], free: list[slice], length: slice, target: bytes):
        self._end = end
        self._fixed = fixed
        self._free = free
        self._length = length
        self._target = target

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """X-Amz-Target and body, if ``data`` is one request like those that the template was made of."""
        for at, text in self._fixed:
            if not data.startswith(text, at):
                return None
        for part in self._free:
            if data[part].translate(None, _PRINTABLE):
                return None
        length, body = data[self._length], data[self._end :]
        if not length.isdigit() or int(length) != len(body):
            return None
        return self._target, body


class Heads:
    """What the client of one connection sends."""

    __slots__ = ("_layout", "_lessons", "_seen", "_templates")

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._templates: list[Template] = []
        self._seen: dict[bytes, bytes] = {}  # X-Amz-Target → the last head with it that no template read
        self._lessons = _LESSONS

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """X-Amz-Target and body, if ``data`` is one request as this client is known to send them."""
        for template in self._templates:
            found = template.read(data)
            if found is not None:
                return found
        if self._layout is None:
            return None
        found = self._layout.read(data)
        if found is not None and self._lessons:
            self._lessons -= 1
            target, body = found
            head = data[: len(data) - len(body)]
            before = self._seen.get(target)
            learned = template_of(before, head, target) if before is not None else None
            if learned is not None:
                self._templates = [learned, *self._templates[: _TEMPLATES - 1]]
            self._seen[target] = head
        return found

    def learn(self, data: bytes) -> None:
        """llhttp has read ``data``, which was one whole request."""
        if self._lessons:
            self._lessons -= 1
            self._layout = learn(data)


def template_of(before: bytes, head: bytes, target: bytes) -> Template | None:
    """What two heads of a layout have in common; None: not enough."""
    old_lines, lines = before.split(b"\r\n")[1:-2], head.split(b"\r\n")[1:-2]
    if len(before) != len(head) or len(old_lines) != len(lines):
        return None
    fixed: list[tuple[int, bytes]] = [(0, _START)]
    free = []
    length = slice(0)
    at = len(_START)
    for old, line in zip(old_lines, lines, strict=True):
        name = line.partition(b": ")[0]
        end = at + len(line)
        start, text = fixed.pop()  # it reaches up to this line
        if old == line and name.lower() != b"content-length":
            fixed.append((start, text + line + b"\r\n"))
        else:
            common = _WORD_BEGUN.sub(b"", commonprefix([old, line]) or b"")  # noqa: RUF071 - characters it is
            if len(old) != len(line) or not common.startswith(name + b": "):
                return None
            rest = slice(at + len(common), end)
            if name.lower() == b"content-length":
                length = rest
            elif name.lower() in _VALUES:
                return None
            else:
                free.append(rest)
            fixed += [(start, text + common), (end, b"\r\n")]
        at = end + 2
    start, text = fixed.pop()
    fixed.append((start, text + b"\r\n"))
    return Template(len(head), fixed, free, length, target)


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

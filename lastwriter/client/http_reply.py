"""HTTP replies: a fast path for the reply that came whole in one piece, and llhttp for every other.

The fast path takes only a reply as DynamoDB sends it (one regular expression knows every header that it may have) and
leaves the rest, garbage included, to :class:`ReplyParser`, which costs several times as much. A property test holds the
two together: what the fast path takes, the parser reads the same.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""No reply of DynamoDB comes near: a page has 1 MB, a batch 16 MB."""


class HttpReply(NamedTuple):
    """One final reply (never a 1xx)."""

    status: int
    crc32: int | None
    """``x-amz-crc32``; None: no such header; -1: not a number."""
    body: bytes
    """As sent: the checksum is over these bytes."""
    keep_alive: bool
    """The connection may carry another request."""
    encoding: str | None = None
    """``Content-Encoding``, other than identity."""
    error_type: str | None = None
    """``x-amzn-errortype``."""


class MalformedReply(Exception):  # noqa: N818 - what a peer did, not a fault of the code
    """What came back is not HTTP, or more than a reply can be."""


# The head of a plain reply: the status line, one Content-Length, at most one x-amz-crc32, and headers that change
# nothing about how the body is to be read. Possessive throughout (`*+`), so that a mismatch is found in one pass.
_TEXT: Final = r"[^\x00-\x08\x0a-\x1f\x7f]*+\r\n"
_REST: Final = (
    rf"(?:(?:server|date|content-type|x-amzn-requestid|keep-alive):{_TEXT}|connection: *+keep-alive *+\r\n)*+"
)
_LENGTH: Final = r"content-length: *+(\d{1,8}+) *+\r\n"
_CRC32: Final = r"x-amz-crc32: *+(\d++) *+\r\n"
_PLAIN_HEAD: Final = re.compile(
    rf"HTTP/1\.1 (200|[45]\d\d) {_TEXT}{_REST}"
    rf"(?:{_LENGTH}{_REST}(?:{_CRC32}{_REST})?+|{_CRC32}{_REST}{_LENGTH}{_REST})\r\n".encode(),
    re.IGNORECASE,
)


def parse_whole(data: bytes) -> HttpReply | None:
    """The reply, if ``data`` is exactly one plain reply; else None (which says nothing against it)."""
    head = _PLAIN_HEAD.match(data)
    if head is None:
        return None
    status, length, crc32, crc32_first, length_last = head.groups()
    body = data[head.end() :]
    if len(body) != int(length or length_last):
        return None
    crc32 = crc32 or crc32_first
    return HttpReply(int(status), None if crc32 is None else int(crc32), body, True)


class ReplyParser(HTTPResponseParser):
    """Reads one reply in any number of pieces: chunked, interim (1xx) replies, a body that ends with the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, str] = {}
        self._field = ""
        self._value: str | None = None
        self._begun = False
        self._head_bytes = 0
        self._body = bytearray()
        self._reply: HttpReply | None = None

    def receive(self, data: bytes) -> HttpReply | None:
        """Feed what was read (empty: the peer closed). The reply once it is complete, else None.

        Raises MalformedReply, for an end in the middle too; an end before the first byte of the answer (a 1xx is none)
        gives None.
        """
        try:
            self.feed(data)
        except HTTPParseError as error:
            if self._reply is not None:
                return self._reply._replace(keep_alive=False)
            if not data and not self._begun:
                return None
            raise MalformedReply(str(error.args[0] if error.args else error)) from None
        if self._reply is not None and not self.should_keep_alive():
            self._reply = self._reply._replace(keep_alive=False)
        return self._reply

    # Callbacks of the compiled parser. Names and values may come in pieces.

    def _on_status(self, _text: str) -> None:
        pass

    def _on_message_begin(self) -> None:
        if self._reply is not None:
            # What follows a whole reply belongs to nobody: the reply stands, the connection does not.
            self._reply = self._reply._replace(keep_alive=False)
        self._begun = True
        self._headers.clear()
        self._field, self._value = "", None

    def _on_header_field(self, text: str) -> None:
        self._count(text)
        if self._value is not None:
            self._keep_header()
        self._field += text

    def _on_header_value(self, text: str) -> None:
        self._count(text)
        self._value = text if self._value is None else self._value + text

    def _on_headers_complete(self) -> None:
        self._keep_header()

    def _on_body(self, piece: bytearray) -> None:
        self._body += piece
        if len(self._body) > MAX_BODY_BYTES:
            raise HTTPParseError(f"a body of more than {MAX_BODY_BYTES} bytes")

    def _on_message_complete(self) -> None:
        self._keep_header()  # trailers
        self._begun = False
        status = self.get_code()
        if status < 200 and status != 101:
            return
        if self._reply is not None:
            return
        self._reply = reply_of(status, self._headers, bytes(self._body))

    def _keep_header(self) -> None:
        if self._field:
            self._headers[self._field.lower()] = (self._value or "").strip()
        self._field, self._value = "", None

    def _count(self, text: str) -> None:
        self._head_bytes += len(text)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HTTPParseError(f"a head of more than {MAX_HEAD_BYTES} bytes")


def reply_of(status: int, headers: Mapping[str, str], body: bytes) -> HttpReply:
    """A reply from its parts; ``headers`` by lower-case name."""
    crc32 = headers.get("x-amz-crc32")
    if crc32 is not None:
        crc32 = crc32.strip()
    encoding = headers.get("content-encoding", "identity").strip().lower()
    return HttpReply(
        status,
        None if crc32 is None else int(crc32) if crc32.isascii() and crc32.isdigit() else -1,
        body,
        True,
        None if encoding == "identity" else encoding,
        headers.get("x-amzn-errortype"),
    )


def decoded(reply: HttpReply) -> bytes:
    """The body without its Content-Encoding; raises MalformedReply for one that cannot be undone."""
    if reply.encoding is None:
        return reply.body
    if reply.encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedReply(f"content encoding {reply.encoding!r}")
    try:
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        body = inflate.decompress(reply.body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise MalformedReply(f"content encoding {reply.encoding!r}: {error}") from None
    if not inflate.eof:
        raise MalformedReply(f"content encoding {reply.encoding!r}: cut short, or larger than {MAX_BODY_BYTES} bytes")
    return body

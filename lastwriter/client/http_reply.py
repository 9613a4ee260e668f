"""HTTP replies: a fast path for the reply that came whole in one piece, and llhttp for every other.

The fast path takes only what it is sure about (HTTP/1.1, a common status, one Content-Length, no transfer or content
coding, nothing before or after) and leaves the rest, garbage included, to :class:`ReplyParser`. A property test holds
the two together: what the fast path takes, the parser reads the same.
"""

from __future__ import annotations

import zlib
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


_STATUSES: Final = {str(status).encode(): status for status in (200, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503)}


def parse_whole(data: bytes) -> HttpReply | None:
    """The reply, if ``data`` is exactly one plain reply; else None (which says nothing against it)."""
    status = _STATUSES.get(data[9:12])
    end = data.find(b"\r\n\r\n")
    if status is None or end < 0 or not data.startswith(b"HTTP/1.1 ") or data[12] not in b" \r":
        return None
    head = data[: end + 2].lower()
    find = head.find
    at = find(b"\r\ncontent-length:")
    if at < 0 or find(b"\r\ncontent-length:", at + 17) >= 0 or find(b"\r\n ") >= 0 or find(b"\r\n\t") >= 0:
        return None
    length = head[at + 17 : find(b"\r\n", at + 17)].strip(b" ")
    if not length.isdigit() or end + 4 + int(length) != len(data):
        return None
    if find(b"-encoding:") >= 0 or find(b"\nupgrade") >= 0 or find(b"-errortype:") >= 0:
        return None
    at = find(b"\r\nconnection:")
    if at >= 0 and head[at + 13 : find(b"\r\n", at + 13)].strip(b" ") != b"keep-alive":
        return None
    at = find(b"\r\nx-amz-crc32:")
    if at < 0:
        return HttpReply(status, None, data[end + 4 :], True)
    if find(b"\r\nx-amz-crc32:", at + 14) >= 0:
        return None
    crc32 = head[at + 14 : find(b"\r\n", at + 14)].strip(b" ")
    if not crc32.isdigit():
        return None
    return HttpReply(status, int(crc32), data[end + 4 :], True)


class ReplyParser(HTTPResponseParser):
    """Reads one reply in any number of pieces: chunked, interim (1xx) replies, a body that ends with the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.began = False
        """At least one byte of a reply was read."""
        self._headers: dict[str, str] = {}
        self._field = ""
        self._value: str | None = None
        self._head_bytes = 0
        self._body = bytearray()
        self._reply: HttpReply | None = None

    def receive(self, data: bytes) -> HttpReply | None:
        """Feed what was read (empty: the peer closed). The reply once it is complete, else None.

        Raises MalformedReply; for an end in the middle too (``began`` tells a short reply from none).
        """
        if data:
            self.began = True
        try:
            self.feed(data)
        except HTTPParseError as error:
            # Bytes after a whole reply: the reply stands, the connection does not.
            if self._reply is not None:
                return self._reply._replace(keep_alive=False)
            raise MalformedReply(str(error.args[0] if error.args else error)) from None
        if self._reply is not None and not self.should_keep_alive():
            self._reply = self._reply._replace(keep_alive=False)
        return self._reply

    # Callbacks of the compiled parser. Names and values may come in pieces.

    def _on_status(self, _text: str) -> None:
        pass

    def _on_message_begin(self) -> None:
        if self._reply is not None:
            return  # what follows a whole reply is looked at only to refuse the connection
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
        status = self.get_code()
        if status < 200 and status != 101:
            return
        if self._reply is not None:
            # A second reply in the same breath belongs to nobody.
            self._reply = self._reply._replace(keep_alive=False)
            return
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        crc32 = self._headers.get("x-amz-crc32")
        self._reply = HttpReply(
            status,
            None if crc32 is None else int(crc32) if crc32.isascii() and crc32.isdigit() else -1,
            bytes(self._body),
            True,
            None if encoding == "identity" else encoding,
            self._headers.get("x-amzn-errortype"),
        )

    def _keep_header(self) -> None:
        if self._field:
            self._headers[self._field.lower()] = (self._value or "").strip()
        self._field, self._value = "", None

    def _count(self, text: str) -> None:
        self._head_bytes += len(text)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HTTPParseError(f"a head of more than {MAX_HEAD_BYTES} bytes")


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

"""HTTP replies: a fast path for the reply that came whole in one piece, and llhttp for every other.

The fast path takes only a reply as DynamoDB sends it (one regular expression knows every header that it may have) and
leaves the rest, garbage included, to :class:`ReplyParser`, which costs several times as much. A property test holds the
two together: what the fast path takes, the parser reads the same.
"""

from __future__ import annotations

import re
from typing import Final

from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

from lastwriter.client.http_reply import MAX_BODY_BYTES, HttpReply, MalformedReply, reply_of

MAX_HEAD_BYTES: Final = 64 * 1024

# The head of a plain reply: the status line, one Content-Length, at most one x-amz-crc32, and headers that change
# nothing about how the body is to be read. Possessive throughout (`*+`), so that a mismatch is found in one pass.
_TEXT: Final = r"[^\x00-\x08\x0a-\x1f\x7f]*+\r\n"
_REST: Final = (
    rf"(?:(?:server|date|content-type|x-amzn-requestid|keep-alive):{_TEXT}|connection: *+keep-alive *+\r\n)*+"
)
_LENGTH: Final = r"content-length: *+(\d{1,8}+) *+\r\n"
_CRC32: Final = r"x-amz-crc32: *+(\d{1,10}+) *+\r\n"
_PLAIN_HEAD: Final = re.compile(
    rf"HTTP/1\.1 (200|[45]\d\d) {_TEXT}{_REST}"
    rf"(?:{_LENGTH}{_REST}(?:{_CRC32}{_REST})?+|{_CRC32}{_REST}{_LENGTH}{_REST})\r\n".encode(),
    re.IGNORECASE,
)


# The same for replies written just as DynamoDB and our emulator write them, which takes a third of the time.
_USUAL_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (200|[45]\d\d) [ -~]*+\r\nServer: [ -~]*+\r\n(?:Date: [ -~]*+\r\n)?+Content-Type: [ -~]*+\r\n"
    rb"(?:Content-Length: (\d{1,8}+)\r\n)?+Connection: keep-alive\r\nx-amzn-RequestId: [ -~]*+\r\n"
    rb"x-amz-crc32: (\d{1,10}+)\r\n(?(2)|Content-Length: (\d{1,8}+)\r\n)\r\n"
)


def parse_whole(data: bytes) -> HttpReply | None:
    """The reply, if ``data`` is exactly one plain reply; else None (which says nothing against it)."""
    usual = _USUAL_HEAD.match(data)
    if usual is not None:
        status, length, crc32, length_last = usual.groups()
        body = data[usual.end() :]
        return HttpReply(int(status), int(crc32), body, True) if len(body) == int(length or length_last) else None
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

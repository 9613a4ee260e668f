"""HTTP replies in parts, and their content codings undone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

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


def reply_of(status: int, headers: Mapping[str, str], body: bytes) -> HttpReply:
    """A reply from its parts; ``headers`` by lower-case name."""
    crc32 = headers.get("x-amz-crc32")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    return HttpReply(
        status,
        None if crc32 is None else _number(crc32.strip()),
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


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1

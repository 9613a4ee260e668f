"""Compressed replies and requests, as DynamoDB has them (observed by ScyllaDB's tests of its DynamoDB-compatible API).

A reply of 4 KB or more is compressed with gzip or deflate if Accept-Encoding names it: the one of the higher quality,
of equal ones the first; ``*`` stands for whichever of the two is not named. Errors are sent as they are. A request may
come with ``Content-Encoding: gzip``; any other encoding, and what does not unpack, is answered with 500.
"""

from __future__ import annotations

import gzip
import re
import zlib
from functools import lru_cache
from typing import Final

COMPRESSED_FROM_BYTES: Final = 4096
_ENCODINGS: Final = ("gzip", "deflate")
_QUALITY: Final = re.compile(r"q\s*=\s*(-?[0-9]+(?:\.[0-9]*)?)\s*")
_LEVEL: Final = 1


class BadEncodingError(ValueError):
    """A request that cannot be unpacked."""


@lru_cache(64)
def accepted(header: bytes | None) -> str | None:
    """Encoding of the replies to a client that sends this Accept-Encoding; None: as they are."""
    given: dict[str, float] = {}
    for part in (header or b"").decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in (*_ENCODINGS, "*"):
            given[name] = max(given.get(name, 0.0), _quality(parameters))
    rest = given.pop("*", 0.0)
    for name in _ENCODINGS:
        given.setdefault(name, rest)
    best = max(given, key=lambda name: given[name])
    return best if given[best] > 0 else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        found = _QUALITY.fullmatch(parameter)
        if found is not None:
            return min(1.0, float(found[1]))
    return 1.0


def compressed(data: bytes, encoding: str) -> bytes | None:
    """The body of a reply in that encoding; None: it is too small for that."""
    if len(data) < COMPRESSED_FROM_BYTES:
        return None
    return gzip.compress(data, _LEVEL) if encoding == "gzip" else zlib.compress(data, _LEVEL)


def unpacked(body: bytes, encoding: bytes, limit_bytes: int) -> bytes:
    """The body of a request that came with that Content-Encoding; BadEncodingError."""
    kind = encoding.strip().lower()
    if kind in (b"", b"identity"):
        return body
    if kind != b"gzip" or not body:
        raise BadEncodingError
    parts: list[bytes] = []
    left = limit_bytes
    try:
        while body:  # gzip allows several members, one after another
            member = zlib.decompressobj(wbits=31)
            part = member.decompress(body, left)
            left -= len(part)
            if not member.eof or left <= 0:
                raise BadEncodingError
            parts.append(part)
            body = member.unused_data
    except zlib.error:
        raise BadEncodingError from None
    return b"".join(parts)

"""Replies are read the same however they arrive, and the fast path takes nothing that the parser reads otherwise."""

from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastwriter.client.http_reply import HttpReply, MalformedReply, decoded
from lastwriter.client.reply_parser import ReplyParser, parse_whole
from tests.client.scripted_server import chunked, reply

bodies = st.one_of(st.just(b""), st.just(b'{"Item":{"v":{"N":"1"}}}'), st.binary(max_size=60))
extras = st.lists(
    st.sampled_from(
        [
            "Connection: keep-alive\r\n",
            "Connection: close\r\n",
            "connection: Keep-Alive, Upgrade\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Encoding: gzip\r\n",
            "Content-Length: 3\r\n",
            "X-Amzn-ErrorType: ValidationException:http://x\r\n",
            "Upgrade: h2c\r\n",
            "x-amz-crc32: 12\r\n",
            "Keep-Alive: timeout=5\r\n",
            "X: a\r\n b\r\n",
            "X-Content-Length: 7\r\n",
        ]
    ),
    max_size=3,
).map("".join)
statuses = st.sampled_from(["200 OK", "400 Bad Request", "500 ", "409", "204 No Content", "302 Found", "100 Continue"])
replies = st.builds(
    lambda body, status, crc, extra, length: reply(body, status, crc, extra, length),
    bodies,
    statuses,
    st.one_of(st.just("right"), st.none(), st.integers(0, 2**32), st.sampled_from(["-1", "1_0", "x", "", "9" * 5000])),
    extras,
    st.booleans(),
)


def _read(pieces: list[bytes], end: bool = False) -> HttpReply | str | None:
    """The reply, ``malformed``, or None while it is incomplete."""
    parser = ReplyParser()
    try:
        for piece in pieces:
            found = parser.receive(piece)
            if found is not None:
                return found
        return parser.receive(b"") if end else None
    except MalformedReply:
        return "malformed"


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=400)
@given(replies, st.lists(st.tuples(st.integers(0, 400), st.sampled_from(b"\r\n \t:;,\0Aa0-9\x80")), max_size=2))
def test_the_fast_path_takes_only_what_the_parser_reads_the_same(data: bytes, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, byte in damage:
        damaged[place % len(damaged)] = byte
    fast = parse_whole(bytes(damaged))
    if fast is not None:
        assert fast == _read([bytes(damaged)])


DYNAMODB = (
    "HTTP/1.1 {status}\r\nServer: Server\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
    "Content-Type: application/x-amz-json-1.0\r\nContent-Length: {length}\r\nConnection: keep-alive\r\n"
    "x-amzn-RequestId: 0123456789ABCDEFVV4KQNSO5AEMVJF66Q9ASUAAJG\r\nx-amz-crc32: {crc}\r\n\r\n"
)
EMULATOR = (
    "HTTP/1.1 {status}\r\nServer: Server\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: keep-alive\r\n"
    "x-amzn-RequestId: 0123456789ABCDEF\r\nx-amz-crc32: {crc}\r\nContent-Length: {length}\r\n\r\n"
)


@settings(max_examples=300)
@given(
    st.sampled_from([DYNAMODB, EMULATOR]),
    bodies,
    st.sampled_from(["200 OK", "400 Bad Request", "500 No"]),
    st.integers(-1, 1),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(b"\r\n \t:;,\0Aa0-9\x80")), max_size=2),
)
@example(DYNAMODB.replace("x-amz-crc32", "Content-Length: 0\r\nx-amz-crc32"), b"", "200 OK", 0, [])
@example(EMULATOR.replace("Content-Length: {length}\r\n", ""), b"{}", "200 OK", 0, [])
def test_replies_as_they_really_are_are_read_the_same(
    head: str, body: bytes, status: str, off: int, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(head.format(status=status, length=max(0, len(body) + off), crc=zlib.crc32(body)).encode() + body)
    if off == 0 and not damage and head in (DYNAMODB, EMULATOR):
        assert parse_whole(bytes(data)) == HttpReply(int(status[:3]), zlib.crc32(body), body, True)
    for place, byte in damage:
        data[place % len(data)] = byte
    fast = parse_whole(bytes(data))
    if fast is not None:
        assert fast == _read([bytes(data)])


@given(bodies, st.sampled_from(["200 OK", "400 Bad Request", "500 No"]))
def test_the_fast_path_takes_what_dynamodb_sends(body: bytes, status: str) -> None:
    data = reply(body, status, extra="Connection: keep-alive\r\n")
    assert parse_whole(data) == HttpReply(int(status[:3]), zlib.crc32(body), body, True)


@settings(max_examples=300)
@given(replies, st.lists(st.integers(0, 10_000), max_size=8))
@example(reply(b"{}", length=False), [3, 40])
def test_it_does_not_matter_how_a_reply_is_cut(data: bytes, cuts: list[int]) -> None:
    assert _read(_cut(data, cuts), end=True) == _read([data], end=True)


@given(st.binary(max_size=80), st.lists(st.integers(1, 79), max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_chunks_become_the_body(body: bytes, chunks: list[int], cuts: list[int]) -> None:
    data = chunked(body, *sorted({chunk for chunk in chunks if chunk < len(body)}))
    found = _read(_cut(data, cuts))
    assert isinstance(found, HttpReply)
    assert (found.body, found.crc32, found.keep_alive) == (body, zlib.crc32(body), True)


@given(st.integers(0, 150), st.lists(st.integers(0, 10_000), max_size=3))
def test_a_reply_cut_short_is_never_taken_for_whole(missing: int, cuts: list[int]) -> None:
    data = reply(b'{"Item":{"v":{"N":"1"}}}')
    short = data[: len(data) - 1 - missing]
    assert _read(_cut(short, cuts)) is None
    assert _read(_cut(short, cuts), end=True) == "malformed"


@given(st.binary(max_size=200))
def test_garbage_is_never_an_error_of_ours(data: bytes) -> None:
    assert parse_whole(data) is None
    _read([data], end=True)


def test_interim_replies_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-amz-crc32: 9\r\n\r\n" + reply(b"{}")
    found = _read([data])
    assert found == HttpReply(200, zlib.crc32(b"{}"), b"{}", True)
    assert _read([data[i : i + 1] for i in range(len(data))]) == found


@pytest.mark.parametrize("tail", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 2"])
def test_what_follows_a_reply_costs_the_connection_and_not_the_reply(tail: bytes) -> None:
    data = reply(b"{}") + tail
    assert parse_whole(data) is None
    found = _read([data])
    assert isinstance(found, HttpReply)
    assert (found.status, found.body, found.keep_alive) == (200, b"{}", False)


@pytest.mark.parametrize("data", [b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nxxxx"])
def test_a_change_of_protocol_is_no_answer(data: bytes) -> None:
    found = _read([data])
    assert found == "malformed" or (isinstance(found, HttpReply) and not 200 <= found.status < 300)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 60_000,
    ],
)
def test_what_cannot_be_trusted_is_malformed(data: bytes) -> None:
    assert _read([data]) == "malformed"


def test_compressed_bodies() -> None:
    body = b'{"a":1}' * 50
    packed = gzip.compress(body)
    assert decoded(HttpReply(200, None, packed, True, "gzip")) == body
    assert decoded(HttpReply(200, None, zlib.compress(body), True, "deflate")) == body
    for broken in (packed[:-1], b"no", b""):
        with pytest.raises(MalformedReply):
            decoded(HttpReply(200, None, broken, True, "gzip"))
    with pytest.raises(MalformedReply, match="br"):
        decoded(HttpReply(200, None, packed, True, "br"))

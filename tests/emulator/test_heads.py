"""Heads read by their layout: nobody could tell from the replies, whatever is sent in whatever pieces."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.emulator.shell.counts import Counts
from lastwriter.emulator.shell.heads import Heads, learn, template_of
from lastwriter.emulator.shell.http import Connection, Exchange

NAMES = [
    b"Host", b"host", b"X-Amz-Target", b"x-amz-target", b"X-AMZ-TARGET", b"Content-Length", b"content-length",
    b"Content-Type", b"User-Agent", b"Authorization", b"Connection", b"Transfer-Encoding", b"Expect", b"Upgrade",
    b"Proxy-Connection", b"Keep-Alive", b"X-Amz-Date", b"Accept-Encoding",
    b"Content-Encoding", b"bad name", b"bad:name", b"", b"\x01", b" Folded",
]  # fmt: skip
VALUES = [
    b"", b"x", b"DynamoDB_20120810.GetItem", b"keep-alive", b"Keep-Alive", b"close", b"upgrade", b"chunked",
    b"100-continue", b"gzip", b"identity",
    b"2", b"02", b"+2", b"2 ", b" 2", b"0", b"16777217", b"99999999", b"a\tb", b"a\x00b", b"a\nb",
    b"a\rb", b"\xc3\xa9", b"a\x7fb", b"a: b", b"DynamoDB_20120810.\xe9", b"two\r\n folded",
]  # fmt: skip
STARTS = [
    b"POST / HTTP/1.1",
    b"POST / HTTP/1.0",
    b"GET / HTTP/1.1",
    b"POST /x HTTP/1.1",
    b"POST  / HTTP/1.1",
    b"POST /",
]


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.data += data

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close
    pause_reading = resume_reading = lambda self: None


class Echo:
    """Answers with what it was asked; every third request a while later."""

    def __init__(self) -> None:
        self.hanging = False
        self.signed = False
        self.inbox = None
        self.counts = Counts()
        self.connections: set[Connection] = set()
        self.asked: list[Any] = []
        self.late: list[tuple[Exchange, str]] = []

    def request(self, exchange: Exchange, method: bytes, path: bytes, target: bytes | None, body: bytes) -> None:
        self.asked.append((method, path, target, body))
        if len(self.asked) % 3:
            exchange.reply(200, repr(self.asked[-1]))
        else:
            self.late.append((exchange, repr(self.asked[-1])))


def conversation(pieces: list[bytes]) -> tuple[bytes, list[Any], bool]:
    """What a connection writes, what it was asked, and whether it closed."""
    service, transport = Echo(), Transport()
    connection = Connection(service)
    connection.connection_made(transport)  # type: ignore[arg-type]
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
    for exchange, body in service.late:
        exchange.reply(200, body)
    return re.sub(rb"RequestId: \w+", b"", transport.data), service.asked, transport.closed


def plain(body: bytes = b"{}", *more: bytes, target: bytes = b"DynamoDB_20120810.GetItem") -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: x", b"X-Amz-Target: " + target, *more, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", b""]) + body


DATED = [(b"Date: " + date, b"Connection: keep-alive") for date in (b"1", b"2", b"\t", b"\x7f", b" ", b"33")]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Plain ones mostly, and everything that is not quite."""
    body = draw(st.sampled_from([b"", b"{}", b'{"a":1}', b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]))
    if draw(st.integers(0, 2)):
        target = draw(st.sampled_from([b"DynamoDB_20120810.GetItem", b"", b"Other.Thing"]))
        more = draw(st.sampled_from([(), (b"Connection: keep-alive",), (b"connection: Keep-Alive", b"A: b"), *DATED]))
        return plain(body, *more, target=target)
    lines = [draw(st.sampled_from(STARTS))]
    lines += [b"X-Amz-Target: t", b"Content-Length: %d" % len(body)] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        colon = draw(st.sampled_from([b": ", b":", b":\t", b" : ", b""]))
        lines.insert(
            draw(st.integers(1, len(lines))), draw(st.sampled_from(NAMES)) + colon + draw(st.sampled_from(VALUES))
        )
    ends = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]))
    return ends.join([*lines, b"", b""]) + body


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Requests in pieces, together, damaged."""
    pieces: list[bytes] = [plain()] if draw(st.booleans()) else []
    for data in draw(st.lists(requests(), min_size=1, max_size=6)):
        whole = data
        match draw(st.integers(0, 5)):
            case 0:
                at = draw(st.integers(0, len(whole)))
                pieces += [whole[:at], whole[at:]]
            case 1 if pieces:
                pieces[-1] += whole
            case 2:
                at = draw(st.integers(0, len(whole) - 1))
                damage = draw(st.sampled_from([b"", b"\r", b"\n", b"\x00", b" ", b":", b"\x80", b"A", b"\r\n"]))
                pieces.append(whole[:at] + damage + whole[at + draw(st.integers(0, 1)) :])
            case _:
                pieces.append(whole)
    return [piece for piece in pieces if piece]


@settings(max_examples=500, deadline=None)
@given(conversations())
def test_nobody_can_tell_which_way_a_request_was_read(pieces: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heads, "learn", lambda self, data: None)
        expected = conversation(pieces)
    assert conversation(pieces) == expected


def test_the_second_request_of_a_client_does_not_reach_the_parser() -> None:
    service = Echo()
    connection = Connection(service)
    connection.connection_made(Transport())  # type: ignore[arg-type]
    connection.data_received(plain())
    connection._parser = None
    connection.data_received(plain(b'{"b": 2}', target=b"DynamoDB_20120810.Scan"))
    assert service.asked[-1] == (b"POST", b"/", b"DynamoDB_20120810.Scan", b'{"b": 2}')


@pytest.mark.parametrize(
    "data",
    [
        plain(b"{}", b"Transfer-Encoding: chunked"),
        plain(b"{}", b"Expect: 100-continue"),
        plain(b"{}", b"Content-Length: 2"),
        plain(b"{}", b"X-Amz-Target: again"),
        plain(b"{}", b"Upgrade: h2c"),
        plain(b"{}", b"Folded: a\r\n b"),
        plain().replace(b"HTTP/1.1", b"HTTP/1.0"),
        plain().replace(b"POST / ", b"POST /x "),
        b"POST / HTTP/1.1\r\n",
    ],
)
def test_what_changes_how_a_message_is_read_has_no_layout(data: bytes) -> None:
    assert learn(data) is None


@pytest.mark.parametrize(
    "other",
    [
        plain(b"{}", b"A: b"),
        plain(b"{}", b"Connection: close"),
        plain().replace(b"Host: x", b"Host: \x00"),
        plain().replace(b"Host: x", b"Host: a\nb"),
        plain().replace(b"Host: x", b"Host: \xff"),
        plain() + b"P",
        plain()[:-1],
        plain() * 2,
        plain().replace(b"Length: 2", b"Length: -2"),
        plain().replace(b"Length: 2", b"Length: 00000002"),
    ],
)
def test_a_layout_reads_nothing_but_its_own(other: bytes) -> None:
    layout = learn(plain())
    assert layout is not None
    assert layout.read(plain(b"[]")) == (b"DynamoDB_20120810.GetItem", b"[]")
    assert layout.read(other) is None


def dated(date: bytes, body: bytes = b"{}") -> bytes:
    return plain(body, b"X-Amz-Date: " + date, b"Connection: keep-alive", b"Signature: a" + date)


@pytest.mark.parametrize(
    "other",
    [
        dated(b"33").replace(b"keep-alive", b"keep-alivE"),
        dated(b"33").replace(b"Host: x", b"Host: y"),
        dated(b"33").replace(b"Signature: a", b"signature: a"),
        dated(b"33").replace(b"Item", b"Itex"),
        dated(b"333"),
        dated(b"3\n"),
        dated(b"\r\n"),
        dated(b"3\x00"),
        dated(b"3\xff"),
        dated(b"33") + b"P",
        dated(b"33")[:-1],
        dated(b"33")[:-3],
        dated(b"33").replace(b"Length: 2", b"Length: a"),
        dated(b"33").replace(b"Length: 2", b"Length:  "),
        dated(b"33", b"1234567890"),
    ],
)
def test_a_template_reads_nothing_but_its_own(other: bytes) -> None:
    template = template_of(dated(b"11")[:-2], dated(b"22")[:-2], b"DynamoDB_20120810.GetItem")
    assert template is not None
    assert template.read(dated(b"3a", b"[]")) == (b"DynamoDB_20120810.GetItem", b"[]")
    assert template.read(dated(b"33", b"123456789")) == (b"DynamoDB_20120810.GetItem", b"123456789")
    assert template.read(other) is None


def test_heads_that_differ_in_what_matters_make_no_template() -> None:
    head, target = plain(b""), b"DynamoDB_20120810.GetItem"
    assert template_of(head, plain(b"", b"A: b"), target) is None
    assert template_of(plain(b"", b"Connection: keep-alive"), plain(b"", b"Connection: Keep-alive"), target) is None
    assert template_of(plain(b"", b"A: b"), plain(b"", b"B: b"), target) is None
    assert template_of(plain(b"", b"A: b", b"C: dd"), plain(b"", b"A: bb", b"C: d"), target) is None


def test_the_third_request_of_a_client_is_read_by_comparing() -> None:
    heads = Heads()
    heads.learn(dated(b"11"))
    for date in (b"22", b"33"):
        assert heads.read(dated(date)) == (b"DynamoDB_20120810.GetItem", b"{}")
    heads._layout = None
    assert heads.read(dated(b"44")) == (b"DynamoDB_20120810.GetItem", b"{}")
    assert heads.read(dated(b"4\n")) is None

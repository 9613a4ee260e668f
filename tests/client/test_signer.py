"""The specialised signer's signatures are botocore's, byte for byte."""

from __future__ import annotations

import datetime
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.client.credentials import Keys, StaticCredentials
from lastwriter.client.endpoint import host_header, parse_endpoint
from lastwriter.client.signer import CONTENT_TYPE, TARGET_PREFIX, Signer

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
keys = st.builds(Keys, st.from_regex(r"[A-Z0-9]{4,24}", fullmatch=True), printable, st.none() | printable)
endpoints = st.sampled_from(
    [
        "https://dynamodb.us-east-1.amazonaws.com",
        "https://dynamodb.eu-west-1.amazonaws.com/",
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:8001",
        "https://vpce-1.dynamodb.us-west-2.vpce.amazonaws.com:443",
        "https://dynamodb.us-east-1.amazonaws.com:8443",
    ]
)
regions = st.sampled_from(["us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "cn-north-1", "us-gov-west-1"])
operations = st.sampled_from(["GetItem", "PutItem", "UpdateItem", "TransactWriteItems", "Scan"])
times = st.integers(0, 4_000_000_000)


def _parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST / HTTP/1.1"
    return dict(line.split(": ", 1) for line in lines[1:]), body


def _botocores(keys: Keys, region: str, endpoint: str, operation: str, body: bytes, now_s: int) -> dict[str, str]:
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET_PREFIX + operation}
    request = AWSRequest("POST", endpoint.rstrip("/") + "/", headers, data=body)
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        frozen = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)
        botocore.auth.SigV4Auth(frozen, "dynamodb", region).add_auth(request)
    return dict(request.headers.items())


@settings(max_examples=200)
@given(
    keys,
    regions,
    endpoints,
    st.lists(st.tuples(operations, st.binary(max_size=200), times, st.booleans()), min_size=1, max_size=4),
)
def test_equal_to_botocores(
    keys: Keys, region: str, endpoint: str, requests: list[tuple[str, bytes, int, bool]]
) -> None:
    """Several in a row through one signer, some in the same second and on the same day: what is kept must be right."""
    signer = Signer(StaticCredentials(*keys), region, host_header(*parse_endpoint(endpoint)))
    last = requests[0][2]
    for operation, body, other_time, same in requests:
        last = last if same else other_time
        headers, sent = _parts(signer.request(operation, body, last))
        theirs = _botocores(keys, region, endpoint, operation, body, last)
        assert sent == body
        assert headers["Content-Length"] == str(len(body))
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Target", "Content-Type"):
            assert headers[name] == theirs[name]
        assert headers.get("X-Amz-Security-Token") == theirs.get("X-Amz-Security-Token") == keys.token
        assert headers["Host"] == botocore.auth._host_from_url(endpoint)


def test_keys_that_change_are_used_from_the_next_second_on() -> None:
    first, second = Keys("AKIDONE", "one", "token-1"), Keys("AKIDTWO", "two", None)

    class Rotating:
        now = first

        def keys(self) -> Keys:
            return self.now

    source = Rotating()
    signer = Signer(source, "us-east-1", "localhost")
    _parts(signer.request("GetItem", b"{}", 1_000_000))
    source.now = second
    headers, _ = _parts(signer.request("GetItem", b"{}", 1_000_001))
    theirs = _botocores(second, "us-east-1", "http://localhost", "GetItem", b"{}", 1_000_001)
    assert headers["Authorization"] == theirs["Authorization"]
    assert "X-Amz-Security-Token" not in headers

"""Access keys: signatures as botocore and our own client make them, and everything that can be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.client.credentials import Keys
from lastwriter.client.signer import Signer
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.shell.access import Access, load_access
from lastwriter.emulator.shell.http import Head
from lastwriter.errors import UserError

REGION = "us-east-1"
BODY = b'{"TableName": "orders", "Key": {"pk": {"S": "k"}}}'
REQUEST = {"TableName": "orders", "Key": {"pk": {"S": "k"}}}
FILE = """
keys:
  - access_key: AKIAPLAIN
    secret_key: the-plain-secret
    deny:
      - DeleteTable
      - {actions: ["Put*", ConditionCheckItem], regions: [us-west-2], tables: ["ord*"]}
  - {access_key: ASIASESSION, secret_key: the-session-secret, session_token: the-token/+=, expires: 15min}
"""
NOW = datetime.now(UTC).timestamp()


def gate(tmp_path: Path, text: str = FILE, wall: Callable[[], float] = lambda: NOW) -> Access:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    return load_access(path, wall)


def signed(
    access_key: str = "AKIAPLAIN",
    secret: str = "the-plain-secret",
    token: str | None = None,
    *,
    body: bytes = BODY,
    url: str = "/",
    region: str = REGION,
    operation: str = "GetItem",
    **headers: str,
) -> Head:
    """As botocore signs it."""
    given_headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Host": "127.0.0.1:8000", **headers}
    request = AWSRequest("POST", f"http://127.0.0.1:8000{url}", given_headers, body)
    signed_at = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=signed_at):
        SigV4Auth(Credentials(access_key, secret, token), "dynamodb", region).add_auth(request)
    return Head(b"POST", url.encode(), [(n.lower().encode(), v.encode()) for n, v in request.headers.items()], body)


def changed(head: Head, name: str, value: str | None) -> Head:
    others = [pair for pair in head.headers if pair[0] != name.encode()]
    return head._replace(headers=others + ([(name.encode(), value.encode())] if value is not None else []))


def header(head: Head, name: str) -> str:
    return next(value for key, value in head.headers if key == name.encode()).decode("latin-1")


def refusal(
    access: Access, head: Head, operation: str = "GetItem", request: Any = REQUEST, region: str = REGION
) -> Any:
    try:
        access.admit(region, operation, request, head)
    except ApiError as error:
        return error.name, error.message
    return None


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return gate(tmp_path)


def test_what_botocore_signs_is_admitted(access: Access) -> None:
    assert refusal(access, signed()) is None
    assert refusal(access, signed("ASIASESSION", "the-session-secret", "the-token/+=")) is None
    assert refusal(access, signed(url="/?b=2&a=1%20x&c")) is None
    assert refusal(access, signed(**{"X-Amz-Spaces": "  a   b  ", "X-Amz-Words": "ä ö"})) is None


def test_what_our_own_client_signs_is_admitted(access: Access) -> None:
    class Source:
        def keys(self) -> Keys:
            return Keys("ASIASESSION", "the-session-secret", "the-token/+=")

    data = Signer(Source(), REGION, "127.0.0.1:8000").request("GetItem", BODY, NOW)
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    assert refusal(access, Head(b"POST", b"/", headers, BODY)) is None


MISMATCH = "The request signature we calculated does not match the signature you provided."
INVALID = ("UnrecognizedClientException", "The security token included in the request is invalid.")


@pytest.mark.parametrize(
    ("head", "name", "begins"),
    [
        (changed(signed(), "authorization", None), "MissingAuthenticationTokenException", "Request is missing"),
        (changed(signed(), "authorization", "Basic x"), "MissingAuthenticationTokenException", "Request is missing"),
        (
            changed(changed(signed(), "authorization", "AWS4-"), "x-amz-date", None),
            "IncompleteSignatureException",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
            "parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires "
            "existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-",
        ),
        (
            changed(signed(), "x-amz-date", "yesterday"),
            "IncompleteSignatureException",
            "Date must be in ISO-8601 'basic format'. Got 'yesterday'.",
        ),
        (
            changed(signed(), "x-amz-date", "20130301T000000Z"),
            "InvalidSignatureException",
            "Signature expired: 20130301T000000Z is now earlier than ",
        ),
        (
            changed(signed(), "x-amz-date", "29990301T000000Z"),
            "InvalidSignatureException",
            "Signature not yet current: 29990301T000000Z is still later than ",
        ),
        (
            changed(signed(), "authorization", header(signed(), "authorization").replace("host;", "")),
            "InvalidSignatureException",
            "'Host' or ':authority' must be a 'SignedHeader'",
        ),
        (
            changed(signed(), "authorization", header(signed(), "authorization").replace("SHA256", "SHA25", 1)),
            "IncompleteSignatureException",
            "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25'",
        ),
        (
            changed(signed(), "authorization", header(signed(), "authorization").replace("/dynamodb/", "/", 1)),
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (signed(region="us-west-2"), "InvalidSignatureException", "Credential should be scoped to a valid region. "),
        (
            changed(signed(), "authorization", header(signed(), "authorization").replace("/dynamodb/", "/s3/", 1)),
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'dynamodb'.",
        ),
        (signed("AKIANOBODY"), *INVALID),
        (signed(token="x"), *INVALID),
        (signed("ASIASESSION", "the-session-secret"), *INVALID),
        (signed("ASIASESSION", "the-session-secret", "another"), *INVALID),
        (signed(secret="another"), "InvalidSignatureException", MISMATCH),
        (signed()._replace(body=BODY + b" "), "InvalidSignatureException", MISMATCH),
        (signed()._replace(method=b"PUT"), "InvalidSignatureException", MISMATCH),
        (signed()._replace(url=b"/?x=1"), "InvalidSignatureException", MISMATCH),
        (changed(signed(), "host", "127.0.0.1:9000"), "InvalidSignatureException", MISMATCH),
        (changed(signed(), "x-amz-target", "DynamoDB_20120810.DeleteItem"), "InvalidSignatureException", MISMATCH),
    ],
)
def test_what_is_wrong_is_said_as_dynamodb_says_it(access: Access, head: Head, name: str, begins: str) -> None:
    found = refusal(access, head)
    assert found is not None
    assert found[0] == name
    assert found[1].startswith(begins), found[1]


@pytest.mark.parametrize(("minutes", "ends"), [(16, " - 15 min.)"), (-16, " + 15 min.)"), (14, None), (-14, None)])
def test_a_clock_may_be_off_by_fifteen_minutes(tmp_path: Path, minutes: int, ends: str | None) -> None:
    found = refusal(gate(tmp_path, wall=lambda: NOW + 60 * minutes), signed())
    assert found is None if ends is None else found[1].endswith(ends)


@pytest.mark.parametrize(
    "expires", ["15min", datetime.fromtimestamp(NOW + 900, UTC).isoformat()], ids=["after the start", "a time"]
)
def test_a_session_token_expires(tmp_path: Path, expires: str) -> None:
    time = [NOW]
    access = gate(tmp_path, FILE.replace("15min", expires), lambda: time[0])
    head = signed("ASIASESSION", "the-session-secret", "the-token/+=")
    time[0] = NOW + 870
    assert refusal(access, head) is None
    time[0] = NOW + 900
    assert refusal(access, head) == ("ExpiredTokenException", "The security token included in the request is expired")


@pytest.mark.parametrize(
    ("operation", "request_", "region", "denied"),
    [
        ("DeleteTable", {"TableName": "other"}, "us-east-1", "dynamodb:DeleteTable on resource: {arn}:table/other"),
        ("DescribeTable", {"TableName": "other"}, "us-east-1", None),
        ("PutItem", {"TableName": "orders"}, "us-east-1", None),
        ("PutItem", {"TableName": "orders"}, "us-west-2", "dynamodb:PutItem on resource: {arn}:table/orders"),
        ("PutItem", {"TableName": "people"}, "us-west-2", None),
        ("PutItem", {"TableName": "arn:aws:dynamodb:us-west-2:0:table/orders"}, "us-west-2", "dynamodb:PutItem"),
        ("PutItem", {"TableName": 7}, "us-west-2", None),
        ("GetItem", {"TableName": "orders"}, "us-west-2", None),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Update": {"TableName": "orders"}}, {"ConditionCheck": {"TableName": "orders"}}]},
            "us-west-2",
            "dynamodb:ConditionCheckItem on resource: {arn}:table/orders",
        ),
        ("TransactWriteItems", {"TransactItems": [{"Put": 7}, None, []]}, "us-west-2", None),
        ("BatchWriteItem", {"RequestItems": {"orders": []}}, "us-west-2", None),
    ],
)
def test_a_denied_action_is_refused(
    access: Access, operation: str, request_: Any, region: str, denied: str | None
) -> None:
    found = refusal(access, signed(region=region), operation, request_, region)
    if denied is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == "AccessDeniedException"
        assert denied.format(arn=f"arn:aws:dynamodb:{region}:000000000000") in found[1]
        assert found[1].endswith("with an explicit deny in an identity-based policy")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Access, Head]:
    return gate(tmp_path_factory.mktemp("gate")), signed()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_gets_past_the_gate_or_breaks_it(lasting: tuple[Access, Head], data: st.DataObject) -> None:
    access, head = lasting
    at = data.draw(st.integers(0, len(head.headers)))
    garbage = data.draw(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)))
    if at == len(head.headers):
        if garbage == BODY:
            return
        damaged = head._replace(body=garbage)
    else:
        name, value = head.headers[at]
        cut = data.draw(st.integers(0, len(value)))
        new = value[:cut] + garbage + value[data.draw(st.integers(cut, len(value))) :]
        if b" ".join(new.split()) == value or name == b"content-length":
            return
        damaged = head._replace(headers=[*head.headers[:at], (name, new), *head.headers[at + 1 :]])
    if name_of_unsigned(head, damaged):
        return
    found = refusal(access, damaged)
    assert found is not None
    assert "the-plain-secret" not in found[1]


def name_of_unsigned(head: Head, damaged: Head) -> bool:
    """Whether only parts that mean nothing differ: white space and commas between Authorization's parameters."""
    if damaged.body != head.body:
        return False
    before, after = (header(one, "authorization").replace(",", " ").split() for one in (head, damaged))
    same = all(a == b or a[0] == b"authorization" for a, b in zip(head.headers, damaged.headers, strict=True))
    return same and before == after[: len(before)]


SECRETS = ("hunter2-secret", "hunter2-token")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write `keys:`"),
        ("- a", "write `keys:`"),
        ("keys: []", "keys: List should have at least 1 item"),
        ("keys: [{access_key: A}]", "keys.1.secret_key: Field required"),
        ("keys: [{access_key: A, secret_key: hunter2-secret, color: red}]", "keys.1.color: Extra inputs"),
        ("keys: [{access_key: 'A B', secret_key: hunter2-secret}]", "keys.1.access_key: String should match"),
        ("keys: [{access_key: A, secret_key: [hunter2-secret]}]", "keys.1.secret_key: Input should be"),
        ("keys: [{access_key: A, secret_key: hunter2-secret, expires: 5min}]", "expires goes with a session_token"),
        (
            "keys: [{access_key: A, secret_key: hunter2-secret, session_token: hunter2-token, expires: soon}]",
            "is neither a duration like 15min nor a time like",
        ),
        (
            "keys: [{access_key: A, secret_key: hunter2-secret}, {access_key: A, secret_key: hunter2-secret}]",
            "access key A is there twice",
        ),
        (
            "keys: [{access_key: A, secret_key: hunter2-secret, deny: [PutItems]}]",
            "A is denied PutItems, which is no action of DynamoDB: did you mean PutItem?",
        ),
        ("keys: [{access_key: A, secret_key: hunter2-secret, deny: [{tables: [x]}]}]", "deny.1.actions: Field"),
        ("keys:\n - secret_key: 'hunter2-secret\n   access_key: [\n", ": the file of access keys is not YAML"),
        ("keys:\n - secret_key: hunter2-secret\n - ]", ", line 3: the file of access keys is not YAML"),
    ],
)
def test_a_bad_file_is_one_line_without_secrets(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        gate(tmp_path, text)
    message = str(raised.value)
    assert says in message
    assert "\n" not in message
    assert str(tmp_path / "keys.yaml") in message
    assert not any(secret in message for secret in SECRETS)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the access keys in .*: no such file or directory"):
        load_access(tmp_path / "none.yaml", lambda: NOW)


def test_secrets_are_not_shown() -> None:
    from lastwriter.emulator.shell.access import Key

    key = Key.model_validate({"access_key": "A", "secret_key": SECRETS[0], "session_token": SECRETS[1]})
    assert not any(secret in repr(key) + key.model_dump_json() for secret in SECRETS)

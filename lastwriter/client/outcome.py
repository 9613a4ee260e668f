"""What an answer, or its absence, says about an attempt's effect: the closed list of what certainly did nothing.

A *fail* must be proof that nothing was written, so it is granted by name only. Whatever is not listed is *unknown* for
a write: a 500 may come after the commit, and a reset tells nothing of what the server did with the bytes it had. A read
that did not answer is *fail*: it saw nothing, and it changed nothing.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import orjson

from lastwriter.client.http_reply import HttpReply, MalformedReply, decoded
from verifier.answers import THROTTLED, is_server_error
from verifier.history.schema import ALREADY_APPLIED, Outcome

# What the transport may report in place of an AWS exception's name.
CONNECT_ERROR: Final = "ConnectError"
"""Name resolution, connecting or the TLS handshake failed: no byte of the request was sent."""
CREDENTIALS_ERROR: Final = "CredentialsError"
"""There were no credentials to sign with (a refresh failed): no byte of the request was sent."""
TIMEOUT: Final = "Timeout"
"""Sent, and no whole answer by the deadline."""
CONNECTION_RESET: Final = "ConnectionReset"
"""Reset after something was sent, or closed without one byte of an answer."""
SHORT_REPLY: Final = "ShortReply"
"""Closed in the middle of the answer."""
BAD_REPLY: Final = "BadReply"
"""What came back is not HTTP, or its body is not JSON."""
BAD_CHECKSUM: Final = "BadChecksum"
"""The body does not have the CRC-32 that ``x-amz-crc32`` states, or a success came without one."""

NOT_SENT: Final = frozenset({CONNECT_ERROR, CREDENTIALS_ERROR})
"""Errors from before the first byte of the request."""

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
"""What was asked for before writing is not so."""

SHUT_OUT: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Authentication, signature, expired token, permission."""

REFUSED: Final = (
    THROTTLED
    | SHUT_OUT
    | {
        CONDITION_FAILED,
        "ValidationException",
        "ResourceNotFoundException",
        # limits and races that are decided before anything is written
        "IdempotentParameterMismatchException",
        "ItemCollectionSizeLimitExceededException",
        "ReplicatedWriteConflictException",
        "TransactionCanceledException",
        "TransactionConflictException",
    }
)
"""AWS exceptions that prove that a single-item or transactional call wrote nothing."""


FAMILIES: Final = ("condition", "conflict", "throttled", "server_error", "timeout", "other")
"""What errors are counted as."""

_FAMILY: Final = {
    CONDITION_FAILED: "condition",
    ALREADY_APPLIED: "condition",
    "ReplicatedWriteConflictException": "conflict",
    "TransactionConflictException": "conflict",
    "TransactionInProgressException": "conflict",
    TIMEOUT: "timeout",
    **dict.fromkeys(THROTTLED, "throttled"),
}


def family(error: str) -> str:
    """Which of :data:`FAMILIES` an error belongs to."""
    return _FAMILY.get(error) or ("server_error" if is_server_error(error) else "other")


def is_failure(error: str) -> bool:
    """Whether it is one to whoever looks at a table of failures: a condition that does not hold is an answer."""
    return _FAMILY.get(error) != "condition"


READ_OPERATIONS: Final = frozenset(
    {"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems", "DescribeTable", "ListTables"}
)
"""Operations that change nothing."""

WHOLE_BATCH: Final = frozenset({"BatchWriteItem"})
"""Writes whose error does not say which of their items were written."""


_OK: Final = Outcome.OK  # an enumeration takes its time to look a member up


def classify(operation: str, status: int, error: str | None) -> Outcome:
    """Outcome of one attempt of ``operation``, answered with HTTP ``status`` (0: not at all) and ``error`` (None: 2xx).

    A listed name counts only with a 4xx status: behind a 5xx it may be a layer's word about a write that was done.
    """
    if error is None and 200 <= status < 300:
        return Outcome.OK
    if operation in READ_OPERATIONS or error in NOT_SENT:
        return Outcome.FAIL
    if error in REFUSED and 400 <= status < 500 and operation not in WHOLE_BATCH:
        return Outcome.FAIL
    return Outcome.UNKNOWN


def exception_name(status: int, body: dict[str, Any], header: str | None = None) -> str:
    """The exception's bare name from an error's body (or ``x-amzn-errortype``); ``HTTP503`` where there is none.

    ``com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`` and ``ValidationException:http://…`` both occur.
    """
    text = body.get("__type") or body.get("code") or header
    if not isinstance(text, str) or not text:
        return f"HTTP{status}"
    return text.partition(":")[0].rpartition("#")[2]


def interpret(operation: str, reply: HttpReply) -> tuple[Outcome, dict[str, Any], str | None]:
    """Outcome, decoded body and error of a whole reply; the same for every client.

    A checksum that does not fit means that nothing of the body can be believed, an exception's name included. A success
    must carry one; an error may come from a layer in front that knows none.
    """
    status, crc32, raw, _, encoding, error_type = reply
    success = 200 <= status < 300
    if zlib.crc32(raw) != crc32 and (success or crc32 is not None):
        return classify(operation, status, BAD_CHECKSUM), {}, BAD_CHECKSUM
    try:
        if encoding is not None:
            raw = decoded(reply)
        body = orjson.loads(raw) if raw else {}
    except (MalformedReply, orjson.JSONDecodeError):
        body = None
    if success:
        if isinstance(body, dict):
            return _OK, body, None
        return classify(operation, status, BAD_REPLY), {}, BAD_REPLY
    if not isinstance(body, dict):
        body = {}
    error = exception_name(status, body, error_type)
    return classify(operation, status, error), body, error

"""A fail is granted by name only; every doubt about a write is unknown."""

from __future__ import annotations

import pytest
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from lastwriter.client.outcome import NOT_SENT, READ_OPERATIONS, REFUSED, classify, exception_name
from verifier.answers import THROTTLED
from verifier.history.schema import Outcome

WRITES = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "ExecuteStatement", "SomethingNew"]


@pytest.mark.parametrize("error", sorted(REFUSED))
@pytest.mark.parametrize("operation", WRITES)
def test_listed_refusals_of_a_write_are_fail(operation: str, error: str) -> None:
    assert classify(operation, 400, error) is Outcome.FAIL
    assert classify(operation, 500, error) is Outcome.UNKNOWN


@given(st.sampled_from(WRITES), st.integers(0, 599), st.text(max_size=30))
def test_whatever_is_not_listed_is_unknown_for_a_write(operation: str, status: int, error: str) -> None:
    if error not in REFUSED | NOT_SENT:
        assert classify(operation, status, error) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "error",
    [
        "Timeout",
        "ConnectionReset",
        "ShortReply",
        "BadReply",
        "BadChecksum",
        "TransactionInProgressException",
        "InternalServerError",
        "ServiceUnavailable",
        "RequestTimeout",
        "RequestTimeoutException",
        "HTTP503",
        "HTTP408",
    ],
)
def test_doubts(error: str) -> None:
    for status in (0, 400, 408, 500, 502, 503, 504):
        assert classify("UpdateItem", status, error) is Outcome.UNKNOWN


@pytest.mark.parametrize("operation", sorted(READ_OPERATIONS))
def test_a_read_that_did_not_answer_is_fail(operation: str) -> None:
    for error in ("Timeout", "InternalServerError", "BadChecksum", "ConnectError"):
        assert classify(operation, 0, error) is Outcome.FAIL
    assert classify(operation, 200, None) is Outcome.OK


def test_what_was_never_sent_is_fail() -> None:
    for operation in (*WRITES, "BatchWriteItem"):
        assert classify(operation, 0, "ConnectError") is Outcome.FAIL
        assert classify(operation, 0, "CredentialsError") is Outcome.FAIL


def test_an_error_on_a_whole_batch_says_nothing_of_its_items() -> None:
    assert classify("BatchWriteItem", 400, "ValidationException") is Outcome.UNKNOWN
    assert classify("BatchWriteItem", 200, None) is Outcome.OK


def test_the_list_knows_every_exception_of_a_single_item_or_transactional_write() -> None:
    """A new exception in botocore's model must be looked at: this names what is left as unknown, and why."""
    doubtful = {"InternalServerError", "TransactionInProgressException"}
    unrelated = {"ResourceInUseException", "DuplicateItemException"}  # control plane; PartiQL INSERT
    model = Session().get_service_model("dynamodb")
    for operation in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "ExecuteStatement"):
        names = {shape.name for shape in model.operation_model(operation).error_shapes}
        assert names - REFUSED - doubtful - unrelated == set()
    assert THROTTLED <= REFUSED


@pytest.mark.parametrize(
    ("body", "header", "name"),
    [
        ({"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}, None, "ResourceNotFoundException"),
        ({"__type": "ValidationException"}, None, "ValidationException"),
        ({"__type": "com.amazon.coral.validate#ValidationException:http://x#y"}, None, "ValidationException"),
        ({}, "ThrottlingException:http://internal.amazon.com/", "ThrottlingException"),
        ({"__type": ""}, None, "HTTP400"),
        ({"__type": 7}, None, "HTTP400"),
        ({}, None, "HTTP400"),
    ],
)
def test_the_name_of_an_exception(body: dict[str, object], header: str | None, name: str) -> None:
    assert exception_name(400, body, header) == name

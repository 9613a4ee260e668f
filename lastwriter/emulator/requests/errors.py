"""What DynamoDB answers when it refuses: an exception name, a message, an HTTP status."""

from __future__ import annotations

from typing import Any, Final

_SERVICE: Final = "com.amazonaws.dynamodb.v20120810#"
_PREFIXES: Final = {
    "ValidationException": "com.amazon.coral.validate#",
    "SerializationException": "com.amazon.coral.service#",
    "UnknownOperationException": "com.amazon.coral.service#",
    "AccessDeniedException": "com.amazon.coral.service#",
    "UnrecognizedClientException": "com.amazon.coral.service#",
    "InvalidSignatureException": "com.amazon.coral.service#",
    "MissingAuthenticationTokenException": "com.amazon.coral.service#",
    "IncompleteSignatureException": "com.amazon.coral.service#",
    "ThrottlingException": "com.amazon.coral.availability#",
}
_CAPITAL_MESSAGE: Final = frozenset({"SerializationException", "TransactionCanceledException", "AccessDeniedException"})
"""These spell the field ``Message``; the others ``message``."""

CONDITION_FAILED: Final = "ConditionalCheckFailedException"


class ApiError(Exception):
    """A request that is answered with an error. ``fields`` stand beside the message in the body (``Item`` …)."""

    def __init__(
        self,
        name: str,
        message: str,
        status: int = 400,
        fields: dict[str, Any] | None = None,
        *,
        in_request: bool = False,
        newer: str | None = None,
    ) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status
        self.fields = fields
        self.in_request = in_request
        """A mistake that can be seen in the request alone: some operations put the number of errors before it."""
        self.newer = newer
        """The message of operations that DynamoDB has moved to a newer wording; None: it is the same."""

    def body(self) -> dict[str, Any]:
        """The JSON body, ``__type`` first as DynamoDB writes it."""
        body: dict[str, Any] = {"__type": _PREFIXES.get(self.name, _SERVICE) + self.name}
        if self.fields:
            body.update(self.fields)
        if self.message or self.name != "UnknownOperationException":
            body["Message" if self.name in _CAPITAL_MESSAGE else "message"] = self.message
        return body


def validation(message: str) -> ApiError:
    """ValidationException: the request is wrong in itself, or does not fit the table or the item."""
    return ApiError("ValidationException", message)


def in_request(message: str, newer: str | None = None) -> ApiError:
    """ValidationException that can be told from the request alone, without the table and the item."""
    return ApiError("ValidationException", message, in_request=True, newer=newer)


def invalid_parameter(message: str) -> ApiError:
    """ValidationException in the form that DynamoDB uses for values, keys and combinations of parameters."""
    return ApiError("ValidationException", "One or more parameter values were invalid: " + message)


def serialization(message: str) -> ApiError:
    """SerializationException: the JSON is not of the shape that the operation takes."""
    return ApiError("SerializationException", message)


def condition_failed(item: dict[str, Any] | None = None) -> ApiError:
    """ConditionalCheckFailedException, with the item as it was if the request asks for it."""
    return ApiError(CONDITION_FAILED, "The conditional request failed", fields={"Item": item} if item else None)


def table_not_found() -> ApiError:
    """ResourceNotFoundException of the data plane (it does not name the table)."""
    return ApiError("ResourceNotFoundException", "Requested resource not found")


def internal_error(
    message: str = "The request processing has failed because of an unknown error, exception or failure.",
) -> ApiError:
    """InternalServerError, status 500: whether the request took effect is unknown."""
    return ApiError("InternalServerError", message, 500)

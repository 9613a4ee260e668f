"""The parameters of a request: the table it names, which of them go together, names and values of expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.validators import TABLE_NAME, check_members, detected, failed, missing, table_failures
from lastwriter.emulator.requests.values import canonical_value, check_string

__all__ = [
    "EXPRESSIONS",
    "LEGACY",
    "TABLE_NAME",
    "check_combinations",
    "check_metrics_and_capacity",
    "detected",
    "expression_names",
    "expression_values",
    "failed",
    "table_name",
    "worded",
]

Request = Mapping[str, Any]
_PLACEHOLDER_KEY: Final = {
    "Names": re.compile(r"#[0-9a-zA-Z_]+"),
    "Values": re.compile(r":[0-9a-zA-Z_]+"),
}

ENVELOPED: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
"""Operations whose mistakes in the request are counted: "1 validation error detected: …" (as observed since 2026)."""
_NEWER: Final = ENVELOPED | {"GetItem", "BatchGetItem", "Query"}
"""Operations that have the newer wording of what is wrong with a value, and say it without where it stood."""

LEGACY: Final = {
    "PutItem": ("Expected", "ConditionalOperator"),
    "UpdateItem": ("AttributeUpdates", "Expected", "ConditionalOperator"),
    "DeleteItem": ("Expected", "ConditionalOperator"),
    "GetItem": ("AttributesToGet",),
    "Scan": ("AttributesToGet", "ScanFilter", "ConditionalOperator"),
    "Query": ("AttributesToGet", "QueryFilter", "ConditionalOperator", "KeyConditions"),
}
EXPRESSIONS: Final = {
    "PutItem": ("ConditionExpression",),
    "UpdateItem": ("UpdateExpression", "ConditionExpression"),
    "DeleteItem": ("ConditionExpression",),
    "GetItem": ("ProjectionExpression",),
    "Scan": ("ProjectionExpression", "FilterExpression"),
    "Query": ("ProjectionExpression", "FilterExpression", "KeyConditionExpression"),
}


def table_name(request: Request) -> str:
    """The table's name, also out of an ARN; ApiError if there is none or it cannot be one."""
    name = request.get("TableName")
    if type(name) is str and TABLE_NAME.fullmatch(name) is not None and len(name) <= 255:
        return name
    if name is None:
        raise detected([missing("tableName")])
    check_string(name)
    failures: list[str] = []
    table_failures(name, "tableName", failures)
    if failures:
        raise detected(failures)
    return str(name).partition(":table/")[2]


def check_metrics_and_capacity(operation: str, request: Request) -> None:
    """What batches and transactions may ask for about what they cost and touched."""
    check_members(operation, request, ("ReturnConsumedCapacity", "ReturnItemCollectionMetrics"))


def check_combinations(operation: str, request: Request, speaker: str) -> None:
    """Expressions and what they replace exclude each other; names and values need an expression.

    ``speaker``: the operation that answers, that of a transaction for its actions.
    """
    expressions = [name for name in EXPRESSIONS[operation] if request.get(name) is not None]
    legacy = [name for name in LEGACY[operation] if request.get(name) is not None]
    if request.get("KeyConditions") is not None and request.get("KeyConditionExpression") is None:
        mixed = [name for name in legacy if name != "KeyConditions"]  # they go with a FilterExpression
    else:
        mixed = legacy
    if expressions and mixed:
        raise in_request(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(mixed)}}} Expression parameters: {{{', '.join(expressions)}}}"
        )
    if request.get("ExpressionAttributeNames") is not None and not expressions:
        raise in_request("ExpressionAttributeNames can only be specified when using expressions")
    users = [name for name in EXPRESSIONS[operation] if name != "ProjectionExpression"]
    if (
        request.get("ExpressionAttributeValues") is not None
        and users
        and all(request.get(name) is None for name in users)
    ):
        where = f": {' and '.join(users)} {'are' if len(users) > 1 else 'is'} null"
        raise in_request(
            "ExpressionAttributeValues can only be specified when using expressions"
            + ("" if speaker in ENVELOPED else where)
        )


def expression_names(request: Request) -> dict[str, str]:
    """ExpressionAttributeNames, checked."""
    names = request.get("ExpressionAttributeNames")
    if names is None:
        return {}
    _check_placeholders("Names", names)
    for key, name in names.items():
        if name is None or not name:
            raise in_request(f"ExpressionAttributeNames contains invalid value: Empty attribute name; key: {key}")
    return dict(names)


def expression_values(speaker: str, request: Request) -> dict[str, dict[str, Any]]:
    """ExpressionAttributeValues in canonical form, checked."""
    values = request.get("ExpressionAttributeValues")
    if values is None:
        return {}
    _check_placeholders("Values", values)
    canonical = {}
    for key, value in values.items():
        try:
            canonical[key] = canonical_value(value)
        except ApiError as error:
            if error.name != "ValidationException" or (error.in_request and speaker in _NEWER):
                raise
            raise in_request(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}"
            ) from None
    return canonical


def worded(speaker: str, error: ApiError) -> ApiError:
    """The error as the operation that answers words it."""
    if not error.in_request:
        return error
    message = error.newer if error.newer is not None and speaker in _NEWER else error.message
    return validation(f"1 validation error detected: {message}" if speaker in ENVELOPED else message)


def _check_placeholders(what: str, given: Mapping[str, Any]) -> None:
    if not given:
        raise in_request(f"ExpressionAttribute{what} must not be empty")
    for key in given:
        if _PLACEHOLDER_KEY[what].fullmatch(key) is None:
            raise in_request(f'ExpressionAttribute{what} contains invalid key: Syntax error; key: "{key}"')

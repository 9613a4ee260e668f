"""The parameters of a request, one by one: their JSON types, enumerations, ranges, and which go together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, in_request, serialization, validation
from lastwriter.emulator.requests.values import canonical_value, check_boolean, check_integer, check_string

Request = Mapping[str, Any]
Check = Callable[[str, Any], str | None]
"""Given a parameter's name and value: a constraint that it fails, if any. SerializationException for a wrong type."""

TABLE_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")
_TABLE_ARN: Final = re.compile(r"arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/([a-zA-Z0-9_.-]+)")
_PLACEHOLDER_KEY: Final = {
    "Names": re.compile(r"#[0-9a-zA-Z_]+"),
    "Values": re.compile(r":[0-9a-zA-Z_]+"),
}

ENVELOPED: Final = frozenset({"PutItem", "UpdateItem"})
"""Operations whose mistakes in the request are counted: "1 validation error detected: …" (as observed since 2026)."""

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
        raise detected(["Value null at 'tableName' failed to satisfy constraint: Member must not be null"])
    check_string(name)
    arn = _TABLE_ARN.fullmatch(name)
    if arn is not None:
        return arn.group(1)
    if not name:
        constraint = "Member must have length greater than or equal to 1"
    elif len(name) > 255:
        constraint = "Member must have length less than or equal to 255"
    else:
        constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    raise detected([failed("tableName", name, constraint)])


def check_parameters(operation: str, request: Request) -> None:
    """Types and constraints of every parameter of the operation, then those that must be there.

    Unknown parameters are ignored, as DynamoDB ignores them; null is the same as absent.
    """
    table_name(request)
    failures = []
    for name, check in PARAMETERS[operation].items():
        value = request.get(name)
        if value is not None:
            failure = check(name, value)
            if failure is not None:
                failures.append(failure)
        elif name in _REQUIRED:
            failures.append(f"Value null at '{_camel(name)}' failed to satisfy constraint: Member must not be null")
    if failures:
        raise detected(failures)


def check_metrics_and_capacity(operation: str, request: Request) -> None:
    """What batches and transactions may ask for about what they cost and touched."""
    metrics = {} if operation in ("BatchGetItem", "TransactGetItems") else _METRICS
    failures = [
        failure
        for name, check in {**_CAPACITY, **metrics}.items()
        if request.get(name) is not None and (failure := check(name, request[name])) is not None
    ]
    if failures:
        raise detected(failures)


def check_combinations(operation: str, request: Request) -> None:
    """Expressions and what they replace exclude each other; names and values need an expression."""
    expressions = [name for name in EXPRESSIONS[operation] if request.get(name) is not None]
    legacy = [name for name in LEGACY[operation] if request.get(name) is not None]
    if expressions and legacy:
        raise in_request(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(legacy)}}} Expression parameters: {{{', '.join(expressions)}}}"
        )
    unsupported = [name for name in legacy if name != "AttributesToGet"]
    if unsupported:
        raise in_request(
            f"The legacy parameter {unsupported[0]} is not supported by this emulator; use an expression instead"
        )
    if request.get("ExpressionAttributeNames") is not None and not expressions:
        raise in_request("ExpressionAttributeNames can only be specified when using expressions")
    users = [name for name in EXPRESSIONS[operation] if name != "ProjectionExpression"]
    if (
        request.get("ExpressionAttributeValues") is not None
        and users
        and all(request.get(name) is None for name in users)
    ):
        raise in_request(
            "ExpressionAttributeValues can only be specified when using expressions: "
            f"{' and '.join(users)} {'are' if len(users) > 1 else 'is'} null"
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


def expression_values(operation: str, request: Request) -> dict[str, dict[str, Any]]:
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
            if error.name != "ValidationException" or (error.in_request and operation in ENVELOPED):
                raise
            raise in_request(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}"
            ) from None
    return canonical


def enveloped(operation: str, error: ApiError) -> ApiError:
    """The error as ``operation`` words it."""
    if not error.in_request or operation not in ENVELOPED:
        return error
    return validation(f"1 validation error detected: {error.message}")


def _check_placeholders(what: str, given: Mapping[str, Any]) -> None:
    if not given:
        raise in_request(f"ExpressionAttribute{what} must not be empty")
    for key in given:
        if _PLACEHOLDER_KEY[what].fullmatch(key) is None:
            raise in_request(f'ExpressionAttribute{what} contains invalid key: Syntax error; key: "{key}"')


# ---- checks of one parameter


def _text(name: str, value: Any) -> None:
    check_string(value)


def _boolean(name: str, value: Any) -> None:
    check_boolean(value)


def _names(name: str, value: Any) -> None:
    _structure(value)
    for content in value.values():
        if content is not None:
            check_string(content)


def _texts(name: str, value: Any) -> str | None:
    if type(value) is not list:
        raise serialization(
            "Start of structure or map found where not expected" if type(value) is dict else "Unexpected field type"
        )
    for member in value:
        check_string(member)
    if not value:
        return failed(_camel(name), "[]", "Member must have length greater than or equal to 1")
    return None


def _attributes(name: str, value: Any) -> None:
    """Attribute values: only the shape here; what is in them is checked when they are read."""
    _structure(value)


def _structure(value: Any) -> None:
    if type(value) is not dict:
        raise serialization(
            "Unrecognized collection type java.util.Map<java.lang.String, "
            "com.amazonaws.dynamodb.v20120810.AttributeValue>"
            if type(value) is list
            else "Unexpected field type"
        )


def _one_of(*options: str) -> Check:
    def check(name: str, value: Any) -> str | None:
        check_string(value)
        if value in options:
            return None
        return failed(_camel(name), value, f"Member must satisfy enum value set: [{', '.join(options)}]")

    return check


def _at_least(least: int, most: int | None = None) -> Check:
    def check(name: str, value: Any) -> str | None:
        check_integer(value)
        if value < least:
            return failed(_camel(name), str(value), f"Member must have value greater than or equal to {least}")
        if most is not None and value > most:
            return failed(_camel(name), str(value), f"Member must have value less than or equal to {most}")
        return None

    return check


def failed(where: str, value: str, constraint: str) -> str:
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {constraint}"


def detected(failures: list[str]) -> ApiError:
    count = f"{len(failures)} validation error{'s' if len(failures) > 1 else ''} detected: "
    return validation(count + "; ".join(failures))


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


_RETURN_VALUES: Final = _one_of("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
_CAPACITY: Final[dict[str, Check]] = {"ReturnConsumedCapacity": _one_of("INDEXES", "TOTAL", "NONE")}
_METRICS: Final[dict[str, Check]] = {"ReturnItemCollectionMetrics": _one_of("SIZE", "NONE")}
_NAMES: Final[dict[str, Check]] = {"ExpressionAttributeNames": _names}
_WRITE: Final[dict[str, Check]] = {
    **_CAPACITY,
    **_METRICS,
    "ReturnValues": _RETURN_VALUES,
    "ReturnValuesOnConditionCheckFailure": _one_of("ALL_OLD", "NONE"),
    "ConditionExpression": _text,
    **_NAMES,
    "ExpressionAttributeValues": _attributes,
    "Expected": _attributes,
    "ConditionalOperator": _one_of("OR", "AND"),
}
_PAGE: Final[dict[str, Check]] = {
    **_CAPACITY,
    "Limit": _at_least(1),
    "Select": _one_of("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
    "ExclusiveStartKey": _attributes,
    "IndexName": _text,
    "ConsistentRead": _boolean,
    "ProjectionExpression": _text,
    "FilterExpression": _text,
    "AttributesToGet": _texts,
    **_NAMES,
    "ExpressionAttributeValues": _attributes,
    "ConditionalOperator": _one_of("OR", "AND"),
}
PARAMETERS: Final[dict[str, dict[str, Check]]] = {
    "PutItem": {"Item": _attributes, **_WRITE},
    "UpdateItem": {"Key": _attributes, **_WRITE, "UpdateExpression": _text, "AttributeUpdates": _attributes},
    "DeleteItem": {"Key": _attributes, **_WRITE},
    "GetItem": {
        "Key": _attributes,
        **_CAPACITY,
        "ConsistentRead": _boolean,
        "ProjectionExpression": _text,
        "AttributesToGet": _texts,
        **_NAMES,
    },
    "Scan": {
        **_PAGE,
        "TotalSegments": _at_least(1, 1_000_000),
        "Segment": _at_least(0, 999_999),
        "ScanFilter": _attributes,
    },
    "Query": {
        **_PAGE,
        "KeyConditionExpression": _text,
        "ScanIndexForward": _boolean,
        "KeyConditions": _attributes,
        "QueryFilter": _attributes,
    },
}
_REQUIRED: Final = frozenset({"Key", "Item"})

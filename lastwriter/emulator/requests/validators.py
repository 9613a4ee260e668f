"""Requests judged by their shape: a closure an operation, compiled from botocore's service model when first needed.

A request is looked at twice. First its JSON types: the first wrong one is a SerializationException. Then every
constraint (what must be there, lengths, ranges, patterns, enumerations): the first ten failures together are one
ValidationException, "2 validation errors detected: …". Unknown members are ignored and null is the same as absent, as
DynamoDB has it. Attribute values are only looked at from outside; :mod:`~lastwriter.emulator.requests.values` reads
them. What the model does not say, or says otherwise than the service does, stands in the tables below. The wording is
that of the ``dynalite`` project's tests against AWS and of the ``dynamodb-conformance`` suite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, serialization, validation
from lastwriter.emulator.requests.model import SERVICES, service
from lastwriter.emulator.requests.values import check_boolean, check_integer, check_string

Types = Callable[[Any], None]
Constraints = Callable[[Any, str, list[str]], None]
"""Given a value, its place and where failures go."""

MAX_FAILURES: Final = 10
_MOST_SHOWN: Final = 100
"""Levels of a value that a message shows."""
_JSON_OF: Final[dict[str, type]] = {"structure": dict, "map": dict, "list": list}
TABLE_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")
TABLE_ARN: Final = re.compile(r"arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/([a-zA-Z0-9_.-]+)")

_JAVA: Final = "com.amazonaws.dynamodb.v20120810."
_REQUIRED: Final = "The parameter 'TableName' is required but was not present in the request"
_NAMES_TABLE_FIRST: Final = frozenset({"CreateTable", "DescribeTable", "DeleteTable", "UpdateTable"})
"""Operations that say :data:`_REQUIRED` before anything else."""

_OPAQUE: Final = frozenset({"AttributeValue", "TagKeyString", "TagValueString", "ResourceArnString"})
"""Shapes whose constraints are judged elsewhere, in words of their own."""
_OPTIONAL: Final = {"Tag": {"Key", "Value"}}
"""Members of a structure that the model calls required and that are judged elsewhere."""

_SHAPE_OF: Final = {
    ("CreateTableInput", "TableName"): "TableName",
    ("CreateTableInput", "KeySchema"): "TableKeySchema",
    ("CreateTableInput", "AttributeDefinitions"): "AttributeDefinitions",
}
"""Where the service has another shape than the model."""
_ADDED_SHAPES: Final[dict[str, dict[str, Any]]] = {
    "TableKeySchema": {"type": "list", "member": {"shape": "KeySchemaElement"}, "min": 1, "max": 2},
}
_ADDED_REQUIRED: Final = {"CreateTableInput": ("AttributeDefinitions", "KeySchema")}
_UNBOUNDED: Final = frozenset({"ReplicationGroupUpdateList"})
"""Lists whose length is judged elsewhere."""
_ENUMS: Final = {
    "ScalarAttributeType": ("B", "N", "S"),
    "ReturnValue": ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"),
    "Select": ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
    "ConditionalOperator": ("OR", "AND"),
    "ProjectionType": ("ALL", "INCLUDE", "KEYS_ONLY"),
    "ComparisonOperator": (
        "IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE",
        "CONTAINS",
    ),
}  # fmt: skip
"""In the order in which the service lists them."""
_ORDER: Final = {
    "ProvisionedThroughput": ("WriteCapacityUnits", "ReadCapacityUnits"),
    "CreateTableInput": (
        "TableName", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes",
        "BillingMode", "ProvisionedThroughput",
    ),
    **dict.fromkeys(
        ("PutItemInput", "UpdateItemInput", "DeleteItemInput", "GetItemInput"),
        (
            "ReturnConsumedCapacity", "TableName", "ReturnItemCollectionMetrics", "ReturnValues", "ConditionalOperator",
            "Key", "Item",
        ),
    ),
    "ScanInput": ("ReturnConsumedCapacity", "TableName", "Limit", "Select"),
    "QueryInput": ("ReturnConsumedCapacity", "TableName", "Limit", "Select"),
    "TransactWriteItemsInput": ("ClientRequestToken", "TransactItems"),
}  # fmt: skip
"""Which members of a structure are judged first."""


def check_shape(operation: str, request: Mapping[str, Any]) -> None:
    """ApiError for the request's types, or its constraints."""
    types, constraints = _compiled(operation)
    types(request)
    if operation in _NAMES_TABLE_FIRST and request.get("TableName") is None:
        raise validation(_REQUIRED)
    failures: list[str] = []
    constraints(request, "", failures)
    if failures:
        raise detected(failures)


def check_members(operation: str, request: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """As :func:`check_shape`, of these members alone and as far as the operation has them."""
    failures = member_failures(operation, request, names)
    if failures:
        raise detected(failures)


def member_failures(operation: str, request: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """What fails of these members; SerializationException for their types."""
    steps = [(name, check) for name in names if (check := _member_checks(operation).get(name)) is not None]
    given = [(name, checks, request[name]) for name, checks in steps if request.get(name) is not None]
    for _, (types, _), value in given:
        types(value)
    failures: list[str] = []
    for name, (_, constraints), value in given:
        constraints(value, _camel(name), failures)
    return failures


def shown(operation: str, member: str, value: Any) -> str:
    """A member as the service shows it in messages: in Java's form."""
    compiler = _Compiler(service("dynamodb")["shapes"])
    return compiler.shown_member(service("dynamodb")["operations"][operation]["input"]["shape"], member, value)


def detected(failures: list[str]) -> ApiError:
    """ValidationException that lists them."""
    listed = failures[:MAX_FAILURES]
    count = f"{len(listed)} validation error{'s' if len(listed) > 1 else ''} detected: "
    return validation(count + "; ".join(listed))


def failed(where: str, value: str, constraint: str) -> str:
    """One failure."""
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {constraint}"


def missing(where: str) -> str:
    """The failure of what must be there and is not."""
    return f"Value null at '{where}' failed to satisfy constraint: Member must not be null"


@cache
def _compiled(operation: str) -> tuple[Types, Constraints]:
    name = next(name for name in SERVICES if operation in service(name)["operations"])
    model = service(name)
    compiler = _Compiler({**model["shapes"], **_ADDED_SHAPES})
    shape = model["operations"][operation]["input"]["shape"]
    return compiler.types(shape, in_structure=True), compiler.constraints(shape) or _nothing


@cache
def _member_checks(operation: str) -> dict[str, tuple[Types, Constraints]]:
    model = service("dynamodb")
    compiler = _Compiler(model["shapes"])
    members = model["shapes"][model["operations"][operation]["input"]["shape"]]["members"]
    shapes = {key: member["shape"] for key, member in members.items()}
    return {
        key: (compiler.types(shape, in_structure=True), compiler.constraints(shape) or _nothing)
        for key, shape in shapes.items()
    }


def _nothing(value: Any, where: str, failures: list[str]) -> None:
    """No constraints."""


class _Compiler:
    """Shapes into closures."""

    def __init__(self, shapes: Mapping[str, Any]) -> None:
        self._shapes = shapes

    # -- types

    def types(self, name: str, *, in_structure: bool) -> Types:
        """``in_structure``: of a structure's member, not of a list's or map's; the words differ."""
        shape = self._shapes[name]
        if name == "AttributeValue":
            return _structure_type(name, {}, in_structure=in_structure)
        match shape["type"]:
            case "structure":
                members = {key: self.types(self._member(name, key), in_structure=True) for key in shape["members"]}
                return _structure_type(name, members, in_structure=in_structure)
            case "list":
                return _list_type(self.types(shape["member"]["shape"], in_structure=False))
            case "map":
                return _map_type(shape["value"]["shape"], self.types(shape["value"]["shape"], in_structure=False))
            case kind:
                return _SCALARS[kind]

    # -- constraints

    def constraints(self, name: str) -> Constraints | None:
        """None: there are none."""
        shape = self._shapes[name]
        if name in _OPAQUE:
            return None
        if name == "TableArn":
            return table_failures
        match shape["type"]:
            case "structure":
                return self._structure(name, shape)
            case "list":
                return self._list({**shape, "min": None} if name in _UNBOUNDED else shape)
            case "map":
                return self._map(shape)
            case "string":
                return _string_constraints(name, shape)
            case "integer" | "long":
                return _number_constraints(shape)
        return None

    def _structure(self, name: str, shape: Mapping[str, Any]) -> Constraints | None:
        required = {*shape.get("required", ()), *_ADDED_REQUIRED.get(name, ())} - _OPTIONAL.get(name, set())
        first = [key for key in _ORDER.get(name, ()) if key in shape["members"]]
        order = (*first, *(key for key in shape["members"] if key not in first))
        steps = [
            (key, _camel(key), key in required, check)
            for key in order
            if (check := self.constraints(self._member(name, key))) is not None or key in required
        ]
        if not steps:
            return None

        def check_all(value: Any, where: str, failures: list[str]) -> None:
            for key, camel, is_required, check in steps:
                member = value.get(key)
                if member is None:
                    if is_required:
                        failures.append(missing(f"{where}{camel}"))
                elif check is not None:
                    check(member, f"{where}{camel}", failures)

        def nested(value: Any, where: str, failures: list[str]) -> None:
            check_all(value, where + "." if where else "", failures)

        return nested

    def _list(self, shape: Mapping[str, Any]) -> Constraints | None:
        return self._collection(shape, shape["member"]["shape"], lambda value: enumerate(value, 1))

    def _map(self, shape: Mapping[str, Any]) -> Constraints | None:
        return self._collection(shape, shape["value"]["shape"], lambda value: value.items())

    def _collection(
        self, shape: Mapping[str, Any], inner: str, members: Callable[[Any], Iterable[tuple[Any, Any]]]
    ) -> Constraints | None:
        length = _length_constraints(shape, lambda value: self.shown(value, shape))
        member = self.constraints(inner)
        if inner in _OPAQUE:
            return length
        absent = shape["type"] == "map" and self._shapes[inner]["type"] == "string"  # names: read elsewhere

        def check(value: Any, where: str, failures: list[str]) -> None:
            for key, one in members(value):
                if one is None and absent:
                    continue
                if one is None:
                    failures.append(missing(f"{where}.{key}.member"))
                elif member is not None:
                    member(one, f"{where}.{key}.member", failures)
            if length is not None:
                length(value, where, failures)

        return check

    def _member(self, structure: str, key: str) -> str:
        return _SHAPE_OF.get((structure, key)) or str(self._shapes[structure]["members"][key]["shape"])

    # -- as the service shows what is wrong

    def shown_member(self, structure: str, member: str, value: Any) -> str:
        """Of a structure."""
        name = self._member(structure, member)
        return self.shown(value, self._shapes[name], name)

    def shown(self, value: Any, shape: Mapping[str, Any], name: str = "", depth: int = 0) -> str:
        """In the form that Java gives it, to a depth that no value stored has."""
        if value is None:
            return "null"
        kind = shape["type"]
        if depth > _MOST_SHOWN or (isinstance(value, (dict, list)) and _JSON_OF.get(kind) is not type(value)):
            return "..."
        deeper = depth + 1
        if isinstance(value, list):
            inner = shape["member"]["shape"]
            return f"[{', '.join(self.shown(one, self._shapes[inner], inner, deeper) for one in value)}]"
        if isinstance(value, dict) and kind == "structure":
            members = [(key, self._member(name, key)) for key in shape["members"]]
            fields = (
                f"{_camel(key)}={self.shown(value.get(key), self._shapes[one], one, deeper)}" for key, one in members
            )
            return f"{name}({', '.join(fields)})"
        if isinstance(value, dict):
            inner = shape["value"]["shape"]
            entries = (f"{key}={self.shown(one, self._shapes[inner], inner, deeper)}" for key, one in value.items())
            return f"{{{', '.join(entries)}}}"
        return str(value).lower() if isinstance(value, bool) else str(value)


def _structure_type(name: str, members: Mapping[str, Types], *, in_structure: bool) -> Types:
    steps = tuple(members.items())

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise serialization(
                f"Unrecognized collection type class {_JAVA}{name}"
                if type(value) is list
                else "Unexpected field type"
                if in_structure
                else "Unexpected value type in payload"
            )
        for key, member in steps:
            one = value.get(key)
            if one is not None:
                member(one)

    return check


def _list_type(member: Types) -> Types:
    def check(value: Any) -> None:
        if type(value) is not list:
            raise serialization(
                "Start of structure or map found where not expected" if type(value) is dict else "Unexpected field type"
            )
        for one in value:
            if one is not None:
                member(one)

    return check


def _map_type(value_name: str, member: Types) -> Types:
    java = "java.lang.String" if member is check_string else _JAVA + value_name

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise serialization(
                f"Unrecognized collection type java.util.Map<java.lang.String, {java}>"
                if type(value) is list
                else "Unexpected field type"
            )
        for one in value.values():
            if one is not None:
                member(one)

    return check


_SCALARS: Final[dict[str, Types]] = {
    "string": check_string,
    "boolean": check_boolean,
    "integer": check_integer,
    "long": lambda value: check_integer(value, "Long"),
    "double": lambda value: check_integer(value, "Double"),
    "timestamp": lambda value: check_integer(value, "Date"),
    "blob": check_string,
}


def _string_constraints(name: str, shape: Mapping[str, Any]) -> Constraints | None:
    options = _ENUMS.get(name) or tuple(shape.get("enum", ()))
    if options:
        constraint = f"Member must satisfy enum value set: [{', '.join(options)}]"

        def check_enum(value: Any, where: str, failures: list[str]) -> None:
            if value not in options:
                failures.append(failed(where, value, constraint))

        return check_enum
    length = _length_constraints(shape, str)
    text = shape.get("pattern")
    if text is None:
        return length
    try:
        pattern = re.compile(text)
    except re.error:  # Java's, of what has no place here: keys of buckets
        return length

    def check(value: Any, where: str, failures: list[str]) -> None:
        if value and pattern.fullmatch(value) is None:
            failures.append(failed(where, value, f"Member must satisfy regular expression pattern: {text}"))
        if length is not None:
            length(value, where, failures)

    return check


def table_failures(value: Any, where: str, failures: list[str]) -> None:
    """Constraints of a table's name, where its ARN will do as well."""
    if TABLE_ARN.fullmatch(value) is not None:
        return
    if not value:
        failures.append(failed(where, value, "Member must have length greater than or equal to 1"))
    elif len(value) > 255:
        failures.append(failed(where, value, "Member must have length less than or equal to 255"))
    elif TABLE_NAME.fullmatch(value) is None:
        failures.append(failed(where, value, f"Member must satisfy regular expression pattern: {TABLE_NAME.pattern}"))


def _length_constraints(shape: Mapping[str, Any], show: Callable[[Any], str]) -> Constraints | None:
    least, most = shape.get("min"), shape.get("max")
    if least is None and most is None:
        return None

    def check(value: Any, where: str, failures: list[str]) -> None:
        if least is not None and len(value) < least:
            failures.append(failed(where, show(value), f"Member must have length greater than or equal to {least}"))
        if most is not None and len(value) > most:
            failures.append(failed(where, show(value), f"Member must have length less than or equal to {most}"))

    return check


def _number_constraints(shape: Mapping[str, Any]) -> Constraints | None:
    least, most = shape.get("min"), shape.get("max")
    if least is None and most is None:
        return None

    def check(value: Any, where: str, failures: list[str]) -> None:
        if least is not None and value < least:
            failures.append(failed(where, str(value), f"Member must have value greater than or equal to {least}"))
        if most is not None and value > most:
            failures.append(failed(where, str(value), f"Member must have value less than or equal to {most}"))

    return check


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]

"""DynamoDB-JSON values: what is a valid one, its one canonical form, order and size in bytes.

Every value is brought into canonical form once, when it enters: numbers as plain decimal text without superfluous
zeros, sets sorted, Base64 as it would be encoded. Two values are then equal exactly if their dictionaries are, which
makes conditions cheap and lets replicas be compared with ``==``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sized
from decimal import Context, Decimal, localcontext
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, in_request, invalid_parameter, serialization, validation

Value = dict[str, Any]
"""``{"S": "text"}``, ``{"N": "1"}``, ``{"M": {"a": {"BOOL": true}}}`` …"""

Item = dict[str, Value]
"""Attribute name → value. Never mutated once it has been stored or returned."""

TYPES: Final = frozenset({"S", "N", "B", "SS", "NS", "BS", "BOOL", "NULL", "L", "M"})

MAX_DIGITS: Final = 38
MAX_DEPTH: Final = 32
"""Levels of an attribute: the value itself is the first."""

_MAX_EXPONENT: Final = 125
_MIN_EXPONENT: Final = -130
_BILLION: Final = 10**9
_JAVA_EXPONENT: Final = 2**31 - 1
_LONG: Final = 2**63
_LONG_DIGITS: Final = 19
_EXACT: Final = Context(prec=400)
"""Holds any sum of two numbers in range without rounding: exponents from -167 to 125."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

Number = int | Decimal


# ---- numbers


def canonical_number(text: str) -> str:
    """The number as DynamoDB returns it; ApiError beyond 38 significant digits or the range 1E-130 … 9.99E+125."""
    digits = text[1:] if text[:1] == "-" else text
    if digits.isdecimal() and digits.isascii() and len(digits) <= MAX_DIGITS and (digits[0] != "0" or text == "0"):
        return text
    if _NUMBER.fullmatch(text) is None:
        raise _not_numeric(text)
    return _in_range(text)


def number(text: str) -> Number:
    """The number that a canonical text stands for."""
    return Decimal(text) if "." in text else int(text)


def add_numbers(left: str, right: str) -> str:
    """Canonical sum of two canonical numbers."""
    if "." not in left and "." not in right:
        total = int(left) + int(right)
        if -_INTEGERS < total < _INTEGERS:
            return str(total)
    return _result(_EXACT.add(Decimal(left), Decimal(right)))


def subtract_numbers(left: str, right: str) -> str:
    """Canonical difference of two canonical numbers."""
    if "." not in left and "." not in right:
        total = int(left) - int(right)
        if -_INTEGERS < total < _INTEGERS:
            return str(total)
    return _result(_EXACT.subtract(Decimal(left), Decimal(right)))


def _result(value: Decimal) -> str:
    """A result with more than 38 digits is refused as an overflow (as observed; no rounding)."""
    if len(value.normalize(_EXACT).as_tuple().digits) > MAX_DIGITS:
        raise _too_large()
    return _in_range(value)


_INTEGERS: Final = 10**MAX_DIGITS


def _in_range(source: str | Decimal) -> str:
    if isinstance(source, str):
        mantissa, _, exponent = source.partition("e" if "e" in source else "E")
        if exponent:
            written = _exponent(exponent, source)
            if not mantissa.strip("+-0."):  # zero is in range if the exponent it is written with is
                if written > _MAX_EXPONENT:
                    raise _wrapped(written)
                if written < _MIN_EXPONENT:
                    raise _too_small()
            elif abs(written) > _BILLION:  # more than anybody's exponents hold, and than any mantissa makes up for
                raise _too_small() if written < 0 else _wrapped(written)
    value = Decimal(source)
    if not value:
        return "0"
    if value.adjusted() > _MAX_EXPONENT:
        raise _too_large()
    if value.adjusted() < _MIN_EXPONENT:
        raise _too_small()
    digits = "".join(map(str, value.as_tuple().digits)).rstrip("0")
    if len(digits) > MAX_DIGITS:
        raise in_request("Attempting to store more than 38 significant digits in a Number")
    with localcontext(_EXACT):
        return format(value.normalize(), "f")


def _exponent(text: str, source: str) -> int:
    digits = text.lstrip("+-0")
    value = int(f"{'-' if text[0] == '-' else ''}{digits or 0}") if len(digits) <= _LONG_DIGITS else _LONG
    if not -_LONG <= value < _LONG:
        raise _not_numeric(source)
    return value


def _not_numeric(text: str) -> ApiError:
    words = "The parameter cannot be converted to a numeric value"
    return in_request(f"{words}: {text}" if text else words, f"{words}: {text}")


def _too_large() -> ApiError:
    return in_request("Number overflow. Attempting to store a number with magnitude larger than supported range")


def _too_small() -> ApiError:
    return in_request("Number underflow. Attempting to store a number with magnitude smaller than supported range")


def _wrapped(exponent: int) -> ApiError:
    """Java's BigDecimal takes exponents of 31 bits, and takes the largest for small ones."""
    large = _too_large()
    return in_request(_too_small().message, large.message) if exponent == _JAVA_EXPONENT else large


# ---- canonical form


def canonical_value(value: Any, depth: int = 0) -> Value:
    """``value`` in canonical form: itself if it is already, else a new dictionary. ApiError if it is no value."""
    if type(value) is not dict:
        raise _not_a_structure(value)
    if len(value) == 1:
        # The two commonest types without a further call.
        text = value.get("N")
        if text is None:
            if type(value.get("S")) is str:
                return value
        elif type(text) is str:
            if text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS and (text[0] != "0" or len(text) == 1):
                return value
            canonical = canonical_number(text)
            return value if canonical == text else {"N": canonical}
    return _canonical_members(value, depth)


def canonical_item(attributes: Mapping[str, Any]) -> Item:
    """A new item with every value in canonical form."""
    return dict(canonical_values(attributes))


def canonical_values(attributes: Mapping[str, Any]) -> Mapping[str, Value]:
    """The same with every value in canonical form: itself if they are already."""
    for value in attributes.values():
        # Texts and plain numbers, which most values are, without a call for each.
        if type(value) is not dict or len(value) != 1:
            break
        text = value.get("N")
        if text is None:
            if type(value.get("S")) is not str:
                break
        elif (
            type(text) is not str
            or not (text.isdecimal() and text.isascii())
            or len(text) > MAX_DIGITS
            or (text[0] == "0" and text != "0")
        ):
            break
    else:
        return attributes
    return {name: canonical_value(value) for name, value in attributes.items()}


def _canonical_members(value: Value, depth: int) -> Value:
    present = {kind: content for kind, content in value.items() if content is not None and kind in TYPES}
    for kind, content in present.items():
        _check_json(kind, content)
    if not present:
        raise validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    canonical = {kind: _CANONICAL[kind](content, depth) for kind, content in present.items()}
    if len(present) > 1:
        raise validation(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )
    return value if canonical == value else canonical


def _check_json(kind: str, content: Any) -> None:
    """SerializationException unless the JSON is of the type's shape."""
    if kind in ("S", "N"):
        check_string(content)
    elif kind == "B":
        _check_binary(content)
    elif kind in ("BOOL", "NULL"):
        check_boolean(content)
    elif kind == "M":
        if type(content) is not dict:
            raise serialization(
                "Unrecognized collection type java.util.Map<java.lang.String, "
                "com.amazonaws.dynamodb.v20120810.AttributeValue>"
                if type(content) is list
                else "Unexpected field type"
            )
    else:
        if type(content) is not list:
            raise serialization(
                "Start of structure or map found where not expected"
                if type(content) is dict
                else "Unexpected field type"
            )
        for member in content:
            if kind == "BS":
                _check_binary(member)
            elif kind != "L":
                check_string(member)


def check_string(content: Any) -> None:
    """SerializationException unless ``content`` is a JSON string."""
    if type(content) is not str:
        raise serialization(_conversion(content, "String"))


def check_boolean(content: Any) -> None:
    """SerializationException unless ``content`` is a JSON boolean."""
    if type(content) is not bool:
        if type(content) is str:
            raise serialization("Unexpected token received from parser")
        raise serialization(_conversion(content, "Boolean"))


def check_integer(content: Any, java: str = "Integer") -> None:
    """SerializationException unless ``content`` is a JSON number."""
    if type(content) is not int and type(content) is not float:
        raise serialization(_conversion(content, java))


def _conversion(content: Any, java: str) -> str:
    if type(content) is dict:
        return "Start of structure or map found where not expected"
    if type(content) is list:
        return f"Unrecognized collection type class java.lang.{java}"
    token = {
        bool: "TRUE_VALUE" if content else "FALSE_VALUE",
        str: "STRING_VALUE",
        float: "DECIMAL_VALUE",
    }.get(type(content), "NUMBER_VALUE")
    return f"{token} cannot be converted to {java}"


def _check_binary(content: Any) -> None:
    if type(content) is not str:
        if type(content) is dict:
            raise serialization("Start of structure or map found where not expected")
        if type(content) is list:
            raise serialization("Unrecognized collection type class java.nio.ByteBuffer")
        raise serialization("only base-64-encoded strings are convertible to bytes")
    if len(content) % 4:
        raise serialization(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(content)}")
    wrong = re.search(r"[^a-zA-Z0-9+/=]|=(?=[^=])", content)
    if wrong is not None:
        raise serialization(f"Invalid Base64 character: '{wrong.group()}'")
    try:
        decoded = base64.b64decode(content, validate=True)
    except binascii.Error:
        decoded = None
    if decoded is None or base64.b64encode(decoded).decode("ascii") != content:
        raise serialization("Invalid last non-pad Base64 character dectected")


def _not_a_structure(value: Any) -> ApiError:
    if type(value) is list:
        return serialization("Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue")
    if value is None:
        return validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    return serialization("Unexpected value type in payload")


_INVALID: Final = "One or more parameter values were invalid: "


def _string(content: str, depth: int) -> str:
    return content


def _number(content: str, depth: int) -> str:
    return canonical_number(content)


def _null(content: bool, depth: int) -> bool:
    if not content:
        raise invalid_parameter("Null attribute value types must have the value of true")
    return True


def _string_set(content: list[str], depth: int) -> list[str]:
    if not content:
        raise in_request(_INVALID + "An string set  may not be empty")
    if len(set(content)) < len(content):
        newer = ", ".join(f'"{member}"' for member in _as_found(content, str.encode))
        raise _duplicates(f"[{', '.join(content)}]", f"[{newer}]", " contains duplicates.")
    return sorted(content)


def _number_set(content: list[str], depth: int) -> list[str]:
    if not content:
        raise in_request(_INVALID + "An number set  may not be empty")
    canonical = [canonical_number(text) for text in content]
    if len(set(canonical)) < len(canonical):
        raise in_request("Input collection contains duplicates", _INVALID + "Input collection contains duplicates.")
    return sorted(canonical, key=number)


def _binary_set(content: list[str], depth: int) -> list[str]:
    if not content:
        raise in_request(_INVALID + "Binary sets should not be empty")
    if "" in content:
        raise in_request(_INVALID + "Binary sets may not contain null or empty values")
    if len(set(content)) < len(content):
        newer = ",".join(f'"{member}"' for member in _as_found(content, base64.b64decode))
        raise _duplicates(f"[{', '.join(content)}]", f"[{newer}]", "of type BS contains duplicates.")
    return sorted(content, key=base64.b64decode)


def _duplicates(older: str, newer: str, words: str) -> ApiError:
    return in_request(f"{_INVALID}Input collection {older}{words}", f"{_INVALID}Input collection {newer}{words}")


def _as_found(members: list[str], order: Callable[[str], bytes]) -> list[str]:
    """As the newer wording lists a set: sorted up to the first member that is there twice, the rest as it came."""
    repeat = next(at for at, member in enumerate(members) if member in members[:at])
    return [*sorted(members[:repeat], key=order), *members[repeat:]]


def _list(content: list[Any], depth: int) -> list[Value]:
    _check_depth(content, depth)
    return [canonical_value(member, depth + 1) for member in content]


def _map(content: dict[str, Any], depth: int) -> Item:
    _check_depth(content, depth)
    return {name: canonical_value(member, depth + 1) for name, member in content.items()}


def _check_depth(content: Sized, depth: int) -> None:
    if depth + 1 >= MAX_DEPTH and (content or depth >= MAX_DEPTH):
        raise in_request(
            "Nesting Levels have exceeded supported limits: "
            "Attributes in the item have nested levels beyond supported limit"
        )


_CANONICAL: Final[dict[str, Callable[[Any, int], Any]]] = {
    "S": _string,
    "N": _number,
    "B": _string,
    "BOOL": lambda content, depth: content,
    "NULL": _null,
    "SS": _string_set,
    "NS": _number_set,
    "BS": _binary_set,
    "L": _list,
    "M": _map,
}


# ---- order


def sortable(value: Value) -> Any:
    """What S, N and B values are ordered by: text, number, bytes. None for other types, which have no order."""
    for kind, content in value.items():
        if kind == "N":
            return number(content)
        if kind == "S":
            return content
        if kind == "B":
            return base64.b64decode(content)
    return None


def type_of(value: Value) -> str:
    """``S``, ``N`` …"""
    return next(iter(value))

"""Size of items in bytes and the capacity units that it costs, as DynamoDB counts them.

A number costs 1 byte, one per two significant digits left and right of the point (each rounded up), and 1 for a minus
sign: measured at the 400 KB limit by the public ``dynamodb-conformance`` suite (2026-08), where the developer guide's
rule is too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

MAX_ITEM_BYTES: Final = 409_600

_WRITE_UNIT_BYTES: Final = 1024
_READ_UNIT_BYTES: Final = 4096


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Attribute names and values together."""
    total = 0
    for name, value in item.items():
        total += len(name) if name.isascii() else len(name.encode())
        for kind, content in value.items():
            if kind == "S":
                total += len(content) if content.isascii() else len(content.encode())
            elif kind == "N":
                total += number_bytes(content)
            else:
                total += value_bytes(kind, content)
    return total


def exceeds_limit(item: Mapping[str, Mapping[str, Any]], added_bytes: int = 0) -> bool:
    """Whether the item, with so many bytes added, is larger than an item may be."""
    if len(orjson.dumps(item)) + added_bytes <= MAX_ITEM_BYTES:  # quick: the JSON is never shorter than the item's size
        return False
    return item_bytes(item) + added_bytes > MAX_ITEM_BYTES


def value_bytes(kind: str, content: Any) -> int:
    """Bytes of one value of type ``kind``."""
    if kind == "S":
        return utf8_bytes(content)
    if kind == "N":
        return number_bytes(content)
    if kind == "B":
        return binary_bytes(content)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "SS":
        return sum(map(utf8_bytes, content))
    if kind == "NS":
        return sum(map(number_bytes, content))
    if kind == "BS":
        return sum(map(binary_bytes, content))
    if kind == "L":
        return 3 + sum(1 + value_bytes(*_only(member)) for member in content)
    return 3 + sum(1 + utf8_bytes(name) + value_bytes(*_only(member)) for name, member in content.items())


def utf8_bytes(text: str) -> int:
    """Length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def binary_bytes(text: str) -> int:
    """Length of what canonical Base64 stands for."""
    return len(text) * 3 // 4 - text.count("=")


def number_bytes(text: str) -> int:
    """Bytes of a canonical number."""
    size = 1
    if text[0] == "-":
        size = 2
        text = text[1:]
    if "." not in text:
        return size + (len(text.rstrip("0")) + 1) // 2 if text != "0" else 1
    integer, _, fraction = text.partition(".")
    if integer == "0":
        return size + (len(fraction.lstrip("0")) + 1) // 2
    return size + (len(integer) + 1) // 2 + (len(fraction) + 1) // 2


def write_units(old_bytes: int, new_bytes: int) -> int:
    """Units of a write that turns an item of ``old_bytes`` into one of ``new_bytes`` (0: absent)."""
    return max(1, -(-max(old_bytes, new_bytes) // _WRITE_UNIT_BYTES))


def read_units(size_bytes: int, *, consistent: bool) -> float:
    """Units of reading ``size_bytes`` together: half as many for an eventually consistent read."""
    units = max(1, -(-size_bytes // _READ_UNIT_BYTES))
    return float(units) if consistent else units / 2


def _only(value: Mapping[str, Any]) -> tuple[str, Any]:
    return next(iter(value.items()))

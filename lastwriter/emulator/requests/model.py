"""Botocore's service model: the shapes of every operation, read where botocore keeps them, without importing it."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson

SERVICES: Final = {"dynamodb": "2012-08-10", "dynamodbstreams": "2012-08-10"}


@cache
def service(name: str) -> dict[str, Any]:
    """``operations`` and ``shapes`` of a service of :data:`SERVICES`."""
    found = find_spec("botocore")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "data" / name / SERVICES[name]
    packed = folder / "service-2.json.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "service-2.json").read_bytes()
    model: dict[str, Any] = orjson.loads(data)
    return model


def operations() -> frozenset[str]:
    """All that DynamoDB has, whether it is here or not."""
    return frozenset(operation for name in SERVICES for operation in service(name)["operations"])

"""TagResource, UntagResource, ListTagsOfResource: tags of tables, each Region's own.

Messages are those of AWS (finding 442 of the source named in :mod:`lastwriter.emulator.core.tables`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core.members import Member
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, serialization, validation

MAX_TAGS: Final = 50
_PAGE: Final = 10
_KEY: Final = re.compile(r"[\w\s.:/=+\-@]{1,128}")
_VALUE: Final = re.compile(r"[\w\s.:/=+\-@]{0,256}")
_TABLE: Final = re.compile(r"arn:[a-z-]+:dynamodb:([a-z0-9-]+):[0-9]{12}:table/([a-zA-Z0-9_.-]+)")

Find = Callable[[str, str], Member | None]
"""The table of that Region and name."""


class Tags:
    """The three operations."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def tag(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """TagResource."""
        member = self._member(region, request)
        given = request.get("Tags")
        if not given:
            raise validation("Atleast one Tag needs to be provided as Input.")
        member.tags = merged(member.tags, given)
        return {}

    def untag(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """UntagResource."""
        member = self._member(region, request)
        keys = request.get("TagKeys")
        if not keys:
            raise validation("Atleast one Tag Key needs to be provided as Input.")
        if type(keys) is not list:
            raise serialization("Unexpected field type")
        for key in keys:
            _check_key(key)
        member.tags = {key: value for key, value in member.tags.items() if key not in keys}
        return {}

    def list(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """ListTagsOfResource, ten at a time."""
        member = self._member(region, request)
        token = request.get("NextToken")
        start = int(token) if isinstance(token, str) and token.isdecimal() else 0
        tags = [{"Key": key, "Value": value} for key, value in sorted(member.tags.items())]
        body: dict[str, Any] = {"Tags": tags[start : start + _PAGE]}
        if start + _PAGE < len(tags):
            body["NextToken"] = str(start + _PAGE)
        return body

    def _member(self, region: str, request: dict[str, Any]) -> Member:
        arn = request.get("ResourceArn")
        if arn is None:
            raise validation(
                "1 validation error detected: Value null at 'resourceArn' failed to satisfy constraint: "
                "Member must not be null"
            )
        if type(arn) is not str or not arn.startswith("arn:"):
            raise invalid_parameter(f"ARNs must start with 'arn:': {arn}")
        found = _TABLE.fullmatch(arn)
        if found is None:
            raise invalid_parameter(f"Provided Arn is not a DynamoDB resource arn: {arn}")
        if found[1] != region:
            raise validation(f"Invalid TableArn: Invalid ResourceArn provided as input {arn}")
        member = self._find(region, found[2])
        if member is None:
            raise ApiError("ResourceNotFoundException", f"Requested resource not found: ResourcArn: {arn} not found")
        return member


def merged(present: dict[str, str], given: Any) -> dict[str, str]:
    """The tags after these are ``given``; ApiError for what tags cannot be."""
    if type(given) is not list or any(type(one) is not dict for one in given):
        raise serialization("Unexpected field type")
    keys = [one.get("Key") for one in given]
    for one in given:
        _check_key(one.get("Key"))
        value = one.get("Value")
        if type(value) is not str or _VALUE.fullmatch(value) is None:
            raise validation(f"The Tag Value provided is invalid, Value: {'null' if value is None else value}")
    repeated = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
    if repeated is not None:
        raise validation(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {repeated}")
    tags = {**present, **{one["Key"]: one["Value"] for one in given}}
    if len(tags) > MAX_TAGS:
        raise validation("Number of Tags exceed the current limit for the provided ResourceArn")
    return tags


def _check_key(key: Any) -> None:
    if type(key) is not str or _KEY.fullmatch(key) is None:
        raise validation(f"The Tag Key provided is invalid, Key: {'null' if key is None else key}")
    if key.startswith("aws:"):
        raise validation(f"Tag Key cannot be prefixed with aws:, Key: {key}")

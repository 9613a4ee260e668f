"""The API of global tables of 2017: nothing is left but its refusals (DDB-GLOBALTABLE-2 and 4, October 2026)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, invalid_parameter

_NOT_SUPPORTED: Final = (
    "DynamoDB global tables version 2017.11.29 is not supported. We recommend using DynamoDB global tables version "
    "2019.11.21, instead of version 2017.11.29 (Legacy)."
)


def _create(region: str, request: dict[str, Any]) -> dict[str, Any]:
    raise invalid_parameter(_NOT_SUPPORTED)


def _describe(region: str, request: dict[str, Any]) -> dict[str, Any]:
    raise _no_such(request, "Global table not found: ")


def _settings(region: str, request: dict[str, Any]) -> dict[str, Any]:
    raise _no_such(request)


def _update(region: str, request: dict[str, Any]) -> dict[str, Any]:
    updates = request["ReplicaUpdates"]
    if not updates:
        raise ApiError("ValidationException", "One or more parameter values were invalid")
    if any(update.get("Create") is not None for update in updates):
        raise invalid_parameter(_NOT_SUPPORTED)
    raise _no_such(request, "Global table not found: ")


def _list(region: str, request: dict[str, Any]) -> dict[str, Any]:
    return {"GlobalTables": []}


def _no_such(request: dict[str, Any], before: str = "") -> ApiError:
    name = request["GlobalTableName"]
    return ApiError("GlobalTableNotFoundException", f"{before}Global table with name: '{name}' does not exist.")


OPERATIONS: Final[dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]]] = {
    "CreateGlobalTable": _create,
    "DescribeGlobalTable": _describe,
    "UpdateGlobalTable": _update,
    "DescribeGlobalTableSettings": _settings,
    "UpdateGlobalTableSettings": _settings,
    "ListGlobalTables": _list,
}

"""What UpdateTable does to billing: on demand or provisioned, units, maximum.

Messages and rules are those of AWS (findings 51, 56 to 60, 153, 178, 184, 185 and 326 of the source named in
:mod:`lastwriter.emulator.core.tables`):

1. Units go up as often as one likes, down four times a day (UTC), and then once an hour.
2. ``OnDemandThroughput`` changes at once, member by member; -1 takes a member away, another billing mode both.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final, Protocol

from lastwriter.emulator.core.members import Table
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, validation

_DAY_S: Final = 86400
_FREE_DECREASES: Final = 4
_NEXT_DECREASE_S: Final = 3600
_ON_DEMAND_UNITS: Final = (
    "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
)


class Limited(Protocol):
    """A table or an index."""

    most_read_units: int | None
    most_write_units: int | None


class Billing:
    """Changes the billing of tables. ``update`` marks a table as being updated; ``now``: seconds since 1970."""

    def __init__(self, update: Callable[[Table], None], now: Callable[[], float]) -> None:
        self._update = update
        self._now = now

    def change(self, table: Table, request: dict[str, Any]) -> Callable[[], None]:
        """What the request asks for, ready to be done; ApiError."""
        mode = request.get("BillingMode") or table.billing_mode
        maximum, units = request.get("OnDemandThroughput"), request.get("ProvisionedThroughput")
        if mode == "PAY_PER_REQUEST":
            if units is not None:
                raise invalid_parameter(_ON_DEMAND_UNITS)
            most = merged_maximum(table, maximum or {})
            switched = request.get("BillingMode") is not None
            return lambda: self._set_on_demand(table, most, switched)
        if maximum is not None:
            raise invalid_parameter("OnDemandThroughput cannot be specified when BillingMode is PROVISIONED")
        if units is None:
            raise invalid_parameter("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        wanted = units["ReadCapacityUnits"], units["WriteCapacityUnits"]
        present = table.read_units, table.write_units
        if table.billing_mode == "PAY_PER_REQUEST":
            _check_indexes(table, request)
            return lambda: self._set_units(table, wanted)
        if wanted == present:
            raise unchanged("table", wanted)
        if wanted[0] < present[0] or wanted[1] < present[1]:
            self._check_decrease(table)
        return lambda: self._set_units(table, wanted)

    def _set_on_demand(self, table: Table, most: tuple[int | None, int | None], switched: bool) -> None:
        if table.billing_mode != "PAY_PER_REQUEST":
            table.on_demand_since = round(self._now(), 3)
            for member in table.members.values():
                member.read_units = None
        table.billing_mode = "PAY_PER_REQUEST"
        table.read_units = table.write_units = 0
        table.most_read_units, table.most_write_units = most
        for index in table.indexes.values():
            index.read_units = index.write_units = 0
        if switched:
            self._update(table)

    def _set_units(self, table: Table, units: tuple[int, int]) -> None:
        now_s = round(self._now(), 3)
        if table.billing_mode == "PAY_PER_REQUEST":
            table.most_read_units = table.most_write_units = None
            for member in table.members.values():
                member.most_read_units = None
            for index in table.indexes.values():
                index.most_read_units = index.most_write_units = None
        else:
            if units[0] < table.read_units or units[1] < table.write_units:
                table.decreases = [*_today(table.decreases, now_s), now_s]
            if units[0] > table.read_units or units[1] > table.write_units:
                table.increased = now_s
        table.billing_mode = "PROVISIONED"
        table.read_units, table.write_units = units
        self._update(table)

    def _check_decrease(self, table: Table) -> None:
        now_s = self._now()
        today = _today(table.decreases, now_s)
        if len(today) < _FREE_DECREASES:
            return
        midnight_s = (now_s // _DAY_S + 1) * _DAY_S
        next_s = min(today[-1] + _NEXT_DECREASE_S, midnight_s)
        if now_s < next_s:
            raise ApiError(
                "LimitExceededException",
                "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. After "
                f"the first {_FREE_DECREASES} decreases, each subsequent decrease in the same UTC day can be performed "
                f"at most once every {_NEXT_DECREASE_S} seconds. Number of decreases today: {len(today)}. Last "
                f"decrease at {_shown(today[-1])}. Next decrease can be made at {_shown(next_s)}.",
            )


def decreases_today(table: Table, now_s: float) -> int:
    """How often the table's units have gone down today (UTC)."""
    return len(_today(table.decreases, now_s))


def merged_maximum(present: Limited, given: dict[str, Any]) -> tuple[int | None, int | None]:
    """OnDemandThroughput after the request: read and write units a second; None: not said."""
    found = []
    for name, before in (
        ("MaxReadRequestUnits", present.most_read_units),
        ("MaxWriteRequestUnits", present.most_write_units),
    ):
        units = given.get(name)
        if units is not None and units < 1 and units != -1:
            raise invalid_parameter(f"Requested {name} for OnDemandThroughput is outside of valid range")
        found.append(before if units is None else None if units == -1 else int(units))
    return found[0], found[1]


def unchanged(what: str, units: tuple[int, int]) -> ApiError:
    """The units are what they are already."""
    of = "index" if what != "table" else "table"
    return validation(
        f"The provisioned throughput for the {what} will not change. The requested value equals the current value. "
        f"Current ReadCapacityUnits provisioned for the {of}: {units[0]}. Requested ReadCapacityUnits: {units[0]}. "
        f"Current WriteCapacityUnits provisioned for the {of}: {units[1]}. Requested WriteCapacityUnits: {units[1]}. "
        "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    )


def _check_indexes(table: Table, request: dict[str, Any]) -> None:
    given = {one["Update"]["IndexName"] for one in request.get("GlobalSecondaryIndexUpdates") or () if "Update" in one}
    for index in table.indexes.values():
        if index.schema.is_global and index.schema.name not in given:
            raise invalid_parameter(f"ProvisionedThroughput must be specified for index: {index.schema.name}")


def _today(decreases: list[float], now_s: float) -> list[float]:
    return [at_s for at_s in decreases if at_s // _DAY_S == now_s // _DAY_S]


def _shown(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime(
        "%A, %B %-d, %Y at %-I:%M:%S %p Coordinated Universal Time"
    )

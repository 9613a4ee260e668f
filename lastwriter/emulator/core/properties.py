"""What UpdateTable changes besides members: stream, class, deletion protection; billing and indexes elsewhere.

Messages are those of AWS (findings 29, 50, 283, 365, 382 and 433 of the source named in
:mod:`lastwriter.emulator.core.tables`). What the members have in common changes in all of them at once. One call
changes one thing, with few exceptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core.billing import Billing
from lastwriter.emulator.core.indexing import Indexes, Later, index_actions
from lastwriter.emulator.core.members import Member, Table
from lastwriter.emulator.core.streams import Streams
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, validation

SUPPORTED: Final = frozenset(
    {
        "DeletionProtectionEnabled", "GlobalSecondaryIndexUpdates", "BillingMode", "ProvisionedThroughput",
        "StreamSpecification", "TableClass", "OnDemandThroughput",
    }
)  # fmt: skip
_CLASS_CHANGES: Final = 2
_CLASS_PERIOD_S: Final = 30 * 86400


class Properties:
    """Changes properties of tables. ``now``: seconds since 1970."""

    def __init__(self, later: Later, after_copying: Later, streams: Streams, now: Callable[[], float]) -> None:
        self._later = later
        self._streams = streams
        self._now = now
        self._billing = Billing(self._update, now)
        self._indexes = Indexes(later, after_copying, self._update)

    def change(self, member: Member, request: dict[str, Any]) -> None:
        """All that the request asks for, or nothing: ApiError."""
        check_together(request)
        table = member.table
        work: list[Callable[[], None]] = []
        protection = request.get("DeletionProtectionEnabled")
        if protection is not None:
            work.append(lambda: setattr(member, "deletion_protection", protection))
        if request.get("StreamSpecification") is not None:
            work.append(self._stream(table, request["StreamSpecification"]))
        updates = request.get("GlobalSecondaryIndexUpdates")
        if updates is not None:
            work += self._indexes.changes(table, updates, request)
        if any(
            request.get(name) is not None for name in ("BillingMode", "ProvisionedThroughput", "OnDemandThroughput")
        ):
            work.append(self._billing.change(table, request))
        if request.get("TableClass") is not None:
            work.append(self._class(table, request["TableClass"]))
        for step in work:
            step()

    def take_up(self, table: Table) -> None:
        """A table that was there before this process: go on with what was being done to its indexes."""
        self._indexes.take_up(table)

    # -- stream

    def _stream(self, table: Table, specification: Any) -> Callable[[], None]:
        enabled, view = specification["StreamEnabled"], specification.get("StreamViewType")
        name = table.schema.name
        if not enabled:
            if view is not None:
                raise invalid_parameter("If stream is being disabled, then UpdateViewType must not be specified")
            if table.stream_view_type is None:
                raise validation(f"Table has no stream to disable: TableName: {name}")
            if table.mode == "MREC":
                raise invalid_parameter("Disabling Stream is not allowed for a Global Table replica.")
            return lambda: self._set_stream(table, None)
        if view is None:
            raise invalid_parameter("If stream is being enabled then UpdateViewType is required")
        if table.stream_view_type is not None:
            raise validation(f"Table already has an enabled stream: TableName: {name}")
        return lambda: self._set_stream(table, view)

    def _set_stream(self, table: Table, view: str | None) -> None:
        table.stream_view_type = view
        for member in table.members.values():
            if view is not None:
                self._streams.start(member)
            else:
                self._streams.stop(member)
        self._update(table)

    # -- class

    def _class(self, table: Table, wanted: str) -> Callable[[], None]:
        now_s = self._now()
        recent = [at_s for at_s in table.class_changes if now_s - at_s < _CLASS_PERIOD_S]
        if wanted == "STANDARD" and not table.class_changes and table.table_class == wanted:
            return lambda: None  # it never was another
        if len(recent) >= _CLASS_CHANGES:
            raise ApiError(
                "LimitExceededException",
                "Subscriber limit exceeded: Table class can be updated at most twice in a 30-day period",
            )
        return lambda: self._set_class(table, wanted, recent)

    def _set_class(self, table: Table, wanted: str, recent: list[float]) -> None:
        if table.table_class != wanted:
            table.table_class = wanted
            table.class_changes = [*recent, round(self._now(), 3)]
        self._update(table)

    def _update(self, table: Table) -> None:
        for member in table.members.values():
            if member.status == "ACTIVE":
                member.status = "UPDATING"
                self._later(_settle, member)


def check_together(request: dict[str, Any]) -> None:
    """Refuse what does not go together in one UpdateTable."""
    given = {name for name in SUPPORTED if request.get(name) is not None}
    for name, what in (("TableClass", "TableClass"), ("DeletionProtectionEnabled", "DeletionProtection")):
        if name in given and len(given) > 1:
            raise invalid_parameter(f"{what} modification must be the only operation in the request")
    if "OnDemandThroughput" in given and given - {"OnDemandThroughput", "BillingMode"}:
        raise invalid_parameter("OnDemandThroughput can only be combined with BillingMode in an UpdateTable request")
    units = "ProvisionedThroughput" in given or request.get("BillingMode") == "PROVISIONED"
    if units and "StreamSpecification" in given:
        raise invalid_parameter("You cannot modify stream status while updating table IOPS")
    if "GlobalSecondaryIndexUpdates" in given:
        heavy = any(kind != "Update" for kind, _ in index_actions(request["GlobalSecondaryIndexUpdates"]))
        if heavy and "ProvisionedThroughput" in given:
            raise invalid_parameter("You cannot create or delete index while updating table IOPS")
        if heavy and "StreamSpecification" in given:
            raise invalid_parameter("You cannot create or delete index while changing stream status")


def _settle(member: Member) -> None:
    if member.status == "UPDATING":
        member.status = "ACTIVE"

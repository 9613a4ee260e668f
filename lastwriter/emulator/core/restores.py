"""RestoreTableFromBackup and RestoreTableToPointInTime: a new table made of what another was.

Messages, and the order in which they come, are those of AWS (DDB-TABLE-100, 215 to 219 and 272 to 282 of the source
named in :mod:`lastwriter.emulator.core.tables`): the request's shape, whether recovery is on, the time, the target.

1. What comes back is keys, indexes, billing with its units, and items; not streams, TTL, tags, recovery or protection.
2. Until it is ACTIVE only DescribeTable knows of the table, with a RestoreSummary that is gone afterwards.
3. Into another Region only with SSESpecificationOverride (which changes nothing here), from an ARN.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core.backups import Backup, Backups, Find, region_of
from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.core.recovery import Contents
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, validation
from lastwriter.emulator.requests.parameters import table_name
from lastwriter.emulator.requests.values import Item

_TABLE_ARN: Final = re.compile(r"arn:aws:dynamodb:([a-z0-9-]+):(\d{12}):table/([a-zA-Z0-9_.-]+)")

Make = Callable[[str, dict[str, Any], dict[Any, Item], dict[str, Any], Callable[[], None]], dict[str, Any]]
"""Region, CreateTable request, items, RestoreSummary, what to call when all is done → TableDescription."""


class Restores:
    """The two operations."""

    def __init__(self, backups: Backups, find: Find, make: Make) -> None:
        self._backups = backups
        self._find = find
        self._make = make
        self.operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "RestoreTableFromBackup": self.from_backup,
            "RestoreTableToPointInTime": self.to_point_in_time,
        }

    def from_backup(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """RestoreTableFromBackup."""
        target, arn = request["TargetTableName"], request["BackupArn"]
        home = region_of(arn) or region
        if home != region and request.get("SSESpecificationOverride") is None:
            raise _cross_region()
        backup = self._backups.find(home, arn)
        create = _overridden(backup.contents, target, request)
        self._check_target(region, target, backup.arn)
        if backup.restoring:
            raise ApiError("BackupInUseException", f"Backup is being used to restore another table: {backup.arn}")
        summary = {
            "SourceBackupArn": backup.arn,
            "SourceTableArn": backup.contents.arn,
            "RestoreDateTime": backup.created,
            "RestoreInProgress": True,
        }
        backup.restoring = True
        try:
            return {
                "TableDescription": self._make(region, create, backup.contents.items, summary, lambda: _release(backup))
            }
        except ApiError:
            _release(backup)
            raise

    def to_point_in_time(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """RestoreTableToPointInTime."""
        target = request["TargetTableName"]
        home, source = _source(region, request)
        at_s, latest = request.get("RestoreDateTime"), request.get("UseLatestRestorableTime")
        if at_s is not None and latest:
            raise validation(
                "Invalid Request: Both RestoreDateTime and UseLatestRestorableTime cannot be set for point-in-time "
                "restore request. Please specify only one of them"
            )
        if at_s is None and not latest:
            raise validation(
                "Invalid Request: Either one of RestoreDateTime or UseLatestRestorableTime must be specified, but not "
                "both"
            )
        if home != region and request.get("SSESpecificationOverride") is None:
            raise _cross_region()
        member = self._find(home, source)
        if member is None:
            raise ApiError("TableNotFoundException", f"Table not found: {source}")
        recovery = self._backups.recovery(member)
        if recovery is None:
            raise ApiError(
                "PointInTimeRecoveryUnavailableException",
                f"Point in time recovery is not enabled for table '{source}'",
            )
        backups = self._backups
        then_ns = recovery.latest_ns if at_s is None else backups.then_ns(at_s)
        early_s, late_s = backups.then_s(recovery.earliest_ns), backups.then_s(recovery.latest_ns)
        if at_s is not None and not early_s <= round(at_s, 3) <= late_s:
            raise ApiError(
                "InvalidRestoreTimeException",
                f"RestoreDateTime '{_shown(at_s)}' must be within EarliestRestorableDateTime '{_shown(early_s)}' and "
                f"LatestRestorableDateTime '{_shown(late_s)}'",
            )
        contents = recovery.at(then_ns)
        create = _overridden(contents, target, request)
        self._check_target(region, target, member.arn)
        summary = {
            "SourceTableArn": member.arn,
            "RestoreDateTime": backups.then_s(then_ns),
            "RestoreInProgress": True,
        }
        return {"TableDescription": self._make(region, create, contents.items, summary, lambda: None)}

    def _check_target(self, region: str, target: str, source: str) -> None:
        member = self._find(region, target, True)
        if member is None:
            return
        if member.restore is not None:
            raise ApiError("TableInUseException", f"Table: {target} is already being restored from backup: {source}")
        raise ApiError("TableAlreadyExistsException", f"Table already exists: {target}")


def _release(backup: Backup) -> None:
    backup.restoring = False


def _source(region: str, request: dict[str, Any]) -> tuple[str, str]:
    """Region and name of the table that is to be restored."""
    arn, name = request.get("SourceTableArn"), request.get("SourceTableName")
    if arn is not None and name is not None:
        raise validation("Must provide exactly one of: sourceTableArn, sourceTableName")
    if arn is None and name is None:
        raise validation("The parameter 'TableName' is required but was not present in the request")
    if arn is None:
        return region, table_name({"TableName": name})
    found = _TABLE_ARN.fullmatch(arn)
    if found is None:
        raise validation("sourceTableArn is not a valid ARN")
    if found[2] != ACCOUNT:
        raise validation("This action is only supported by accounts that match the resource owner's account")
    return found[1], found[3]


def _overridden(contents: Contents, target: str, request: dict[str, Any]) -> dict[str, Any]:
    """The CreateTable request for the target."""
    create = {"TableName": target, **contents.request}
    billing, units = request.get("BillingModeOverride"), request.get("ProvisionedThroughputOverride")
    before, after = create["BillingMode"], billing or create["BillingMode"]
    create["BillingMode"] = after
    if units is not None and after != "PROVISIONED":
        raise invalid_parameter("Cannot override ProvisionedThroughput unless BillingMode is PROVISIONED")
    if billing == "PROVISIONED" and before != "PROVISIONED" and units is None:
        raise invalid_parameter("Must override ProvisionedThroughput if BillingMode is overridden to PROVISIONED")
    if units is not None:
        create["ProvisionedThroughput"] = units
    elif after == "PAY_PER_REQUEST":
        create.pop("ProvisionedThroughput", None)
    maximum = request.get("OnDemandThroughputOverride")
    if maximum is not None:
        if after != "PAY_PER_REQUEST":
            raise invalid_parameter("Cannot override OnDemandThroughput unless BillingMode is PAY_PER_REQUEST")
        create["OnDemandThroughput"] = maximum
    elif after == "PROVISIONED":
        create.pop("OnDemandThroughput", None)
    for name in ("LocalSecondaryIndex", "GlobalSecondaryIndex"):
        _override_indexes(create, "".join((name[:-2], "exes")), request.get(name + "Override"), after)
    used = {key["AttributeName"] for key in create["KeySchema"]} | {
        key["AttributeName"]
        for name in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes")
        for index in create.get(name) or ()
        for key in index["KeySchema"]
    }
    create["AttributeDefinitions"] = [one for one in create["AttributeDefinitions"] if one["AttributeName"] in used]
    return create


def _override_indexes(create: dict[str, Any], name: str, given: Any, billing: str) -> None:
    """An empty list drops all; what is not said comes back; what was not there cannot be made."""
    present = create.get(name) or []
    if given is not None:
        for one in given:
            if not any(
                one.get("KeySchema") == index["KeySchema"] and one.get("Projection") == index["Projection"]
                for index in present
            ):
                raise invalid_parameter(
                    f"Index {one.get('IndexName')} does not match a secondary index that existed in the source table "
                    "and cannot be created during the restore operation"
                )
        present = given
    if billing == "PAY_PER_REQUEST":
        present = [{key: value for key, value in one.items() if key != "ProvisionedThroughput"} for one in present]
    if present:
        create[name] = present
    else:
        create.pop(name, None)


def _cross_region() -> ApiError:
    return validation("Invalid Request: sseSpecificationOverride must be provided for cross-region restores")


def _shown(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

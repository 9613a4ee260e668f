"""Backups, on demand and by point-in-time recovery: made, listed, deleted, kept when a table goes.

Messages and rules are those of AWS (findings "DDB-BACKUP-n", and DDB-TABLE-83 to 88, 111 and 167, of the source named
in :mod:`lastwriter.emulator.core.tables`):

1. A name is nothing: only the ARN tells backups apart (11). A backup is one Region's and outlives its table (16).
2. CreateBackup answers CREATING; a moment later the backup is AVAILABLE (3). DeleteBackup answers DELETED, and it is
   gone (5).
3. A backup feeds one restoring at a time, and is not deleted meanwhile (10).
4. A table with point-in-time recovery that is deleted leaves a backup of type SYSTEM for 35 days, which nobody can
   delete (15).
5. Recovery can be switched on at once, begins anew whenever it is, and tells times up to ``pitr_delay`` ago (85, 86).

What is made of a backup is in :mod:`lastwriter.emulator.core.restores`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final

from lastwriter.emulator.core.durable import packed, unpacked
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.members import ACCOUNT, Member
from lastwriter.emulator.core.recovery import DAYS, Contents, Recovery, contents
from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.parameters import table_name
from lastwriter.emulator.requests.sizes import item_bytes

_ARN: Final = re.compile(
    r"arn:aws:dynamodb:([a-z]{2}(?:-[a-z]+)+-\d):(\d{12}):table/([a-zA-Z0-9_.-]+)/backup/(\d{14}-[0-9a-f]{8})"
)
_MAX_LIST: Final = 100

Record = list[Any]
Find = Callable[..., Member | None]
"""The table of that Region and name, if others than DescribeTable know of it; with a third argument, even if not."""


@dataclass(slots=True)
class Backup:
    """One backup: plain data."""

    arn: str
    name: str
    kind: str
    """USER or SYSTEM."""
    created: float
    expires: float | None
    contents: Contents
    restoring: bool = False
    measured: int | None = None

    @property
    def size_bytes(self) -> int:
        """Of all items: added up when somebody first asks."""
        if self.measured is None:
            self.measured = sum(map(item_bytes, self.contents.items.values()))
        return self.measured

    def packed(self) -> dict[str, Any]:
        """As a record has it."""
        kept = {one.name: getattr(self.contents, one.name) for one in fields(Contents)}
        kept["items"] = [[packed(key), item] for key, item in self.contents.items.items()]
        return {"arn": self.arn, "name": self.name, "kind": self.kind, "created": self.created} | {
            "expires": self.expires,
            "contents": kept,
        }

    @classmethod
    def unpacked(cls, told: dict[str, Any]) -> Backup:
        """Out of a record."""
        kept = told["contents"] | {"items": {unpacked(key): item for key, item in told["contents"]["items"]}}
        return cls(**(told | {"contents": Contents(**kept)}))

    def details(self, status: str = "AVAILABLE") -> dict[str, Any]:
        """BackupDetails."""
        shown: dict[str, Any] = {
            "BackupArn": self.arn,
            "BackupName": self.name,
            "BackupSizeBytes": self.size_bytes,
            "BackupStatus": status,
            "BackupType": self.kind,
            "BackupCreationDateTime": self.created,
        }
        if self.expires is not None:
            shown["BackupExpiryDateTime"] = self.expires
        return shown

    def description(self, status: str = "AVAILABLE") -> dict[str, Any]:
        """BackupDescription."""
        kept, request = self.contents, self.contents.request
        units = request.get("ProvisionedThroughput") or {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
        source: dict[str, Any] = {
            "TableName": kept.name,
            "TableId": kept.table_id,
            "TableArn": kept.arn,
            "TableSizeBytes": self.size_bytes,
            "KeySchema": request["KeySchema"],
            "TableCreationDateTime": kept.created,
            "ProvisionedThroughput": units,
            "ItemCount": len(kept.items),
            "BillingMode": request["BillingMode"],
        }
        if "OnDemandThroughput" in request:
            source["OnDemandThroughput"] = request["OnDemandThroughput"]
        indexes = {
            name: request[name] for name in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes") if request.get(name)
        }
        return {
            "BackupDetails": self.details(status),
            "SourceTableDetails": source,
            "SourceTableFeatureDetails": {} if self.kind == "SYSTEM" else {**indexes, **kept.features},
        }

    def summary(self) -> dict[str, Any]:
        """BackupSummary."""
        kept = self.contents
        return {"TableName": kept.name, "TableId": kept.table_id, "TableArn": kept.arn, **self.details()}


class Backups:
    """Every backup of the emulator, and what recovers tables."""

    def __init__(self, environment: Environment, wall: Callable[[], float], find: Find) -> None:
        self._environment = environment
        self._wall = wall
        self._find = find
        self._kept: dict[str, dict[str, Backup]] = {}  # Region → the end of the ARN → backup
        self._recoveries: dict[Member, Recovery] = {}
        self._resumed: dict[tuple[str, str], int] = {}  # Region and table → days; of a life before this one
        self.operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "CreateBackup": self.create,
            "DescribeBackup": self.describe,
            "ListBackups": self.list,
            "DeleteBackup": self.delete,
            "UpdateContinuousBackups": self.update_continuous,
            "DescribeContinuousBackups": self.describe_continuous,
        }

    # -- backups

    def create(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """CreateBackup."""
        name = request["BackupName"]
        backup = self._keep(self._table(region, request), name, "USER", f"{self._environment.rng.getrandbits(32):08x}")
        return {"BackupDetails": backup.details("CREATING")}

    def describe(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeBackup."""
        return {"BackupDescription": self.find(region, request["BackupArn"]).description()}

    def delete(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DeleteBackup."""
        backup = self.find(region, request["BackupArn"])
        if backup.kind == "SYSTEM":
            raise validation(
                f"User is not allowed to delete the system backup with arn {backup.arn}. It will automatically expire "
                f"on {backup.expires}"
            )
        if backup.restoring:
            raise ApiError("BackupInUseException", f"Backup is being used to restore table: {backup.arn}")
        del self._kept[region][_end(backup.arn)]
        self._record("b", region, _end(backup.arn), None)
        return {"BackupDescription": backup.description("DELETED")}

    def list(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """ListBackups, the oldest first."""
        kind = request.get("BackupType") or "USER"
        limit = int(request.get("Limit") or _MAX_LIST)
        low, high = request.get("TimeRangeLowerBound"), request.get("TimeRangeUpperBound")
        if low is not None and high is not None and low > high:
            raise validation("Time range lower bound must be less than or equal to upper bound")
        table = table_name(request) if request.get("TableName") is not None else None
        after = self._cursor(region, request.get("ExclusiveStartBackupArn"))
        found = [
            backup
            for end, backup in sorted(self._present(region).items())
            if (table is None or backup.contents.name == table)
            and (kind in ("ALL", backup.kind))
            and (low is None or backup.created >= low)
            and (high is None or backup.created < high)
            and (after is None or end > after)
        ]
        body: dict[str, Any] = {"BackupSummaries": [backup.summary() for backup in found[:limit]]}
        if len(found) > limit:
            body["LastEvaluatedBackupArn"] = found[limit - 1].arn
        return body

    def find(self, region: str, arn: str) -> Backup:
        """The backup of that ARN; ApiError if this Region has none."""
        found = _ARN.fullmatch(arn)
        if found is None:
            raise validation("Invalid Backup ARN")
        if found[2] != ACCOUNT:
            raise ApiError("AccessDeniedException", "Access is denied")
        backup = self._present(region).get(found[4])
        if backup is None or backup.contents.name != found[3]:
            raise ApiError("BackupNotFoundException", f"Backup not found: {arn}")
        return backup

    # -- point-in-time recovery

    def update_continuous(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """UpdateContinuousBackups."""
        specification = request["PointInTimeRecoverySpecification"]
        enabled, days = specification["PointInTimeRecoveryEnabled"], specification.get("RecoveryPeriodInDays")
        if days is not None and not enabled:
            raise validation("RecoveryPeriodInDays cannot be specified when PointInTimeRecoveryEnabled is false")
        member = self._table(region, request)
        recovery = self._recoveries.get(member)
        if not enabled:
            self._stop(member)
        elif recovery is None:
            self._begin(member, days or DAYS)
        elif days is not None:
            recovery.days = days
            self._record("r", region, member.table.schema.name, days)
        return self._continuous(member)

    def describe_continuous(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeContinuousBackups."""
        return self._continuous(self._table(region, request))

    def recovery(self, member: Member) -> Recovery | None:
        """What remembers the table's past; None: nothing does."""
        return self._recoveries.get(member)

    def then_ns(self, at_s: float) -> int:
        """Seconds since 1970 by the core's clock."""
        return self._environment.scheduler.now_ns + round((at_s - self._wall()) * 1e9)

    def then_s(self, at_ns: int) -> float:
        """And back, to the millisecond."""
        return round(self._wall() - (self._environment.scheduler.now_ns - at_ns) / 1e9, 3)

    def gone(self, member: Member) -> None:
        """A table is being deleted."""
        if member in self._recoveries:
            self._stop(member)
            self._keep(member, f"{member.table.schema.name}$DeletedTableBackup", "SYSTEM", "00000000")

    def _continuous(self, member: Member) -> dict[str, Any]:
        recovery = self._recoveries.get(member)
        described: dict[str, Any] = {"PointInTimeRecoveryStatus": "DISABLED"}
        if recovery is not None:
            described = {
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": recovery.days,
                "EarliestRestorableDateTime": self.then_s(recovery.earliest_ns),
                "LatestRestorableDateTime": self.then_s(recovery.latest_ns),
            }
        backups = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": described}
        return {"ContinuousBackupsDescription": backups}

    def _stop(self, member: Member) -> None:
        recovery = self._recoveries.pop(member, None)
        if recovery is not None:
            recovery.stop()
            self._record("r", member.region, member.table.schema.name, None)

    def _begin(self, member: Member, days: int) -> None:
        self._recoveries[member] = Recovery(self._environment, member, days)
        self._record("r", member.region, member.table.schema.name, days)

    # -- records

    def records(self) -> Iterator[Record]:
        """Everything, for those who keep records. What a table was before is not kept: recovery begins anew."""
        for region, kept in self._kept.items():
            for end, backup in kept.items():
                yield ["b", region, end, backup.packed()]
        for member, recovery in self._recoveries.items():
            yield ["r", member.region, member.table.schema.name, recovery.days]

    def restore(self, region: str, end: str, told: dict[str, Any] | None) -> None:
        """A record of a backup."""
        kept = self._kept.setdefault(region, {})
        if told is None:
            del kept[end]
        else:
            kept[end] = Backup.unpacked(told)

    def resume(self, region: str, table: str, days: int | None) -> None:
        """A record of recovery."""
        if days is None:
            self._resumed.pop((region, table), None)
        else:
            self._resumed[region, table] = days

    def take_up(self, member: Member) -> None:
        """A member that was there before this process: remember its past from now on, if that was so."""
        days = self._resumed.pop((member.region, member.table.schema.name), None)
        if days is not None:
            self._begin(member, days)

    def _record(self, *record: Any) -> None:
        if self._environment.records is not None:
            self._environment.records.append([*record])

    # -- helpers

    def _keep(self, member: Member, name: str, kind: str, suffix: str) -> Backup:
        created = round(self._wall(), 3)
        kept = self._kept.setdefault(member.region, {})
        milliseconds = round(created * 1000)
        while (end := f"{milliseconds:014}-{suffix}") in kept:  # of one millisecond, and both of deleted tables
            milliseconds += 1
        expires = created + DAYS * 86400 if kind == "SYSTEM" else None
        backup = Backup(f"{member.arn}/backup/{end}", name, kind, created, expires, contents(member))
        kept[end] = backup
        if self._environment.records is not None:
            self._record("b", member.region, end, backup.packed())
        return backup

    def _present(self, region: str) -> dict[str, Backup]:
        kept, now_s = self._kept.get(region, {}), self._wall()
        for end in [end for end, backup in kept.items() if backup.expires is not None and backup.expires <= now_s]:
            del kept[end]
        return kept

    def _table(self, region: str, request: dict[str, Any]) -> Member:
        name = table_name(request)
        member = self._find(region, name)
        if member is None or member.status == "CREATING":
            raise ApiError("TableNotFoundException", f"Table not found: {name}")
        return member

    def _cursor(self, region: str, arn: Any) -> str | None:
        if arn is None:
            return None
        found = _ARN.fullmatch(arn)
        if found is None:
            raise validation("Invalid Backup ARN")
        if found[1] != region:
            raise validation(f"The region in the given ARN does not match the region of the request: {arn}")
        return str(found[4])


def region_of(arn: str) -> str | None:
    """The Region that a backup's ARN names."""
    found = _ARN.fullmatch(arn)
    return found[1] if found is not None else None


def _end(arn: str) -> str:
    return arn.rpartition("/")[2]

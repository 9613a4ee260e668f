"""A table as DescribeTable shows it."""

from __future__ import annotations

from typing import Any, Final

from lastwriter.emulator.core.billing import Limited, decreases_today
from lastwriter.emulator.core.members import IndexState, Member, Table

GLOBAL_TABLE_VERSION: Final = "2019.11.21"


def describe(member: Member, now_s: float) -> dict[str, Any]:
    """A TableDescription. ``now_s``: since 1970."""
    table = member.table
    description: dict[str, Any] = {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in sorted(table.definitions.items())
        ],
        "TableName": table.schema.name,
        "KeySchema": table.settings.request.get("KeySchema", []),
        "TableStatus": member.status,
        "CreationDateTime": member.created,
        "ProvisionedThroughput": _units(member, now_s),
        "TableSizeBytes": 0,
        "ItemCount": sum(1 for _ in member.store.visible()),
        "TableArn": member.arn,
        "TableId": member.table_id,
        "DeletionProtectionEnabled": member.deletion_protection,
    }
    if table.billing_mode == "PAY_PER_REQUEST":
        description["BillingModeSummary"] = {
            "BillingMode": "PAY_PER_REQUEST",
            "LastUpdateToPayPerRequestDateTime": table.on_demand_since or member.created,
        }
    if table.table_class != "STANDARD" or table.class_changes:
        description["TableClassSummary"] = {"TableClass": table.table_class}
        if table.class_changes:
            description["TableClassSummary"]["LastUpdateDateTime"] = table.class_changes[-1]
    description |= _maximum(table)
    if member.most_read_units is not None:
        description.setdefault("OnDemandThroughput", {})["MaxReadRequestUnits"] = member.most_read_units
    if table.stream_view_type and member.stream_label:
        description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream_view_type}
    if member.restore is not None:
        description["RestoreSummary"] = member.restore
    if member.stream_label:
        description["LatestStreamLabel"] = member.stream_label
        description["LatestStreamArn"] = f"{member.arn}/stream/{member.stream_label}"
    for parameter, is_global in (("LocalSecondaryIndexes", False), ("GlobalSecondaryIndexes", True)):
        indexes = [_index(member, index) for index in table.indexes.values() if index.schema.is_global == is_global]
        if indexes:
            description[parameter] = indexes
    return description | _membership(member, table)


def _membership(member: Member, table: Table) -> dict[str, Any]:
    others = [other for other in table.members.values() if other is not member]
    if not others and not table.witness:
        return {}
    shown: dict[str, Any] = {
        "GlobalTableVersion": GLOBAL_TABLE_VERSION,
        "GlobalTableSettingsReplicationMode": "ENABLED_WITH_OVERRIDES",
        "Replicas": [
            {
                "RegionName": other.region,
                "ReplicaStatus": other.status,
                **_progress(other),
                **_own(other),
                "GlobalTableSettingsReplicationMode": "ENABLED_WITH_OVERRIDES",
            }
            for other in others
        ],
    }
    if table.mode == "MRSC":
        shown["MultiRegionConsistency"] = "STRONG"
    if table.witness:
        shown["GlobalTableWitnesses"] = [{"RegionName": table.witness, "WitnessStatus": table.witness_status}]
    return shown


def _own(member: Member) -> dict[str, Any]:
    shown = {}
    if member.read_units is not None:
        shown["ProvisionedThroughputOverride"] = {"ReadCapacityUnits": member.read_units}
    if member.most_read_units is not None:
        shown["OnDemandThroughputOverride"] = {"MaxReadRequestUnits": member.most_read_units}
    return shown


def _progress(member: Member) -> dict[str, str]:
    if not member.joining or not member.to_fill:
        return {}
    return {"ReplicaStatusPercentProgress": str(100 * member.filled // member.to_fill)}


def _index(member: Member, index: IndexState) -> dict[str, Any]:
    schema = index.schema
    keys = [{"AttributeName": key.name, "KeyType": "RANGE" if key is schema.sort else "HASH"} for key in schema.keys]
    shown: dict[str, Any] = {
        "IndexName": schema.name,
        "KeySchema": keys,
        "Projection": schema.projection,
        "IndexSizeBytes": 0,
        "ItemCount": len(member.arranged.rows(schema)),
        "IndexArn": f"{member.arn}/index/{schema.name}",
    }
    if schema.is_global:
        shown["IndexStatus"] = "CREATING" if member.status == "CREATING" else index.status
        shown["ProvisionedThroughput"] = _throughput(index.read_units, index.write_units)
        shown |= _maximum(index)
        if index.status == "CREATING":
            shown["Backfilling"] = index.backfilling
    return shown


def _units(member: Member, now_s: float) -> dict[str, Any]:
    table = member.table
    reads = table.read_units if member.read_units is None else member.read_units
    shown: dict[str, Any] = _throughput(reads, table.write_units)
    shown["NumberOfDecreasesToday"] = decreases_today(table, now_s)
    if table.decreases:
        shown["LastDecreaseDateTime"] = table.decreases[-1]
    if table.increased is not None:
        shown["LastIncreaseDateTime"] = table.increased
    return shown


def _maximum(limited: Limited) -> dict[str, Any]:
    most = {"MaxReadRequestUnits": limited.most_read_units, "MaxWriteRequestUnits": limited.most_write_units}
    shown = {name: units for name, units in most.items() if units is not None}
    return {"OnDemandThroughput": shown} if shown else {}


def _throughput(read_units: int, write_units: int) -> dict[str, int]:
    return {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": read_units, "WriteCapacityUnits": write_units}

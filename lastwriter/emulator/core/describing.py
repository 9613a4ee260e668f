"""A table as DescribeTable shows it."""

from __future__ import annotations

from typing import Any, Final

from lastwriter.emulator.core.members import IndexState, Member, Table

GLOBAL_TABLE_VERSION: Final = "2019.11.21"


def describe(member: Member) -> dict[str, Any]:
    """A TableDescription."""
    table = member.table
    description: dict[str, Any] = {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in sorted(table.definitions.items())
        ],
        "TableName": table.schema.name,
        "KeySchema": table.settings.request.get("KeySchema", []),
        "TableStatus": member.status,
        "CreationDateTime": member.created,
        "ProvisionedThroughput": _throughput(table.read_units, table.write_units),
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
        if index.status == "CREATING":
            shown["Backfilling"] = index.backfilling
    return shown


def _throughput(read_units: int, write_units: int) -> dict[str, int]:
    return {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": read_units, "WriteCapacityUnits": write_units}

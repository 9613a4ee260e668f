"""A table and its members, and how DescribeTable shows them."""

from __future__ import annotations

from typing import Any, Final

from lastwriter.emulator.arranged import Arranged, Later
from lastwriter.emulator.mrec import MrecReplica, MrecTable
from lastwriter.emulator.mrsc import MrscReplica, MrscTable
from lastwriter.emulator.schema import TableSchema, TableSettings

ACCOUNT: Final = "000000000000"
GLOBAL_TABLE_VERSION: Final = "2019.11.21"


class Member:
    """A table of one Region: alone, or a replica of a global table."""

    __slots__ = (
        "arranged", "created", "deletion_protection", "region", "status", "store", "stream_label", "table", "table_id",
    )  # fmt: skip

    def __init__(
        self, table: Table, region: str, store: MrecReplica | MrscReplica, later: Later, created: float, table_id: str
    ) -> None:
        self.table = table
        self.region = region
        self.use(store, later)
        self.status = "CREATING"
        self.created = created
        self.table_id = table_id
        self.deletion_protection = False
        self.stream_label: str | None = None

    def use(self, store: MrecReplica | MrscReplica, later: Later) -> None:
        """The table's data is in ``store`` from now on."""
        self.store = store
        self.arranged = Arranged(self.table.schema, store, later)


class Table:
    """One-Region or global: the members with their engine."""

    __slots__ = ("engine", "members", "schema", "settings", "sources", "stream_view_type", "witness", "witness_status")

    def __init__(self, schema: TableSchema, settings: TableSettings, engine: MrecTable | MrscTable) -> None:
        self.schema = schema
        self.settings = settings
        self.engine = engine
        self.members: dict[str, Member] = {}  # in order of creation
        self.witness: str | None = None
        self.witness_status = "ACTIVE"
        self.stream_view_type = settings.stream_view_type
        self.sources: dict[str, tuple[str, int]] = {}  # replica → the Region it was made from, and when

    @property
    def mode(self) -> str:
        """MREC, MRSC or one-Region."""
        return self.engine.mode if len(self.members) > 1 or self.witness else "one-Region"


class Serving:
    """What a request on a table's data needs; only of tables that serve it."""

    __slots__ = ("arranged", "engine", "schema", "store")

    def __init__(self, member: Member) -> None:
        self.engine: Any = member.table.engine
        self.store: Any = member.store
        self.arranged = member.arranged
        self.schema = member.table.schema


def describe(member: Member) -> dict[str, Any]:
    """A TableDescription."""
    table, settings = member.table, member.table.settings
    request = settings.request
    arn = f"arn:aws:dynamodb:{member.region}:{ACCOUNT}:table/{table.schema.name}"
    on_demand = settings.billing_mode == "PAY_PER_REQUEST"
    units = (0, 0) if on_demand else (settings.read_units, settings.write_units)
    description: dict[str, Any] = {
        "AttributeDefinitions": request.get("AttributeDefinitions", []),
        "TableName": table.schema.name,
        "KeySchema": request.get("KeySchema", []),
        "TableStatus": member.status,
        "CreationDateTime": member.created,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": units[0],
            "WriteCapacityUnits": units[1],
        },
        "TableSizeBytes": 0,
        "ItemCount": sum(1 for _ in member.store.visible()),
        "TableArn": arn,
        "TableId": member.table_id,
        "DeletionProtectionEnabled": member.deletion_protection,
    }
    if on_demand:
        description["BillingModeSummary"] = {
            "BillingMode": "PAY_PER_REQUEST",
            "LastUpdateToPayPerRequestDateTime": member.created,
        }
    if table.stream_view_type and member.stream_label:
        description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream_view_type}
        description["LatestStreamLabel"] = member.stream_label
        description["LatestStreamArn"] = f"{arn}/stream/{member.stream_label}"
    others = [other for other in table.members.values() if other is not member]
    if others or table.witness:
        description["GlobalTableVersion"] = GLOBAL_TABLE_VERSION
        description["GlobalTableSettingsReplicationMode"] = "ENABLED_WITH_OVERRIDES"
        description["Replicas"] = [
            {
                "RegionName": other.region,
                "ReplicaStatus": other.status,
                "GlobalTableSettingsReplicationMode": "ENABLED_WITH_OVERRIDES",
            }
            for other in others
        ]
        if table.mode == "MRSC":
            description["MultiRegionConsistency"] = "STRONG"
        if table.witness:
            description["GlobalTableWitnesses"] = [{"RegionName": table.witness, "WitnessStatus": table.witness_status}]
    return description

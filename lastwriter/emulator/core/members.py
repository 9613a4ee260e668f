"""A table, its members, its indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.arranged import Arranged, Later
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable
from lastwriter.emulator.core.mrsc import MrscReplica, MrscTable
from lastwriter.emulator.requests.schema import IndexSchema, TableSchema, TableSettings

if TYPE_CHECKING:
    from lastwriter.emulator.core.expiry import Expiry
    from lastwriter.emulator.core.streams import Stream

ACCOUNT: Final = "000000000000"


class Member:
    """A table of one Region: alone, or a replica of a global table."""

    __slots__ = (
        "arn", "arranged", "created", "deletion_protection", "expiry", "filled", "joining", "most_read_units",
        "read_units", "region", "restore", "status", "store", "stream", "stream_label", "table", "table_id", "tags",
        "to_fill",
    )  # fmt: skip

    def __init__(
        self, table: Table, region: str, store: MrecReplica | MrscReplica, later: Later, created: float, table_id: str
    ) -> None:
        self.table = table
        self.region = region
        self.stream: Stream | None = None
        self.store: MrecReplica | MrscReplica = store
        self.arranged = Arranged(table.schema, store, later)
        self.status = "CREATING"
        self.created = created
        self.table_id = table_id
        self.deletion_protection = False
        self.stream_label: str | None = None
        self.tags: dict[str, str] = {}
        self.expiry: Expiry | None = None
        self.joining = False  # becoming a replica, or being restored: only DescribeTable knows of it
        self.filled = self.to_fill = 0  # items copied from other replicas, of so many
        self.restore: dict[str, Any] | None = None  # RestoreSummary, while that is under way
        self.read_units: int | None = None  # of its own, where the table's are not its
        self.most_read_units: int | None = None
        self.arn = f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{table.schema.name}"

    def use(self, store: MrecReplica | MrscReplica, later: Later) -> None:
        """The table's data is in ``store`` from now on."""
        store.meter = self.store.meter
        self.store = store
        observers = self.arranged.observers
        self.arranged = Arranged(self.table.schema, store, later)
        for observer in observers:
            self.arranged.observe(observer)


@dataclass(slots=True)
class IndexState:
    """A secondary index as it stands now. Of a local one only ``schema`` says anything."""

    schema: IndexSchema
    read_units: int = 0
    write_units: int = 0
    status: str = "ACTIVE"
    backfilling: bool = False
    most_read_units: int | None = None
    most_write_units: int | None = None


def index_state(schema: IndexSchema, given: dict[str, Any], status: str = "ACTIVE") -> IndexState:
    """As the request that makes the index says."""
    units = given.get("ProvisionedThroughput") or {}
    return IndexState(
        schema,
        units.get("ReadCapacityUnits", 0),
        units.get("WriteCapacityUnits", 0),
        status,
        False,
        *maximum(given),
    )


def maximum(given: dict[str, Any]) -> tuple[int | None, int | None]:
    """OnDemandThroughput: read and write units a second; None: AWS's quota for a table."""
    most = given.get("OnDemandThroughput") or {}
    reads, writes = most.get("MaxReadRequestUnits") or -1, most.get("MaxWriteRequestUnits") or -1
    return (reads if reads > 0 else None), (writes if writes > 0 else None)


class Table:
    """One-Region or global: the members with their engine, and what they have in common."""

    __slots__ = (
        "billing_mode", "class_changes", "decreases", "definitions", "engine", "increased", "indexes", "members",
        "most_read_units", "most_write_units", "number", "on_demand_since", "read_units", "schema", "settings",
        "sources", "stream_view_type", "table_class", "ttl", "ttl_changed", "witness", "witness_status", "write_units",
    )  # fmt: skip

    def __init__(self, schema: TableSchema, settings: TableSettings, engine: MrecTable | MrscTable) -> None:
        self.schema = schema
        self.settings = settings
        self.engine = engine
        self.number = 0  # in the records, if there are any
        self.members: dict[str, Member] = {}  # in order of creation
        self.witness: str | None = None
        self.witness_status = "ACTIVE"
        self.sources: dict[str, tuple[str, int]] = {}  # replica → the Region it was made from, and when
        self.stream_view_type = settings.stream_view_type
        self.billing_mode = settings.billing_mode
        self.read_units, self.write_units = settings.read_units, settings.write_units
        self.on_demand_since: float | None = None
        self.decreases: list[float] = []  # when its units went down, those of the latest such day
        self.increased: float | None = None
        self.table_class: str = settings.request.get("TableClass") or "STANDARD"
        self.class_changes: list[float] = []
        self.most_read_units, self.most_write_units = maximum(settings.request)
        self.ttl: str | None = None  # attribute with the time of expiry
        self.ttl_changed: float | None = None
        request = settings.request
        self.definitions: dict[str, str] = {
            one["AttributeName"]: one["AttributeType"] for one in request.get("AttributeDefinitions", ())
        }
        given = {one["IndexName"]: one for one in request.get("GlobalSecondaryIndexes") or ()}
        self.indexes = {index.name: index_state(index, given.get(index.name, {})) for index in schema.indexes}

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

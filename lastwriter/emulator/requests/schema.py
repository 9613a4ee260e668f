"""A table's schema: its keys and indexes, and how CreateTable states them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lastwriter.emulator.requests.errors import invalid_parameter, validation
from lastwriter.emulator.requests.plans import Plans
from lastwriter.emulator.requests.validators import check_shape

MAX_LOCAL_INDEXES: Final = 5
MAX_GLOBAL_INDEXES: Final = 20
MAX_UNITS: Final = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a primary key: its name and type (S, N or B)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """A secondary index: its keys and what it holds of an item (``projection`` as in the request)."""

    name: str
    partition: KeyAttribute
    sort: KeyAttribute | None
    projection: dict[str, Any]
    is_global: bool

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        """Key attributes, partition key first."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)


@dataclass(slots=True, eq=False)
class TableSchema:
    """What requests on a table are judged against. ``plans`` caches compiled requests of this table."""

    name: str
    partition: KeyAttribute
    sort: KeyAttribute | None = None
    indexes: tuple[IndexSchema, ...] = ()
    backfilling: set[str] = field(default_factory=set, repr=False)
    """Names of global indexes that are being filled and cannot be read yet."""
    plans: Plans = field(default_factory=Plans, repr=False)
    text_key: str | None = field(init=False, repr=False)
    """Name of the primary key if it is a single text, as most are."""

    def __post_init__(self) -> None:
        self.text_key = self.partition.name if self.sort is None and self.partition.type == "S" else None

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        """Key attributes, partition key first."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the key attributes, partition key first."""
        return tuple(key.name for key in self.keys)

    def index(self, name: str) -> IndexSchema | None:
        """The index of that name."""
        return next((index for index in self.indexes if index.name == name), None)


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What CreateTable says besides the keys. ``request`` is the whole request, for what a description repeats."""

    billing_mode: str = "PROVISIONED"
    read_units: int = 0
    write_units: int = 0
    stream_view_type: str | None = None
    deletion_protection: bool = False
    request: dict[str, Any] = field(default_factory=dict)


def parse_create_table(request: dict[str, Any]) -> tuple[TableSchema, TableSettings]:
    """Schema and settings of a CreateTable request; ApiError for what is wrong with it."""
    check_shape("CreateTable", request)
    name = request["TableName"]
    settings = _settings(request)
    types = {one["AttributeName"]: one["AttributeType"] for one in request["AttributeDefinitions"]}
    if len(types) < len(request["AttributeDefinitions"]):
        raise invalid_parameter("Cannot have duplicate AttributeNames in AttributeDefinitions")
    keys = _keys(request["KeySchema"], types, of_table=True)
    indexes = _indexes(request, keys, types, settings.billing_mode)
    if not indexes and len(types) != len(keys):
        raise invalid_parameter(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    used = {key.name for key in keys} | {key.name for index in indexes for key in index.keys}
    unused = [attribute for attribute in types if attribute not in used]
    if unused:
        raise invalid_parameter(
            "Some AttributeDefinitions are not used. "
            f"AttributeDefinitions: [{', '.join(types)}], keys used: [{', '.join(sorted(used))}]"
        )
    return TableSchema(name, keys[0], keys[1] if len(keys) > 1 else None, tuple(indexes)), settings


def parse_global_index(one: dict[str, Any], types: dict[str, str], billing: str) -> IndexSchema:
    """An index that UpdateTable is to create; ``types`` of the attributes that are defined."""
    keys = _keys(one["KeySchema"], types, of_table=False)
    _check_index_units(one, billing)
    indexes: list[IndexSchema] = []
    _add_index(indexes, one, keys, is_global=True)
    return indexes[0]


def _settings(request: dict[str, Any]) -> TableSettings:
    throughput = request.get("ProvisionedThroughput")
    billing = request.get("BillingMode") or "PROVISIONED"
    if billing == "PAY_PER_REQUEST":
        if throughput is not None:
            raise invalid_parameter(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
            )
        throughput = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
    elif request.get("OnDemandThroughput") is not None:
        raise invalid_parameter("OnDemandThroughput cannot be specified when BillingMode is PROVISIONED")
    elif throughput is None:
        raise invalid_parameter(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
        )
    most = request.get("OnDemandThroughput") or {}
    for name in ("MaxReadRequestUnits", "MaxWriteRequestUnits"):
        units = most.get(name)
        if units is not None and units < 1 and units != -1:
            raise invalid_parameter(f"Requested {name} for OnDemandThroughput is outside of valid range")
    for name in ("ReadCapacityUnits", "WriteCapacityUnits"):
        if throughput[name] > MAX_UNITS:
            raise validation(f"Given value {throughput[name]} for {name} is out of bounds")
    return TableSettings(
        billing_mode=billing,
        read_units=int(throughput["ReadCapacityUnits"]),
        write_units=int(throughput["WriteCapacityUnits"]),
        stream_view_type=_stream_view_type(request.get("StreamSpecification")),
        deletion_protection=bool(request.get("DeletionProtectionEnabled")),
        request=request,
    )


def _stream_view_type(specification: dict[str, Any] | None) -> str | None:
    if specification is None:
        return None
    enabled, view = specification["StreamEnabled"], specification.get("StreamViewType")
    if enabled and view is None:
        raise invalid_parameter("StreamViewType must be specified when StreamEnabled is true")
    if not enabled and view is not None:
        raise invalid_parameter("StreamViewType should not be specified when StreamEnabled is false")
    return str(view) if enabled else None


def _keys(elements: list[dict[str, Any]], types: dict[str, str], *, of_table: bool) -> list[KeyAttribute]:
    names = [one["AttributeName"] for one in elements]
    undefined = any(name not in types for name in names)
    if of_table and len(names) == 2 and (undefined or (names[0] == names[1] and len(types) == 1)):
        raise validation("Invalid KeySchema: Some index key attribute have no definition")
    if undefined:
        raise invalid_parameter(
            "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(types)}]"
        )
    if len(names) == 2 and names[0] == names[1]:
        raise validation("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if elements[0]["KeyType"] != "HASH":
        raise validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(elements) == 2 and elements[1]["KeyType"] != "RANGE":
        raise validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
    return [KeyAttribute(name, types[name]) for name in names]


def _indexes(
    request: dict[str, Any], table_keys: list[KeyAttribute], types: dict[str, str], billing: str
) -> list[IndexSchema]:
    indexes: list[IndexSchema] = []
    local, of_regions = request.get("LocalSecondaryIndexes"), request.get("GlobalSecondaryIndexes")
    if local is not None:
        if not local:
            raise invalid_parameter("List of LocalSecondaryIndexes is empty")
        if len(table_keys) == 1:
            raise invalid_parameter(
                "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
            )
        for one in local:
            _add_index(indexes, one, _local_keys(one, table_keys, types), is_global=False)
        if len(local) > MAX_LOCAL_INDEXES:
            raise invalid_parameter(f"Number of LocalSecondaryIndexes exceeds per-table limit of {MAX_LOCAL_INDEXES}")
    if of_regions is not None:
        if not of_regions:
            raise invalid_parameter("List of GlobalSecondaryIndexes is empty")
        for one in of_regions:
            keys = _keys(one["KeySchema"], types, of_table=False)
            _check_index_units(one, billing)
            _add_index(indexes, one, keys, is_global=True)
        if len(of_regions) > MAX_GLOBAL_INDEXES:
            raise invalid_parameter(f"GlobalSecondaryIndex count exceeds the per-table limit of {MAX_GLOBAL_INDEXES}")
    return indexes


def _check_index_units(one: dict[str, Any], billing: str) -> None:
    given = one.get("ProvisionedThroughput") is not None
    if given and billing == "PAY_PER_REQUEST":
        raise invalid_parameter(
            f"ProvisionedThroughput should not be specified for index: {one['IndexName']} "
            "when BillingMode is PAY_PER_REQUEST"
        )
    if not given and billing == "PROVISIONED":
        raise invalid_parameter(f"ProvisionedThroughput is not specified for index: {one['IndexName']}")


def _local_keys(one: dict[str, Any], table_keys: list[KeyAttribute], types: dict[str, str]) -> list[KeyAttribute]:
    name = one["IndexName"]
    keys = _keys(one["KeySchema"], types, of_table=False)
    if len(keys) == 1:
        raise invalid_parameter(f"Index KeySchema does not have a range key for index: {name}")
    if keys[0].name != table_keys[0].name:
        raise invalid_parameter(
            "Index KeySchema does not have the same leading hash key as table KeySchema for index: "
            f"{name}. index hash key: {keys[0].name}, table hash key: {table_keys[0].name}"
        )
    return keys


def _add_index(indexes: list[IndexSchema], one: dict[str, Any], keys: list[KeyAttribute], *, is_global: bool) -> None:
    name, projection = one["IndexName"], one["Projection"]
    kind = projection.get("ProjectionType")
    if kind is None:
        raise invalid_parameter("Unknown ProjectionType: null")
    if projection.get("NonKeyAttributes") is not None and kind != "INCLUDE":
        raise invalid_parameter(f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    if kind == "INCLUDE" and projection.get("NonKeyAttributes") is None:
        raise invalid_parameter("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    if any(index.name == name for index in indexes):
        raise invalid_parameter(f"Duplicate index name: {name}")
    indexes.append(IndexSchema(name, keys[0], keys[1] if len(keys) > 1 else None, projection, is_global))

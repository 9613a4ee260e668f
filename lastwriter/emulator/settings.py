"""What can be set about the emulator, at start (``--set name=value``) and while it runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lastwriter.errors import UserError
from lastwriter.units import Duration, Share


def _whole(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().lstrip("-").isdigit() else value


def _switch(value: object) -> object:
    """YAML reads ``on`` and ``off`` as true and false."""
    return {"true": "on", "false": "off"}.get(str(value).lower(), value)


class Settings(BaseModel):
    """Every setting, with units in the text (``500ms``, ``50%``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicator_delay: Duration = Field(
        0.5, description="MREC: median time that a replicator takes with a change, besides the way to the other Region"
    )
    replicator_delay_spread: Share = Field(
        0.5,
        description="how long-tailed the replicators' delay is (log-normal): one standard deviation above the median "
        "is longer by this share; 0%: always the median",
    )
    latency_scale: Share = Field(1.0, description="of the measured round trips and of client_latency; 0%: no latency")
    client_latency: Duration = Field(0.001, description="round trip between a client and its own Region")
    index_delay: Duration = Field(0.0, description="how far global indexes follow behind their table's replica")
    transaction_time: Duration = Field(
        0.0, description="how long a transaction holds its items: other writes of them are refused meanwhile"
    )
    ttl_delay: Duration = Field(1.0, description="how long after its time to live an item is deleted")
    ttl_cooldown: Duration = Field(
        0.0, description="how long after a change of its time to live a table takes no other (AWS: half an hour)"
    )
    stream_records: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = Field(
        100_000, description="records that a stream keeps, for a table and Region; older ones are trimmed"
    )
    pitr_delay: Duration = Field(
        0.0, description="how long ago the latest time is that a table can be restored to (AWS: five minutes)"
    )
    pitr_records: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = Field(
        100_000, description="changes that point-in-time recovery keeps, for a table and Region"
    )
    throttling: Annotated[Literal["off", "on"], BeforeValidator(_switch)] = Field(
        "off",
        description="whether requests and replicated writes spend units, and are throttled where none are left",
    )
    partitions: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10_000)] = Field(
        4, description="throttling: partitions of a table and of each global index (AWS: 4 in a new table on demand)"
    )
    partition_writes: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = Field(
        1000, description="throttling: write units a second that a partition gives"
    )
    partition_reads: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = Field(
        3000, description="throttling: read units a second that a partition gives"
    )
    partition_burst: Duration = Field(
        1.0, description="throttling: how long a partition keeps units that it did not spend (at least a second)"
    )
    table_burst: Duration = Field(
        300.0, description="throttling: how long a provisioned table or index keeps units that it did not spend"
    )
    mrsc_timeout: Duration = Field(
        2.0, description="MRSC: a write or strong read that cannot commit by then is answered with 500"
    )
    conflict_status: Annotated[Literal[400, 409], BeforeValidator(_whole)] = Field(
        409, description="HTTP status of ReplicatedWriteConflictException"
    )
    table_creation: Duration = Field(0.0, description="time until a table or a replica is ACTIVE, or gone")
    fill_rate: Annotated[float, BeforeValidator(_whole), Field(ge=0)] = Field(
        0,
        description="items a second that are copied into a new replica, a restored table or an index; 0: all at once",
    )
    mrsc_regions: Literal["listed", "any"] = Field(
        "listed", description="whether MRSC is refused outside the Regions that AWS documents for it"
    )
    fis_onset: Duration = Field(
        0.0, description="how long after its start an action of FIS takes hold (AWS: up to five minutes)"
    )
    drain: Duration = Field(2.0, description="at SIGTERM: how long requests in progress may take to be answered")
    seed: Annotated[int, BeforeValidator(_whole)] = Field(0, description="of every random draw")

    @classmethod
    def parse(cls, values: Mapping[str, Any], base: Settings | None = None) -> Settings:
        """Settings from texts, on top of ``base``; UserError with the nearest right name or what to write instead."""
        for name in values:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name.replace("-", "_"), cls.model_fields, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(cls.model_fields)}"
                raise UserError(f"unknown emulator setting {name!r}: {hint}")
        merged = {**(base.model_dump(mode="json") if base else {}), **values}
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            reason = first["msg"].removeprefix("Value error, ")
            raise UserError(f"emulator setting {'.'.join(map(str, first['loc']))}: {reason}") from None

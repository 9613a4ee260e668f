"""A table's name, keys and attribute types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a primary key: its name and type (S, N or B)."""

    name: str
    type: str


@dataclass(slots=True, eq=False)
class TableSchema:
    """What requests on a table are judged against. ``plans`` caches compiled requests of this table."""

    name: str
    partition: KeyAttribute
    sort: KeyAttribute | None = None
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the key attributes, partition key first."""
        return (self.partition.name,) if self.sort is None else (self.partition.name, self.sort.name)


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
    raise NotImplementedError

"""The order in which a Scan meets items: by a hash of the partition key, then by sort key."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from lastwriter.emulator.keys import Key
from lastwriter.emulator.schema import IndexSchema, TableSchema

Position = tuple[int, Any, Any]
"""Hash of the partition key, partition key, sort key (None without one). Positions of one table or index compare."""

_HASHES: Final = 1 << 32


def position_of(key: Key, schema: TableSchema | IndexSchema) -> Position:
    """Where a Scan meets that key; the same in every Region and process."""
    partition, sort = (key, None) if schema.sort is None else key
    return _hash(partition), partition, sort


def segment_of(position: Position, segments: int) -> int:
    """Which of so many segments of a parallel Scan the position is in."""
    return position[0] * segments // _HASHES


def _hash(partition: Any) -> int:
    return crc32(partition if isinstance(partition, bytes) else str(partition).encode())

"""The order in which a Scan meets items: by a hash of the partition key, then by sort key."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

_HASHES: Final = 1 << 32


def hash_of(partition: Any) -> int:
    """Of a partition key; the same in every Region and process."""
    return crc32(partition if isinstance(partition, bytes) else str(partition).encode())


def range_of(hashed: int, ranges: int) -> int:
    """Which of so many equal ranges of hashes it is in."""
    return hashed * ranges // _HASHES


def segment_hashes(segment: int, segments: int) -> tuple[int, int]:
    """A segment of a parallel Scan: its first hash, and the first of the next segment."""
    return -(-segment * _HASHES // segments), -(-(segment + 1) * _HASHES // segments)

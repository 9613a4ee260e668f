"""Memory that an array has left is kept for the next one.

Judging makes thousands of arrays of some megabytes, one after the other. The C library gives each back to the system as
soon as it is gone and asks for the next anew, page by page: a tenth of the time and more. While a record is judged it
keeps them; and what Arrow has read with is then used again by the checks.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

_TRIM_THRESHOLD: Final = -1
_MOST_MAPPED: Final = -4
_KEPT: Final = ((_TRIM_THRESHOLD, 2**31 - 1), (_MOST_MAPPED, 0))
_USUAL: Final = ((_TRIM_THRESHOLD, 128 * 1024), (_MOST_MAPPED, 65536))
"""``mallopt(3)`` of glibc and its defaults."""


def keep() -> None:
    """Keep freed memory from now on. Without glibc nothing changes."""
    _set(_KEPT, pa.system_memory_pool())


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory while this is entered, and give it back in the end."""
    pool = pa.default_memory_pool()
    keep()
    try:
        yield
    finally:
        _set(_USUAL, pool)
        pa.system_memory_pool().release_unused()


def _set(options: tuple[tuple[int, int], ...], pool: pa.MemoryPool) -> None:
    libc = _glibc()
    if libc is not None:
        pa.set_memory_pool(pool)
        for name, value in options:
            libc.mallopt(name, value)


def _glibc() -> Any:
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.mallopt else None
    except (OSError, AttributeError, TypeError):
        return None

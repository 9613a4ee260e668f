"""The order of keys: by a hash of their names, so that any stretch of it is a fair share of them.

Everything that goes by key (findings, lost writes) goes in this order. So a history can be cut into stretches of keys
(:mod:`verifier.history.parts`), and what is found in one stretch after the other is what would have been found at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from verifier.history.columns import Int64

_SPREAD: Final = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: a multiplication by it carries differences into the upper bits."""
_MASK: Final = (1 << 64) - 1


def key_hash(key: str) -> int:
    """A number of 64 bits that depends on nothing but the name, on any machine."""
    return (zlib.crc32(key.encode()) + 1) * _SPREAD & _MASK


def key_order(key: str) -> tuple[int, str]:
    """What keys are sorted by."""
    return key_hash(key), key


def places(keys: Sequence[str]) -> Int64:
    """Place of each key in their order."""
    place = np.empty(len(keys), np.int64)
    place[ranked(keys)] = np.arange(len(keys))
    return place


def ranked(keys: Sequence[str]) -> Int64:
    """Numbers of the keys, in their order."""
    hashes = hashes_of(keys)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    if len(same):  # two names with one hash
        order = np.array(sorted(range(len(keys)), key=lambda at: (int(hashes[at]), keys[at])), np.int64)
    return order.astype(np.int64)


def hashes_of(keys: Sequence[str]) -> npt.NDArray[np.uint64]:
    """:func:`key_hash` of each."""
    crc = np.fromiter((zlib.crc32(key.encode()) for key in keys), np.uint64, len(keys))
    return (crc + np.uint64(1)) * np.uint64(_SPREAD)

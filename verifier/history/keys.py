"""The order of keys: by a hash of their names, so that any stretch of it is a fair share of them.

Everything that goes by key (findings, lost writes) goes in this order. So a history can be cut into stretches of keys
(:mod:`verifier.history.parts`), and what is found in one stretch after the other is what would have been found at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from verifier.history.columns import Int32, Int64

_SPREAD: Final = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: a multiplication by it carries differences into the upper bits."""
_MASK: Final = (1 << 64) - 1


def key_hash(key: str) -> int:
    """A number of 64 bits that depends on nothing but the name, on any machine.

    Of the name up to its first slash: items of a group (``bank/7``) are judged together, so they stay together.
    """
    return (zlib.crc32(key.partition("/")[0].encode()) + 1) * _SPREAD & _MASK


def key_order(key: str) -> tuple[int, str]:
    """What keys are sorted by."""
    return key_hash(key), key


def ranked(keys: Sequence[str], links: Iterable[tuple[str, str]] = ()) -> Int64:
    """Numbers of the keys, in their order. Keys that are linked, one by one, stand together."""
    hashes = hashes_of(keys)
    heads = heads_of(links)
    if heads:
        of_heads = {name: key_hash(name) for name in set(heads.values())}
        grouped = hashes.copy()
        for at, key in enumerate(keys):
            if key in heads:
                grouped[at] = of_heads[heads[key]]
        order = np.lexsort((hashes, grouped))
    else:
        order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    for first in same.tolist():  # two names with one hash; of three it takes two rounds
        one, other = order[first : first + 2].tolist()
        if keys[one] > keys[other]:
            order[first : first + 2] = other, one
    return order.astype(np.int64)


def links_of(key: Int32, keys: Sequence[str], logical: Int32, logicals: Sequence[str]) -> set[tuple[str, str]]:
    """Which items are part of which logical key."""
    if not logicals:
        return set()
    rows = np.flatnonzero(logical >= 0)
    pairs = np.unique(key[rows].astype(np.int64) * len(logicals) + logical[rows])
    return {(keys[pair // len(logicals)], logicals[pair % len(logicals)]) for pair in pairs.tolist()}


def touched_together(op: Int64, key: Int32, keys: Sequence[str]) -> set[tuple[str, str]]:
    """Keys that one operation touched, in pairs that link all of them. Rows of operations on several keys."""
    order = np.argsort(op, kind="stable")
    same = np.flatnonzero(op[order[1:]] == op[order[:-1]])
    one, other = key[order[same]].astype(np.int64), key[order[same + 1]]
    pairs = np.unique(one * len(keys) + other)
    return {(keys[pair // len(keys)], keys[pair % len(keys)]) for pair in pairs.tolist()}


def heads_of(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For every linked name the least one of those that it is linked with, directly or by way of others."""
    parent: dict[str, str] = {}

    def head(name: str) -> str:
        path = []
        while (above := parent.setdefault(name, name)) != name:
            path.append(name)
            name = above
        for passed in path:
            parent[passed] = name
        return name

    for one, other in links:
        first, second = sorted((head(one), head(other)))
        parent[second] = first
    return {name: head(name) for name in list(parent)}


def hashes_of(keys: Sequence[str]) -> npt.NDArray[np.uint64]:
    """:func:`key_hash` of each."""
    crc = np.fromiter((zlib.crc32(key.partition("/")[0].encode()) for key in keys), np.uint64, len(keys))
    return (crc + np.uint64(1)) * np.uint64(_SPREAD)

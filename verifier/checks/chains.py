"""Clusters whose writes name their predecessors, put in order: chains that nothing may interrupt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.history.columns import Bool, Int64

_SCATTER: Final = np.uint32(2654435761)
_SHARE: Final = np.uint32(2**32 // 32)
"""Of the clusters one in 32 is where a walk begins, as a hash of its number has it."""


@dataclass(frozen=True, slots=True)
class Chains:
    """``order`` lists all clusters chain by chain, each from its first to its last; ``chain`` says which, ascending."""

    order: Int64
    chain: Int64
    circular: Bool
    """By cluster: its predecessors lead back to itself, which no history allows. Each is then a chain of its own."""


def chains_of(previous: Int64, roughly: Int64) -> Chains:
    """Follow ``previous`` (a cluster's predecessor, −1 for none; nobody's twice).

    ``roughly`` is any order of the clusters: the chains come as their first ones do in it.
    """
    circular = np.zeros(len(previous), np.bool_)
    while True:
        first, before = _followed(previous)
        looping = first < 0
        if not looping.any():
            break
        circular |= looping
        previous = np.where(circular, -1, previous)
    heads = roughly[previous[roughly] < 0]
    number = np.empty(len(previous), np.int64)
    number[heads] = np.arange(len(heads))
    chain = number[first]
    sizes = np.bincount(chain, minlength=len(heads))
    order = np.empty(len(previous), np.int64)
    order[(np.cumsum(sizes) - sizes)[chain] + before] = np.arange(len(previous))
    return Chains(order, np.repeat(np.arange(len(heads)), sizes), circular)


def _followed(previous: Int64) -> tuple[Int64, Int64]:
    """The first cluster of each one's chain, −1 in a circle; and how many of the chain stand before it.

    Walks begin at the last cluster of each chain and at some in between, and go on, all at once, to where the next one
    began. Only these walks are then put together by pointer doubling, so that one chain of a million costs little more
    than a million of one. Source: M. Reid-Miller, "List ranking and list scan on the Cray C-90", 1994.
    """
    size = len(previous)
    first, before = np.arange(size), np.zeros(size, np.int64)
    linked = previous >= 0
    rows = np.flatnonzero(linked)
    if not len(rows):
        return first, before
    followed = np.zeros(size, np.bool_)
    followed[previous[rows]] = True
    begins = linked & (~followed | (np.arange(size, dtype=np.uint32) * _SCATTER < _SHARE))
    stops = begins | ~linked

    at = np.flatnonzero(begins)
    if not len(at):
        first[rows] = -1
        return first, before
    walk = np.arange(len(at))
    ended, length = np.full(len(at), -1, np.int64), np.zeros(len(at), np.int64)
    walk_of, steps_to = np.full(size, -1, np.int64), np.zeros(size, np.int64)
    walk_of[at] = walk
    steps = 0
    while len(at):
        at, steps = previous[at], steps + 1
        stopped = stops[at]
        ended[walk[stopped]], length[walk[stopped]] = at[stopped], steps
        at, walk = at[~stopped], walk[~stopped]
        walk_of[at], steps_to[at] = walk, steps

    # The walk that goes on where one ended; the lowest of a chain points at itself and adds nothing.
    lowest = ~linked[ended]
    link = np.where(lowest, np.arange(len(ended)), walk_of[ended])
    below = np.where(lowest, 0, length)
    for _ in range(len(link).bit_length() + 1):
        following = link[link]
        if np.array_equal(following, link):
            break
        below, link = below + below[link], following
    mine = walk_of[rows]
    first[rows] = np.where(lowest[link], ended[link], -1)[mine]
    before[rows] = (below + length[link])[mine] - steps_to[rows]
    first[rows[mine < 0]] = -1  # a circle in which no walk began
    return first, before

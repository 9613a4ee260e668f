"""Clusters whose writes name their predecessors, put in order: chains that nothing may interrupt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.history.columns import Bool, Int64


@dataclass(frozen=True, slots=True)
class Chains:
    """``order`` lists all clusters chain by chain, each from its first to its last; ``chain`` says which, ascending."""

    order: Int64
    chain: Int64
    circular: Bool
    """By cluster: its predecessors lead back to itself, which no history allows. Each is then a chain of its own."""


def chains_of(previous: Int64, roughly: Int64) -> Chains:
    """Follow ``previous`` (a cluster's predecessor, −1 for none; nobody's twice).

    ``roughly`` is any order of the clusters. Where it already has predecessors next to each other, as an order by time
    mostly has, they are followed in one step; the rest by pointer doubling, so that one chain of a million is no worse.
    """
    circular = np.zeros(len(previous), np.bool_)
    while True:
        run, inside, heads, lengths = _runs(previous, roughly)
        before = previous[heads]
        link = np.where(before >= 0, run[np.maximum(before, 0)], np.arange(len(heads)))
        offset = np.where(before >= 0, lengths[link], 0)
        # A chain's first run points at itself and adds nothing.
        for _ in range(len(heads).bit_length() + 1):
            following = link[link]
            if np.array_equal(following, link):
                break
            offset, link = offset + offset[link], following
        looping = (before >= 0)[link]
        if not looping.any():
            break
        circular |= looping[run]
        previous = np.where(circular, -1, previous)
    chain = link[run]
    sizes = np.bincount(chain, minlength=len(heads))
    place = (np.cumsum(sizes) - sizes)[chain] + offset[run] + inside
    order = np.empty(len(previous), np.int64)
    order[place] = np.arange(len(previous))
    return Chains(order, chain[order], circular)


def _runs(previous: Int64, roughly: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Stretches of ``roughly`` where each cluster follows its predecessor: run and place by cluster; heads, lengths."""
    joined = np.zeros(len(roughly), np.bool_)
    joined[1:] = previous[roughly[1:]] == roughly[:-1]
    numbers = np.cumsum(~joined) - 1
    starts = np.flatnonzero(~joined)
    run, inside = np.empty(len(roughly), np.int64), np.empty(len(roughly), np.int64)
    run[roughly] = numbers
    inside[roughly] = np.arange(len(roughly)) - starts[numbers]
    return run, inside, roughly[starts], np.diff(np.concatenate((starts, [len(roughly)])))

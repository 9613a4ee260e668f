"""Chains of predecessors, compared with following them one by one."""

from __future__ import annotations

import numpy as np

from verifier.checks.chains import chains_of


def one_by_one(previous: list[int], roughly: list[int]) -> tuple[list[list[int]], set[int]]:
    """The chains in the order of their first ones, and what leads back to itself."""
    circular = set()
    for one in range(len(previous)):
        at = previous[one]
        for _ in previous:
            if at < 0 or at == one:
                break
            at = previous[at]
        if at == one:
            circular.add(one)
    follower = {before: one for one, before in enumerate(previous) if before >= 0 and one not in circular}
    chains = []
    for first in roughly:
        if previous[first] < 0 or first in circular:
            chain = [first]
            while first not in circular and chain[-1] in follower:
                chain.append(follower[chain[-1]])
            chains.append(chain)
    return chains, circular


def test_chains_and_circles_are_those_of_following_one_by_one() -> None:
    rng = np.random.default_rng(7)
    circles = 0
    for _ in range(300):
        size = int(rng.integers(0, 120))
        shuffled = rng.permutation(size)
        previous = np.full(size, -1)
        begin = 0
        while begin < size:
            stretch = shuffled[begin : begin + int(rng.integers(1, 90))]
            previous[stretch[1:]] = stretch[:-1]
            if rng.random() < 0.2:
                previous[stretch[0]] = stretch[-1]
            begin += len(stretch)
        roughly = rng.permutation(size)
        expected, circular = one_by_one(previous.tolist(), roughly.tolist())
        chains = chains_of(previous, roughly)
        assert chains.order.tolist() == [one for chain in expected for one in chain]
        assert chains.chain.tolist() == [number for number, chain in enumerate(expected) for _ in chain]
        assert set(np.flatnonzero(chains.circular).tolist()) == circular
        circles += bool(circular)
    assert circles > 50

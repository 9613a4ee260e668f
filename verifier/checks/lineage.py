"""The lineage of every item: from what it finally holds back through the writes that it was made of.

Every write leaves its mark (``_w``) and the mark before it (``_p``); answers, reads and final items show both. That
gives each write its predecessor, and the chain of predecessors of the final item is the *final lineage*. A write that
was acknowledged and is not in it is lost.

A predecessor may be missing: a write whose answer never came, and that nobody read while it stood, shows only as the
predecessor of the next one. :mod:`verifier.checks.gaps` concludes it where the record leaves no choice. Elsewhere the
lineage is *open*: what is below the gap stays unattributed, except for writes that began after the gap had been passed
and writes that branched off above it, which are lost for certain.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from verifier.checks.final import changed_unread
from verifier.checks.gaps import FOREVER, Gap, Gaps
from verifier.checks.marks import (
    NOT_FOUND,
    Marks,
    in_lost_range,
    is_mark,
    keys_with,
    marks_by_key,
    marks_of,
    of_kind,
    updates,
)
from verifier.checks.types import Context
from verifier.history.columns import NULL, Bool, History, Int8, Int32, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

ROOT: Final = -1
"""Predecessor: the state before the run, or no item."""
GAP: Final = -2
"""Predecessor: not known."""

_NOTHING: Final = np.zeros(0, np.int64)
_NO_CHAIN: Final = array("q")


class Place(IntEnum):
    """Where a write stands with respect to the final lineage of its key."""

    OUTSIDE = 0
    """Not in it."""
    OPEN = 1
    """Not known: below a gap of the lineage, or in the lineage of some replicas only."""
    INSIDE = 2
    """In it."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The final lineages of all keys, over the rows of a history. ``n`` rows, ``k`` keys.

    ``chain`` holds the rows of all lineages, key by key, oldest first (:data:`NOT_FOUND` for a mark without a row);
    those of key ``i`` are ``chain[offsets[i]:offsets[i + 1]]`` (of the first replica, where replicas differ).
    """

    place: Int8
    """:class:`Place` by row (n); :attr:`Place.OUTSIDE` for rows that are no updates."""
    parent: Int64
    """Predecessor that the record shows, by row (n): a row, :data:`ROOT`, or :data:`GAP`."""
    branch: Int64
    """Nearest predecessor that is in the lineage, by row (n): a row, :data:`ROOT` or :data:`GAP`."""
    parted: Int64
    """Place in the chain right after ``branch``, by row (n): where a write that is outside left it."""
    chain: Int64
    offsets: Int64
    position: Int64
    """Place in the chain of its key by row (n), −1 outside."""
    open_keys: Bool
    """Keys whose lineage is not known down to its root (k)."""
    marked: Bool
    """Keys whose writes carry marks (k)."""
    split: Bool
    """Keys that the replicas disagree on (k)."""
    gaps: dict[int, Gap]
    """What is known of the gap of an open key."""
    final_read: bool
    """The final state of at least one replica was read."""
    concluded: int
    """Predecessors that were concluded rather than seen."""
    unseen: Bool
    """Keys whose lineage may hold writes that never answered and that nobody saw (k)."""
    contradictions: int
    """Marks for which the record shows two different predecessors."""
    strangers: int
    """Marks that no recorded operation made, and no missing one can have made."""


def lineage_of(history: History, context: Context) -> Lineage:
    """The run's :class:`Lineage`, worked out once."""
    made = context.shared.get("lineage")
    if not isinstance(made, Lineage):
        made = context.shared["lineage"] = _Tracer(history, context).trace()
    return made


class _Tracer:
    """The steps of :func:`trace` over one history; nodes are rows, then marks that were seen but have no row."""

    def __init__(self, history: History, context: Context) -> None:
        self.history, self.context = history, context
        self.rows, self.keys = len(history), len(history.keys)
        self.marks: Marks = marks_of(history, context)
        self.update = updates(history)
        self.initial = marks_by_key(context.initial.values(), self.keys)
        self.concluded = self.contradictions = 0
        self.unseen: set[int] = set()
        self.extra: dict[tuple[int, int], int] = {}
        self.parent = self._edges()
        self.links = array("q", self.parent.tobytes())
        self.seen = bytearray(len(self.links))
        self.gaps = Gaps(history, context, self.links, self.seen)

    def trace(self) -> Lineage:
        history, keys, update = self.history, self.keys, self.update
        heads = [marks_by_key([replica], keys) for replica in self.context.final.values()]
        split = np.zeros(keys, np.bool_)
        for head in heads[1:]:
            split |= head != heads[0]
        marked, touched = keys_with(history, update & is_mark(history.saw)), keys_with(history, update)
        for head in heads:
            marked |= is_mark(head)
        removing = of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL)
        deleted = keys_with(history, removing)

        chains = [_NO_CHAIN] * keys
        whole = np.zeros(keys, np.bool_)  # of split keys: all lineages go down to their roots
        place = np.zeros(len(self.links), np.int8)
        gaps: dict[int, Gap] = {}
        if heads:
            alike, apart = np.flatnonzero(touched & marked & ~split), np.flatnonzero(touched & marked & split)
            for key, node in zip(alike.tolist(), self._nodes(heads[0][alike], alike).tolist(), strict=True):
                chains[key], gap = self._follow(key, node)
                if gap is not None:
                    gaps[key] = gap
            nodes = [self._nodes(head[apart], apart).tolist() for head in heads]
            for key, *tops in zip(apart.tolist(), *nodes, strict=True):
                chains[key], gaps[key], whole[key] = self._compare(tops, place)
        observed = self.parent[: self.rows]
        if self.concluded:
            self.parent = np.frombuffer(self.links, np.int64)

        lengths = np.fromiter((len(chain) for chain in chains), np.int64, keys)
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        joined = array("q")
        for chain in chains:
            joined.extend(chain)
        newest_first = np.frombuffer(joined, np.int64) if joined else _NOTHING
        flat = newest_first[np.repeat(offsets[:-1] + offsets[1:] - 1, lengths) - np.arange(len(newest_first))]
        position = np.full(len(self.links), -1, np.int64)
        position[flat] = np.arange(len(flat)) - np.repeat(offsets[:-1], lengths)
        place[flat[~np.repeat(split, lengths)]] = Place.INSIDE
        open_keys = np.zeros(keys, np.bool_)
        open_keys[list(gaps)] = True
        if not heads:
            open_keys |= touched & marked
        hidden, unread = np.zeros(keys, np.bool_), changed_unread(history, self.context)
        if unread.any():
            hidden = keys_with(history, unread & (place[: self.rows] != Place.INSIDE)) & marked
            open_keys |= hidden
        branch = self._branch(place)
        self._leave_open(
            place, branch, open_keys | (deleted & marked), deleted, whole & ~hidden, hidden | (split & ~whole), gaps
        )
        return Lineage(
            place=place[: self.rows],
            parent=np.where(observed < self.rows, observed, GAP),
            branch=np.where(branch < self.rows, branch, GAP)[: self.rows],
            parted=np.where(branch >= 0, position[np.maximum(branch, 0)] + 1, 0)[: self.rows],
            chain=np.where(flat < self.rows, flat, NOT_FOUND),
            offsets=offsets,
            position=position[: self.rows],
            open_keys=open_keys,
            marked=marked,
            split=split & touched,
            gaps=gaps,
            final_read=bool(heads),
            concluded=self.concluded,
            unseen=open_keys | np.isin(np.arange(keys), list(self.unseen)),
            contradictions=self.contradictions,
            strangers=self._strangers(),
        )

    # From marks to nodes.

    def _edges(self) -> Int64:
        """Predecessor of every node, as far as answers, reads and items show it."""
        history = self.history
        own = self.update & (history.saw == history.op) & (history.prev != NULL)
        told = is_mark(history.saw) & (history.saw != history.op) & (history.prev != NULL)
        replicas = [*self.context.initial.values(), *self.context.final.values()]
        key = np.concatenate([history.key[told], *(replica.key for replica in replicas)]).astype(np.int64)
        child = np.concatenate([history.saw[told], *(replica.w for replica in replicas)])
        before = np.concatenate([history.prev[told], *(replica.p for replica in replicas)])
        if len(self.initial):  # what an item was before the run is nobody's business here
            recorded = (child != self.initial[key]) | (self.marks.find(child, key) != NOT_FOUND)
            key, child, before = key[recorded], child[recorded], before[recorded]
        nodes = self._nodes(child, key)
        own_rows = np.flatnonzero(own)
        own_before = self._nodes(history.prev[own_rows], history.key[own_rows])
        nodes_before = self._nodes(before, key)
        parent = np.full(self.rows + len(self.extra), GAP, np.int64)
        shown = (nodes >= 0) & (before != NULL)
        parent[nodes[shown]] = nodes_before[shown]
        parent[own_rows] = own_before
        if shown.any():
            self.contradictions = len(np.unique(nodes[shown][parent[nodes[shown]] != nodes_before[shown]]))
        return parent

    def _nodes(self, mark: Int64, key: Int64 | Int32) -> Int64:
        """Node of each mark on its key; a new one for a mark without a row."""
        nodes = self.marks.find(mark, key)
        nodes[nodes == NOT_FOUND] = GAP
        nodes[mark == ABSENT] = ROOT
        nodes[(nodes == GAP) & (mark == self.initial[key]) & is_mark(mark)] = ROOT
        for at in np.flatnonzero((nodes == GAP) & is_mark(mark)).tolist():
            name = (int(key[at]), int(mark[at]))
            nodes[at] = self.extra.setdefault(name, self.rows + len(self.extra))
        return nodes

    def _strangers(self) -> int:
        marks = np.array([mark for _, mark in self.extra], np.int64)
        return int((~in_lost_range(self.history, marks)).sum())

    # From a final item to its root.

    def _follow(self, key: int, node: int) -> tuple[array[int], Gap | None]:
        """The lineage of a key from its final item on (:data:`GAP`: somebody wrote that without a mark), newest first,
        and the gap that it ends in (none: it is whole)."""
        chain = array("q")
        if node >= len(self.links):  # an item whose mark nothing else mentions
            return chain, Gap(NOT_FOUND, FOREVER, None)
        links, seen = self.links, self.seen
        append = chain.append
        while True:
            while node >= 0 and not seen[node]:  # half a million times on a hot key
                seen[node] = 1
                append(node)
                node = links[node]
            if node == ROOT:
                return chain, None
            if node >= 0 or not chain:  # a circle: the store shows two writes, each before the other
                return chain, Gap(NOT_FOUND, FOREVER, None)
            found, gap = self.gaps.conclude(key, chain)
            self.unseen.add(key)
            if found is None:
                return chain, gap
            self.concluded += 1
            links[chain[-1]] = node = found

    def _compare(self, nodes: Sequence[int], place: Int8) -> tuple[array[int], Gap, bool]:
        """Lineages of a key that the replicas disagree on: what is in all of them is kept, in some is open.

        True: all are known down to their roots, so that what is in none of them is lost.
        """
        chains: list[array[int]] = []
        whole = True
        for node in nodes:
            chain = array("q")
            while 0 <= node < len(self.links) and not self.seen[node]:
                self.seen[node] = 1
                chain.append(node)
                node = self.links[node]
            for passed in chain:
                self.seen[passed] = 0
            chains.append(chain)
            whole &= node == ROOT
        some = set().union(*chains)
        everywhere = set(chains[0]).intersection(*chains[1:])
        place[list(some)] = Place.OPEN
        place[list(everywhere)] = Place.INSIDE
        return chains[0], Gap(NOT_FOUND, FOREVER, None), whole

    # What is not in a lineage.

    def _branch(self, place: Int8) -> Int64:
        """Nearest predecessor inside the lineage: chains of predecessors are halved until they stand still."""
        branch = self.parent.copy()
        going = np.flatnonzero((branch >= 0) & (place != Place.INSIDE))
        for _ in range(len(place).bit_length() + 1):
            going = going[branch[going] >= 0]
            going = going[place[branch[going]] != Place.INSIDE]
            if not len(going):
                return branch
            branch[going] = branch[branch[going]]
        branch[going] = GAP  # in a circle of predecessors
        return branch

    def _leave_open(
        self,
        place: Int8,
        branch: Int64,
        wanting: Bool,
        deleted: Bool,
        compared: Bool,
        hidden: Bool,
        gaps: dict[int, Gap],
    ) -> None:
        """Acknowledged writes outside the known lineage of an open key are open, unless they are lost for certain.

        ``compared``: keys of which all replicas' lineages are known; ``hidden``: those that may end with what nobody
        knows: a Region holds it that was not read, or replicas differ and the lineage of one is broken.
        """
        history = self.history
        if not wanting.any():
            return
        place_rows = place[: self.rows]
        doubtful = self.update & (history.outcome == Outcome.OK) & (place_rows == Place.OUTSIDE) & wanting[history.key]
        passed = np.full(self.keys, FOREVER, np.int64)
        for gapped, gap in gaps.items():
            passed[gapped] = gap.passed_ns
        passed[deleted | compared | hidden] = FOREVER
        rows = np.flatnonzero(doubtful)
        key = history.key[rows]
        branched = branch[rows] >= 0
        branched[branched] = place[branch[rows][branched]] == Place.INSIDE
        late = history.start_ns[rows] > passed[key]
        place_rows[rows[(~branched & ~late & ~compared[key]) | hidden[key]]] = Place.OPEN

"""Transactions: never torn in their own Region, one order of what is read at once, and money that stays.

**Torn.** A transaction T takes effect at one moment in the Region that it was sent to. So a transactional read in that
Region that shows T on one item must not show, on another item that T wrote, a state older than T. Older is what the
record proves: the state before the run; a write of the Region that had been answered before T began; a write that T was
built upon; or another transaction of the Region that wrote the first item, too (whichever of the two came first, one
of the items shows the wrong one). Other Regions get a transaction item by item: there a torn one is lawful, and only
counted.

**Long fork.** What a Region shows of an item only ever gets newer. So of two transactional reads of the same items in
one Region one is nowhere older than the other.

**Bank.** Where every change of a group of items (one ``logical_key``) is a transaction whose amounts add up to nothing,
every transactional read of the whole group adds up to the same, and so does every final replica.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.checks.final import in_doubt
from verifier.checks.findings import ENDLESS, Found, result
from verifier.checks.layout import first_of
from verifier.checks.lineage import lineage_of
from verifier.checks.marks import NOT_FOUND, keys_with, marks_by_key, may_remove, of_kind, updates, writers_of
from verifier.checks.types import Context, Note, Result, join_notes, noted
from verifier.history.columns import NO_CODE, NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome


def check_torn(history: History, context: Context) -> Result:
    """No transactional read shows part of a transaction of its own Region."""
    pairs = _pairs(history, context)
    if pairs is None:
        return Result("unknown", 0, note="no transactional read showed a transaction that wrote more of what was read")
    home = history.region[pairs.shows] == history.region[pairs.wrote]
    exercised = len(np.unique(history.op[pairs.shows[home]]))
    suspects = pairs.where(history.saw[pairs.beside] != history.op[pairs.wrote])
    home = history.region[suspects.shows] == history.region[suspects.wrote]
    gamma, older = _proof(history, context, suspects)
    elsewhere = len(np.unique(history.op[suspects.shows[~home & (gamma == ENDLESS)]]))
    hit = np.flatnonzero(home & (gamma > NULL))
    hit = hit[np.argsort(-gamma[hit], kind="stable")]
    hit = hit[np.unique(history.op[suspects.shows[hit]], return_index=True)[1]]  # each read once, on its best proof
    torn = Found(
        "torn",
        history.key[suspects.beside[hit]].astype(np.int64),
        history.end_ns[suspects.shows[hit]],
        {
            "older": older[hit],
            "wrote": suspects.wrote[hit],
            "beside": suspects.beside[hit],
            "by": suspects.shows[hit],
        },
        gamma[hit],
    )
    note = None
    if elsewhere:
        note = noted("{count} reads in other Regions showed part of a transaction, as they may", elsewhere)
    return result([torn], exercised, context.regions, 2 * context.epsilon_ns, note)


def check_long_fork(history: History, context: Context) -> Result:
    """Transactional reads of the same items in one Region can be put in one order."""
    rows = np.flatnonzero(
        of_kind(history, Kind.TXN_READ) & (history.outcome == Outcome.OK) & (history.saw != NULL) & ~_asking(history)
    )
    rows = rows[np.lexsort((history.key[rows], history.op[rows]))]
    if not len(rows):
        return Result("unknown", 0, note="no transactional read")
    place, known = _places(history, context, rows)
    begins = np.flatnonzero(np.diff(history.op[rows], prepend=-1))
    sizes = np.diff(np.append(begins, len(rows)))
    whole = np.logical_and.reduceat(known, begins) & (sizes > 1)
    exercised, pairs, asked_first = 0, [np.zeros((0, 4), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[whole]).tolist():
        items = begins[whole & (sizes == size)][:, None] + np.arange(size)
        first, group = _alike(history, rows[items])
        begun = items[first, 0]
        compared = np.bincount(group)[group] > 1
        exercised += int(compared.sum())
        items, group = items[compared], group[compared]
        order = np.lexsort((*place[items].T[::-1], group))
        items, group = items[order], group[order]
        table = place[items]
        back = (table[1:] < table[:-1]) & (group[1:] == group[:-1])[:, None]
        at = np.flatnonzero(back.any(axis=1))
        older, newer = np.argmax(back[at], axis=1), np.argmax(table[at + 1] > table[at], axis=1)
        pairs.append(rows[np.stack([items[at + i, item] for i in (0, 1) for item in (newer, older)], axis=1)])
        asked_first.append(begun[group[at]])
    columns = np.concatenate(pairs)[np.argsort(np.concatenate(asked_first), kind="stable")]
    witness = {"one": columns[:, 0], "one_beside": columns[:, 1], "other": columns[:, 2], "by": columns[:, 3]}
    key, end = history.key[columns[:, 3]].astype(np.int64), history.end_ns[columns].max(axis=1, initial=NULL)
    note = None
    if (~whole & (sizes > 1)).any():
        count = int((~whole & (sizes > 1)).sum())
        note = noted("{count} reads show a state that the final lineage does not hold, and are not judged", count)
    return result([Found("long fork", key, end, witness)], exercised, context.regions, 0, note)


def _alike(history: History, reads: Int64) -> tuple[Int64, Int64]:
    """Groups of reads (a line of rows each) that asked one Region for the same items: the first read of each group, and
    the group of every read."""
    group = history.region[reads[:, 0]].astype(np.int64)
    for key in history.key[reads].T:
        _, first, group = np.unique(group * len(history.keys) + key, return_index=True, return_inverse=True)
    return first, group.astype(np.int64)


def check_bank(history: History, context: Context) -> Result:
    """What only moves between the items of a group neither grows nor shrinks."""
    banks, note = _banks(history, context)
    if not banks.any():
        return Result("unknown", 0, note=note or "no group of items with transfers between them")
    if history.lost:
        return Result("unknown", 0, note="a worker's last rows are missing, and may have changed any total")
    groups, group_of, sizes = len(banks), _group_of_key(history, context), np.zeros(len(banks), np.int64)
    np.add.at(sizes, group_of[group_of >= 0], 1)
    expected = np.zeros(groups, np.int64)
    for replica in list(context.initial.values())[:1]:
        mine = group_of[replica.key] >= 0
        np.add.at(expected, group_of[replica.key[mine]], np.where(replica.value == NULL, 0, replica.value)[mine])
    rows = np.flatnonzero(
        of_kind(history, Kind.TXN_READ) & (history.outcome == Outcome.OK) & (history.saw != NULL) & ~_asking(history)
    )
    rows = rows[(group_of[history.key[rows]] >= 0)]
    rows = rows[banks[group_of[history.key[rows]]]]
    rows = rows[np.lexsort((group_of[history.key[rows]], history.op[rows]))]
    found = []
    exercised = 0
    if len(rows):
        group = group_of[history.key[rows]]
        begins = np.flatnonzero((np.diff(history.op[rows], prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
        count = np.diff(np.append(begins, len(rows)))
        total = np.add.reduceat(np.where(history.result[rows] == NULL, 0, history.result[rows]), begins)
        whole = count == sizes[group[begins]]
        exercised = int(whole.sum())
        off = np.flatnonzero(whole & (total != expected[group[begins]]))
        by = rows[begins[off]]
        found.append(Found("total", history.key[by].astype(np.int64), history.end_ns[by], {"by": by}))
    doubtful = np.zeros(groups, np.bool_)
    doubtful[group_of[in_doubt(history, context) & (group_of >= 0)]] = True
    if (banks & doubtful).any():
        unsettled = noted(
            "the final totals of {count} groups had not settled, and are not judged", int((banks & doubtful).sum())
        )
        note = join_notes([note, unsettled])
    grouped = np.flatnonzero(group_of >= 0)
    for at, region in enumerate(context.regions):
        replica_here = context.final.get(region)
        if replica_here is None:
            continue
        mine = group_of[replica_here.key] >= 0
        totals = np.zeros(groups, np.int64)
        value = np.where(replica_here.value == NULL, 0, replica_here.value)
        np.add.at(totals, group_of[replica_here.key[mine]], value[mine])
        wrong = np.flatnonzero(banks & ~doubtful & (totals != expected))
        first = first_of(groups, group_of[grouped], grouped)[wrong]
        when = replica_here.read_ns[1] if replica_here.read_ns is not None else int(history.end_ns.max())
        nobody = np.full(len(wrong), -1, np.int64)
        places = np.full(len(wrong), at, np.int64)
        found.append(Found("total", first, np.full(len(wrong), when), {"by": nobody}, replica=places))
    return result(found, exercised, context.regions, 0, note)


def total_of(history: History, context: Context, key: int, op: int | None, region: str | None) -> tuple[int, int]:
    """What the group of a key added up to in a read (``op``) or final replica (``region``), and what it should have."""
    group_of = _group_of_key(history, context)
    members = group_of == group_of[key]
    expected = sum(
        int(np.where(one.value == NULL, 0, one.value)[members[one.key]].sum())
        for one in list(context.initial.values())[:1]
    )
    if op is not None:
        rows = np.flatnonzero((history.op == op) & members[history.key])
        return int(np.where(history.result[rows] == NULL, 0, history.result[rows]).sum()), expected
    replica = context.final[region or ""]
    return int(np.where(replica.value == NULL, 0, replica.value)[members[replica.key]].sum()), expected


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Places where a transaction could have been seen torn. Rows; arrays of one length."""

    shows: Int64
    """Row of a transactional read that shows the transaction."""
    wrote: Int64
    """The transaction's row on another item that the same read asked for …"""
    beside: Int64
    """… and the read's row on it."""

    def where(self, which: Bool) -> _Pairs:
        return _Pairs(self.shows[which], self.wrote[which], self.beside[which])


def _pairs(history: History, context: Context) -> _Pairs | None:
    """Every transactional read joined with what the transactions that it shows wrote besides."""
    writes = np.flatnonzero(of_kind(history, Kind.TXN_WRITE) & (history.outcome != Outcome.FAIL))
    reads = np.flatnonzero(
        of_kind(history, Kind.TXN_READ) & (history.outcome == Outcome.OK) & (history.saw != NULL) & ~_asking(history)
    )
    if not len(writes) or not len(reads):
        return None
    writes = writes[np.argsort(history.op[writes], kind="stable")]
    ops = history.op[writes]
    writer = writers_of(history, context, "saw")[reads]
    by_transaction = writer != NOT_FOUND
    by_transaction[by_transaction] = of_kind(history, Kind.TXN_WRITE)[writer[by_transaction]]
    shows, writer = reads[by_transaction], writer[by_transaction]
    low, high = (np.searchsorted(ops, history.op[writer], side) for side in ("left", "right"))
    count = high - low
    shows = np.repeat(shows, count)
    wrote = writes[np.arange(len(shows)) + np.repeat(low - (np.cumsum(count) - count), count)]
    other = history.key[wrote] != history.key[shows]
    shows, wrote = shows[other], wrote[other]
    beside = _row_of(history, reads, history.op[shows], history.key[wrote].astype(np.int64))
    there = beside != NOT_FOUND
    return _Pairs(shows[there], wrote[there], beside[there]) if there.any() else None


def _proof(history: History, context: Context, pairs: _Pairs) -> tuple[Int64, Int64]:
    """For each pair Γ of the proof that the state beside is older (null: there is none), and the row that wrote it."""
    writer = writers_of(history, context, "saw")[pairs.beside]
    mark, key = history.saw[pairs.beside], history.key[pairs.beside].astype(np.int64)
    at, wrote = np.maximum(writer, 0), pairs.wrote
    has_row = writer != NOT_FOUND
    gamma = np.full(len(wrote), NULL, np.int64)

    # A write of the same Region that had been answered before the transaction began.
    local = has_row & (history.region[at] == history.region[wrote]) & (history.outcome[at] == Outcome.OK)
    ahead = history.start_ns[wrote] - history.end_ns[at]
    local &= ahead > 0
    gamma[local] = ahead[local]

    lineage = lineage_of(history, context)
    built = has_row & (lineage.parent[wrote] == writer)
    placed = has_row & (lineage.position[at] >= 0) & (lineage.position[wrote] > lineage.position[at])
    # Another transaction of the same Region that wrote the item on which this one is shown, too.
    transaction = has_row & of_kind(history, Kind.TXN_WRITE)[at] & (history.region[at] == history.region[wrote])
    writes = np.flatnonzero(of_kind(history, Kind.TXN_WRITE) & (history.outcome != Outcome.FAIL))
    both = _row_of(history, writes, history.op[at], history.key[pairs.shows].astype(np.int64)) != NOT_FOUND
    removed = _deleted(history)
    initial = marks_by_key(context.initial.values(), len(history.keys))
    began = ~has_row & ~removed[key] & ((mark == ABSENT) | (mark == initial[key])) & (mark != NULL)
    gamma[built | placed | (transaction & both) | began] = ENDLESS
    return gamma, np.where(has_row, writer, -1)


def _places(history: History, context: Context, rows: Int64) -> tuple[Int64, Bool]:
    """Place in the final lineage of the state that each row shows, and whether it has one."""
    lineage, writer = lineage_of(history, context), writers_of(history, context, "saw")[rows]
    key, mark = history.key[rows].astype(np.int64), history.saw[rows]
    initial = marks_by_key(context.initial.values(), len(history.keys))
    place = np.where(writer != NOT_FOUND, lineage.position[np.maximum(writer, 0)], -1)
    known = (writer != NOT_FOUND) & (place >= 0)
    began = (writer == NOT_FOUND) & ((mark == ABSENT) | (mark == initial[key])) & ~_deleted(history)[key]
    return np.where(began, -1, place), known | began


def _deleted(history: History) -> Bool:
    """Keys whose item may have been absent again (k)."""
    removing = of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL)
    if history.lost and may_remove(history):
        return np.ones(len(history.keys), np.bool_)
    return keys_with(history, removing)


def _asking(history: History) -> Bool:
    """Rows of a condition within a writing transaction: they are no reads of several items at once."""
    asking: Bool = of_kind(history, Kind.TXN_READ) & (history.expect != NULL)
    return asking


def _row_of(history: History, rows: Int64, op: Int64, key: Int64) -> Int64:
    """Among ``rows`` the one with each operation id and key, or :data:`NOT_FOUND`."""
    order = rows[np.lexsort((history.key[rows], history.op[rows]))]
    ops, codes = np.unique(history.op[order], return_inverse=True)
    width = len(history.keys) + 1
    place = codes.astype(np.int64) * width + history.key[order]
    code = np.minimum(np.searchsorted(ops, op), len(ops) - 1)
    wanted = np.where(ops[code] == op, code * width + key, -1)
    at = np.minimum(np.searchsorted(place, wanted), len(place) - 1)
    return np.where(place[at] == wanted, order[at], NOT_FOUND)


def _group_of_key(history: History, context: Context) -> Int64:
    """Code of the group (``logical_key``) of every key, :data:`NO_CODE` without one (k); worked out once."""
    group = context.shared.get("group of key")
    if not isinstance(group, np.ndarray):
        group = context.shared["group of key"] = np.full(len(history.keys), NO_CODE, np.int64)
        grouped = of_kind(history, Kind.TXN_WRITE, Kind.TXN_READ) & (history.logical_key >= 0)
        group[history.key[grouped]] = history.logical_key[grouped]
    return group


def _banks(history: History, context: Context) -> tuple[Bool, Note | None]:
    """Groups in which every change is a transaction that adds up to nothing (by code of ``logical_key``)."""
    groups = len(history.logical_keys)
    banks = np.zeros(groups, np.bool_)
    group_of = _group_of_key(history, context)
    moves = of_kind(history, Kind.TXN_WRITE) & (history.outcome != Outcome.FAIL)
    rows = np.flatnonzero(moves & (group_of[history.key] >= 0))
    if not len(rows):
        return banks, None
    banks[group_of[history.key[rows]]] = True
    # Other changes: of no transaction, or a transaction's that write a value instead of adding to it.
    change = updates(history) & (history.outcome != Outcome.FAIL) & (group_of[history.key] >= 0)
    other = np.flatnonzero(change & (~moves | (history.result != NULL) | (history.value == NULL)))
    _, code = np.unique(history.op[rows], return_inverse=True)
    place = code.astype(np.int64) * groups + group_of[history.key[rows]]
    names, inverse = np.unique(place, return_inverse=True)
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, inverse, np.where(history.value[rows] == NULL, 0, history.value[rows]))
    wrong = np.unique(np.concatenate((group_of[history.key[other]], names[sums != 0] % groups)))
    banks[wrong] = False
    if not len(wrong):
        return banks, None
    return banks, noted("{count} groups have changes that add up to something, and no total to keep", len(wrong))

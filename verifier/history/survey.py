"""A look through a record that is too large to be held at once: what it holds of which key, and how to cut it up.

Every worker's file is gone through by row group, and only the columns that matter are read: names, operation ids and,
where they may matter, times. Everything that a whole record is refused for is looked for here as well, so that what is
judged part by part can be trusted as much.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verifier.clocks import Clocks
from verifier.errors import RecordError
from verifier.history.columns import Bool, Int32, Int64, LostRange
from verifier.history.keys import heads_of, links_of, ranked, touched_together
from verifier.history.late import LateSends, perhaps_late
from verifier.history.oddities import COLUMNS as ODD_COLUMNS
from verifier.history.oddities import Processes
from verifier.history.reader import (
    Gap,
    WorkerRecord,
    add_processes,
    check_ids,
    coded_column,
    gap_of,
    gap_of_missing,
    numbers,
    read_worker,
    recorded_twice,
    unknown_kind,
    worker_files,
)
from verifier.history.replicas import replica_keys
from verifier.history.schema import COLUMNS, TOGETHER, op_id
from verifier.rundir import RunDirectory

CODED: Final = tuple(one.name for one in COLUMNS if pa.types.is_dictionary(one.type))
"""Columns with names."""

_GROUPS_A_PIECE: Final = 16
"""Row groups that are cut up as one piece of work, at most: some four million operations."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the codes of a history stand for, where that is known beforehand: it is one part of a larger one."""

    keys: tuple[str, ...]
    """In their order (:mod:`verifier.history.keys`)."""
    others: Mapping[str, tuple[str, ...]]
    """Column → names."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one worker's file holds."""

    path: Path
    worker: int
    rows: int
    groups: int
    names: Mapping[str, tuple[str, ...]]
    """Column → names in order of appearance."""
    by_key: Int64
    """Operations of each of ``names["key"]``."""
    links: frozenset[tuple[str, str]]
    gap: Gap
    epsilon_ns: int
    """Greatest ε of any time (:mod:`verifier.clocks`)."""
    late: frozenset[int]
    """Seconds in which the worker sent late, where it did not measure itself."""


@dataclass(frozen=True, slots=True)
class PartKeys:
    """What one part is about, and what is known of the whole record."""

    number: int
    first: int
    """Number of its first key among all."""
    names: Names
    lost: tuple[LostRange, ...]
    incomplete: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a record is judged part by part. Part ``i`` is about ``names.keys[bounds[i]:bounds[i + 1]]``."""

    sources: tuple[Survey, ...]
    names: Names
    bounds: tuple[int, ...]
    lost: tuple[LostRange, ...]
    incomplete: tuple[str, ...]
    odd: tuple[str, ...]

    @property
    def parts(self) -> int:
        """How many."""
        return len(self.bounds) - 1

    @property
    def rows(self) -> int:
        """Operations in all."""
        return sum(source.rows for source in self.sources)

    def pieces(self, rows: int) -> list[tuple[int, int, int]]:
        """Number of the source, first row group and the one behind the last, in order; about so many rows at most."""
        found = []
        for number, source in enumerate(self.sources):
            groups = max(1, min(_GROUPS_A_PIECE, rows * source.groups // max(1, source.rows)))
            found += [(number, first, min(first + groups, source.groups)) for first in range(0, source.groups, groups)]
        return found

    def keys_of(self, part: int) -> PartKeys:
        """What one part is about."""
        first, last = self.bounds[part : part + 2]
        names = Names(self.names.keys[first:last], self.names.others)
        return PartKeys(part, first, names, self.lost, self.incomplete)


def rows_on_disk(directory: RunDirectory) -> int:
    """Roughly how many operations there are, without reading any."""
    rows = 0
    for path in worker_files(directory):
        if path.suffix == ".parquet":
            try:
                rows += pq.read_metadata(path).num_rows
                continue
            except (pa.ArrowException, OSError):
                pass  # whoever reads it says what is wrong
        rows += path.stat().st_size // 32
    return rows


def survey(path: Path, t0_ns: int, clocks: Clocks | None, measured: bool) -> Survey:
    """Look through one worker's file. ``measured``: the worker measured itself, so that late sends say nothing new."""
    record = read_worker(path)
    names: dict[str, dict[str, int]] = {name: {} for name in CODED}
    by_key = np.zeros(0, np.int64)
    links: set[tuple[str, str]] = set()
    ids = _Ids(path, record)
    late, epsilon, processes = False, 0, Processes(path)
    columns = [*CODED, *ODD_COLUMNS, *([] if measured else ["scheduled_ns"])]
    for group in range(record.groups):
        table = record.group(group, columns)
        coded = {name: coded_column(table, name) for name in CODED}
        for name, (_, found) in coded.items():
            for one in found:
                names[name].setdefault(one, len(names[name]))
        key, keys = coded["key"]
        place = np.array([names["key"][one] for one in keys], np.int64)
        grown = np.zeros(len(names["key"]), np.int64)
        grown[: len(by_key)] = by_key
        grown[place] += np.bincount(key, minlength=len(keys))
        by_key = grown
        op = numbers(table, "op")
        ids.add(op, key, numbers(table, "process"), numbers(table, "start_ns"))
        add_processes(processes, table)
        links |= links_of(key, keys, *coded["logical_key"])
        kind, kinds = coded["kind"]
        several = [number for number, name in enumerate(kinds) if name in TOGETHER]
        if several:
            rows = np.flatnonzero(np.isin(kind, several))
            links |= touched_together(op[rows], key[rows], keys)
        if clocks is not None:
            for name in ("start_ns", "end_ns"):
                on_reference = clocks.of_worker(record.worker, numbers(table, name))
                epsilon = max(epsilon, int(clocks.epsilon_of_worker(record.worker, on_reference).max(initial=0)))
        if not measured and not late:
            late = perhaps_late(numbers(table, "scheduled_ns"), numbers(table, "start_ns"))
    unknown = unknown_kind(names["kind"])
    if unknown is not None:
        raise RecordError(f"{path}: kind {unknown!r} is not one that this verifier knows")
    return Survey(
        path=path,
        worker=record.worker,
        rows=record.rows,
        groups=record.groups,
        names={name: tuple(found) for name, found in names.items()},
        by_key=by_key,
        links=frozenset(links),
        gap=gap_of(record, processes),
        epsilon_ns=epsilon,
        late=_late_seconds(record, t0_ns, clocks) if late else frozenset(),
    )


def plan_of(directory: RunDirectory, surveys: Sequence[Survey], rows_a_part: int, least_parts: int) -> Plan:
    """Cut the keys into stretches of about equally many operations, none with more than ``rows_a_part`` if that can be
    (one key is never cut, nor are keys that belong together)."""
    counts: dict[str, int] = {}
    others: dict[str, dict[str, None]] = {name: {} for name in CODED}
    for one in surveys:
        for key, count in zip(one.names["key"], one.by_key.tolist(), strict=True):
            counts[key] = counts.get(key, 0) + count
        for name in CODED:
            others[name] |= dict.fromkeys(one.names[name])
    keys = tuple(dict.fromkeys([*counts, *replica_keys(directory)]))
    links = {link for one in surveys for link in one.links}
    order = ranked(keys, links)
    ordered = tuple(keys[at] for at in order.tolist())
    rows = np.array([counts.get(key, 0) for key in ordered], np.int64)
    gaps = [one.gap for one in surveys] + [gap_of_missing(directory, [one.worker for one in surveys])]
    return Plan(
        sources=tuple(surveys),
        names=Names(ordered, {name: tuple(found) for name, found in others.items()}),
        bounds=_bounds(rows, _seams(ordered, links), rows_a_part, least_parts),
        lost=tuple(lost for gap in gaps for lost in gap.lost),
        incomplete=tuple(said for gap in gaps for said in gap.incomplete),
        odd=tuple(said for gap in gaps for said in gap.odd),
    )


def _bounds(rows: Int64, seams: Bool, most: int, least_parts: int) -> tuple[int, ...]:
    """Where parts begin, and the end. ``seams``: keys that a part may begin with."""
    total = int(rows.sum())
    parts = max(1, least_parts, -(-total // max(1, most)))
    behind = np.cumsum(rows)
    share, bounds = total / parts, [0]
    for number in range(1, parts):
        at = int(np.searchsorted(behind, number * share))
        later = np.flatnonzero(seams[at + 1 :])
        if len(later):
            bounds.append(at + 1 + int(later[0]))
    return tuple(dict.fromkeys([*sorted(bounds), len(rows)]))


def _seams(keys: Sequence[str], links: Iterable[tuple[str, str]]) -> Bool:
    """Keys (in order) that do not belong together with the one before."""
    head = heads_of(links)
    group = [head.get(key, key) for key in keys]
    return np.array([True, *(one != before for before, one in itertools.pairwise(group))], np.bool_)


def _late_seconds(record: WorkerRecord, t0_ns: int, clocks: Clocks | None) -> frozenset[int]:
    sends = LateSends(t0_ns)
    names = ["scheduled_ns", "start_ns", "end_ns"]
    for group in range(record.groups):
        table = record.group(group, [*names, "process"])
        scheduled, start, end = (numbers(table, name) for name in names)
        if clocks is not None:
            scheduled, start, end = (clocks.of_worker(record.worker, one) for one in (scheduled, start, end))
        sends.add(scheduled, start, end, numbers(table, "process"))
    return frozenset(sends.seconds())


class _Ids:
    """A worker's operation ids: all its own, none used twice but for several items of one request."""

    def __init__(self, path: Path, record: WorkerRecord) -> None:
        self._path, self._record = path, record
        self._base = op_id(record.worker, 0)
        self._seen = np.zeros(0, np.bool_)
        self._last: tuple[int, int, int] | None = None
        """Id, process and start of the last row: a request may go on in the next row group."""

    def add(self, op: Int64, key: Int32, process: Int32, start_ns: Int64) -> None:
        """The ids of a row group. Rows of one request stand next to each other. Raises :class:`RecordError`."""
        if not len(op):
            return
        least, most = int(op.min()), int(op.max())
        check_ids(self._path, self._record.worker, self._record.op_limit, least, most)
        same = np.concatenate(([False], op[1:] == op[:-1]))
        wrong = same & np.concatenate(([False], (process[1:] != process[:-1]) | (start_ns[1:] != start_ns[:-1])))
        first = (int(op[0]), int(process[0]), int(start_ns[0]))
        if self._last is not None and self._last[0] == first[0]:
            same[0], wrong[0] = True, self._last != first
        self._last = int(op[-1]), int(process[-1]), int(start_ns[-1])
        if same.any():
            rows = np.flatnonzero(same | np.append(same[1:], False))
            rows = rows[np.lexsort((key[rows], op[rows]))]
            wrong[rows[1:]] |= (op[rows[1:]] == op[rows[:-1]]) & (key[rows[1:]] == key[rows[:-1]])
        if wrong.any():
            raise recorded_twice(self._path, int(op[np.flatnonzero(wrong)[0]]))
        sequence = op[~same] - self._base
        if most - self._base >= len(self._seen):
            self._seen = np.concatenate((self._seen, np.zeros(most - self._base + 1, np.bool_)))
        here = self._seen[least - self._base : most - self._base + 1]
        before, known = int(np.count_nonzero(here)), self._seen[sequence]
        self._seen[sequence] = True
        if int(np.count_nonzero(here)) != before + len(sequence):
            ordered = np.sort(sequence)
            again = np.concatenate((sequence[known], ordered[1:][ordered[1:] == ordered[:-1]]))
            raise recorded_twice(self._path, int(again[0]) + self._base)

"""A run's operations as the page reads them: by row group, whatever the size of the record.

One look through all files says what there is. After that a few rows are fetched (those that findings name, and what
stood around them), and everything goes by once in the order of time. What is held at a time does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from verifier.checks.types import Context
from verifier.history.columns import History, Int8, Int32, Int64
from verifier.history.reader import WorkerRecord, coded_column, numbers, read_worker, recoded, to_history
from verifier.history.schema import COLUMNS, Kind

AT_ONCE: Final = 2_000_000
"""Operations that are put in order of time together; a stretch of time that is shown as one may have more."""

_NAMED: Final = ("region", "kind", "error")


@dataclass(frozen=True, slots=True)
class Timed:
    """Operations with what is drawn over time. Columns and names as in a :class:`History`."""

    region: Int32
    kind: Int32
    error: Int32
    outcome: Int8
    scheduled_ns: Int64
    end_ns: Int64
    regions: tuple[str, ...]
    kinds: tuple[str, ...]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scheduled_ns)


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be shown around a finding: of the operations on a key that began in a time those nearest to it."""

    key: str
    first_ns: int
    last_ns: int
    starts_ns: tuple[int, ...]
    """Of the finding's own operations."""
    most: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group of a worker's file. Times are on the reference host's clock."""

    record: WorkerRecord
    number: int
    first_scheduled_ns: int
    first_op: int
    last_op: int
    first_start_ns: int
    last_start_ns: int

    def read(self, columns: Sequence[str], context: Context) -> pa.Table:
        """Some columns, on the reference host's clock."""
        table = self.record.group(self.number, columns)
        if context.clocks is not None:
            for name in ("scheduled_ns", "start_ns", "end_ns"):
                if name in table.schema.names:
                    times = context.clocks.of_worker(self.record.worker, numbers(table, name))
                    at = table.schema.get_field_index(name)
                    table = table.set_column(at, table.schema.field(at), pa.array(times))
        return table


class Record:
    """A run's operations. Raises :class:`RecordError` for files that cannot be read."""

    def __init__(self, files: Sequence[Path], context: Context) -> None:
        """Looks through all of the workers' files once."""
        self._context = context
        self._groups: list[_Group] = []
        self.rows = 0
        self.last_scheduled_ns: int | None = None
        names: dict[str, dict[str, None]] = {name: {} for name in _NAMED}
        for path in files:
            record = read_worker(path)
            for number in range(record.groups):
                self._look(record, number, names)
        self._names = {name: tuple(found) for name, found in names.items()}

    @property
    def first_scheduled_ns(self) -> int | None:
        """Null: there are no operations."""
        return min((group.first_scheduled_ns for group in self._groups), default=None)

    @property
    def regions(self) -> tuple[str, ...]:
        """That were asked."""
        return self._names["region"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of operation."""
        return self._names["kind"]

    def _look(self, record: WorkerRecord, number: int, names: Mapping[str, dict[str, None]]) -> None:
        bare = _Group(record, number, 0, 0, 0, 0, 0)
        table = bare.read(["op", "scheduled_ns", "start_ns", *_NAMED], self._context)
        for name in _NAMED:
            names[name].update(dict.fromkeys(coded_column(table, name)[1]))
        if not len(table):
            return
        op, scheduled, start = (numbers(table, name) for name in ("op", "scheduled_ns", "start_ns"))
        spans = [int(bound) for values in (op, start) for bound in (values.min(), values.max())]
        self._groups.append(_Group(record, number, int(scheduled.min()), *spans))
        self.rows += len(table)
        self.last_scheduled_ns = max(int(scheduled.max()), self.last_scheduled_ns or int(scheduled.max()))

    def in_time(self, bucket_of: Any) -> Iterator[Timed]:
        """Every operation once, in stretches: no bucket (``bucket_of`` of the schedules) is in two of them."""
        groups = sorted(self._groups, key=lambda group: group.first_scheduled_ns)
        waiting: list[Timed] = []
        for at, group in enumerate(groups):
            waiting.append(self._timed(group))
            if at + 1 == len(groups):
                yield _joined(waiting)
            elif sum(map(len, waiting)) >= AT_ONCE:
                # No later group has anything that was due before this one's first.
                open_ = int(bucket_of(np.array([groups[at + 1].first_scheduled_ns]))[0])
                together = _joined(waiting)
                behind = bucket_of(together.scheduled_ns) < open_
                waiting = [_chosen(together, ~behind)]
                if behind.any():
                    yield _chosen(together, behind)

    def operations(self, ops: Sequence[int]) -> History:
        """Every row of these operations."""
        wanted = np.unique(np.array(ops, np.int64))
        places: dict[int, Int64] = {}
        for at, group in enumerate(self._groups):
            low, high = np.searchsorted(wanted, [group.first_op, group.last_op + 1])
            if low < high:
                op = numbers(group.read(["op"], self._context), "op")
                places[at] = np.flatnonzero(np.isin(op, wanted[low:high]))
        return self._rows(places)

    def everything(self) -> History:
        """All rows, of a run that has only a few."""
        groups = [(at, len(group.read(["op"], self._context))) for at, group in enumerate(self._groups)]
        return self._rows({at: np.arange(rows) for at, rows in groups})

    def around(self, windows: Sequence[Window]) -> History:
        """What stands in these windows, of each the nearest."""
        nearest = [_Nearest(window) for window in windows]
        by_key: dict[str, list[_Nearest]] = {}
        for one in nearest:
            by_key.setdefault(one.window.key, []).append(one)
        for at, group in enumerate(self._groups):
            open_ = [
                one
                for one in nearest
                if one.window.first_ns <= group.last_start_ns and group.first_start_ns <= one.window.last_ns
            ]
            if not open_:
                continue
            table = group.read(["key", "start_ns"], self._context)
            key, keys = coded_column(table, "key")
            start = numbers(table, "start_ns")
            wanted = {one.window.key for one in open_}
            code_of = {name: code for code, name in enumerate(keys) if name in wanted}
            rows = np.flatnonzero(np.isin(key, list(code_of.values())))
            rows = rows[np.lexsort((start[rows], key[rows]))]
            key, start = key[rows], start[rows]
            for one in open_:
                code = code_of.get(one.window.key)
                if code is not None:
                    low, high = np.searchsorted(key, [code, code + 1])
                    one.add(at, rows[low:high], start[low:high])
        places: dict[int, list[int]] = {}
        for one in nearest:
            for at, row in zip(one.group.tolist(), one.row.tolist(), strict=True):
                places.setdefault(at, []).append(row)
        return self._rows({at: np.unique(rows) for at, rows in sorted(places.items())})

    def added_to(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of some keys that were added to."""
        if Kind.ADD not in self.kinds or not keys:
            return frozenset()
        found: set[str] = set()
        for group in self._groups:
            table = group.read(["key", "kind"], self._context)
            (key, names), (kind, kinds) = coded_column(table, "key"), coded_column(table, "kind")
            if Kind.ADD in kinds:
                there = np.unique(key[kind == kinds.index(Kind.ADD)])
                found |= keys.intersection(names[code] for code in there.tolist())
        return frozenset(found)

    def _timed(self, group: _Group) -> Timed:
        table = group.read([*_NAMED, "outcome", "scheduled_ns", "end_ns"], self._context)
        codes = {}
        for name in _NAMED:
            code, found = coded_column(table, name)
            codes[name] = recoded(code, found, {one: at for at, one in enumerate(self._names[name])})
        return Timed(
            **codes,
            outcome=numbers(table, "outcome"),
            scheduled_ns=numbers(table, "scheduled_ns"),
            end_ns=numbers(table, "end_ns"),
            regions=self._names["region"],
            kinds=self._names["kind"],
            errors=self._names["error"],
        )

    def _rows(self, places: Mapping[int, Int64]) -> History:
        """Some rows of some groups, in order of the files."""
        tables = [COLUMNS.empty_table()]
        for at, rows in places.items():
            table = self._groups[at].read(COLUMNS.names, self._context).take(pa.array(rows))
            columns = [
                table[one.name] if one.name in table.schema.names else pa.nulls(len(table), one.type) for one in COLUMNS
            ]
            tables.append(pa.table(columns, schema=COLUMNS))
        return to_history(tables)


class _Nearest:
    """Of the operations in a window those nearest to the finding's own, by start; of equally near ones the first."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._distance = np.zeros(0, np.int64)
        self._start = np.zeros(0, np.int64)
        self.group = np.zeros(0, np.int64)
        self.row = np.zeros(0, np.int64)

    def add(self, group: int, rows: Int64, start: Int64) -> None:
        """Operations on the key in a row group, in order of their starts."""
        low, high = np.searchsorted(start, [self.window.first_ns, self.window.last_ns + 1])
        own = np.searchsorted(start, self.window.starts_ns)
        reach = np.arange(-self.window.most, self.window.most)
        near = np.unique((own[:, None] + reach).ravel())
        near = near[(near >= low) & (near < high)]
        if not len(near):
            return
        distance = np.min([np.abs(start[near] - at) for at in self.window.starts_ns], axis=0)
        self._distance = np.concatenate((self._distance, distance))
        self._start = np.concatenate((self._start, start[near]))
        self.group = np.concatenate((self.group, np.full(len(near), group)))
        self.row = np.concatenate((self.row, rows[near]))
        best = np.lexsort((self.row, self.group, self._start, self._distance))[: self.window.most]
        self._distance, self._start = self._distance[best], self._start[best]
        self.group, self.row = self.group[best], self.row[best]


def _joined(several: Sequence[Timed]) -> Timed:
    if len(several) == 1:
        return several[0]
    return _with(several[0], lambda name: np.concatenate([getattr(one, name) for one in several]))


def _chosen(timed: Timed, rows: Any) -> Timed:
    return _with(timed, lambda name: getattr(timed, name)[rows])


def _with(timed: Timed, column: Any) -> Timed:
    columns = {name: column(name) for name in (*_NAMED, "outcome", "scheduled_ns", "end_ns")}
    return Timed(**columns, regions=timed.regions, kinds=timed.kinds, errors=timed.errors)

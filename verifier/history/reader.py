"""From a run directory to columns in memory: every worker's record, and the replicas before and after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verifier.errors import RecordError
from verifier.history.columns import NO_CODE, NULL, History, Int8, Int64, Lists, LostRange, one_row_each, order_by_code
from verifier.history.keys import links_of, ranked, touched_together
from verifier.history.oddities import COLUMNS as ODD_COLUMNS
from verifier.history.oddities import Processes
from verifier.history.schema import (
    COLUMNS,
    META_END,
    META_LISTS_CRC,
    META_NULL,
    META_OP_LIMIT,
    META_SINCE,
    OPTIONAL,
    TOGETHER,
    WORKER_SHIFT,
    Kind,
    Outcome,
    op_id,
    short,
)
from verifier.history.stream import EARLIEST_NS, ListsCrc, WorkerStream, check_schema, lost_ranges, worker_number
from verifier.rundir import RunDirectory

_PLURAL: Final = {"key_class": "key_classes"}


Column = Callable[[str], pa.ChunkedArray]
"""A column of a table or file by name, read when it is asked for."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """All that one worker left: its rows, and what is known to be missing from them."""

    path: Path
    worker: int
    rows: int
    column: Column
    op_limit: int | None
    since_ns: int | None
    ended: bool
    groups: int = 1
    """Row groups, each of which can be read by itself."""
    group: Callable[[int, Sequence[str]], pa.Table] = field(default=lambda _, __: COLUMNS.empty_table())
    """Some columns of one row group; columns that the file lacks are left out."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing from a record, and how that is said."""

    lost: tuple[LostRange, ...]
    incomplete: tuple[str, ...]
    odd: tuple[str, ...] = ()
    """What an honest recorder does not write, and what that means (:mod:`verifier.history.oddities`)."""


def read_history(directory: RunDirectory, more_keys: Iterable[str] = ()) -> History:
    """Every worker's rows as one :class:`History`. Raises :class:`RecordError` in one line for what cannot be trusted.

    Streams (``worker-N.arrow``) and compacted files (``worker-N.parquet``) may stand side by side; where a worker has
    both, compaction was interrupted after the Parquet file was whole, and that one is read. ``more_keys``: items which
    no operation may have touched.
    """
    records = [read_worker(path) for path in worker_files(directory)]
    for record in records:
        check_ids(record.path, record.worker, record.op_limit, *_least_and_most(record.column("op")))
    gaps = [gap_of(record) for record in records] + [gap_of_missing(directory, [record.worker for record in records])]
    history = history_of(
        [(record.path, record.column) for record in records],
        tuple(lost for gap in gaps for lost in gap.lost),
        tuple(said for gap in gaps for said in gap.incomplete),
        more_keys,
    )
    check_operations(directory, history)
    return replace(history, odd=tuple(said for gap in gaps for said in gap.odd))


def worker_files(directory: RunDirectory) -> list[Path]:
    """The file of each worker, in order of their numbers. Raises :class:`RecordError` if there is none."""
    paths = {worker_number(path): path for suffix in ("arrow", "parquet") for path in _files(directory.history, suffix)}
    if not paths:
        raise RecordError(f"{directory.history}: there is no history (no worker-N.arrow or worker-N.parquet)")
    return [paths[worker] for worker in sorted(paths)]


def gap_of(record: WorkerRecord, processes: Processes | None = None) -> Gap:
    """What a worker without end mark may have done besides; and what is odd about what it has written (``processes``:
    what has been looked at already)."""
    if processes is None:
        processes = Processes(record.path)
        add_processes(processes, {name: record.column(name) for name in ODD_COLUMNS})
    odd = tuple(processes.said())
    if record.ended:
        return Gap((), (), odd)
    op = numbers_of(record.column("op"), np.int64, NULL)
    ranges = lost_ranges(record.worker, op, record.op_limit, record.since_ns)
    if record.op_limit == op_id(record.worker + 1, 0) - 1:
        said = (
            f"worker {record.worker}'s record is cut off: any operation of it may be missing after the last whole batch"
        )
    else:
        said = (
            f"worker {record.worker}'s record has no end mark: the worker was killed; "
            f"up to {sum(one.count for one in ranges):,} operations of it may be missing"
        )
    return Gap(ranges, (said,), odd)


def add_processes(processes: Processes, table: pa.Table | Mapping[str, pa.ChunkedArray]) -> None:
    """More rows to be looked at for what is odd."""
    process = numbers_of(table["process"], np.int32, 0)
    processes.add(process, *(numbers_of(table[name], np.int64, NULL) for name in ODD_COLUMNS[1:]))


def gap_of_missing(directory: RunDirectory, workers: Sequence[int]) -> Gap:
    """What workers of the run that left nothing may have done."""
    missing = sorted(_workers_of_run(directory) - set(workers))
    return Gap(
        tuple(LostRange(one, op_id(one, 0), op_id(one + 1, 0) - 1, EARLIEST_NS) for one in missing),
        tuple(f"worker {one} left no record: any operation of it may be missing" for one in missing),
    )


def read_worker(path: Path) -> WorkerRecord:
    """One worker's record, from its stream or its Parquet file."""
    worker = worker_number(path)
    if path.suffix == ".arrow":
        stream = WorkerStream(path)
        batches = list(stream)
        table = pa.Table.from_batches(batches, COLUMNS)
        return WorkerRecord(
            path,
            worker,
            stream.rows,
            table.column,
            stream.reach,
            stream.since_ns,
            stream.ended,
            group=lambda _, names: table.select(list(names)),
        )
    with reading(path):
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        check_schema(path, file.schema_arrow)
        rows = file.metadata.num_rows
        lacks = OPTIONAL - set(file.schema_arrow.names)
        metadata = file.metadata.metadata or {}
        null = set(metadata[META_NULL].decode().split(",")) - {""} if META_NULL in metadata else set()
        end, limit, since = (
            int(metadata[name]) if name in metadata else None for name in (META_END, META_OP_LIMIT, META_SINCE)
        )
    if lacks and META_LISTS_CRC in metadata:
        raise RecordError(f"{path}: damaged: column {min(lacks)!r} is missing though it has a checksum")
    if not null <= set(COLUMNS.names):
        raise RecordError(f"{path}: damaged: {min(null - set(COLUMNS.names))!r} is said to be null, and is no column")
    if end is not None and end != rows:
        raise RecordError(f"{path}: the end mark counts {end:,} rows, {rows:,} are there")

    kept: dict[str, pa.ChunkedArray] = {}

    def column(name: str) -> pa.ChunkedArray:
        if name in kept:
            return kept[name]
        values = read_column(name)
        if name in ODD_COLUMNS:  # looked at beforehand, too, and decoding costs more than keeping
            kept[name] = values
        return values

    def read_column(name: str) -> pa.ChunkedArray:
        if name in lacks or name in null:
            return pa.chunked_array([pa.nulls(rows, COLUMNS.field(name).type)])
        with reading(path):
            values = file.read([name], use_threads=False).column(0)
            if pa.types.is_list(values.type):
                crc = ListsCrc()
                for chunk in values.chunks:
                    crc.add(chunk)
                if str(crc.crc or "") != metadata.get(META_LISTS_CRC, b"").decode():
                    raise RecordError(f"{path}: damaged: the lists do not match their checksum")
        if len(values) != rows:
            raise RecordError(f"{path}: damaged: column {name!r} has {len(values):,} rows of {rows:,}")
        return values

    def group(number: int, names: Sequence[str]) -> pa.Table:
        with reading(path):
            return file.read_row_group(number, [name for name in names if name not in lacks])

    groups = file.metadata.num_row_groups
    return WorkerRecord(path, worker, rows, column, limit, since, end is not None, groups, group)


def to_history(tables: list[pa.Table], lost: tuple[LostRange, ...] = (), incomplete: tuple[str, ...] = ()) -> History:
    """Rows with the columns of :data:`COLUMNS` as one :class:`History`."""
    return history_of([(Path("table"), table.column) for table in tables], lost, incomplete)


class reading:  # noqa: N801 (used as a statement)
    """Turns what pyarrow raises for a damaged or unreadable file into one line that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, ValueError, MemoryError)):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RecordError(f"{self.path}: damaged or not readable ({reason})") from None


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(f"worker-*.{suffix}")) if path.is_file())


def _workers_of_run(directory: RunDirectory) -> set[int]:
    """Numbers of the workers that the run says it had; none where it does not say."""
    try:
        run = json.loads(directory.run_json.read_bytes())
        return {int(info["worker"]) for info in run.get("workers", [])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()  # run.json is checked by those who need it; here it can only add what is missing.


def history_of(
    sources: Sequence[tuple[Path, Column]],
    lost: tuple[LostRange, ...],
    incomplete: tuple[str, ...],
    more_keys: Iterable[str] = (),
) -> History:
    """Column by column, so that what Arrow needs for one is free again before the next.

    Rows are put together by key, within a key in the order of the files: what a check looks up of a key then lies close
    together in memory, which is worth more than the sort costs. ``more_keys``: keys that no row is about.
    """

    def whole(one: pa.Field) -> pa.ChunkedArray:
        chunks: list[pa.Array] = []
        for path, column in sources:
            read = column(one.name)
            if not one.nullable and read.null_count:
                raise RecordError(f"{path}: column {one.name!r} is empty in {read.null_count:,} rows")
            chunks += read.chunks
        return pa.chunked_array(chunks, one.type)

    def coded(name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
        return _codes(whole(COLUMNS.field(name)))

    columns: dict[str, Any] = {}
    first = ("key", "logical_key", "kind")
    for name in first:
        columns[name], columns[plural_of(name)] = coded(name)
    columns["key"], columns["keys"] = _in_order(columns, more_keys, lambda: whole(COLUMNS.field("op")))
    key = columns["key"]
    order = order_by_code(key) if bool((key[1:] < key[:-1]).any()) else None
    for name in first:
        columns[name] = _ordered(columns[name], order)
    for one in COLUMNS:
        if one.name in first:
            continue
        if pa.types.is_dictionary(one.type):
            codes, columns[plural_of(one.name)] = coded(one.name)
            columns[one.name] = _ordered(codes, order)
        elif pa.types.is_list(one.type):
            listed = _lists(whole(one))
            columns[one.name] = listed if listed is None or order is None else listed[order]
        else:
            fill = np.nan if pa.types.is_floating(one.type) else NULL
            columns[one.name] = _ordered(numbers_of(whole(one), one.type.to_pandas_dtype(), fill), order)
    return History(**columns, lost=lost, incomplete=incomplete)


def _in_order(
    columns: Mapping[str, Any], more_keys: Iterable[str], op: Callable[[], pa.ChunkedArray]
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """The codes of the keys renumbered, and the keys in their order."""
    code, known = columns["key"], columns["keys"]
    links = links_of(code, known, columns["logical_key"], columns["logical_keys"])
    several = [number for number, kind in enumerate(columns["kinds"]) if kind in TOGETHER]
    if several:
        rows = np.flatnonzero(np.isin(columns["kind"], several))
        links |= touched_together(numbers_of(op(), np.int64, NULL)[rows], code[rows], known)
    keys = tuple(dict.fromkeys([*known, *more_keys]))
    order = ranked(keys, links)
    place = np.empty(len(keys), np.int32)
    place[order] = np.arange(len(keys), dtype=np.int32)
    if code.strides == (0,):
        renumbered = np.broadcast_to(place[code[:1]][0] if len(code) else np.int32(0), len(code))
    else:
        renumbered = place[code]
    return renumbered, tuple(keys[at] for at in order.tolist())


def plural_of(name: str) -> str:
    """Where a :class:`History` keeps the names of a column."""
    return _PLURAL.get(name, name + "s")


def recoded(codes: npt.NDArray[np.int32], found: Sequence[str], number: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """Codes by these numbers for codes into ``found``."""
    table = np.array([*(number[name] for name in found), NO_CODE], np.int32)
    return np.broadcast_to(table[codes[0]], len(codes)) if len(codes) and codes.strides == (0,) else table[codes]


def coded_column(table: pa.Table, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Codes and names of a column of names; a table that lacks it has no name in it."""
    if name not in table.schema.names:
        return np.broadcast_to(np.array(NO_CODE, np.int32), len(table)), ()
    return _codes(table[name])


def numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column of numbers, :data:`NULL` or NaN for null."""
    kind = COLUMNS.field(name).type
    return numbers_of(table[name], kind.to_pandas_dtype(), np.nan if pa.types.is_floating(kind) else NULL)


def lists(table: pa.Table, name: str) -> Lists | None:
    """A column of lists; null if no row has one."""
    return _lists(table[name]) if name in table.schema.names else None


def _ordered(values: npt.NDArray[Any], order: Int64 | None) -> npt.NDArray[Any]:
    """The values in this order; one value for all rows stays that."""
    return values if order is None or values.strides == (0,) else values[order]


def numbers_of(column: pa.ChunkedArray, dtype: npt.DTypeLike, fill: float) -> npt.NDArray[Any]:
    """A column of numbers as one array; ``fill`` stands for null."""
    if len(column) and column.null_count == len(column):
        return np.broadcast_to(np.array(fill, dtype), len(column))  # takes no memory
    values = np.empty(len(column), dtype)
    at = 0
    for chunk in column.chunks:
        here = values[at : at + len(chunk)]
        if len(chunk) == 0:
            continue
        if chunk.null_count == len(chunk):
            here[:] = fill
        else:
            here[:] = np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)]
            if chunk.null_count:
                here[chunk.is_null().to_numpy(zero_copy_only=False)] = fill
        at += len(chunk)
    return values


def _lists(column: pa.ChunkedArray) -> Lists | None:
    """A column of lists of numbers; None if no row has one."""
    if column.null_count == len(column):
        return None
    lengths = numbers_of(pc.fill_null(pc.list_value_length(column), 0), np.int32, 0)
    given = np.concatenate([chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in column.chunks])
    values = numbers_of(pc.list_flatten(column), np.int64, NULL)
    return Lists(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), values, given)


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Dense codes and the names they stand for; a name has one code even if a writer's dictionary repeats it."""
    column = column.unify_dictionaries()
    names: list[str] = next((chunk.dictionary.to_pylist() for chunk in column.chunks), [])
    if len(names) == 1 and not column.null_count:
        return np.broadcast_to(np.zeros((), np.int32), len(column)), tuple(names)
    indices = pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int32())
    codes = numbers_of(indices, np.int32, NO_CODE)
    unique = {name: code for code, name in reversed(list(enumerate(names)))}
    if len(unique) < len(names):
        canonical = {name: code for code, name in enumerate(dict.fromkeys(names))}
        codes = np.array([*(canonical[name] for name in names), NO_CODE], np.int32)[codes]
        names = list(canonical)
    return codes, tuple(names)


def _least_and_most(op: pa.ChunkedArray) -> tuple[int | None, int | None]:
    bounds = pc.min_max(op).as_py()
    return bounds["min"], bounds["max"]


def check_ids(path: Path, worker: int, op_limit: int | None, least: int | None, most: int | None) -> None:
    """A worker's ids (from ``least`` to ``most``) are its own, and below the limit that it announced."""
    if least is None or most is None:
        return
    if least < op_id(worker, 0) or most >= op_id(worker + 1, 0):
        other = least if least < op_id(worker, 0) else most
        raise RecordError(f"{path}: holds operation {short(other)}, which is another worker's: marks name no attempt")
    if op_limit is not None and most > op_limit:
        raise RecordError(
            f"{path}: operation {short(most)} lies above the limit {short(op_limit)} that the worker had announced"
        )


def check_operations(directory: RunDirectory, history: History) -> None:
    """What no honest recorder writes, and what would make every check wrong."""
    unknown = unknown_kind(history.kinds)
    if unknown is not None:
        row = int(np.flatnonzero(history.kind == history.kinds.index(unknown))[0])
        raise RecordError(f"{_file(directory, history, row)}: kind {unknown!r} is not one that this verifier knows")
    check_order(
        lambda row: f"{_file(directory, history, row)}: operation {short(int(history.op[row]))}",
        history.outcome,
        history.start_ns,
        history.end_ns,
    )
    repeated = _repeated(history)
    if repeated is not None:
        raise recorded_twice(_file(directory, history, repeated), int(history.op[repeated]))


def unknown_kind(kinds: Iterable[str]) -> str | None:
    """The first that this version does not know."""
    return min(set(kinds) - {str(kind) for kind in Kind}, default=None)


def recorded_twice(path: Path, op: int) -> RecordError:
    """What is wrong with an id that two operations have."""
    return RecordError(f"{path}: operation {short(op)} is recorded twice: marks do not name one attempt")


def check_order(place: Callable[[int], str], outcome: Int8, start_ns: Int64, end_ns: Int64) -> None:
    """No operation ends before it starts, or as nobody knows how. ``place`` says where a row stands."""
    if len(outcome) and (outcome.min() < Outcome.OK or outcome.max() > Outcome.UNKNOWN):
        row = int(np.flatnonzero((outcome < Outcome.OK) | (outcome > Outcome.UNKNOWN))[0])
        raise RecordError(f"{place(row)} has outcome {int(outcome[row])}, which this verifier does not know")
    backwards = np.flatnonzero(end_ns < start_ns)
    if len(backwards):
        where = place(int(backwards[0]))
        raise RecordError(
            f"{where} ends before it starts ({len(backwards):,} in all): the worker's clock went backwards, so none of "
            "its times proves anything"
        )


def _file(directory: RunDirectory, history: History, row: int) -> Path:
    """That a row was read from."""
    worker = int(history.op[row]) >> WORKER_SHIFT
    return next(iter(sorted(directory.history.glob(f"worker-{worker}.*"), reverse=True)), directory.history)


def _repeated(history: History) -> int | None:
    """A row whose operation id another row has too, though it is not another item of the same request."""
    op = history.op
    if one_row_each(history):
        return None
    order = np.lexsort((history.key, op))
    same = np.flatnonzero(op[order][1:] == op[order][:-1])
    first, second = order[same], order[same + 1]
    wrong = (history.key[first] == history.key[second]) | (history.process[first] != history.process[second])
    wrong |= history.start_ns[first] != history.start_ns[second]
    return int(second[wrong][0]) if wrong.any() else None

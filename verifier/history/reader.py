"""From a run directory to columns in memory: every worker's record, and the replicas before and after."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verifier.checks.types import Replica
from verifier.errors import RecordError
from verifier.history.columns import NO_CODE, NULL, History, Int64, Lists, LostRange, order_by_code
from verifier.history.schema import (
    COLUMNS,
    META_END,
    META_LISTS_CRC,
    META_OP_LIMIT,
    META_SINCE,
    OPTIONAL,
    REPLICA_COLUMNS,
    SCHEMA_VERSION,
    WORKER_SHIFT,
    Kind,
    Outcome,
    op_id,
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


def read_history(directory: RunDirectory) -> History:
    """Every worker's rows as one :class:`History`. Raises :class:`RecordError` in one line for what cannot be trusted.

    Streams (``worker-N.arrow``) and compacted files (``worker-N.parquet``) may stand side by side; where a worker has
    both, compaction was interrupted after the Parquet file was whole, and that one is read.
    """
    paths = {worker_number(path): path for suffix in ("arrow", "parquet") for path in _files(directory.history, suffix)}
    if not paths:
        raise RecordError(f"{directory.history}: there is no history (no worker-N.arrow or worker-N.parquet)")
    records = [read_worker(paths[worker]) for worker in sorted(paths)]
    lost: list[LostRange] = []
    incomplete: list[str] = []
    for record in records:
        _check_ids(record)
        if record.ended:
            continue
        op = _numbers(record.column("op"), np.int64, NULL)
        ranges = lost_ranges(record.worker, op, record.op_limit, record.since_ns)
        lost += ranges
        incomplete.append(
            f"worker {record.worker}'s record has no end mark: the worker was killed; "
            f"up to {sum(one.count for one in ranges):,} operations of it may be missing"
        )
    for worker in _workers_of_run(directory) - paths.keys():
        lost.append(LostRange(worker, op_id(worker, 0), op_id(worker + 1, 0) - 1, EARLIEST_NS))
        incomplete.append(f"worker {worker} left no record: any operation of it may be missing")
    history = _history([(record.path, record.column) for record in records], tuple(lost), tuple(incomplete))
    _check_operations(directory, history)
    return history


def read_worker(path: Path) -> WorkerRecord:
    """One worker's record, from its stream or its Parquet file."""
    worker = worker_number(path)
    if path.suffix == ".arrow":
        stream = WorkerStream(path)
        batches = list(stream)
        table = pa.Table.from_batches(batches, COLUMNS)
        return WorkerRecord(path, worker, stream.rows, table.column, stream.op_limit, stream.since_ns, stream.ended)
    with _reading(path):
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        check_schema(path, file.schema_arrow)
        rows = file.metadata.num_rows
        lacks = OPTIONAL - set(file.schema_arrow.names)
        metadata = file.metadata.metadata or {}
        end, limit, since = (
            int(metadata[name]) if name in metadata else None for name in (META_END, META_OP_LIMIT, META_SINCE)
        )
    if lacks and META_LISTS_CRC in metadata:
        raise RecordError(f"{path}: damaged: column {min(lacks)!r} is missing though it has a checksum")
    if end is not None and end != rows:
        raise RecordError(f"{path}: the end mark counts {end:,} rows, {rows:,} are there")

    def column(name: str) -> pa.ChunkedArray:
        if name in lacks:
            return pa.chunked_array([pa.nulls(rows, COLUMNS.field(name).type)])
        with _reading(path):
            values = file.read([name]).column(0)
            if pa.types.is_list(values.type):
                crc = ListsCrc()
                for chunk in values.chunks:
                    crc.add(chunk)
                if str(crc.crc or "") != metadata.get(META_LISTS_CRC, b"").decode():
                    raise RecordError(f"{path}: damaged: the lists do not match their checksum")
        if len(values) != rows:
            raise RecordError(f"{path}: damaged: column {name!r} has {len(values):,} rows of {rows:,}")
        return values

    return WorkerRecord(path, worker, rows, column, limit, since, end is not None)


def read_replicas(
    directory: RunDirectory, when: Literal["initial", "final"], history: History
) -> tuple[History, dict[str, Replica]]:
    """Every replica's items by Region, and the history with its keys extended by those that no operation touched."""
    keys = pa.array(history.keys, pa.string())
    replicas: dict[str, Replica] = {}
    for path in sorted((directory.path / when).glob("*.parquet")):
        with _reading(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
            _check_replica_schema(path, file.schema_arrow)
            table = file.read(REPLICA_COLUMNS.names)
        names = table["key"].combine_chunks()
        if pc.count_distinct(names).as_py() != len(names):
            raise RecordError(f"{path}: an item appears twice")
        new = names.filter(pc.invert(pc.is_in(names, value_set=keys)))
        keys = pa.concat_arrays([keys, new])
        number = {name: _numbers(table[name], np.int64, NULL) for name in ("value", "w", "p", "start_ns", "end_ns")}
        replicas[path.stem] = Replica(
            region=path.stem,
            key=pc.index_in(names, value_set=keys).to_numpy().astype(np.int64),
            value=number["value"],
            w=number["w"],
            p=number["p"],
            items=tuple(table["item"].to_pylist()),
            start_ns=number["start_ns"],
            end_ns=number["end_ns"],
        )
    if len(keys) > len(history.keys):
        history = dataclasses.replace(history, keys=tuple(keys.to_pylist()))
    return history, replicas


def to_history(tables: list[pa.Table], lost: tuple[LostRange, ...] = (), incomplete: tuple[str, ...] = ()) -> History:
    """Rows with the columns of :data:`COLUMNS` as one :class:`History`."""
    return _history([(Path("table"), table.column) for table in tables], lost, incomplete)


class _reading:  # noqa: N801 (used as a statement)
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


def _history(
    sources: Sequence[tuple[Path, Column]], lost: tuple[LostRange, ...], incomplete: tuple[str, ...]
) -> History:
    """Column by column, so that what Arrow needs for one is free again before the next.

    Rows are put together by key, within a key in the order of the files: what a check looks up of a key then lies close
    together in memory, which is worth more than the sort costs.
    """
    columns: dict[str, Any] = {}
    order: Int64 | None = None
    for field in sorted(COLUMNS, key=lambda field: field.name != "key"):
        chunks: list[pa.Array] = []
        for path, column in sources:
            read = column(field.name)
            if not field.nullable and read.null_count:
                raise RecordError(f"{path}: column {field.name!r} is empty in {read.null_count:,} rows")
            chunks += read.chunks
        whole = pa.chunked_array(chunks, field.type)
        if pa.types.is_dictionary(field.type):
            codes, names = _codes(whole)
            if field.name == "key" and bool((codes[1:] < codes[:-1]).any()):
                order = order_by_code(codes)
            columns[field.name] = _ordered(codes, order)
            columns[_PLURAL.get(field.name, field.name + "s")] = names
        elif pa.types.is_list(field.type):
            lists = _lists(whole)
            columns[field.name] = lists if lists is None or order is None else lists[order]
        else:
            fill = np.nan if pa.types.is_floating(field.type) else NULL
            columns[field.name] = _ordered(_numbers(whole, field.type.to_pandas_dtype(), fill), order)
    return History(**columns, lost=lost, incomplete=incomplete)


def _ordered(values: npt.NDArray[Any], order: Int64 | None) -> npt.NDArray[Any]:
    """The values in this order; one value for all rows stays that."""
    return values if order is None or values.strides == (0,) else values[order]


def _numbers(column: pa.ChunkedArray, dtype: npt.DTypeLike, fill: float) -> npt.NDArray[Any]:
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
    lengths = _numbers(pc.fill_null(pc.list_value_length(column), 0), np.int32, 0)
    given = np.concatenate([chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in column.chunks])
    values = _numbers(pc.list_flatten(column), np.int64, NULL)
    return Lists(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), values, given)


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Dense codes and the names they stand for; a name has one code even if a writer's dictionary repeats it."""
    column = column.unify_dictionaries()
    names: list[str] = next((chunk.dictionary.to_pylist() for chunk in column.chunks), [])
    if len(names) == 1 and not column.null_count:
        return np.broadcast_to(np.zeros((), np.int32), len(column)), tuple(names)
    indices = pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int32())
    codes = _numbers(indices, np.int32, NO_CODE)
    unique = {name: code for code, name in reversed(list(enumerate(names)))}
    if len(unique) < len(names):
        canonical = {name: code for code, name in enumerate(dict.fromkeys(names))}
        codes = np.array([*(canonical[name] for name in names), NO_CODE], np.int32)[codes]
        names = list(canonical)
    return codes, tuple(names)


def _check_ids(record: WorkerRecord) -> None:
    """A worker's ids are its own, and below the limit that it announced."""
    if not record.rows:
        return
    bounds = pc.min_max(record.column("op")).as_py()
    least, most = bounds["min"], bounds["max"]
    if least < op_id(record.worker, 0) or most >= op_id(record.worker + 1, 0):
        other = least if least < op_id(record.worker, 0) else most
        raise RecordError(f"{record.path}: holds an operation of another worker ({other})")
    if record.op_limit is not None and most > record.op_limit:
        raise RecordError(f"{record.path}: operation {most} lies above the limit {record.op_limit} it had announced")


def _check_operations(directory: RunDirectory, history: History) -> None:
    """What no honest recorder writes, and what would make every check wrong."""
    unknown_kinds = set(history.kinds) - {str(kind) for kind in Kind}
    if unknown_kinds:
        raise RecordError(f"{directory.history}: kind {min(unknown_kinds)!r} is not one that this verifier knows")
    outcome = history.outcome
    if len(outcome) and (outcome.min() < Outcome.OK or outcome.max() > Outcome.UNKNOWN):
        raise RecordError(f"{directory.history}: outcome {int(outcome.max())} is not one that this verifier knows")
    backwards = np.flatnonzero(history.end_ns < history.start_ns)
    if len(backwards):
        where = _place(directory, history, int(backwards[0]))
        raise RecordError(f"{where} ends before it starts ({len(backwards):,} do): the worker's clock went backwards")
    repeated = _repeated(history)
    if repeated is not None:
        raise RecordError(f"{_place(directory, history, repeated)} is recorded twice: marks do not name one attempt")


def _place(directory: RunDirectory, history: History, row: int) -> str:
    op = int(history.op[row])
    path = next(iter(sorted(directory.history.glob(f"worker-{op >> WORKER_SHIFT}.*"), reverse=True)), directory.history)
    return f"{path}: operation {op}"


def _repeated(history: History) -> int | None:
    """A row whose operation id another row has too, though it is not another item of the same request."""
    op = history.op
    if not len(op) or _all_different(op):
        return None
    order = np.lexsort((history.key, op))
    same = np.flatnonzero(op[order][1:] == op[order][:-1])
    first, second = order[same], order[same + 1]
    wrong = (history.key[first] == history.key[second]) | (history.process[first] != history.process[second])
    wrong |= history.start_ns[first] != history.start_ns[second]
    return int(second[wrong][0]) if wrong.any() else None


def _all_different(op: Int64) -> bool:
    """Ids are dense by worker, so that a table of flags is enough; else a sort."""
    worker = op >> WORKER_SHIFT
    for number in np.unique(worker[np.flatnonzero(np.diff(worker, prepend=worker[0] - 1))]):
        mine = op[worker == number]
        least = int(mine.min())
        span = int(mine.max()) - least + 1
        if span <= 8 * len(mine) + 65_536:
            seen = np.zeros(span, np.bool_)
            seen[mine - least] = True
            if int(np.count_nonzero(seen)) != len(mine):
                return False
        elif len(np.unique(mine)) != len(mine):
            return False
    return True


def _check_replica_schema(path: Path, schema: pa.Schema) -> None:
    version = (schema.metadata or {}).get(b"lastwriter.schema", b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise RecordError(f"{path}: replica schema {version or 'unknown'}; this verifier reads {SCHEMA_VERSION}")
    for field in REPLICA_COLUMNS:
        at = schema.get_field_index(field.name)
        if at < 0 or schema.field(at).type != field.type:
            raise RecordError(f"{path}: column {field.name!r} is missing or not {field.type}")

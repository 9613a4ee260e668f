"""A worker's append-only Arrow stream: its checksum, reading it batch by batch, and what a torn end leaves unknown.

A worker that is killed leaves a stream that stops in the middle of a message. That is expected: whatever is whole is
read, and the operation ids that it may have used since are known (:class:`verifier.history.columns.LostRange`). Damage
anywhere else is not expected, and an operation that is missing without a word could accuse a correct store: so it is a
:class:`verifier.errors.RecordError`, never a shorter history.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verifier.errors import RecordError
from verifier.history.columns import Int64, LostRange
from verifier.history.schema import (
    COLUMNS,
    META_CRC,
    META_END,
    META_OP_LIMIT,
    META_SINCE,
    OPTIONAL,
    SCHEMA_VERSION,
    op_id,
    worker_of,
)

EARLIEST_NS: Final = int(np.iinfo(np.int64).min // 4)
"""Before every time of a record."""

_CONTINUATION: Final = 0xFFFFFFFF
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_WORKER_FILE: Final = re.compile(r"worker-(\d+)\.(?:arrow|parquet)\Z")
_UNREADABLE: Final = (pa.ArrowException, OSError, EOFError, MemoryError, ValueError)


def batch_crc(batch: pa.RecordBatch) -> int:
    """CRC-32 over the rows of a batch: what every column holds, dictionaries included, however it is sliced.

    The recorder stores it as :data:`META_CRC`; the reader compares. Null slots count as null, not as the bytes that
    happen to lie in them, so that a slice and its copy agree.
    """
    crc = zlib.crc32(batch.num_rows.to_bytes(8, "little"))
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            crc = _strings_crc(column.dictionary, crc)
            column = column.indices
        if pa.types.is_list(column.type):
            crc = zlib.crc32(str(ListsCrc().add(column).crc).encode(), crc)
        else:
            crc = _numbers_crc(column, crc)
    return crc


def worker_number(path: Path) -> int:
    """The N of ``worker-N.arrow`` or ``worker-N.parquet``."""
    match = _WORKER_FILE.search(path.name)
    if match is None:
        raise RecordError(f"{path}: not a worker's record; its name must be worker-N.arrow or worker-N.parquet")
    return int(match[1])


def check_schema(path: Path, schema: pa.Schema) -> None:
    """Refuse a file whose columns are not those of :data:`COLUMNS`; one line says which."""
    version = (schema.metadata or {}).get(b"lastwriter.schema", b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        said = f"history schema {version}" if version else "no history schema version"
        raise RecordError(f"{path}: {said}; this verifier reads version {SCHEMA_VERSION}")
    for field in COLUMNS:
        at = schema.get_field_index(field.name)
        if at < 0 and field.name in OPTIONAL:
            continue
        if at < 0:
            raise RecordError(f"{path}: column {field.name!r} is missing; the file is not a history of this version")
        if schema.field(at).type != field.type:
            raise RecordError(f"{path}: column {field.name!r} is {schema.field(at).type}, not {field.type}")


class WorkerStream:
    """One worker's stream, read batch by batch. Iterate once; the attributes are final after that.

    Every batch that is yielded has a good checksum. Raises :class:`RecordError` for damage anywhere but at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker = worker_number(path)
        self.rows = 0
        self.op_limit: int | None = None
        """Highest operation id that the worker may have used; null: it had not begun to use any."""
        self.since_ns: int | None = None
        """No attempt without a row began before this; null: nothing is known."""
        self.ended = False
        """The end mark was read: every id has its row."""
        self.cut = False
        """It ends in the middle of a batch, or before the first: more than that one may have been cut off."""

    @property
    def reach(self) -> int | None:
        """Highest operation id that the worker may have used, whatever ended the stream.

        A worker that is killed leaves whole batches (each is one write), and has not used more than the last announces.
        What ends within a batch was most likely cut off otherwise, by a crash of the host or by a copy of a file that
        was growing, and then others may have seen what came much later.
        """
        return op_id(self.worker + 1, 0) - 1 if self.cut and not self.ended else self.op_limit

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            size = self.path.stat().st_size
            if size == 0:
                self.cut = True
                return
            source = pa.memory_map(str(self.path))
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        with source:
            yield from self._batches(source, size)

    def _batches(self, source: pa.MemoryMappedFile, size: int) -> Iterator[pa.RecordBatch]:
        position = 0
        try:
            reader = pa.ipc.open_stream(source)
        except _UNREADABLE:
            self._torn_or_raise(source, 0, size)
            return
        check_schema(self.path, reader.schema)
        while True:
            position = source.tell()
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
                batch.validate()
                good = batch_crc(batch) == int((metadata or {})[META_CRC]) if batch.num_rows else True
            except StopIteration:
                self._check_end(source, position, size)
                return
            except KeyError:
                raise RecordError(f"{self.path}: the batch at byte {position:,} has no checksum") from None
            except _UNREADABLE:
                self._torn_or_raise(source, position, size)
                return
            if not good:
                raise self._damage(position, "the rows do not match their checksum")
            if self.ended:
                raise self._damage(position, "rows follow the end mark")
            self._take(batch, metadata or {}, position)
            if batch.num_rows:
                yield _whole(batch)

    def _take(self, batch: pa.RecordBatch, metadata: pa.KeyValueMetadata, position: int) -> None:
        self.rows += batch.num_rows
        limit, since, end = (self._number(metadata, name, position) for name in (META_OP_LIMIT, META_SINCE, META_END))
        if limit is not None:
            if worker_of(limit) != self.worker or limit < (self.op_limit or 0):
                raise self._damage(position, f"operation limit {limit} is not worker {self.worker}'s")
            self.op_limit = limit
        if since is not None:
            self.since_ns = since
        if end is not None:
            if end != self.rows:
                raise self._damage(position, f"the end mark counts {end:,} rows, {self.rows:,} are there")
            self.ended = True

    def _number(self, metadata: pa.KeyValueMetadata, name: bytes, position: int) -> int | None:
        if name not in metadata:
            return None
        try:
            return int(metadata[name])
        except ValueError:
            raise self._damage(position, f"{name.decode()} is not a number") from None

    def _damage(self, position: int, what: str) -> RecordError:
        return RecordError(f"{self.path}: damaged at byte {position:,}: {what}; nothing can be concluded from it")

    def _check_end(self, source: pa.MemoryMappedFile, position: int, size: int) -> None:
        """The reader saw an end of the stream at ``position``: is it the end of the file?"""
        source.seek(position)
        left = source.read()
        if left and left != _END_OF_STREAM:
            if left.startswith(_END_OF_STREAM):
                raise self._damage(position, f"{size - position - 8:,} bytes follow the end of the stream")
            self._torn_or_raise(source, position, size)

    def _torn_or_raise(self, source: pa.MemoryMappedFile, position: int, size: int) -> None:
        """Return if what follows ``position`` is the beginning of a batch that was being written, and nothing else."""
        self.cut = True
        source.seek(position)
        left = pa.py_buffer(source.read())
        if self.ended:
            if not _END_OF_STREAM.startswith(left.to_pybytes()):
                raise self._damage(position, "something follows the end mark")
            return
        at, whole = _walk(left)
        if whole:
            raise self._damage(position, "the batch is there but cannot be decoded")
        rest = np.frombuffer(left, np.uint8)[at:]
        if len(rest) and not rest.any():
            return  # A crashed host may leave the file's length but not its bytes.
        if position == 0 and not left.to_pybytes()[:4] == b"\xff\xff\xff\xff"[: min(4, size)]:
            raise RecordError(f"{self.path}: not a worker's stream (it does not begin as an Arrow stream does)")
        if _whole_batch_after(left, at):
            raise self._damage(position + at, "no batch begins here although whole ones follow")


def _whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the columns of :data:`COLUMNS`, those that it may lack as null."""
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in there else pa.nulls(batch.num_rows, field.type) for field in COLUMNS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)


def lost_ranges(worker: int, op: Int64, op_limit: int | None, since_ns: int | None) -> tuple[LostRange, ...]:
    """Operation ids up to the limit that have no row, of a worker whose stream has no end mark.

    Those below the last row's id were in flight when the last whole batch was written, the others came after it: all
    began after ``since_ns``, which that batch says (or at any time, where it does not).
    """
    if op_limit is None:
        return ()
    since = EARLIEST_NS if since_ns is None else since_ns
    bounds = np.concatenate(([op_id(worker, 0) - 1], np.sort(op), [op_limit + 1])).astype(np.int64)
    return tuple(
        LostRange(worker, int(bounds[gap]) + 1, int(bounds[gap + 1]) - 1, since)
        for gap in np.flatnonzero(np.diff(bounds) > 1)
    )


def _numbers_crc(column: pa.Array, crc: int) -> int:
    if column.null_count:
        crc = _nulls_crc(column, crc)
        column = pc.fill_null(column, 0)
    values = np.frombuffer(column.buffers()[1] or b"", column.type.to_pandas_dtype())
    return zlib.crc32(values[column.offset : column.offset + len(column)].data, crc)


class ListsCrc:
    """CRC-32 of a column of lists, however it is cut into chunks."""

    def __init__(self) -> None:
        self._nulls = self._lengths = self._values = 0
        self._any = False

    def add(self, lists: pa.ListArray) -> ListsCrc:
        """The next chunk. Raises an ArrowException for one that is damaged."""
        if lists.null_count == len(lists):
            self._nulls += len(lists)
            return self
        self._any = True
        lists.validate(full=True)  # of damaged offsets Arrow makes no error but an end of the process
        self._lengths = zlib.crc32(np.full(self._nulls, -1, np.int32).data, self._lengths)
        self._nulls = 0
        self._lengths = _numbers_crc(pc.fill_null(pc.list_value_length(lists), -1), self._lengths)
        self._values = _numbers_crc(pc.list_flatten(lists), self._values)
        return self

    @property
    def crc(self) -> int | None:
        """None: no row has a list."""
        if not self._any:
            return None
        return zlib.crc32(np.full(self._nulls, -1, np.int32).data, self._lengths) << 32 | self._values


def _strings_crc(strings: pa.StringArray, crc: int) -> int:
    if not len(strings):
        return zlib.crc32(b"\0", crc)
    if strings.null_count:
        crc = _nulls_crc(strings, crc)
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    crc = zlib.crc32(np.diff(ends).data, crc)
    return zlib.crc32(memoryview(data or b"")[ends[0] : ends[-1]], crc)


def _nulls_crc(column: pa.Array, crc: int) -> int:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return zlib.crc32(np.packbits(valid).tobytes(), crc)


def _walk(data: pa.Buffer) -> tuple[int, bool]:
    """Step over whole messages from the start of ``data``: where they stop, and whether one of them is a batch."""
    source = pa.BufferReader(data)
    while True:
        at = source.tell()
        try:
            message = pa.ipc.read_message(source)
        except _UNREADABLE:
            return at, False
        if message.type == "record batch":
            return at, True


def _whole_batch_after(data: pa.Buffer, position: int) -> bool:
    """Whether a whole record batch lies anywhere behind ``position``; messages are aligned to eight bytes."""
    words = np.frombuffer(data, np.uint32, count=data.size // 8 * 2)
    heads = np.flatnonzero((words[0::2] == _CONTINUATION) & (words[1::2] > 0) & (words[1::2] < 1 << 20)) * 8
    for head in heads[heads > position]:
        try:
            message = pa.ipc.read_message(pa.BufferReader(data.slice(int(head))))
        except _UNREADABLE:
            continue
        if message.type == "record batch":
            return True
    return False

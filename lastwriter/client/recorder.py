"""Writes what a worker's users did: one row an attempt, to a stream of Arrow record batches on the worker's disk.

A row is packed into a preallocated buffer (about half a microsecond); the buffer goes to the file at least every
half second, as one record batch in one write, so that a worker killed at any time leaves every batch but perhaps
the last, torn one. What the checks need about the rows that a killed worker kept for itself is written ahead: no
operation id is used before a batch that announces it (META_OP_LIMIT), and each batch says since when its missing
rows may have begun (META_SINCE).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lastwriter.client.clock import monotonic_ns
from lastwriter.errors import RunAborted
from verifier.history.columns import NO_CODE, NULL
from verifier.history.schema import (
    COLUMNS,
    MAX_WORKERS,
    META_CRC,
    META_END,
    META_OP_LIMIT,
    META_SINCE,
    op_id,
)
from verifier.history.stream import batch_crc

FLUSH_INTERVAL_S: Final = 0.5
"""A row waits no longer than this for its batch."""

FEWEST_RESERVED: Final = 256
"""Operation ids that a batch announces ahead, at least. Few: a killed worker may have used every one of them."""

# One row in the buffer: every column of the history but the worker, which is the same in all rows. Order and width
# are the buffer's own; dictionary columns hold codes, NULL and NO_CODE stand for null.
_FIELDS: Final = {
    "op": "q", "intent": "q", "attempt": "h", "token": "q", "process": "i", "region": "h", "home_region": "h",
    "workload": "h", "kind": "b", "key_class": "b", "key": "i", "logical_key": "i", "value": "q", "expect": "q",
    "result": "q", "saw": "q", "prev": "q", "outcome": "b", "error": "h", "units": "f", "scheduled_ns": "q",
    "start_ns": "q", "end_ns": "q", "user_region": "h",
}  # fmt: skip
_ROW: Final = struct.Struct("=" + "".join(_FIELDS.values()))
ROW_DTYPE: Final = np.dtype([(name, code) for name, code in _FIELDS.items()])
Rows = npt.NDArray[np.void]
"""A structured array of :data:`ROW_DTYPE`."""

_NO_UNITS: Final = float("nan")


class Codes:
    """The dictionary of one column: text to dense code, in order of first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        self._array: pa.Array = pa.array([], pa.string())

    def of(self, text: str | None) -> int:
        """Code of a text; None has :data:`NO_CODE`."""
        if text is None:
            return NO_CODE
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code

    def find(self, text: str) -> int | None:
        """Code of a text that has been used; None if it has not."""
        return self._codes.get(text)

    def array(self) -> pa.Array:
        """All texts; the same object as long as none is added, which spares the writer comparing them."""
        if len(self._array) != len(self.texts):
            self._array = pa.array(self.texts, pa.string())
        return self._array


class InFlight(Protocol):
    """Whoever has at most one attempt under way."""

    def in_flight_since_ns(self) -> int | None:
        """When the attempt began; None: there is none."""
        ...

    def abandon(self) -> None:
        """Record the attempt under way, if any, as unknown."""
        ...


class Recorder:
    """The stream of one worker. Not for several threads; greenlets are fine (nothing here waits)."""

    def __init__(
        self,
        path: Path,
        worker: int,
        *,
        on_rows: Callable[[Rows], None] = lambda rows: None,
        capacity: int = 8192,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Make the file, which must not exist; OSError if that cannot be done. ``on_rows`` sees every batch's rows."""
        if not 0 <= worker < MAX_WORKERS:
            raise ValueError(f"worker {worker}: there can be {MAX_WORKERS}")
        self.path, self.worker = path, worker
        self.region, self.home_region, self.workload = Codes(), Codes(), Codes()
        self.kind, self.key_class, self.error = Codes(), Codes(), Codes()
        self.key, self.logical_key, self.user_region = Codes(), Codes(), Codes()
        self.rows_written = 0
        self.failure: str | None = None
        """One line, once the disk refused a batch: nothing more is recorded."""
        self._on_rows, self._clock = on_rows, clock
        self._users: dict[int, InFlight] = {}
        self._buffer = bytearray(_ROW.size * capacity)
        self._offset, self._end = 0, _ROW.size * capacity
        self._next_op = self._flushed_op = op_id(worker, 0)
        self._limit = self._next_op - 1
        self._reserve = FEWEST_RESERVED
        self._lists: dict[int, list[int]] = {}
        self._pending = b""
        self._sink = _Sink()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        # lz4 and no threads: a batch of 8,192 rows must not hold the loop up for more than a millisecond or two.
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False, emit_dictionary_deltas=True)
        self._writer = pa.ipc.new_stream(self._sink, COLUMNS, options=options)
        self.flush(announce=True)

    def join(self, user: InFlight) -> None:
        """Whoever takes operation ids says so, once: what it has in flight at the end is recorded as unknown."""
        self._users[id(user)] = user

    def leave(self, user: InFlight) -> None:
        """The opposite of :meth:`join`, after recording what was in flight."""
        user.abandon()
        self._users.pop(id(user), None)

    def next_op(self) -> int:
        """A new operation id, announced on disk before it is returned. Raises RunAborted once the disk has failed."""
        op = self._next_op
        if op > self._limit:
            if self.failure is None:
                self._reserve *= 2
                self.flush(announce=True)
            if self.failure is not None:
                raise RunAborted(self.failure)
        self._next_op = op + 1
        return op

    def add(
        self,
        op: int,
        intent: int,
        attempt: int,
        token: int,
        process: int,
        region: int,
        home_region: int,
        workload: int,
        kind: int,
        key_class: int,
        key: int,
        logical_key: int,
        value: int,
        expect: int,
        result: int,
        saw: int,
        prev: int,
        outcome: int,
        error: int,
        scheduled_ns: int,
        start_ns: int,
        end_ns: int,
        units: float = _NO_UNITS,
        elements: list[int] | None = None,
        user_region: int = NO_CODE,
    ) -> None:
        """One attempt, or one item of one. Texts as codes of this recorder; NULL, NO_CODE and NaN stand for null."""
        offset = self._offset
        if offset == self._end:
            self.flush()
            offset = self._offset
            if offset == self._end:
                return  # the disk is full; `failure` says so and the stream gets no end mark
        _ROW.pack_into(
            self._buffer, offset, op, intent, attempt, token, process, region, home_region, workload, kind, key_class,
            key, logical_key, value, expect, result, saw, prev, outcome, error, units, scheduled_ns, start_ns, end_ns,
            user_region,
        )  # fmt: skip
        self._offset = offset + _ROW.size
        if elements is not None:
            self._lists[offset // _ROW.size] = elements

    def flush(self, *, announce: bool = False) -> None:
        """Write the rows of the buffer as one batch; nothing if there are none, unless ids are to be announced."""
        count = self._offset // _ROW.size
        if self.failure is not None or (count == 0 and not announce):
            return
        if not announce:
            # About two intervals' worth of ids, so that a batch seldom has to be written for them alone.
            self._reserve = max(FEWEST_RESERVED, 2 * (self._next_op - self._flushed_op))
            self._flushed_op = self._next_op
        limit = max(self._limit, self._next_op + self._reserve - 1)
        rows = np.frombuffer(self._buffer, ROW_DTYPE, count)
        self._write(rows, {META_OP_LIMIT: limit, META_SINCE: self._since_ns()})
        self._offset = 0
        self._lists.clear()
        if self.failure is None:
            self._limit = limit
        if count:
            self._on_rows(rows)

    def close(self) -> None:
        """Record what is in flight as unknown, write the rest and the end mark. A stream that failed gets none."""
        if self._file < 0:
            return
        for user in list(self._users.values()):
            user.abandon()
        self._users.clear()
        self.flush()
        if self.failure is None:
            self._write(np.frombuffer(b"", ROW_DTYPE), {META_END: self.rows_written})
        if self.failure is None:
            self._writer.close()
            self._append(self._sink.take())
        elif self._pending:
            self._append(self._pending)  # perhaps there is room again
        os.close(self._file)
        self._file = -1

    def _since_ns(self) -> int:
        begun = (user.in_flight_since_ns() for user in self._users.values())
        return min((since for since in begun if since is not None), default=self._clock())

    def _write(self, rows: Rows, metadata: dict[bytes, int]) -> None:
        batch = self._batch(rows)
        described = {name: str(number).encode() for name, number in {**metadata, META_CRC: batch_crc(batch)}.items()}
        self._writer.write_batch(batch, custom_metadata=described)
        self._append(self._sink.take())
        self.rows_written += len(rows)

    def _append(self, data: bytes) -> None:
        """One write, if the system lets us; what was written of a batch that does not fit is taken back."""
        whole = os.fstat(self._file).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._pending = data
            os.ftruncate(self._file, whole)
            what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
            self.failure = f"worker {self.worker} cannot record any more ({self.path}: {what}); free some space"

    def _batch(self, rows: Rows) -> pa.RecordBatch:
        count = len(rows)
        columns: list[pa.Array] = []
        for name, is_text, nullable, kind in _COLUMN_PLAN:
            if name == "worker":
                columns.append(pa.array(np.full(count, self.worker, np.int16)))
                continue
            if name == "elements":
                some = [self._lists.get(row) for row in range(count)] if self._lists else None
                columns.append(pa.nulls(count, kind) if some is None else pa.array(some, kind))
                continue
            numbers = rows[name].astype(np.int32) if is_text else np.ascontiguousarray(rows[name])
            missing = _missing(numbers, is_text) if nullable else None
            if missing is not None and missing.all():
                array = pa.nulls(count, pa.int32() if is_text else kind)
            else:
                array = pa.array(numbers, mask=missing if missing is not None and missing.any() else None)
            if is_text:
                texts: Codes = getattr(self, name)
                array = pa.DictionaryArray.from_arrays(array, texts.array(), safe=False)
            columns.append(array)
        return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)


_COLUMN_PLAN: Final = [
    (field.name, pa.types.is_dictionary(field.type), field.nullable, field.type) for field in COLUMNS
]


def _missing(numbers: npt.NDArray[Any], is_text: bool) -> npt.NDArray[np.bool_]:
    missing: npt.NDArray[np.bool_]
    if is_text:
        missing = numbers == NO_CODE
    else:
        missing = np.isnan(numbers) if numbers.dtype.kind == "f" else numbers == NULL
    return missing


class _Sink:
    """Gathers what the Arrow writer emits, so that a batch goes to the file in one piece."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def tell(self) -> int:
        return self._position

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

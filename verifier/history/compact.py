"""A worker's stream made into a Parquet file: zstd, a checksum a page, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from verifier.errors import RecordError
from verifier.history.schema import COLUMNS, META_END, META_LISTS_CRC, META_NULL, META_OP_LIMIT, META_SINCE
from verifier.history.stream import ListsCrc, WorkerStream
from verifier.rundir import RunDirectory

ROWS_A_GROUP: Final = 1 << 18
"""Rows of a row group: the unit in which a history larger than memory is read."""

_STRINGS: Final = [field.name for field in COLUMNS if pa.types.is_dictionary(field.type)]
_FEW_VALUES: Final = ["attempt", "worker", "process", "outcome", "units", "value"]
_NUMBERS: Final = [field.name for field in COLUMNS if pa.types.is_int64(field.type) and field.name not in _FEW_VALUES]


def compact(directory: RunDirectory) -> None:
    """Turn every ``history/worker-N.arrow`` into ``history/worker-N.parquet``, then remove the stream.

    The file keeps the stream's end mark and operation limit in its metadata. A stream that cannot be read is left as it
    is, so that nothing is thrown away: raises :class:`RecordError` then.
    """
    for stream in sorted(directory.history.glob("worker-*.arrow")):
        compact_stream(stream)


def compact_stream(path: Path) -> Path:
    """Compact one stream; returns the Parquet file, which is complete and on disk before the stream goes."""
    target = path.with_suffix(".parquet")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write_parquet(path, temporary)
        temporary.replace(target)
    except OSError as error:
        raise RecordError(f"{target}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
    path.unlink()
    return target


def write_options() -> dict[str, Any]:
    """How a history is written to Parquet."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "write_page_checksum": True,
        # Ids, marks and times are nearly sorted, or near each other: their differences are small.
        "use_dictionary": _STRINGS + _FEW_VALUES,
        "column_encoding": dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED"),
        "write_statistics": False,
    }


def write_parquet(source: Path, target: Path) -> None:
    """A stream as a Parquet file, on disk when this returns. Raises :class:`RecordError`, OSError."""
    stream = WorkerStream(source)
    with target.open("wb") as file:
        with pq.ParquetWriter(file, COLUMNS, **write_options()) as writer:
            waiting: list[pa.RecordBatch] = []
            rows = 0
            null = set(COLUMNS.names)
            lists = ListsCrc()
            for batch in stream:
                waiting.append(batch)
                lists.add(batch.column("elements"))
                null = {name for name in null if batch.column(name).null_count == batch.num_rows}
                rows += batch.num_rows
                if rows >= ROWS_A_GROUP:
                    writer.write_table(_table(waiting), ROWS_A_GROUP)
                    waiting, rows = [], 0
            if waiting:
                writer.write_table(_table(waiting), ROWS_A_GROUP)
            marks = {META_NULL: ",".join(sorted(null))}
            if stream.reach is not None:
                marks[META_OP_LIMIT] = str(stream.reach)
            if stream.since_ns is not None:
                marks[META_SINCE] = str(stream.since_ns)
            if stream.ended:
                marks[META_END] = str(stream.rows)
            if lists.crc is not None:
                marks[META_LISTS_CRC] = str(lists.crc)
            writer.add_key_value_metadata(marks)
        file.flush()
        os.fsync(file.fileno())


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, COLUMNS).unify_dictionaries()

"""Reads what was recorded of the Regions' streams (``streams/*.parquet``)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verifier.checks.types import Stream
from verifier.errors import RecordError
from verifier.history.columns import NULL, History
from verifier.history.schema import META_TRIMMED, SCHEMA_VERSION, STREAM_COLUMNS
from verifier.rundir import RunDirectory, RunInfo

WHOLE: Final = "all"
"""What the name of a file begins with that was read after the load, from the oldest record on."""

_ROUNDED_NS: Final = 1_500_000_000
"""Records say whole seconds: how much earlier than it was one may say that it was made."""


def read_streams(directory: RunDirectory, run: RunInfo, history: History) -> tuple[Stream, ...]:
    """What every reader got, of the keys of the history, without records of before the run. Raises RecordError."""
    found = []
    keys = pa.array(history.keys, pa.string())
    for path in sorted(directory.streams.glob("*.parquet")):
        table = _read(path)
        since_ns = _run_began(run)
        live = not path.stem.startswith(WHOLE)
        whole = frozenset() if live else _whole(table, run.regions, since_ns)
        keep = pc.and_(pc.is_in(table["key"], value_set=keys), pc.greater_equal(table["created_ns"], since_ns))
        table = table.filter(keep)
        regions = pa.array(run.regions, pa.string())
        events = pc.binary_join_element_wise(table["region"], table["event"], " ").combine_chunks()
        found.append(
            Stream(
                reader=path.stem,
                live=live,
                whole=whole,
                region=pc.fill_null(pc.index_in(table["region"], value_set=regions), -1).to_numpy().astype(np.int64),
                key=pc.index_in(table["key"], value_set=keys).to_numpy().astype(np.int64),
                old=pc.fill_null(table["old_w"], NULL).to_numpy().astype(np.int64),
                new=pc.fill_null(table["new_w"], NULL).to_numpy().astype(np.int64),
                event=events.dictionary_encode().indices.to_numpy().astype(np.int64),
                read_ns=table["read_ns"].to_numpy().astype(np.int64),
            )
        )
    return tuple(found)


def _whole(table: pa.Table, regions: Sequence[str], since_ns: int) -> frozenset[int]:
    """Regions whose streams it has from before the run on: nothing was gone, or only what was older still."""
    gone = (table.schema.metadata or {}).get(META_TRIMMED, b"").decode(errors="replace").split(",")
    before = set(pc.unique(table.filter(pc.less(table["created_ns"], since_ns))["region"]).to_pylist())
    return frozenset(code for code, name in enumerate(regions) if name not in gone or name in before)


def _read(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        version = (file.schema_arrow.metadata or {}).get(b"lastwriter.schema", b"").decode(errors="replace")
        if version != str(SCHEMA_VERSION):
            raise RecordError(f"{path}: stream schema {version or 'unknown'}; this verifier reads {SCHEMA_VERSION}")
        for field in STREAM_COLUMNS:
            at = file.schema_arrow.get_field_index(field.name)
            if at < 0 or file.schema_arrow.field(at).type != field.type:
                raise RecordError(f"{path}: column {field.name!r} is missing or not {field.type}")
        return file.read(STREAM_COLUMNS.names)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecordError(f"{path}: damaged or not readable ({reason})") from None


def _run_began(run: RunInfo) -> int:
    """The wall clock when the run was made, in nanoseconds since 1970, less what records round off."""
    created = datetime.datetime.fromisoformat(run.created)
    return int(created.timestamp() * 1e9) - _ROUNDED_NS

"""Replicas as somebody read them, item by item: before the load, at its end, and what an index then held."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verifier.checks.types import Replica
from verifier.errors import RecordError
from verifier.history.columns import NULL, History
from verifier.history.reader import numbers_of, reading
from verifier.history.schema import REPLICA_COLUMNS, SCHEMA_VERSION
from verifier.rundir import RunDirectory, RunInfo

_MISSING: Final[dict[Literal["initial", "final"], str]] = {
    "initial": "this replica is taken to have begun as the others did",
    "final": "what this replica held in the end is not judged",
}
"""What it means for the verdict that a replica was not read."""


def replica_keys(directory: RunDirectory) -> list[str]:
    """Keys of all items that stand in any replica, before the run or at its end."""
    keys: dict[str, None] = {}
    for when in ("initial", "final", "index"):
        for path in sorted((directory.path / when).glob("*.parquet")):
            with reading(path):
                file = pq.ParquetFile(path, page_checksum_verification=True)
                _check_replica_schema(path, file.schema_arrow)
                keys |= dict.fromkeys(file.read(["key"])["key"].to_pylist())
    return list(keys)


def read_replicas(
    directory: RunDirectory, when: Literal["initial", "final", "index"], history: History, *, part: bool = False
) -> tuple[History, dict[str, Replica]]:
    """Every replica's items by Region, and the history with its keys extended by those that no operation touched.

    ``part``: only the items whose keys the history has.
    """
    keys = pa.array(history.keys, pa.string())
    replicas: dict[str, Replica] = {}
    for path in sorted((directory.path / when).glob("*.parquet")):
        with reading(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
            _check_replica_schema(path, file.schema_arrow)
            table = file.read(REPLICA_COLUMNS.names)
        span = pc.min(table["start_ns"]).as_py(), pc.max(table["end_ns"]).as_py()
        if part:
            table = table.filter(pc.is_in(table["key"], value_set=keys))
        names = table["key"].combine_chunks()
        if pc.count_distinct(names).as_py() != len(names):
            raise RecordError(f"{path}: an item appears twice")
        new = names.filter(pc.invert(pc.is_in(names, value_set=keys)))
        keys = pa.concat_arrays([keys, new])
        number = {name: numbers_of(table[name], np.int64, NULL) for name in ("value", "w", "p", "start_ns", "end_ns")}
        replicas[path.stem] = Replica(
            region=path.stem,
            key=pc.index_in(names, value_set=keys).to_numpy().astype(np.int64),
            value=number["value"],
            w=number["w"],
            p=number["p"],
            items=tuple(table["item"].to_pylist()),
            start_ns=number["start_ns"],
            end_ns=number["end_ns"],
            read_ns=None if span[0] is None else span,
        )
    if len(keys) > len(history.keys):
        history = dataclasses.replace(history, keys=tuple(keys.to_pylist()))
    return history, replicas


def unread_replicas(directory: RunDirectory, run: RunInfo) -> list[str]:
    """Replicas of which nobody knows what they held before the load or at its end, and what that means; a line each."""
    missing = {
        when: [region for region in run.regions if not directory.replica(when, region).exists()] for when in _MISSING
    }
    return [
        f"{when}/{region}.parquet is missing: {meaning}"
        for when, meaning in _MISSING.items()
        for region in missing[when]
        if len(missing[when]) < len(run.regions)  # where nothing at all was read the verdict says so itself
    ]


def _check_replica_schema(path: Path, schema: pa.Schema) -> None:
    version = (schema.metadata or {}).get(b"lastwriter.schema", b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise RecordError(f"{path}: replica schema {version or 'unknown'}; this verifier reads {SCHEMA_VERSION}")
    for one in REPLICA_COLUMNS:
        at = schema.get_field_index(one.name)
        if at < 0 or schema.field(at).type != one.type:
            raise RecordError(f"{path}: column {one.name!r} is missing or not {one.type}")

"""Small histories for tests: a list of operations becomes a :class:`History` with its context, or a run directory.

>>> history, context = build([write(1, 2, op=1), read(3, 4, saw=1)])

Times are nanoseconds on whatever scale the test likes; ids are given or counted from 1 in order of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from verifier.checks.types import Context, Replica
from verifier.history.columns import NULL, History, LostRange
from verifier.history.reader import to_history
from verifier.history.schema import (
    COLUMNS,
    META_CRC,
    META_END,
    META_OP_LIMIT,
    META_SINCE,
    REPLICA_COLUMNS,
    Outcome,
    worker_of,
)
from verifier.history.stream import batch_crc
from verifier.rundir import FaultRecord, Mode, PhaseWindow, RunDirectory, RunInfo, Versions, WorkerInfo

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
OUTCOMES = {"ok": Outcome.OK, "fail": Outcome.FAIL, "unknown": Outcome.UNKNOWN}


@dataclass(frozen=True)
class Op:
    """One row; what is left out is null, or follows from the rest."""

    kind: str
    start: int
    end: int
    key: str = "k"
    region: str = REGIONS[0]
    op: int | None = None
    value: int | None = None
    expect: int | None = None
    result: int | None = None
    saw: int | None = None
    prev: int | None = None
    outcome: str = "ok"
    error: str | None = None
    process: int | None = None
    intent: int | None = None
    attempt: int = 1
    home_region: str | None = None
    workload: str = "test"
    key_class: str | None = None
    scheduled: int | None = None
    elements: list[int] | None = None
    logical_key: str | None = None
    user_region: str | None = None
    token: int | None = None


@dataclass(frozen=True)
class Item:
    """One item of a replica."""

    value: int | None = None
    w: int | None = None
    p: int | None = None
    start: int = 0
    end: int = 0
    elements: tuple[int, ...] | None = None


def write(start: int, end: int, **more: Any) -> Op:
    """A write that answered with its own mark unless told otherwise."""
    return Op("write", start, end, **more)


def read(start: int, end: int, saw: int | None = None, **more: Any) -> Op:
    """A strong read."""
    return Op("read", start, end, saw=saw, **more)


def add(start: int, end: int, result: int | None = None, **more: Any) -> Op:
    """An increment by one that returned the new value."""
    return Op("add", start, end, result=result, **{"value": 1, **more})


Replicas = Mapping[str, Mapping[str, Item]]
"""Region → key → item."""


def numbered(ops: Iterable[Op]) -> list[Op]:
    """The same operations with ids, processes and intents filled in; successful updates see their own mark."""
    done = []
    taken = set()
    for count, op in enumerate(ops, 1):
        number = count if op.op is None else op.op
        assert (number, op.key) not in taken, f"operation id {number} twice"
        taken.add((number, op.key))
        update = not op.kind.startswith("read") and op.kind != "delete"  # a deletion is answered with what was there
        saw = number if update and op.outcome == "ok" and op.saw is None else op.saw
        process = count if op.process is None else op.process
        intent = number if op.intent is None else op.intent
        done.append(replace(op, op=number, saw=saw, process=process, intent=intent))
    return done


def table_of(ops: Iterable[Op]) -> pa.Table:
    """The rows as Arrow columns."""
    rows = numbered(ops)
    lists: dict[str, list[Any]] = {
        "op": [op.op for op in rows],
        "intent": [op.intent for op in rows],
        "attempt": [op.attempt for op in rows],
        "worker": [worker_of(op.op or 0) for op in rows],
        "process": [op.process for op in rows],
        "outcome": [int(OUTCOMES[op.outcome]) for op in rows],
        "units": [None for _ in rows],
        "scheduled_ns": [op.start if op.scheduled is None else op.scheduled for op in rows],
        "start_ns": [op.start for op in rows],
        "end_ns": [op.end for op in rows],
    }
    for name in COLUMNS.names:
        if name not in lists:
            lists[name] = [getattr(op, name, None) for op in rows]
    columns = [
        pa.array(lists[field.name], pa.string()).dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else pa.array(lists[field.name], field.type)
        for field in COLUMNS
    ]
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def build(
    ops: Iterable[Op],
    *,
    mode: Mode = "MRSC",
    regions: Sequence[str] = REGIONS,
    initial: Replicas | None = None,
    final: Replicas | None = None,
    lost: tuple[LostRange, ...] = (),
    faults: tuple[FaultRecord, ...] = (),
    epsilon_ns: int = 0,
    run: RunInfo | None = None,
) -> tuple[History, Context]:
    """A history and its context, without files. A replica's items may have keys that no operation touched."""
    history = to_history([table_of(ops)], lost, ("a worker was killed",) if lost else ())
    keys = list(history.keys)
    for items in [*(initial or {}).values(), *(final or {}).values()]:
        keys += [key for key in items if key not in keys]
    history = replace(history, keys=tuple(keys))
    context = Context(
        mode=mode,
        regions=tuple(regions),
        run=run or run_info(mode, regions),
        faults=faults,
        initial={region: replica(region, items, history.keys) for region, items in (initial or {}).items()},
        final={region: replica(region, items, history.keys) for region, items in (final or {}).items()},
        epsilon_ns=epsilon_ns,
    )
    return history, context


def replica(region: str, items: Mapping[str, Item], keys: Sequence[str]) -> Replica:
    """A replica's items in memory."""

    def column(values: Iterable[int | None]) -> Any:
        return np.array([NULL if value is None else value for value in values], np.int64)

    return Replica(
        region=region,
        key=column(keys.index(key) for key in items),
        value=column(item.value for item in items.values()),
        w=column(item.w for item in items.values()),
        p=column(item.p for item in items.values()),
        items=tuple(_json(key, item) for key, item in items.items()),
        start_ns=column(item.start for item in items.values()),
        end_ns=column(item.end for item in items.values()),
    )


def run_info(mode: Mode = "MRSC", regions: Sequence[str] = REGIONS, **more: Any) -> RunInfo:
    """A finished run of nothing in particular."""
    fields: dict[str, Any] = {
        "schema": 1,
        "run": "20261120T120000-test-" + mode.lower(),
        "profile": {"name": "test"},
        "mode": mode,
        "regions": list(regions),
        "table": "test",
        "target": "emulator",
        "client": "wire",
        "seed": 1,
        "versions": Versions(lastwriter="0", python="3.11", locust="2", botocore="1"),
        "created": "2026-11-20T12:00:00Z",
        "created_ns": 0,
        "start_ns": 0,
        "end_ns": 10**9,
        "ended": "finished",
        "settled": True,
    }
    return RunInfo(**{**fields, **more})


def write_run(
    path: Path,
    ops: Iterable[Op],
    *,
    mode: Mode = "MRSC",
    regions: Sequence[str] = REGIONS,
    initial: Replicas | None = None,
    final: Replicas | None = None,
    faults: Iterable[FaultRecord] = (),
    phases: Sequence[PhaseWindow] = (),
    rows_a_batch: int = 64,
    **run: Any,
) -> RunDirectory:
    """A run directory with one stream a worker (by operation id). ``**run`` overrides fields of run.json."""
    directory = RunDirectory(path)
    directory.history.mkdir(parents=True)
    table = table_of(ops)
    worker = table["worker"].to_numpy()
    workers = sorted({int(number) for number in worker})
    for number in workers:
        write_stream(
            directory.history / f"worker-{number}.arrow", table.filter(pa.array(worker == number)), rows_a_batch
        )
    infos = [WorkerInfo(worker=number, host="localhost") for number in workers]
    info = run_info(mode, regions, **{"workers": infos, "phases": list(phases), "run": directory.name, **run})
    directory.run_json.write_text(info.model_dump_json(by_alias=True))
    directory.faults.write_text("".join(fault.model_dump_json() + "\n" for fault in faults))
    for when, replicas in (("initial", initial), ("final", final)):
        for region in regions if replicas is not None else ():
            write_replica(path / when / f"{region}.parquet", (replicas or {}).get(region, {}))
    return directory


def write_stream(
    path: Path, table: pa.Table, rows_a_batch: int = 64, *, end: bool = True, since_ns: int | None = None
) -> None:
    """One worker's stream as the recorder writes it; without ``end`` as if the worker had been killed."""
    rows = 0
    limit = max(table["op"].to_pylist(), default=0)
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, COLUMNS, options=options) as stream:
        for batch in table.combine_chunks().to_batches(max_chunksize=rows_a_batch):
            metadata = {META_CRC: str(batch_crc(batch)), META_OP_LIMIT: str(limit)}
            if since_ns is not None:
                metadata[META_SINCE] = str(since_ns)
            stream.write_batch(batch, custom_metadata=metadata)
            rows += batch.num_rows
        if end:
            empty = table.schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], COLUMNS)]
            stream.write_batch(empty[0], custom_metadata={META_END: str(rows)})


def write_replica(path: Path, items: Mapping[str, Item]) -> None:
    """``initial/<region>.parquet`` or ``final/<region>.parquet``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "key": key,
            "value": item.value,
            "w": item.w,
            "p": item.p,
            "item": _json(key, item),
            "start_ns": item.start,
            "end_ns": item.end,
        }
        for key, item in items.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, REPLICA_COLUMNS), path)


def _json(key: str, item: Item) -> str:
    attributes: dict[str, dict[str, str]] = {"pk": {"S": key}}
    for name, value in (("v", item.value), ("_w", item.w), ("_p", item.p)):
        if value is not None:
            attributes[name] = {"N": str(value)}
    if item.elements:
        return orjson.dumps(
            {**attributes, "e": {"NS": list(map(str, item.elements))}}, option=orjson.OPT_SORT_KEYS
        ).decode()
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()

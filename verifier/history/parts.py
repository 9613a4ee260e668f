"""A record cut into parts on disk: the operations of some keys each, to be judged one after the other, or at once.

A piece of a worker's file (some row groups) becomes one file for each part that it has operations of: columns as a
:class:`verifier.history.columns.History` holds them, nulls and names as numbers already, compressed with LZ4, which
costs nothing beside the disk. The order within a key stays that of the files, and so what is read of a part is, row by
row, what would have been read of the whole.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verifier.errors import RecordError
from verifier.history.columns import History, Int64, Lists, order_by_code
from verifier.history.reader import check_order, coded_column, lists, numbers, plural_of, read_worker, recoded
from verifier.history.schema import COLUMNS, short
from verifier.history.survey import PartKeys, Plan

_LISTS: Final = tuple(one.name for one in COLUMNS if pa.types.is_list(one.type))
_CODED: Final = tuple(one.name for one in COLUMNS if pa.types.is_dictionary(one.type))
_GROUPS_AT_ONCE: Final = 2


def split(plan: Plan, source: int, first: int, last: int, path: Path | None = None) -> dict[int, pa.Table]:
    """The operations of some row groups of one worker's file, by part. Raises :class:`RecordError`.

    ``path``: where the file is, if not where it was surveyed.
    """
    path = path or plan.sources[source].path
    record = read_worker(path)
    found: dict[int, list[pa.Table]] = {}
    starts = np.array(plan.bounds[:-1])
    known = {name: {one: code for code, one in enumerate(names)} for name, names in plan.names.others.items()}
    known["key"] = {one: code for code, one in enumerate(plan.names.keys)}
    for group in range(first, last, _GROUPS_AT_ONCE):
        tables = [record.group(one, COLUMNS.names) for one in range(group, min(group + _GROUPS_AT_ONCE, last))]
        table = pa.concat_tables(tables)
        columns: dict[str, Any] = {}
        for one in COLUMNS:
            if one.name in _CODED:
                codes, names = coded_column(table, one.name)
                columns[one.name] = recoded(codes, names, known[one.name])
            elif one.name not in _LISTS:
                if not one.nullable and table[one.name].null_count:
                    raise RecordError(f"{path}: column {one.name!r} is empty in {table[one.name].null_count:,} rows")
                columns[one.name] = numbers(table, one.name)
        place = functools.partial(_name, path, columns["op"])
        check_order(place, columns["outcome"], columns["start_ns"], columns["end_ns"])
        part = (np.searchsorted(starts, columns["key"], side="right") - 1).astype(np.uint16)
        # By key, and so by part: what is then put in order once more stands nearly in order.
        order = order_by_code(columns["key"])
        whole = _table(columns, {name: lists(table, name) for name in _LISTS}, order)
        ends = np.cumsum(np.bincount(part, minlength=plan.parts)).tolist()
        for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > begin:
                found.setdefault(number, []).append(whole.slice(begin, end - begin))
    return {number: pa.concat_tables(tables) for number, tables in sorted(found.items())}


def write_piece(table: pa.Table, path: Path) -> None:
    """One piece of one part."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


def read_piece(path: Path) -> pa.Table:
    """What :func:`write_piece` wrote."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def history_of_part(part: PartKeys, pieces: Sequence[pa.Table]) -> History:
    """The operations of one part, from all its pieces in order."""
    names = part.names
    table = pa.concat_tables(pieces) if pieces else _table({}, {}, None)
    columns: dict[str, Any] = {}
    key = _numbers(table, "key") - np.int32(part.first)
    order = order_by_code(key) if bool((key[1:] < key[:-1]).any()) else None
    for one in COLUMNS:
        if one.name in _LISTS:
            listed = lists(table, one.name)
            columns[one.name] = listed if listed is None or order is None else listed[order]
            continue
        values = key if one.name == "key" else _numbers(table, one.name)
        columns[one.name] = values if order is None or values.strides == (0,) else values[order]
        if one.name in _CODED:
            columns[plural_of(one.name)] = names.keys if one.name == "key" else names.others[one.name]
    return History(**columns, lost=part.lost, incomplete=part.incomplete)


def _name(path: Path, op: Int64, row: int) -> str:
    return f"{path}: operation {short(int(op[row]))}"


def _table(columns: dict[str, Any], listed: dict[str, Lists | None], order: Int64 | None) -> pa.Table:
    """Rows in this order, every column of :data:`COLUMNS` as numbers."""
    made: dict[str, pa.Array] = {}
    rows = len(next(iter(columns.values()), ()))
    for one in COLUMNS:
        if one.name in _LISTS:
            of = listed.get(one.name)
            if of is None:
                made[one.name] = pa.nulls(rows, one.type)
                continue
            mine = of if order is None else of[order]
            offsets = pa.array(mine.offsets.astype(np.int32), mask=np.append(~mine.given, False))
            made[one.name] = pa.ListArray.from_arrays(offsets, pa.array(mine.values))
        else:
            values = columns.get(one.name, np.zeros(0, _dtype(one)))
            made[one.name] = pa.array(values if order is None or values.strides == (0,) else values[order])
    return pa.table(made)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as one array; of what is the same in all rows one value, which takes no memory."""
    chunks = [chunk.to_numpy() for chunk in table[name].chunks if len(chunk)]
    if not chunks:
        return np.zeros(0, _dtype(COLUMNS.field(name)))
    least = chunks[0][:1]
    if all(bool((chunk == least).all()) for chunk in chunks):
        return np.broadcast_to(least.copy(), len(table))
    return np.concatenate(chunks)


def _dtype(one: pa.Field) -> npt.DTypeLike:
    return np.int32 if one.name in _CODED else one.type.to_pandas_dtype()

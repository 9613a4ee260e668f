"""``lost.jsonl``: every acknowledged write that is gone, one JSON object a line, ready to be replayed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from verifier.checks.ledger import NOBODY, NOT_RECORDED, Balance, winner_regions
from verifier.checks.marks import NOT_FOUND
from verifier.checks.types import Context
from verifier.history.columns import NULL, History, Int64
from verifier.windows import origin_ns


def lost_lines(history: History, context: Context, balance: Balance) -> bytes:
    """The whole file: by key, in order of answer.

    ===============  ==========================================================================================
    op, intent       operation id of the acknowledged attempt, and of its intent's first
    key              the item; ``logical_key`` is what the user counts, where that is another
    kind, value      what was written: a delta for add, else the new value
    result           the value that the user was told
    region, process  who was asked, by whom
    start_ns         when it was sent and answered, nanoseconds from t0 (``end_ns``)
    winner           operation that stands in its place (null: not recorded, or nothing does), ``winner_region``
    ===============  ==========================================================================================

    Made column by column: a hot key in MREC may lose hundreds of thousands.
    """
    rows, winner = balance.lost.row, balance.lost.winner
    if not len(rows):
        return b""
    t0 = origin_ns(history, context)
    winner_names = [*history.regions, NOBODY, NOT_RECORDED]
    winner_op = np.where(winner == NOT_FOUND, NULL, history.op[winner])
    logical = np.where(history.logical_key[rows] < 0, -1, history.logical_key[rows])
    fields: list[tuple[str, pa.Array]] = [
        ("op", _numbers(history.op[rows])),
        ("intent", _numbers(history.intent[rows])),
        ("key", _names(history.key[rows], history.keys)),
        ("logical_key", _names(logical, history.logical_keys)),
        ("workload", _names(history.workload[rows], history.workloads)),
        ("kind", _names(history.kind[rows], history.kinds)),
        ("value", _numbers(history.value[rows])),
        ("result", _numbers(history.result[rows])),
        ("region", _names(history.region[rows], history.regions)),
        ("process", _numbers(history.process[rows].astype(np.int64))),
        ("start_ns", _numbers(history.start_ns[rows] - t0)),
        ("end_ns", _numbers(history.end_ns[rows] - t0)),
        ("winner", _numbers(winner_op)),
        ("winner_region", _names(winner_regions(history, balance.lost), winner_names)),
    ]
    parts: list[pa.Array | pa.Scalar] = []
    for at, (name, column) in enumerate(fields):
        parts += [pa.scalar(f'{"{" if at == 0 else ","}"{name}":'), column]
    lines = pc.binary_join_element_wise(*parts, pa.scalar("}\n"), pa.scalar(""))
    data: bytes = lines.buffers()[2].to_pybytes()
    return data[: _length(lines)]


def _length(lines: pa.Array) -> int:
    return int(np.frombuffer(lines.buffers()[1], np.int32)[len(lines)])


def _numbers(values: Int64) -> pa.Array:
    """JSON numbers; null for null."""
    text = pa.array(values).cast(pa.string())
    return pc.if_else(pa.array(values == NULL), "null", text)


def _names(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    """JSON strings; null for no code (counted from the end: −1 is the last entry, which is null unless named)."""
    last = "null" if NOT_RECORDED not in names else orjson.dumps(NOT_RECORDED).decode()
    known = [orjson.dumps(name).decode() for name in names if name != NOT_RECORDED]
    table = pa.array([*known, last])
    return table.take(pa.array(np.where(codes < 0, len(known), codes)))

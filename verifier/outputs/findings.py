"""``findings.parquet``: every finding of every check, one row each; verdict.json holds the worst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verifier.checks.explain import rule_of
from verifier.checks.types import AllFindings, Context, Result
from verifier.history.columns import NULL, History, Int64
from verifier.windows import fault_span, origin_ns

COLUMNS = pa.schema(
    [
        pa.field("check", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("rule", pa.dictionary(pa.int32(), pa.string())),
        pa.field("key", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("operations", pa.list_(pa.int64()), nullable=False),
        pa.field("regions", pa.list_(pa.dictionary(pa.int32(), pa.string())), nullable=False),
        pa.field("at_ns", pa.int64(), nullable=False),
        pa.field("gamma_ns", pa.int64()),
        pa.field("stale_ms", pa.float64()),
        pa.field("stale_versions", pa.int64()),
        pa.field("fault", pa.dictionary(pa.int32(), pa.string())),
        pa.field("sentence", pa.string()),
    ]
)
"""``rule`` is what is broken, where the check has several; ``operations`` are the ids of the witness and ``regions``
those that they were sent to, in the same order, then the Region whose final item shows it (with neither, those whose
final items were read); ``at_ns`` is from t0. ``sentence`` is null except for the worst of each check, which were put
into words."""

_UNSAID: Final = COLUMNS.remove(COLUMNS.get_field_index("sentence"))
_FEW_VALUES: Final = ["check", "rule", "key", "regions.list.element", "fault"]
_ENCODINGS: Final = {
    **dict.fromkeys(["operations.list.element", "at_ns", "gamma_ns", "stale_versions"], "DELTA_BINARY_PACKED"),
    "stale_ms": "BYTE_STREAM_SPLIT",
}


def findings_table(history: History, context: Context, check: str, result: Result) -> tuple[pa.Table, Int64]:
    """All findings of a check, by key, with :data:`COLUMNS` but the sentence; and the place of each of
    :attr:`Result.violations` in it."""
    found = _all(context, result)
    table = _table(history, context, check, found)
    worst = np.arange(len(result.violations)) if found.worst is None else found.worst
    if not bool((found.key[1:] < found.key[:-1]).any()):
        return table, worst
    order = np.argsort(found.key, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return table.take(pa.array(order)), place[worst]


def write_findings(path: Path, checks: Iterable[tuple[Iterable[pa.Table], Mapping[tuple[int, int], str]]]) -> None:
    """Write the whole file: for each check its tables, and the sentences that belong to (table, place)."""
    with pq.ParquetWriter(
        path,
        COLUMNS,
        compression="snappy",  # zstd takes a quarter more time for a sixth less
        use_dictionary=_FEW_VALUES,
        column_encoding=_ENCODINGS,
        write_statistics=["at_ns"],
        write_batch_size=1
        << 16,  # rows that are encoded at a time: a million are written in three quarters of the time
    ) as writer:
        for tables, sentences in checks:
            for number, table in enumerate(tables):
                said = {place: text for (at, place), text in sentences.items() if at == number}
                if len(table):
                    writer.write_table(table.append_column(COLUMNS.field("sentence"), _sentences(len(table), said)))


def _all(context: Context, result: Result) -> AllFindings:
    if result.everything is not None:
        return result.everything
    found = result.violations
    rules = tuple(dict.fromkeys(rule_of(violation) or "" for violation in found))
    lengths = [len(violation.rows) for violation in found]
    return AllFindings(
        key=_column(violation.key for violation in found),
        at_ns=_column(violation.at_ns for violation in found),
        offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(np.array(lengths, np.int64)))),
        rows=_column(row for violation in found for row in violation.rows),
        gamma_ns=_column(_or(violation.gamma_ns, NULL) for violation in found),
        stale_ms=np.array([_or(violation.stale_ms, np.nan) for violation in found], np.float64),
        stale_versions=_column(_or(violation.stale_versions, NULL) for violation in found),
        rule=_column(rules.index(rule_of(violation) or "") for violation in found),
        rules=rules,
        replica=_column(
            context.regions.index(str(final)) if (final := one.facts.get("final")) in context.regions else -1
            for one in found
        ),
    )


def _table(history: History, context: Context, check: str, found: AllFindings) -> pa.Table:
    count = len(found.key)
    t0 = origin_ns(history, context)
    offsets = pa.array(found.offsets.astype(np.int32))
    stale = found.stale_ms
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([check])),
        _rules(found),
        pa.DictionaryArray.from_arrays(pa.array(found.key.astype(np.int32)), pa.array(history.keys, pa.string())),
        pa.ListArray.from_arrays(offsets, pa.array(history.op[found.rows])),
        _regions(history, context, found),
        pa.array(found.at_ns - t0),
        _nullable(found.gamma_ns, count),
        pa.nulls(count, pa.float64()) if stale is None else pa.array(stale, mask=np.isnan(stale)),
        _nullable(found.stale_versions, count),
        _faults(context, found.at_ns),
    ]
    return pa.Table.from_arrays(columns, schema=_UNSAID)


def _regions(history: History, context: Context, found: AllFindings) -> pa.Array:
    names, codes, offsets = list(history.regions), history.region[found.rows].astype(np.int32), found.offsets
    shown = np.full(len(found.key), -1, np.int64) if found.replica is None else found.replica
    nowhere = (np.diff(offsets) == 0) & (shown < 0)
    if nowhere.any() or (shown >= 0).any():
        names += [name for name in (*context.regions, *context.final) if name not in names]
        code = np.array([names.index(name) for name in context.regions], np.int32)
        read = np.array([names.index(name) for name in context.final], np.int32)
        more = np.where(nowhere, len(read), (shown >= 0).astype(np.int64))
        added = np.repeat(code[np.maximum(shown, 0)], more)
        added[np.repeat(nowhere, more)] = np.tile(read, int(nowhere.sum()))
        codes = np.insert(codes, np.repeat(offsets[1:], more), added)
        offsets = offsets + np.concatenate(([0], np.cumsum(more)))
    values = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _rules(found: AllFindings) -> pa.Array:
    codes = np.full(len(found.key), -1, np.int64) if found.rule is None else found.rule
    nameless = np.array([*(not rule for rule in found.rules), True])
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=nameless[codes]), pa.array(found.rules, pa.string())
    )


def _faults(context: Context, at_ns: Int64) -> pa.Array:
    """Fault in effect at each time; of several, the one that took hold last."""
    codes = np.full(len(at_ns), -1, np.int32)
    spans = sorted(((*fault_span(fault), fault.id) for fault in context.faults), key=lambda span: span[0])
    for code, (start, end, _) in enumerate(spans):
        codes[(at_ns >= start) & (at_ns <= end)] = code
    names = pa.array([name for _, _, name in spans], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names)


def _sentences(count: int, said: Mapping[int, str]) -> pa.Array:
    which = np.full(count, -1, np.int32)
    which[list(said)] = np.arange(len(said))
    return pa.array(list(said.values()), pa.string()).take(pa.array(which, mask=which < 0))


def _nullable(values: Int64 | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.int64()) if values is None else pa.array(values, mask=values == NULL)


def _column(values: object) -> Int64:
    return np.fromiter(values, np.int64)  # type: ignore[call-overload,no-any-return]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value

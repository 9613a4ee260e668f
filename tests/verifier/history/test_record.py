"""The record of a run: read back as written, torn ends understood, damage refused in one line."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.builders import Item, Op, add, build, read, table_of, write, write_run, write_stream
from verifier.errors import RecordError
from verifier.history.columns import NO_CODE, NULL, History
from verifier.history.compact import compact
from verifier.history.reader import WorkerRecord, read_history, read_worker
from verifier.history.replicas import read_replicas
from verifier.history.schema import ABSENT, COLUMNS, op_id
from verifier.history.stream import WorkerStream, batch_crc
from verifier.rundir import RunDirectory


def some_ops(count: int, worker: int = 0) -> list[Op]:
    rng = random.Random(count)
    return [
        Op(
            rng.choice(["read", "write", "add"]),
            start=10 * i,
            end=10 * i + rng.randint(1, 30),
            op=op_id(worker, i),
            key=f"key-{rng.randint(0, 5 + i // 50)}",
            region=rng.choice(["us-east-1", "us-west-2"]),
            value=rng.choice([None, i]),
            saw=rng.choice([None, ABSENT, 0, i]),
            prev=rng.choice([None, ABSENT]),
            elements=rng.choice([None, None, [], [i, i + 1], [7]]),
            outcome=rng.choice(["ok", "ok", "fail", "unknown"]),
            error=rng.choice([None, "Timeout"]),
        )
        for i in range(count)
    ]


def rows_of(history: History) -> list[dict[str, object]]:
    """Rows in order of id, with names in place of codes."""
    names = {
        field.name: getattr(history, {"key_class": "key_classes"}.get(field.name, field.name + "s"))
        for field in COLUMNS
        if pa.types.is_dictionary(field.type)
    }
    rows = []
    for row in np.argsort(history.op):
        cells: dict[str, object] = {}
        for field in COLUMNS:
            if field.name == "elements":
                lists = history.elements[row : row + 1] if history.elements is not None else None
                cells["elements"] = lists.values.tolist() if lists is not None and lists.given[0] else None
                continue
            value = getattr(history, field.name)[row]
            if field.name in names:
                cells[field.name] = None if value == NO_CODE else names[field.name][value]
            elif pa.types.is_floating(field.type):
                cells[field.name] = None if np.isnan(value) else float(value)
            else:
                cells[field.name] = None if value == NULL else int(value)
        rows.append(cells)
    return rows


def test_what_is_written_is_read_back_from_streams_and_after_compaction(tmp_path: Path) -> None:
    ops = [*some_ops(500), *some_ops(300, worker=1)]
    directory = write_run(tmp_path / "run", ops)
    expected = table_of(ops).to_pylist()
    expected.sort(key=lambda row: row["op"])
    history = read_history(directory)
    assert rows_of(history) == expected
    assert history.incomplete == ()
    compact(directory)
    assert sorted(path.name for path in directory.history.iterdir()) == ["worker-0.parquet", "worker-1.parquet"]
    again = read_history(directory)
    assert rows_of(again) == expected
    assert again.incomplete == ()
    compact(directory)
    assert rows_of(read_history(directory)) == expected


@given(count=st.integers(1, 40), data=st.data())
def test_the_checksum_is_of_the_rows_not_of_the_buffers(count: int, data: st.DataObject) -> None:
    batch = table_of(some_ops(count)).to_batches()[0]
    first = data.draw(st.integers(0, count - 1))
    part = batch.slice(first, data.draw(st.integers(1, count - first)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, COLUMNS) as stream:
        stream.write_batch(part)
    assert batch_crc(pa.ipc.open_stream(sink.getvalue()).read_next_batch()) == batch_crc(part)


def test_a_stream_cut_anywhere_gives_its_whole_batches_and_says_what_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.arrow"
    table = table_of(some_ops(200))
    write_stream(path, table, rows_a_batch=40)
    data = path.read_bytes()
    rng = random.Random(1)
    seen = set()
    for length in [0, 1, 7, 8, len(data) - 8, len(data) - 9, *rng.sample(range(len(data) - 8), 60)]:
        path.write_bytes(data[:length])
        stream = WorkerStream(path)
        rows = sum(batch.num_rows for batch in stream)
        seen.add(rows)
        assert rows % 40 == 0
        assert not stream.ended or length >= len(data) - 9
        if rows:
            assert stream.op_limit == 199
        if not stream.ended:
            assert stream.reach == (op_id(1, 0) - 1 if stream.cut else 199)
            assert stream.cut or rows, "what ends between two batches was killed"
    assert seen == {0, 40, 80, 120, 160, 200}


def cells(worker: WorkerRecord) -> list[dict[str, object]]:
    return pa.table([worker.column(name) for name in COLUMNS.names], COLUMNS).to_pylist()  # type: ignore[no-any-return]


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.arrow"
    table = table_of(some_ops(120))
    write_stream(path, table, rows_a_batch=40)
    data = path.read_bytes()
    rng = random.Random(2)
    refused: list[str] = []
    for _ in range(200):
        damaged = bytearray(data)
        at = rng.randrange(len(data))
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            worker = read_worker(path)
        except RecordError as error:
            refused.append(str(error))
            continue
        if worker.ended:
            assert cells(worker) == table.to_pylist(), f"byte {at}"
        else:  # The header of the last message: the end is gone, and that is said.
            assert cells(worker) == table.to_pylist()[: worker.rows]
    assert len(refused) > 75
    assert all(str(path) in line and "\n" not in line for line in refused)


def test_a_flipped_bit_in_a_compacted_file_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", some_ops(300))
    compact(directory)
    path = directory.history / "worker-0.parquet"
    expected = rows_of(read_history(directory))
    data = path.read_bytes()
    rng = random.Random(3)
    refused: list[str] = []
    for _ in range(80):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data) * 2 // 3)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert rows_of(read_history(directory)) == expected
        except RecordError as error:
            refused.append(str(error))
    assert len(refused) > 35
    assert all("worker-0.parquet" in line and "\n" not in line for line in refused)


def test_a_compacted_file_names_the_columns_that_are_null_throughout(tmp_path: Path) -> None:
    ops = some_ops(300)
    directory = write_run(tmp_path / "run", ops)
    compact(directory)
    path = directory.history / "worker-0.parquet"
    table = table_of(ops)
    null = {name for name in COLUMNS.names if table.column(name).null_count == len(ops)}
    data = path.read_bytes()
    said = b",".join(name.encode() for name in sorted(null))
    assert null
    assert said in data
    path.write_bytes(data.replace(said, b"x" + said[1:]))
    with pytest.raises(RecordError, match=r"worker-0.parquet: damaged: 'x.*' is said to be null, and is no column"):
        read_history(directory)


def test_a_killed_worker_leaves_ranges_that_began_after_what_its_last_batch_says(tmp_path: Path) -> None:
    ops = [op for op in some_ops(100) if op.op not in (50, 51, 97)]
    directory = write_run(tmp_path / "run", ops)
    write_stream(directory.history / "worker-0.arrow", table_of(ops), end=False, since_ns=490)
    for _ in range(2):
        history = read_history(directory)
        assert [(lost.first_op, lost.last_op, lost.since_ns) for lost in history.lost] == [(50, 51, 490), (97, 97, 490)]
        assert len(history.incomplete) == 1
        assert "worker 0" in history.incomplete[0]
        compact(directory)


def test_a_worker_without_any_record_may_have_done_anything(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [*some_ops(10), *some_ops(10, worker=1)])
    (directory.history / "worker-1.arrow").unlink()
    history = read_history(directory)
    assert [lost.worker for lost in history.lost] == [1]
    assert history.lost[0].first_op == op_id(1, 0)
    assert "worker 1" in history.incomplete[0]


def test_replicas_extend_the_keys(tmp_path: Path) -> None:
    items = {"k": Item(1, 1, ABSENT, 5, 6), "untouched": Item(None, None, None, 5, 6)}
    directory = write_run(tmp_path / "run", [write(1, 2)], initial={}, final={"us-east-1": items})
    history, replicas = read_replicas(directory, "final", read_history(directory))
    assert history.keys == ("k", "untouched")
    assert set(replicas) == {"us-east-1", "us-east-2", "us-west-2"}
    one = replicas["us-east-1"]
    assert [history.keys[code] for code in one.key] == ["k", "untouched"]
    assert one.w.tolist() == [1, NULL]
    assert one.start_ns.tolist() == [5, 5]
    assert len(replicas["us-west-2"].key) == 0
    assert replicas["us-west-2"].items == ()


def swap(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("op", [1, 1], "operation 0:1 is recorded twice"),
        ("op", [1, op_id(2, 5)], "is not worker 0's"),
        ("end_ns", [2, 2], "ends before it starts"),
        ("outcome", [0, 7], "outcome 7"),
    ],
)
def test_rows_that_no_recorder_writes_are_refused(tmp_path: Path, name: str, values: list[object], says: str) -> None:
    table = swap(table_of([write(1, 2), read(3, 4)]), name, values)
    directory = write_run(tmp_path / "run", [write(1, 2)])
    write_stream(directory.history / "worker-0.arrow", table)
    with pytest.raises(RecordError, match=says) as caught:
        read_history(directory)
    assert "worker-0.arrow" in str(caught.value)


def test_a_kind_of_another_version_is_refused(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [Op("increment", 1, 2)])
    with pytest.raises(RecordError, match="kind 'increment'"):
        read_history(directory)


@pytest.mark.parametrize("content", [b"PAR1", b"not arrow at all, but long enough to look like something", b"\0" * 64])
def test_files_that_are_something_else_are_refused_or_empty(tmp_path: Path, content: bytes) -> None:
    directory = write_run(tmp_path / "run", [write(1, 2)])
    (directory.history / "worker-0.arrow").write_bytes(content)
    if content.strip(b"\0"):
        with pytest.raises(RecordError, match=r"worker-0\.arrow"):
            read_history(directory)
    else:
        assert read_history(directory).incomplete


def test_a_missing_column_and_another_version_are_named(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [write(1, 2)])
    path = directory.history / "worker-0.arrow"
    for schema, says in (
        (COLUMNS.remove(COLUMNS.get_field_index("saw")), "'saw' is missing"),
        (COLUMNS.with_metadata({b"lastwriter.schema": b"99"}), "schema 99"),
    ):
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema):
            pass
        with pytest.raises(RecordError, match=says):
            read_history(directory)


def test_no_history_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there is no history"):
        read_history(RunDirectory(tmp_path))


def test_builders_fill_in_what_follows() -> None:
    history, context = build([write(1, 2), add(3, 4, result=1)], initial={"us-east-1": {"x": Item(3)}})
    assert history.saw.tolist() == [1, 2]
    assert history.keys == ("k", "x")
    assert context.initial["us-east-1"].value.tolist() == [3]

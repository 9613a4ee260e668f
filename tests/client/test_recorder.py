"""The recorder: what goes in comes out, whenever the worker dies, and whatever is missing is announced."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastwriter.client.recorder import FEWEST_RESERVED, Recorder
from lastwriter.errors import RunAborted
from verifier.history.columns import NO_CODE, NULL
from verifier.history.compact import compact
from verifier.history.reader import read_history, read_worker
from verifier.history.schema import COLUMNS, Outcome, op_id
from verifier.history.stream import WorkerStream, lost_ranges
from verifier.rundir import RunDirectory


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000

    def __call__(self) -> int:
        self.now_ns += 10
        return self.now_ns


@dataclass
class Pending:
    """Somebody with an attempt under way."""

    recorder: Recorder
    op: int
    since_ns: int | None

    def in_flight_since_ns(self) -> int | None:
        return self.since_ns

    def abandon(self) -> None:
        if self.since_ns is not None:
            write(self.recorder, self.op, outcome=Outcome.UNKNOWN, error="InFlight", start_ns=self.since_ns)
            self.since_ns = None


def write(recorder: Recorder, op: int, **given: Any) -> None:
    text = {
        "region": "us-east-1", "home_region": None, "workload": "w", "kind": "add", "key_class": None, "key": "k",
        "logical_key": None, "error": None,
    }  # fmt: skip
    text |= {name: value for name, value in given.items() if name in text}
    number = {
        "intent": op, "attempt": 1, "token": NULL, "process": 1, "value": 1, "expect": NULL, "result": NULL,
        "saw": NULL, "prev": NULL, "outcome": Outcome.OK, "scheduled_ns": 1, "start_ns": 2, "end_ns": 3,
    }  # fmt: skip
    number |= {name: value for name, value in given.items() if name in number}
    codes = {name: getattr(recorder, name).of(value) for name, value in text.items()}
    recorder.add(op, **{**number, **codes}, **({} if given.get("units") is None else {"units": given["units"]}))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(read_table(path).to_pylist())


def read_table(path: Path) -> pa.Table:
    batches = list(WorkerStream(path))
    return pa.Table.from_batches(batches, COLUMNS)


numbers = st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1))
texts = st.one_of(st.none(), st.text(max_size=8))
rows = st.fixed_dictionaries(
    {
        "attempt": st.integers(1, 2**15 - 1), "process": st.integers(0, 2**31 - 1), "outcome": st.sampled_from(Outcome),
        "token": numbers, "value": numbers, "expect": numbers, "result": numbers, "saw": numbers, "prev": numbers,
        "units": st.one_of(st.none(), st.floats(0, 1000, width=32)),
        "region": st.text(max_size=8), "workload": st.text(max_size=8), "kind": st.sampled_from(["add", "read"]),
        "key": st.text(max_size=8), "home_region": texts, "key_class": texts, "logical_key": texts, "error": texts,
    }
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(st.one_of(rows, st.just("flush")), max_size=60), st.integers(1, 7))
def test_every_value_comes_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, Any] | str], capacity: int
) -> None:
    path = tmp_path_factory.mktemp("history") / "worker-3.arrow"
    recorder = Recorder(path, 3, capacity=capacity)
    written = []
    for step in steps:
        if isinstance(step, str):
            recorder.flush()
            continue
        op = recorder.next_op()
        write(
            recorder, op, **{name: NULL if value is None and name in NUMBERS else value for name, value in step.items()}
        )
        written.append({"op": op, "intent": op, "worker": 3, **step})
    recorder.close()
    record = read_worker(path)
    assert record.ended
    for row, expected in zip(rows_of(path), written, strict=True):
        assert {name: row[name] for name in expected} == expected


NUMBERS = {field.name for field in COLUMNS if str(field.type) == "int64"}


def test_units_that_were_not_returned_are_null(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "worker-0.arrow", 0)
    write(recorder, recorder.next_op())
    write(recorder, recorder.next_op(), units=2.5)
    recorder.close()
    assert [row["units"] for row in rows_of(tmp_path / "worker-0.arrow")] == [None, 2.5]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_cut_anywhere_what_is_whole_is_read_and_every_other_id_is_announced(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("history") / "worker-1.arrow"
    recorder = Recorder(path, 1)
    used_by_size = [(0, 0)]  # (size of the file, ids used before it grew beyond)
    for _ in range(data.draw(st.integers(1, 5))):
        for _ in range(data.draw(st.sampled_from([1, 10, 300]))):
            write(recorder, recorder.next_op(), key=f"k{recorder.rows_written % 3}")
            if path.stat().st_size != used_by_size[-1][0]:
                used_by_size.append((path.stat().st_size, 0))
            used_by_size[-1] = (used_by_size[-1][0], recorder.next_op() - op_id(1, 0) + 1)
        recorder.flush()
    size = path.stat().st_size
    cut = data.draw(st.integers(0, size))
    os.truncate(path, cut)
    stream = WorkerStream(path)
    have = [op for batch in stream for op in batch["op"].to_pylist()]
    assert not stream.ended
    assert have == sorted(have)
    # Ids that were in use when the file was still at most this long.
    used = max((count for length, count in used_by_size if length <= cut), default=0)
    lost = lost_ranges(1, np.array(have, np.int64), stream.op_limit, stream.since_ns)
    missing = {op for one in lost for op in range(one.first_op, one.last_op + 1)}
    assert {op_id(1, number) for number in range(used)} <= set(have) | missing


def test_no_id_is_handed_out_before_the_disk_has_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "worker-2.arrow"
    recorder = Recorder(path, 2, capacity=100_000)
    announced = -1
    for _ in range(5 * FEWEST_RESERVED):
        op = recorder.next_op()
        if op > announced:
            stream = WorkerStream(path)
            list(stream)
            announced = stream.op_limit or -1
        assert op <= announced
    assert announced < op + 10 * FEWEST_RESERVED, "and few are announced: a killed worker may have used them all"


def test_what_is_in_flight_at_the_end_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.arrow"
    recorder = Recorder(path, 0, clock=Clock())
    recorder.join(Pending(recorder, recorder.next_op(), since_ns=77))
    recorder.join(Pending(recorder, recorder.next_op(), since_ns=None))
    recorder.close()
    (row,) = rows_of(path)
    assert (row["outcome"], row["error"], row["start_ns"]) == (Outcome.UNKNOWN, "InFlight", 77)
    assert read_worker(path).ended


def test_a_batch_says_since_when_lost_rows_may_have_begun(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.arrow"
    recorder = Recorder(path, 0, clock=Clock())
    recorder.join(Pending(recorder, recorder.next_op(), since_ns=5))
    for _ in range(3):
        write(recorder, recorder.next_op(), start_ns=900, end_ns=950)
    recorder.flush()  # and then the worker is killed
    stream = WorkerStream(path)
    ops = [op for batch in stream for op in batch["op"].to_pylist()]
    assert len(ops) == 3
    assert stream.since_ns == 5


def test_the_file_is_never_another_runs(tmp_path: Path) -> None:
    (tmp_path / "worker-0.arrow").write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "worker-0.arrow", 0)


def test_a_full_disk_is_said_once_and_leaves_a_readable_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "worker-0.arrow"
    recorder = Recorder(path, 0, capacity=50)
    for _ in range(50):
        write(recorder, recorder.next_op())
    recorder.flush()
    whole = path.stat().st_size
    real = os.write

    def half_then_full(descriptor: int, data: Any) -> int:
        if os.fstat(descriptor).st_size > whole:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", half_then_full)
    for _ in range(60):
        write(recorder, recorder.next_op())
    assert recorder.failure is not None
    assert "the disk is full" in recorder.failure
    assert str(path) in recorder.failure
    assert path.stat().st_size == whole, "the torn half of a batch is taken back"
    with pytest.raises(RunAborted, match="the disk is full"):
        [recorder.next_op() for _ in range(10 * FEWEST_RESERVED)]
    recorder.close()
    record = read_worker(path)
    assert record.rows == 50
    assert not record.ended, "ids were used that have no row"


def test_room_again_at_the_end_saves_what_was_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "worker-0.arrow"
    recorder = Recorder(path, 0, capacity=50)

    def full(descriptor: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(20):
            write(recorder, recorder.next_op())
        recorder.flush()
    assert recorder.failure is not None
    recorder.close()
    assert len(rows_of(path)) == 20


def test_a_worker_that_sent_nothing_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.history.mkdir()
    Recorder(directory.history / "worker-0.arrow", 0).close()
    for _ in ("as a stream", "compacted"):
        history = read_history(directory)
        assert (len(history), history.lost, history.incomplete) == (0, (), ())
        compact(directory)


def test_codes_of_null_are_null(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "worker-0.arrow", 0)
    assert recorder.error.of(None) == NO_CODE
    assert recorder.error.find("never") is None
    assert (recorder.error.of("a"), recorder.error.of("b"), recorder.error.of("a")) == (0, 1, 0)
    recorder.close()


def test_a_long_run_stays_small_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.arrow"
    recorder = Recorder(path, 0)
    rng = np.random.default_rng(1)
    at = 10**12
    for latency in rng.integers(500_000, 5_000_000, 20_000):
        op = recorder.next_op()
        at += 100_000
        write(
            recorder, op, key=f"key-{op % 100}", result=op % 1000, saw=op, prev=op - 1,
            scheduled_ns=at, start_ns=at + 1000, end_ns=at + int(latency),
        )  # fmt: skip
    recorder.close()
    assert path.stat().st_size / 20_000 < 60

"""Records that no honest recorder writes: what is said of them, where, and what it means for the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.verifier.builders import Op, read, table_of, write, write_run
from verifier.engine import Limits
from verifier.errors import RecordError
from verifier.history.compact import compact
from verifier.history.schema import COLUMNS, op_id
from verifier.rundir import RunDirectory
from verifier.verify import verify

GOOD = [write(1, 2, op=1, process=7, prev=-1), read(3, 4, op=2, process=7, saw=1)]


@pytest.fixture(params=["stream", "parquet"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def record(path: Path, ops: list[Op], form: str) -> RunDirectory:
    directory = write_run(path / "run", ops, rows_a_batch=1)
    if form == "parquet":
        compact(directory)
    return directory


def test_an_honest_record_has_nothing_odd(tmp_path: Path, form: str) -> None:
    assert verify(record(tmp_path, GOOD, form).path).warnings == []


def test_two_operations_of_one_process_at_once(tmp_path: Path, form: str) -> None:
    ops = [*GOOD, read(3, 9, op=3, process=7, saw=1), read(5, 6, op=4, process=8, saw=1)]
    verdict = verify(record(tmp_path, ops, form).path)
    (line,) = verdict.warnings
    assert line.startswith("worker-0: ")
    assert "process 7 had two operations at once (first 0:2 and 0:3): session guarantees are not judged for it" in line
    sessions = next(check for check in verdict.checks if check.name == "sessions")
    assert "overlap" in str(sessions.note)
    assert next(check for check in verdict.checks if check.name == "register").verdict == "holds", "all else is judged"


def test_items_of_one_request_are_no_overlap(tmp_path: Path, form: str) -> None:
    ops = [
        Op("txn_read", 5, 9, op=5, process=7, key="a", saw=-1),
        Op("txn_read", 10, 12, op=6, process=7, key="b", saw=-1),
    ]
    assert verify(record(tmp_path, [*GOOD, *ops], form).path).warnings == []


def test_a_clock_that_goes_back_between_two_operations(tmp_path: Path, form: str) -> None:
    ops = [write(100, 110, op=1, process=7), read(50, 60, op=2, process=7, saw=-1)]
    directory = record(tmp_path, ops, form)
    with pytest.raises(
        RecordError, match=r"worker-0\..*: operation 0:2 had ended before 0:1 of the same process began"
    ):
        verify(directory.path)
    assert not directory.verdict.exists()


def test_a_clock_that_goes_back_within_an_operation(tmp_path: Path, form: str) -> None:
    directory = record(tmp_path, [write(100, 90, op=1)], form)
    with pytest.raises(RecordError, match=r"worker-0\..*: operation 0:1 ends before it starts .* clock went backwards"):
        verify(directory.path)


def test_an_operation_id_twice(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", GOOD)
    table = table_of(GOOD)
    path = directory.history / "worker-0.parquet"
    (directory.history / "worker-0.arrow").unlink()
    for twice in (table.slice(0, 1), table.slice(1, 1)):  # somewhere, and next to each other
        pq.write_table(pa.concat_tables([table, twice]), path)
        for limits in (Limits(), Limits(1, 1)):
            with pytest.raises(RecordError, match=r"worker-0\.parquet: operation 0:\d is recorded twice: marks do not"):
                verify(directory.path, limits=limits)


def test_an_operation_of_another_worker(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", GOOD)
    (directory.history / "worker-0.arrow").rename(directory.history / "worker-1.arrow")
    with pytest.raises(RecordError, match=r"worker-1\.arrow: .*worker"):
        verify(directory.path)


def test_versions_that_do_not_go_together(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [*GOOD, write(1, 2, op=op_id(1, 1))])
    table = table_of([write(1, 2, op=op_id(1, 1))])
    newer = COLUMNS.with_metadata({b"lastwriter.schema": b"99"})
    (directory.history / "worker-1.arrow").unlink()
    pq.write_table(table.cast(newer), directory.history / "worker-1.parquet")
    with pytest.raises(RecordError, match=r"worker-1\.parquet: history schema 99; this verifier reads version"):
        verify(directory.path)
    info = json.loads(directory.run_json.read_text())
    directory.run_json.write_text(json.dumps({**info, "schema": 99}))
    with pytest.raises(RecordError, match=r"run\.json: schema: .*schema 99 is not the one that this version reads"):
        verify(directory.path)


@pytest.mark.parametrize("column", ["saw", "start_ns", "key"])
def test_a_column_that_is_missing_or_of_another_type(tmp_path: Path, column: str) -> None:
    directory = write_run(tmp_path / "run", GOOD)
    (directory.history / "worker-0.arrow").unlink()
    path = directory.history / "worker-0.parquet"
    table = table_of(GOOD)
    pq.write_table(table.drop_columns([column]), path)
    with pytest.raises(RecordError, match=rf"worker-0\.parquet: column '{column}' is missing"):
        verify(directory.path)
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, column, pa.array([1.5, 2.5])), path)
    with pytest.raises(RecordError, match=rf"worker-0\.parquet: column '{column}' is double, not "):
        verify(directory.path)


def test_a_replica_that_was_not_read(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", GOOD, initial={}, final={})
    assert verify(directory.path).warnings == []
    missing = sorted((directory.path / "final").glob("*.parquet"))[0]
    missing.unlink()
    (line,) = verify(directory.path).warnings
    assert line == f"final/{missing.name} is missing: what this replica held in the end is not judged"

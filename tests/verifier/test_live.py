"""Suspicions while a run is under way: found as the streams grow, each once, and never of a correct store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.verifier.builders import REGIONS, Op, read, run_info, table_of, write
from tests.verifier.stores import simulate
from verifier.history.schema import COLUMNS, META_CRC, META_OP_LIMIT, op_id, worker_of
from verifier.history.stream import batch_crc
from verifier.live import Watch
from verifier.rundir import RunDirectory

S = 1_000_000_000


class Worker:
    """A stream that grows piece by piece, as the recorder writes it."""

    closed = False

    def __init__(self, directory: RunDirectory, number: int) -> None:
        directory.history.mkdir(parents=True, exist_ok=True)
        self.path = directory.history / f"worker-{number}.arrow"
        self.data = b""
        self.stream = pa.ipc.new_stream(self, COLUMNS, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True))

    def add(self, ops: list[Op], torn: int = 0) -> None:
        """The rows as one batch, of which the last ``torn`` bytes have not reached the file yet."""
        batch = table_of(ops).combine_chunks().to_batches()[0]
        self.stream.write_batch(batch, custom_metadata={META_CRC: str(batch_crc(batch)), META_OP_LIMIT: "0"})
        self.path.write_bytes(self.data[: len(self.data) - torn])

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(bytes(data))

    def tell(self) -> int:
        return len(self.data)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def watch(directory: RunDirectory) -> Watch:
    return Watch(directory, run_info("MREC"))


def test_a_stale_read_is_suspected_once_with_its_region_and_a_sentence(directory: RunDirectory) -> None:
    worker, view = Worker(directory, 0), watch(directory)
    assert not view.look(), "nothing has been written yet"
    worker.add([write(1 * S, 2 * S, op=1, prev=-1), write(3 * S, 4 * S, op=2, prev=1)])
    assert not view.look()
    worker.add([read(5 * S, 6 * S, op=3, saw=1, region=REGIONS[2])])
    found = view.look()
    assert (found.stale, found.lost) == ({REGIONS[2]: 1}, {})
    assert found.newest_ns == 6 * S
    assert found.line() == f"suspected: 1 stale read ({REGIONS[2]} 1)"
    assert "shows" in found.examples[0]
    assert not view.look(), "it has been said already"


def test_two_updates_of_one_state_are_a_suspected_loss(directory: RunDirectory) -> None:
    worker, view = Worker(directory, 0), watch(directory)
    worker.add([Op("add", 1 * S, 2 * S, op=1, value=1, result=1, prev=-1)])
    worker.add([Op("add", 3 * S, 4 * S, op=2, value=1, result=2, prev=1)])
    worker.add([Op("add", 3 * S, 4 * S, op=3, value=1, result=2, prev=1, region=REGIONS[1])])
    assert sum(view.look().lost.values()) >= 1


def test_what_happened_before_the_window_accuses_nobody(directory: RunDirectory) -> None:
    worker, view = Worker(directory, 0), watch(directory)
    worker.add([write(1 * S, 2 * S, op=1, prev=-1)])
    view.look()
    worker.add([write(100 * S, 101 * S, op=50, prev=40), read(102 * S, 103 * S, op=51, saw=50)])
    worker.add([read(102 * S, 103 * S, op=52, saw=77, key="another")])
    assert not view.look()


def test_a_batch_that_is_still_being_written_waits(directory: RunDirectory) -> None:
    worker, view = Worker(directory, 0), watch(directory)
    for torn in (1, 40, 200):
        number = 10 * torn
        worker.add([write(1 * S, 2 * S, op=number, prev=-1, key=f"k{torn}")])
        worker.add([read(3 * S, 4 * S, op=number + 1, saw=-1, key=f"k{torn}")], torn=torn)
        assert not view.look()
        worker.path.write_bytes(worker.data)
        assert sum(view.look().stale.values()) == 1


def test_damage_ends_the_view_and_nothing_else(directory: RunDirectory) -> None:
    worker, other, view = Worker(directory, 0), Worker(directory, 1), watch(directory)
    worker.add([write(1 * S, 2 * S, op=1)])
    view.look()
    worker.path.write_bytes(worker.data + b"\xff" * 64)
    other.add([write(1 * S, 2 * S, op=op_id(1, 1), prev=-1), read(3 * S, 4 * S, op=op_id(1, 2), saw=-1)])
    assert sum(view.look().stale.values()) == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_correct_store_is_never_suspected_wherever_the_window_begins(directory: RunDirectory, seed: int) -> None:
    run = simulate(seed, "MRSC", kinds=("add", "write", "cas"), unknown=0.1, refused=0.1, retries=True, intents=12)
    workers, view = [Worker(directory, 0), Worker(directory, 1)], Watch(directory, run_info("MRSC"), window_s=0.03)
    ordered = sorted(run.ops, key=lambda op: op.end)
    for first in range(0, len(ordered), 9):
        for number, worker in enumerate(workers):
            mine = [op for op in ordered[first : first + 9] if worker_of(op.op or 0) == number]
            if mine:
                worker.add(mine)
        assert not view.look()


def test_a_planted_bug_is_seen_while_the_run_goes_on(directory: RunDirectory) -> None:
    run = simulate(3, "MRSC", kinds=("add",), bug="applied to a stale copy", intents=40, keys=1)
    worker, view = Worker(directory, 0), Watch(directory, run_info("MRSC"))
    mine = [op for op in run.ops if worker_of(op.op or 0) == 0]
    worker.add(sorted(mine, key=lambda op: op.end))
    assert view.look()

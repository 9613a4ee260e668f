"""Records fetched in pieces: whole, or not at all and said why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent
import pytest

from lastwriter.client import collect
from lastwriter.client.collect import PIECE_BYTES, Collector, files_of, forget, read_piece
from verifier.rundir import RunDirectory


def record(folder: Path, sizes: dict[str, int]) -> Path:
    history = folder / "there" / "history"
    history.mkdir(parents=True)
    for name, size in sizes.items():
        (history / name).write_bytes(os.urandom(size))
    return history


def collector(folder: Path, history: Path, **changes: Any) -> Collector:
    """One whose questions are answered by the worker's own code, out of order and a little later."""
    directory = RunDirectory(folder / "run")
    directory.history.mkdir(parents=True)

    def ask(data: dict[str, Any]) -> None:
        late_s = 0.01 if data["offset"] % (2 * PIECE_BYTES) else 0
        gevent.spawn_later(late_s, lambda: made.on_piece({**read_piece(history, data), **changes}))

    made = Collector(directory, files_of(history, 3), ask)
    return made


def test_files_of_every_size_come_whole_and_leave_nothing_there(tmp_path: Path) -> None:
    sizes = {"worker-3.arrow": 5 * PIECE_BYTES + 7, "worker-3.lag.jsonl": 0, "worker-3.x": PIECE_BYTES}
    history = record(tmp_path, sizes | {"worker-31.arrow": 9})
    fetched = collector(tmp_path, history)
    assert fetched.total_bytes == sum(sizes.values())
    assert fetched.fetch()
    for name in sizes:
        assert (tmp_path / "run" / "history" / name).read_bytes() == (history / name).read_bytes()
    forget(history, 3)
    assert [path.name for path in history.iterdir()] == ["worker-31.arrow"], "another worker's record stays"
    forget(history, 31)
    assert not history.parent.exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"crc": 1}, "damaged"), ({"failure": "no such disk"}, "no such disk")],
)
def test_what_does_not_come_whole_does_not_come(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    fetched = collector(tmp_path, record(tmp_path, {"worker-3.arrow": 100}), **changes)
    assert not fetched.fetch()
    assert why in str(fetched.failure)
    assert list((tmp_path / "run" / "history").iterdir()) == []


def test_a_worker_that_leaves_is_not_waited_for(tmp_path: Path) -> None:
    history = record(tmp_path, {"worker-3.arrow": 100})
    directory = RunDirectory(tmp_path / "run")
    directory.history.mkdir(parents=True)
    fetched = Collector(directory, files_of(history, 3), lambda _: None)
    assert not fetched.fetch(lambda: True)
    assert fetched.failure == "the worker left"


def test_only_files_of_the_record_can_be_asked_for(tmp_path: Path) -> None:
    history = record(tmp_path, {"worker-3.arrow": 100})
    (tmp_path / "there" / "secret").write_text("x")
    assert "failure" in read_piece(history, {"file": "../secret", "offset": 0})
    assert "failure" in read_piece(history, {"file": "worker-9.arrow", "offset": 0})
    assert collect.away("run").name == "run"

"""The files of ``--data``: read back as written, cut anywhere, damaged anywhere, on a full disk, and compacted."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.snapshot import snapshot
from lastwriter.emulator.shell import datadir, durability
from lastwriter.emulator.shell.datadir import DataDirectory, Frame
from lastwriter.emulator.shell.durability import Memory, load
from lastwriter.errors import UserError
from tests.emulator.virtual import MS, REGIONS, World


def written(path: Path, frames: int = 20) -> bytes:
    """A log of so many frames."""
    directory = DataDirectory(path)
    list(directory.frames())
    directory.open()
    for number in range(frames):
        directory.append(number, number / 2, [["w", number, "é" * number]])
    directory.close()
    return (path / "log-0").read_bytes()


def read(path: Path) -> list[Frame]:
    """What there is."""
    directory = DataDirectory(path)
    try:
        return list(directory.frames())
    finally:
        directory.close()


def test_what_was_written_is_read_and_written_on(tmp_path: Path) -> None:
    written(tmp_path)
    assert read(tmp_path) == [(number, number / 2, [["w", number, "é" * number]]) for number in range(20)]
    written(tmp_path, 3)
    assert len(read(tmp_path)) == 23


def test_cut_anywhere_the_rest_is_there_and_can_be_written_on(tmp_path: Path) -> None:
    log = written(tmp_path)
    whole = read(tmp_path)
    for end in [*range(60), *range(60, len(log), 37)]:
        (tmp_path / "log-0").write_bytes(log[:end])
        found = read(tmp_path)
        assert found == whole[: len(found)]
        assert len(found) == max(0, log[:end].count(b"\n") - 1)
        written(tmp_path, 1)
        assert len(read(tmp_path)) == len(found) + 1


def test_a_flipped_bit_is_damage_and_nothing_is_touched(tmp_path: Path) -> None:
    log = written(tmp_path)
    rng = random.Random(1)
    for _ in range(200):
        damaged = bytearray(log)
        damaged[rng.randrange(len(log) - 1)] ^= 1 << rng.randrange(8)  # without the last line's end it is a cut
        (tmp_path / "log-0").write_bytes(damaged)
        with pytest.raises(UserError, match=r"log-0 (is damaged at byte|was written by another version)"):
            read(tmp_path)
        assert (tmp_path / "log-0").read_bytes() == damaged


@pytest.mark.parametrize("missing", [1, 7, 19])
def test_a_missing_line_is_damage(tmp_path: Path, missing: int) -> None:
    lines = written(tmp_path).splitlines(keepends=True)
    (tmp_path / "log-0").write_bytes(b"".join(lines[:missing] + lines[missing + 1 :]))
    with pytest.raises(UserError, match="log-0 is damaged"):
        read(tmp_path)


def test_a_missing_log_and_a_snapshot_without_end_are_damage(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    list(directory.frames())
    directory.open()
    for _ in range(3):
        directory.turn()
    directory.close()
    (tmp_path / "log-1").unlink()
    with pytest.raises(UserError, match="log-1 is missing"):
        read(tmp_path)
    directory = DataDirectory(tmp_path)
    directory.write_snapshot(2, 0, 0.0, [["x"]])
    directory.close()
    assert read(tmp_path) == [(0, 0.0, [["x"]])]
    lines = (tmp_path / "snapshot-2").read_bytes().splitlines(keepends=True)
    (tmp_path / "snapshot-2").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(UserError, match="snapshot-2 has no end"):
        read(tmp_path)


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = DataDirectory(tmp_path)
    list(directory.frames())
    directory.open()
    directory.append(1, 1.0, [["x"]])
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(datadir.os, "write", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                directory.append(2, 2.0, [["y"]])
    directory.append(2, 2.0, [["y"]])
    directory.close()
    assert read(tmp_path) == [(1, 1.0, [["x"]]), (2, 2.0, [["y"]])]


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_compacted_it_says_the_same(mode: str, tmp_path: Path) -> None:
    rng = random.Random(mode)
    records: list[list[Any]] = []
    w = World(mode, records=records, replicator_delay="100ms")
    directory = DataDirectory(tmp_path)
    list(directory.frames())
    directory.open()
    for step in range(300):
        w.put(rng.choice(REGIONS), f"k{rng.randrange(9)}", str(step))
        w.wait(rng.randrange(20 * MS))
        directory.append(w.now_ns, 1e9 + w.now_ns / 1e9, records)
        records.clear()
        if step == 200:
            before = _loaded(tmp_path)
            number = directory.turn()
            code = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "lastwriter.emulator.shell.compacting",
                    tmp_path,
                    str(number),
                    ",".join(REGIONS),
                    "{}",
                ]
            ).returncode
            assert code == 0
            directory.tidy()
            assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "log-1", "snapshot-1"]
            assert _loaded(tmp_path) == before
    directory.close()
    assert len(_loaded(tmp_path)) > 9


def test_a_log_that_has_grown_is_compacted_beside_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "COMPACT_BYTES", 20_000)
    records: list[list[Any]] = []
    w = World("MREC", records=records, replicator_delay="0ms", latency_scale="0%")
    directory = DataDirectory(tmp_path)
    list(directory.frames())

    async def live() -> None:
        memory = Memory(directory, w.core, lambda replies: None)
        turns = 0
        for step in range(400):
            w.put(REGIONS[step % 3], f"k{step % 7}", str(step))
            memory.commit()
            memory.keep_house()
        while not (tmp_path / "snapshot-1").exists() or (tmp_path / "log-0").exists():
            turns += 1
            assert turns < 3000
            memory.keep_house()
            await asyncio.sleep(0.01)
        w.put(REGIONS[0], "last", "word")
        memory.close()

    asyncio.run(live())
    core = Core(REGIONS, now_ns=10**18, wall=lambda: 2e9, records=[])
    load(DataDirectory(tmp_path, until=99), core, 2e9)
    items = core.control.tables[0].members[REGIONS[1]].store.items
    assert {key: version[-1]["v"]["S"] for key, version in items.items()} == {
        **{f"k{key}": str(max(step for step in range(400) if step % 7 == key)) for key in range(7)},
        "last": "word",
    }


def _loaded(path: Path) -> list[str]:
    core = Core(REGIONS, now_ns=10**18, wall=lambda: 2e9, records=[])
    load(DataDirectory(path, until=99), core, 2e9)
    return sorted(str(_dateless(record)) for record in snapshot(core, 2e9))


def _dateless(record: list[Any]) -> list[Any]:
    """Streams place their records by the time of day of the frame: of all, or of the snapshot's."""
    if record[0] == "s":
        return [*record[:2], {**record[2], "records": [one[1:] for one in record[2]["records"]]}]
    return record


def test_one_directory_one_emulator(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    with pytest.raises(UserError, match="another emulator is using it"):
        DataDirectory(tmp_path)
    first.close()
    DataDirectory(tmp_path).close()

"""The directory of ``--data``: snapshots and logs of records, in lines that prove themselves.

Rules
-----
1. A directory holds ``snapshot-N`` (everything before ``log-N``; none for N = 0) and ``log-N``, ``log-N+1`` …. The
   state is the latest snapshot and the logs from its number on. What is older is left over, and removed.
2. A line is ``CRC-32 of the rest, in hex``, a space, and a JSON array: number of the line, the core's clock, seconds
   since 1970, records. One line is one tick of the loop: it is there whole or not at all.
3. A last line of the last log without its end was being written when the process died. Nobody had been answered: it
   is dropped. Anything else that does not fit is damage, is said in one line, and nothing is changed.
4. A process holds a lock on the directory as long as it lives.
5. A line that cannot be written whole (a full disk) is taken back, and waits with all that comes after it.
6. Nothing is forced to the disk: what was written survives the process, not the machine's power.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from lastwriter.errors import UserError

FORMAT: Final = 1
_BATCH: Final = 1000
"""Records in a line of a snapshot."""

Frame = tuple[int, float, list[list[Any]]]
"""The core's clock, seconds since 1970, records."""


class DataDirectory:
    """One emulator's directory, locked; or, with ``until``, what stands before that log, for whoever only reads."""

    def __init__(self, path: Path, until: int | None = None) -> None:
        """UserError if it cannot be had."""
        lock = until is None
        self.path = path
        self._until = until
        self._lock = -1
        self._log = -1
        self._number = 0
        self._line = 0
        self.log_bytes = 0
        """Of the log that is being written."""
        self.cut_bytes = 0
        """Of a last line that was not written to its end."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if lock:
                self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"--data {path}: {_reason(error)}") from None
        try:
            if lock:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UserError(
                f"--data {path}: another emulator is using it; end that one or take another directory"
            ) from None

    # -- reading

    def frames(self) -> Iterator[Frame]:
        """Everything there is, in order. UserError where it is damaged."""
        until = self._until
        base = max(self._numbers("snapshot"), default=0)
        if base:
            yield from self._read(self.path / f"snapshot-{base}", last=False)
        logs = sorted(number for number in self._numbers("log") if number >= base)
        if until is not None:
            logs = [number for number in logs if number < until]
        for index, number in enumerate(logs):
            if number != base + index:
                raise UserError(f"--data {self.path}: log-{base + index} is missing")
            yield from self._read(self.path / f"log-{number}", last=until is None and number == logs[-1])
        self._number = logs[-1] if logs else base

    def _read(self, path: Path, last: bool) -> Iterator[Frame]:
        self._line = 0
        offset = 0
        ended = False
        try:
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n") and last:
                        self.cut_bytes = len(line)
                        break
                    content = _proven(line)
                    if content is None or content[0] != self._line or ended:
                        raise UserError(
                            f"--data {self.path}: {path.name} is damaged at byte {offset}; restore the directory from "
                            "a copy, or remove it to begin anew"
                        )
                    self._line += 1
                    offset += len(line)
                    if content[3] is None:
                        ended = True
                        continue
                    if content[0] == 0:
                        _check_format(self.path, path, content[3])
                        continue
                    yield content[1], content[2], content[3]
        except OSError as error:
            raise UserError(f"--data {self.path}: cannot read {path.name}: {_reason(error)}") from None
        if path.name.startswith("snapshot") and not ended:
            raise UserError(f"--data {self.path}: {path.name} has no end; restore the directory from a copy")
        self.log_bytes = offset

    def _numbers(self, kind: str) -> list[int]:
        names = [path.name.partition("-") for path in self.path.glob(f"{kind}-*")]
        return [int(number) for _, _, number in names if number.isdecimal()]

    # -- writing

    def open(self) -> None:
        """Write on where reading ended. OSError."""
        path = self.path / f"log-{self._number}"
        fresh = not path.exists()
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if fresh:
            self._line = self.log_bytes = 0
        elif self.cut_bytes:
            os.ftruncate(self._log, self.log_bytes)
        if not self.log_bytes:
            self._line = 0
            self.append(0, time.time(), [["format", FORMAT]])

    def append(self, now_ns: int, wall: float, records: list[list[Any]]) -> None:
        """One more line. OSError: it is not there, and has to be given again."""
        line = _line(self._line, now_ns, wall, records)
        written = 0
        try:
            while written < len(line):
                written += os.write(self._log, line[written:] if written else line)
        except OSError:
            if written:
                os.ftruncate(self._log, self.log_bytes)
            raise
        self._line += 1
        self.log_bytes += len(line)

    def turn(self) -> int:
        """Begin the next log; its number. OSError: the old one goes on."""
        before, number, line, size = self._log, self._number, self._line, self.log_bytes
        try:
            self._number, self.cut_bytes = number + 1, 0
            self.open()
        except OSError:
            if self._log != before:
                os.close(self._log)
            (self.path / f"log-{number + 1}").unlink(missing_ok=True)
            self._log, self._number, self._line, self.log_bytes = before, number, line, size
            raise
        os.close(before)
        return self._number

    def write_snapshot(self, number: int, now_ns: int, wall: float, records: Iterable[list[Any]]) -> None:
        """All that stands in the logs before ``number``, in place of them. OSError."""
        path = self.path / f"snapshot-{number}"
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(_line(0, now_ns, wall, [["format", FORMAT]]))
            count, batch = 1, []
            for record in records:
                batch.append(record)
                if len(batch) == _BATCH:
                    file.write(_line(count, now_ns, wall, batch))
                    count, batch = count + 1, []
            file.write(_line(count, now_ns, wall, batch))
            file.write(_line(count + 1, now_ns, wall, None))
        draft.replace(path)

    def tidy(self) -> None:
        """Remove what the latest snapshot stands for."""
        base = max(self._numbers("snapshot"), default=0)
        for kind in ("snapshot", "log"):
            for number in self._numbers(kind):
                if number < base:
                    (self.path / f"{kind}-{number}").unlink(missing_ok=True)
        for draft in self.path.glob("snapshot-*.draft"):
            draft.unlink(missing_ok=True)

    @property
    def logs_bytes(self) -> int:
        """Of all logs that are not part of a snapshot."""
        base = max(self._numbers("snapshot"), default=0)
        logs = [self.path / f"log-{number}" for number in self._numbers("log") if number >= base]
        return sum(path.stat().st_size for path in logs)

    @property
    def snapshot_bytes(self) -> int:
        """Of the latest snapshot; 0: there is none."""
        base = max(self._numbers("snapshot"), default=0)
        return (self.path / f"snapshot-{base}").stat().st_size if base else 0

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self._log, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._lock = -1


def _line(number: int, now_ns: int, wall: float, records: list[list[Any]] | None) -> bytes:
    content = orjson.dumps([number, now_ns, wall, records])
    return b"%08x %b\n" % (crc32(content), content)


def _proven(line: bytes) -> list[Any] | None:
    """What a line says; None: it is damaged."""
    if line[8:9] != b" " or line[-1:] != b"\n":
        return None
    content = line[9:-1]
    if line[:8] != b"%08x" % crc32(content):
        return None
    found: list[Any] = orjson.loads(content)
    return found


def _check_format(directory: Path, path: Path, records: list[list[Any]]) -> None:
    if records != [["format", FORMAT]]:
        raise UserError(
            f"--data {directory}: {path.name} was written by another version of lastwriter, and cannot be read"
        )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

"""The checks of registers and counters over the last seconds of a run under way: what looks lost or stale by now.

>>> watch = Watch(RunDirectory(path), run)
>>> watch.look()  # every second or so
Suspected(stale={"us-west-2": 3}, lost={}, examples=("us-west-2's strong read 1:17 … shows write 0:1622, but …",))

Workers write what they did every half second; each look reads what is new and judges the operations that ended in the
last :data:`WINDOW_S` seconds, by the very functions that judge the whole record later. What is not in the window is
treated like the rows of a killed worker: anybody may have done anything before it, so that nothing is accused on its
account. It is a suspicion all the same: the verdict is the whole record's, and knows what became of each item.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from verifier.checks import explain
from verifier.checks.marks import of_kind
from verifier.checks.registry import CHECK
from verifier.checks.types import Context, Result
from verifier.history.columns import History, LostRange
from verifier.history.reader import to_history
from verifier.history.schema import COLUMNS, READS, op_id
from verifier.history.stream import EARLIEST_NS, worker_number
from verifier.rundir import RunDirectory, RunInfo

WINDOW_S: Final = 6.0
"""Long enough for a write, what overwrote it, and the read that shows it all the same."""

MOST_ROWS: Final = 100_000
"""Of the newest rows, where a window has more: a look should not take longer than what it looks at."""

_CHECKS: Final = ("register", "counter")
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Suspected:
    """What a look found that no look before it had."""

    stale: dict[str, int] = field(default_factory=dict)
    """Region that was asked → strong reads that missed a write which was in place before they began."""
    lost: dict[str, int] = field(default_factory=dict)
    """Region → acknowledged updates that were applied to a state which another update had been applied to as well."""
    examples: tuple[str, ...] = ()
    """The worst of them, in words."""
    newest_ns: int = 0
    """When the newest of them was answered."""

    def __bool__(self) -> bool:
        return bool(self.stale or self.lost)

    def line(self) -> str:
        """``suspected: 3 stale reads (us-west-2 3), 1 lost update (us-east-1 1)``."""
        parts = []
        for counts, one, many in (
            (self.stale, "stale read", "stale reads"),
            (self.lost, "lost update", "lost updates"),
        ):
            total = sum(counts.values())
            if total:
                where = ", ".join(f"{region} {count:,}" for region, count in sorted(counts.items()))
                parts.append(f"{total:,} {one if total == 1 else many} ({where})")
        return f"suspected: {', '.join(parts)}"


class Watch:
    """One run under way. Reads only; what it cannot read (a worker on another machine) it does not judge."""

    def __init__(self, directory: RunDirectory, run: RunInfo, window_s: float = WINDOW_S) -> None:
        """``run`` with its t0 (``start_ns``), from which the sentences count."""
        self._directory, self._run = directory, run
        self._window_ns = int(window_s * 1e9)
        self._streams: dict[Path, _Growing] = {}
        self._seen: dict[tuple[str, int], int] = {}
        """Check and operation of what was found → when the operation ended; forgotten once it is long out of sight."""

    def look(self) -> Suspected:
        """Judge the last seconds. Damage ends the view of that worker, never the run."""
        for path in sorted(self._directory.history.glob("worker-*.arrow")):
            self._streams.setdefault(path, _Growing(path)).read()
        newest = max((stream.newest_ns for stream in self._streams.values()), default=0)
        since = newest - self._window_ns
        self._seen = {one: ended_ns for one, ended_ns in self._seen.items() if ended_ns >= since - self._window_ns}
        batches = [batch for stream in self._streams.values() for batch in stream.since(since)]
        while len(batches) > 1 and sum(batch.num_rows for batch in batches) > MOST_ROWS:
            batches.remove(min(batches, key=lambda batch: batch["end_ns"][batch.num_rows - 1].as_py()))
        if not batches:
            return Suspected()
        workers = sorted(worker_number(path) for path in self._streams)
        history = to_history([pa.Table.from_batches(batches, COLUMNS)], _anything(workers))
        context = Context(mode=self._run.mode, regions=tuple(self._run.regions), run=self._run)
        return self._new(history, context)

    def _new(self, history: History, context: Context) -> Suspected:
        reading = of_kind(history, *(str(kind) for kind in READS))
        stale: dict[str, int] = {}
        lost: dict[str, int] = {}
        newest = 0
        examples: list[str] = []
        for name in _CHECKS:
            result = CHECK[name].check(history, context)
            for row in _blamed(result):
                if (name, int(history.op[row])) in self._seen:
                    continue
                self._seen[name, int(history.op[row])] = int(history.end_ns[row])
                into = stale if reading[row] else lost
                region = history.regions[history.region[row]]
                into[region] = into.get(region, 0) + 1
                newest = max(newest, int(history.end_ns[row]))
                if len(examples) < _EXAMPLES:
                    examples += _told(name, history, context, result, row)
        return Suspected(stale, lost, tuple(examples), newest)


def _anything(workers: Sequence[int]) -> tuple[LostRange, ...]:
    """Every id that a worker may have used or will use."""
    return tuple(LostRange(one, op_id(one, 0), op_id(one + 1, 0) - 1, EARLIEST_NS) for one in workers)


def _blamed(result: Result) -> list[int]:
    """The row that each finding blames, each once."""
    found = result.everything
    if found is None:
        return []
    some = np.flatnonzero(np.diff(found.offsets) > 0)
    rows: list[int] = np.unique(found.rows[found.offsets[some + 1] - 1]).tolist()
    return rows


def _told(name: str, history: History, context: Context, result: Result, row: int) -> list[str]:
    for violation in result.violations:
        if violation.rows and violation.rows[-1] == row:
            return [explain.finding(name, CHECK[name].explain, history, context, violation).sentence]
    return []


class _Growing:
    """A worker's stream that is still being written: whole batches, as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = _Available()
        self._reader: Any = None
        self._walked = 0
        self._waiting = 0
        self._batches: deque[tuple[int, pa.RecordBatch]] = deque()
        self._broken = False
        self.newest_ns = 0

    def read(self) -> None:
        """Take what has been written since."""
        if self._broken:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._bytes.end)
                self._bytes.add(file.read())
            self._walk()
            while self._waiting:
                if self._reader is None:
                    self._reader = pa.ipc.open_stream(pa.PythonFile(self._bytes, mode="r"))
                batch = self._reader.read_next_batch()
                self._waiting -= 1
                if batch.num_rows:
                    newest = int(np.max(batch.column("end_ns").to_numpy()))
                    self.newest_ns = max(self.newest_ns, newest)
                    self._batches.append((newest, batch.select(COLUMNS.names)))
            self._bytes.forget()
        except (pa.ArrowException, OSError, ValueError, KeyError, StopIteration):
            self._broken = True  # the whole record will say what is wrong with it

    def since(self, at_ns: int) -> list[pa.RecordBatch]:
        """Batches with anything that ended after this time; older ones are forgotten."""
        while self._batches and self._batches[0][0] < at_ns:
            self._batches.popleft()
        return [batch for _, batch in self._batches]

    def _walk(self) -> None:
        """Count the whole record batches among the new bytes."""
        source = pa.BufferReader(self._bytes.after(self._walked))
        while True:
            at = source.tell()
            try:
                message = pa.ipc.read_message(source)
            except (pa.ArrowException, EOFError, OSError):
                self._walked += at
                return
            self._waiting += message.type == "record batch"


class _Available(io.RawIOBase):
    """The bytes of a file that are there by now, as a file that is read once from its beginning."""

    def __init__(self) -> None:
        self._data = b""
        self._begin = 0
        self._position = 0

    @property
    def end(self) -> int:
        """How many bytes there have been."""
        return self._begin + len(self._data)

    def add(self, data: bytes) -> None:
        """More of them."""
        if data:
            self._data += data

    def after(self, position: int) -> bytes:
        """Everything from here on."""
        return self._data[max(0, position - self._begin) :]

    def forget(self) -> None:
        """What has been read is not needed any more."""
        self._data = self._data[self._position - self._begin :]
        self._begin = self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position - self._begin
        data = self._data[start:] if size is None or size < 0 else self._data[start : start + size]
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True


class Pace:
    """When to look: every second, and less often where a look takes long."""

    def __init__(self, every_s: float = 1.0, most_s: float = 4.0, share: float = 0.1) -> None:
        """A look takes at most ``share`` of the time, as long as that leaves one every ``most_s``."""
        self._every, self._most, self._share = every_s, most_s, share
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._next

    def looked(self, took_s: float) -> None:
        """A look has ended, which took so long."""
        self._next = time.monotonic() + min(self._most, max(self._every, took_s / self._share))

"""Where the parts of a history are judged: in this process, or in several at once.

A record that fits into memory is judged as it is. Another one is looked through (:mod:`verifier.history.survey`), cut
into parts on disk (:mod:`verifier.history.parts`), and these are judged one after the other, or several at a time.
Whatever is done where, the sum is the same, so a process more or less is a matter of time only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from verifier.checks.types import Context
from verifier.context import context_of_part
from verifier.errors import RecordError
from verifier.history.parts import history_of_part, read_piece, split, write_piece
from verifier.history.survey import PartKeys, Plan, Survey, plan_of, survey
from verifier.part import Asked, Part, Say, examine, laid_down, told
from verifier.processes import Workers, scratch
from verifier.rundir import RunDirectory

DEFAULT_MEMORY_BYTES: Final = 2_000_000_000

BYTES_AN_OPERATION: Final = 800
"""What judging takes at its peak, with a finding for every third of them."""

BYTES_A_PROCESS: Final = 120_000_000
"""What a process takes that has not read anything yet."""

BYTES_ON_DISK: Final = 64
"""What an operation takes of the disk while a record is cut into parts."""

WORTH_A_PROCESS: Final = 2_000_000
"""Operations: with fewer another process costs more time than it saves."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What judging may take."""

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    """Of all processes together. One key is never cut: a hot key with more operations than fit takes what it needs."""
    jobs: int | None = None
    """Processes at once; null: as many as there are cores."""

    bytes_an_operation: int = BYTES_AN_OPERATION

    @property
    def processes(self) -> int:
        """How many at most; of those that were not asked for, none without as much room to judge as it takes itself."""
        if self.jobs is not None:
            return self.jobs
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(cores, self.memory_bytes // (2 * BYTES_A_PROCESS) - 1))

    def fits(self, rows: int) -> bool:
        """Whether so many operations are best judged at once, in this process."""
        return rows * BYTES_AN_OPERATION <= self.memory_bytes and (self.processes == 1 or rows < WORTH_A_PROCESS)

    @property
    def rows_a_part(self) -> int:
        """Operations of a part, if every process has one; a quarter of the memory is used for them in any case."""
        processes = self.processes
        themselves = BYTES_A_PROCESS * (1 if processes == 1 else processes + 1)
        free = max(self.memory_bytes - themselves, self.memory_bytes // 4)
        return max(1, free // (BYTES_AN_OPERATION * processes))


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of a record that was judged in parts."""

    context: Context
    """Of the run; no replicas."""
    plan: Plan
    parts: Sequence[Part]
    """In order. Their files are there until the context that made this is left."""
    late: frozenset[int]
    """Seconds in which a worker sent late that did not measure itself."""


@contextlib.contextmanager
def judged_in_parts(
    directory: RunDirectory, files: Sequence[Path], context: Context, asked: Sequence[Asked], limits: Limits, say: Say
) -> Iterator[Cut]:
    """Judge a record part by part. Raises :class:`RecordError`."""
    t0 = context.run.start_ns or 0
    with scratch(directory.path) as folder:
        with Workers(limits.processes) as workers:
            say("looking through the record", 0.0)
            surveys = workers.all([(_survey, path, t0, context) for path in files], lambda share: None)
            plan = plan_of(directory, surveys, limits.rows_a_part, limits.processes)
            _check_room(folder, plan)
            context = with_clocks_of(context, surveys)
            say("cutting up the record", 0.05)
            workers.all(
                [(_cut_up, plan, *piece, folder) for piece in plan.pieces(limits.rows_a_part)],
                lambda share: say("cutting up the record", 0.05 + 0.35 * share),
            )
            parts = workers.all(
                [(_judge, plan.keys_of(number), directory, context, asked, folder) for number in range(plan.parts)],
                lambda share: say(f"judging {plan.parts:,} parts", 0.4 + 0.45 * share),
            )
        yield Cut(context, plan, parts, frozenset(second for one in surveys for second in one.late))


def with_clocks_of(context: Context, surveys: Sequence[Survey]) -> Context:
    """The context with what the times of all workers say of the clocks."""
    clocks = context.clocks
    if clocks is None:
        return context
    worst: dict[int, int] = {}
    for one in surveys:
        if one.rows:
            host = clocks.host_of(one.worker)
            worst[host] = max(worst.get(host, 0), one.epsilon_ns)
    return replace(context, epsilon_ns=max(worst.values(), default=0), worst_epsilon_ns=worst)


def judge_pieces(
    keys: PartKeys, directory: RunDirectory, context: Context, asked: Sequence[Asked], pieces: Sequence[pa.Table]
) -> Part:
    """One part, from all its pieces; its findings in words."""
    history = history_of_part(keys, pieces)
    del pieces  # whoever gave them has no more use for them, and they are as large as the history
    if context.clocks is not None:
        history = context.clocks.corrected(history)
    history, mine = context_of_part(directory, context, history)
    return told(examine(history, mine, asked, lambda *_: None))


# What the processes do.


def _survey(path: Path, t0_ns: int, context: Context) -> Survey:
    worker = int(path.stem.removeprefix("worker-"))
    return survey(path, t0_ns, context.clocks, worker in context.slow_seconds)


def _cut_up(plan: Plan, source: int, first: int, last: int, folder: Path) -> None:
    for part, table in split(plan, source, first, last).items():
        write_piece(table, folder / f"{part:06}-{source:06}-{first:06}.arrow")
    pa.default_memory_pool().release_unused()


def _judge(keys: PartKeys, directory: RunDirectory, context: Context, asked: Sequence[Asked], folder: Path) -> Part:
    paths = sorted(folder.glob(f"{keys.number:06}-*.arrow"))
    part = laid_down(
        judge_pieces(keys, directory, context, asked, [read_piece(path) for path in paths]), folder, keys.number
    )
    for path in paths:
        path.unlink()
    return part


def _check_room(folder: Path, plan: Plan) -> None:
    free, needed = shutil.disk_usage(folder).free, plan.rows * BYTES_ON_DISK
    if needed > free:
        raise RecordError(
            f"{folder.parent}: {plan.rows:,} operations have to be cut up on disk, which takes {needed / 1e6:,.0f} MB, "
            f"and {free / 1e6:,.0f} MB are free: make room, or give more --memory"
        )

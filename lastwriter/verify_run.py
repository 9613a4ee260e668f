"""``lastwriter verify RUN``: judge a run from its record, here or on a cluster, wherever the record is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lastwriter.drill.runs import find_run
from lastwriter.errors import UserError
from lastwriter.verify_file import memory_bytes
from verifier.engine import DEFAULT_MEMORY_BYTES, Limits
from verifier.remote import is_url
from verifier.rundir import RunDirectory
from verifier.verdict import Verdict
from verifier.verify import verify


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was asked for besides the run."""

    memory: str | None = None
    jobs: int | None = None
    scheduler: str | None = None
    output: Path | None = None


def verify_run(name: str, results: Path, options: RunOptions, stream: TextIO | None = None) -> tuple[Verdict, str]:
    """The verdict, and where it stands. Progress goes to ``stream`` (standard error), if that is a terminal."""
    memory = DEFAULT_MEMORY_BYTES if options.memory is None else memory_bytes(options.memory)
    limits = Limits(memory, options.jobs)
    if options.scheduler is not None and options.jobs is not None:
        raise UserError(
            "--jobs is of this machine, and with --scheduler the cluster does the work: leave one of them out"
        )
    where = name.rstrip("/") if is_url(name) else str(find_run(name, results).path)
    with _shown(stream if stream is not None else sys.stderr) as progress:
        verdict = verify(where, progress=progress, limits=limits, scheduler=options.scheduler, output=options.output)
    if options.output is not None:
        return verdict, str(RunDirectory(options.output).verdict)
    return verdict, f"{where}/verdict.json" if is_url(where) else str(RunDirectory(where).verdict)


@contextlib.contextmanager
def _shown(stream: TextIO) -> Iterator[Callable[[str, float], None] | None]:
    """A bar with what is being done, gone when it is done; nothing where nobody looks."""
    if not stream.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        BarColumn(32),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=stream),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, completed=share, description=what)

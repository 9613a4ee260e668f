"""``lastwriter verify RUN`` and ``report RUN``: judge and show a run from its record, wherever that is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from lastwriter.drill.runs import find_run
from lastwriter.errors import UserError
from lastwriter.verify_file import check_export, drawing, export_run, memory_bytes, seconds_of
from verifier.checks.types import SEARCH_LIMITS
from verifier.engine import DEFAULT_MEMORY_BYTES, Limits
from verifier.remote import Place, is_url
from verifier.rundir import RunDirectory
from verifier.search.judge import Judged
from verifier.verdict import Verdict
from verifier.verify import verify


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was asked for besides the run."""

    memory: str | None = None
    jobs: int | None = None
    scheduler: str | None = None
    output: Path | None = None
    deadline: str | None = None
    search_memory: str | None = None
    """Of the general search; null: 30 s and 1 GiB."""
    picture: Path | None = None
    export: Path | None = None


def verify_run(
    name: str, results: Path, options: RunOptions, stream: TextIO | None = None
) -> tuple[Verdict, dict[str, str]]:
    """The verdict, and where it (and what else was asked for) stands. Progress goes to ``stream`` (standard error), if
    that is a terminal."""
    memory = DEFAULT_MEMORY_BYTES if options.memory is None else memory_bytes(options.memory)
    limits = Limits(memory, options.jobs)
    search = SEARCH_LIMITS
    if options.deadline is not None:
        search = replace(search, deadline_s=seconds_of(options.deadline))
    if options.search_memory is not None:
        search = replace(search, memory_bytes=memory_bytes(options.search_memory))
    made: dict[str, str] = {}

    def picture(judged: Judged) -> None:
        assert draw is not None
        if judged.parts:
            draw(judged)
            made["picture"] = str(options.picture)
        else:
            made["picture"] = "nothing to draw: the general search found an order of every key that it was asked about"

    draw = None if options.picture is None else drawing(options.picture, f"{name.rpartition('/')[2]}: general search")
    check_export(options.export)
    if options.scheduler is not None and options.jobs is not None:
        raise UserError(
            "--jobs is of this machine, and with --scheduler the cluster does the work: leave one of them out"
        )
    where = name.rstrip("/") if is_url(name) else str(find_run(name, results).path)
    with _shown(stream if stream is not None else sys.stderr) as progress:
        verdict = verify(
            where,
            progress=progress,
            limits=limits,
            scheduler=options.scheduler,
            output=options.output,
            search=search,
            picture=None if draw is None else picture,
        )
    stands = f"{where}/verdict.json" if is_url(where) else str(RunDirectory(where).verdict)
    if options.output is not None:
        stands = str(RunDirectory(options.output).verdict)
    if options.export is not None:
        with Place(where).at_hand() as directory:
            made |= {"export": export_run(directory, options.export)}
    return verdict, {"verdict": stands, **made}


def report_run(name: str, results: Path, stream: TextIO | None = None) -> str:
    """Write the report of a run, judging it first where that has not been done; where it stands."""
    from verifier.report import write_report

    with _shown(stream if stream is not None else sys.stderr) as progress:
        if not is_url(name):
            directory = find_run(name, results)
            if not directory.verdict.exists():
                verify(directory.path, progress=progress)
            return str(write_report(directory, progress))
        place = Place(name.rstrip("/"))
        if "verdict.json" not in place.files():
            verify(place.name, progress=progress)
        with place.at_hand() as directory:
            place.put([write_report(directory, progress)])
        return f"{place.name}/report.html"


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

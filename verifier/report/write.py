"""Reads a verified run directory and writes its ``report.html``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import ValidationError

from verifier.context import context_of_run
from verifier.errors import RecordError
from verifier.history.reader import worker_files
from verifier.history.row_groups import in_row_groups
from verifier.report.columns import read_findings, read_lost
from verifier.report.data import Drawn, page_data
from verifier.report.page import RunFile, render
from verifier.report.record import Record
from verifier.report.series import Series, choose_buckets
from verifier.rundir import RunDirectory, RunInfo, write_atomically
from verifier.verdict import Verdict
from verifier.windows import t0_of

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is behind."""

_FILES: Final = (
    ("run.json", "profile, versions, phases, clocks: what was run"),
    ("faults.jsonl", "faults as asked for and as observed"),
    ("history", "every operation, one row an attempt (Parquet)"),
    ("initial", "every item of every replica before the load"),
    ("final", "every item of every replica at the end"),
    ("verdict.json", "what the verifier concluded: this page's figures"),
    ("findings.parquet", "every finding"),
    ("lost.jsonl", "every acknowledged write that is gone"),
    ("latency.hlog", "HdrHistogram interval log"),
    ("junit.xml", "one case an expectation, for CI"),
    ("summary.md", "the summary in Markdown"),
    ("logs", "what the processes printed"),
)


def write_report(directory: RunDirectory, progress: Progress | None = None) -> Path:
    """Write ``report.html`` as a whole and return its path. Raises RecordError if the run is not verified yet."""
    say = progress or (lambda *_: None)
    verdict = _read_verdict(directory)
    context = context_of_run(directory)
    say("looking through the record", 0.0)
    with in_row_groups(directory.path, worker_files(directory)) as files:
        record = Record(files, context)
        drawn = _drawn(record, t0_of(replace(context, first_scheduled_ns=record.first_scheduled_ns)), context.run, say)
        say("gathering what was found", 0.5)
        ledger = verdict.ledger.intent
        keys = ledger.lost_by_key if ledger is not None else ()
        page = page_data(
            verdict,
            context.run,
            record,
            drawn,
            read_lost(directory.lost, drawn.buckets, drawn.t0_ns, keys),
            read_findings(directory.findings, drawn.buckets, drawn.t0_ns),
        )
    say("writing the page", 0.95)
    write_atomically(directory.report, render(page, _run_files(directory)))
    return directory.report


def _drawn(record: Record, t0_ns: int, run: RunInfo, say: Progress) -> Drawn:
    buckets = choose_buckets(
        record.rows, record.first_scheduled_ns, record.last_scheduled_ns, t0_ns, run.end_ns or t0_ns
    )
    series = Series(buckets)
    behind = 0
    for stretch in record.in_time(buckets.of):
        say("drawing the charts", 0.1 + 0.4 * behind / record.rows)
        series.add(stretch)
        behind += len(stretch)
    return Drawn(t0_ns, buckets, series)


def _read_verdict(directory: RunDirectory) -> Verdict:
    try:
        return Verdict.model_validate_json(directory.verdict.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{directory.verdict}: not found; run `lastwriter verify {directory.path}` first") from None
    except ValidationError as error:
        raise RecordError(
            f"{directory.verdict}: not a verdict of this version ({error.error_count()} errors); "
            f"run `lastwriter verify {directory.path}` again"
        ) from None


def _run_files(directory: RunDirectory) -> list[RunFile]:
    found = []
    for name, what in _FILES:
        path = directory.path / name
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.iterdir() if file.is_file()]
            if sizes:
                found.append(RunFile(quote(name) + "/", name + "/", what, sum(sizes)))
        elif path.exists():
            found.append(RunFile(quote(name), name, what, path.stat().st_size))
    return found

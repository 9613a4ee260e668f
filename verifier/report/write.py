"""Reads a verified run directory and writes its ``report.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import ValidationError

from verifier.context import read_context
from verifier.errors import RecordError
from verifier.report.columns import read_findings, read_lost
from verifier.report.data import page_data
from verifier.report.page import RunFile, render
from verifier.rundir import RunDirectory, write_atomically
from verifier.verdict import Verdict
from verifier.windows import origin_ns

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


def write_report(directory: RunDirectory) -> Path:
    """Write ``report.html`` as a whole and return its path. Raises RecordError if the run is not verified yet."""
    verdict = _read_verdict(directory)
    history, context = read_context(directory.path)
    page = page_data(
        verdict,
        context.run,
        history,
        origin_ns(history, context),
        read_lost(directory.lost),
        read_findings(directory.findings),
    )
    write_atomically(directory.report, render(page, _run_files(directory)))
    return directory.report


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

"""One verified run with its report, for all tests of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verifier.report.synthetic import make_run
from verifier.report import write_report
from verifier.rundir import RunDirectory
from verifier.verify import verify


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with losses, stale reads, unknown outcomes, a fault, and a key that tries to be HTML."""
    directory = make_run(tmp_path_factory.mktemp("results"), seconds=30, rate=80, hostile=True)
    verify(directory.path)
    write_report(directory)
    return directory


@pytest.fixture(scope="session")
def page_html(run: RunDirectory) -> str:
    """Its report."""
    return run.report.read_text("utf-8")


@pytest.fixture(scope="session")
def quiet_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which hardly anything happened: three seconds, a few operations."""
    directory = make_run(tmp_path_factory.mktemp("quiet"), seconds=3, rate=3, seed=5, keys=40)
    verify(directory.path)
    return write_report(directory)

"""Looking at a run under way: what is told, what is kept in live.jsonl, and what may go wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lastwriter.drill.profile_file import read_profile
from lastwriter.drill.progress import PlainProgress
from lastwriter.drill.suspicions import Suspicions, new_in, together
from lastwriter.resources import profiles
from tests.verifier.builders import REGIONS, read, run_info, write
from tests.verifier.test_live import Worker
from verifier.live import Suspected
from verifier.rundir import RunDirectory

S = 1_000_000_000


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


@pytest.fixture
def view(directory: RunDirectory) -> tuple[io.StringIO, Worker, Suspicions]:
    """What a person sees of a run, a worker of it, and what looks at the one for the other."""
    stream = io.StringIO()
    progress = PlainProgress(read_profile(Path(profiles()["quickstart"])), stream)
    return stream, Worker(directory, 0), Suspicions(directory, run_info("MREC", start_ns=1 * S), progress)


def record_a_stale_read(worker: Worker) -> None:
    worker.add([write(2 * S, 3 * S, op=1, prev=-1), write(4 * S, 5 * S, op=2, prev=1)])
    worker.add([read(6 * S, 7 * S, op=3, saw=1, region=REGIONS[2])])


def test_what_is_found_is_told_and_kept(directory: RunDirectory, view: tuple[io.StringIO, Worker, Suspicions]) -> None:
    stream, worker, suspicions = view
    record_a_stale_read(worker)
    suspicions.look()
    assert f"suspected: 1 stale read ({REGIONS[2]} 1); {REGIONS[2]}'s strong read 0:3" in stream.getvalue()
    entry = json.loads(directory.live.read_text())
    assert (entry["event"], entry["second"], entry["stale"]) == ("suspected", 6, {REGIONS[2]: 1})
    assert len(entry["examples"]) == 1


def test_what_goes_wrong_ends_the_view_and_is_said(
    directory: RunDirectory, view: tuple[io.StringIO, Worker, Suspicions]
) -> None:
    stream, worker, suspicions = view
    directory.live.mkdir()  # the line cannot be written
    worker.add([write(2 * S, 3 * S, op=1, prev=-1), read(6 * S, 7 * S, op=3, saw=-1)])
    suspicions.look(last=True)
    suspicions.look(last=True)
    assert stream.getvalue().count("not shown any more") == 1


def test_what_is_new_and_what_it_comes_to() -> None:
    one, other = Suspected({"a": 1}, {}, ("first",), 5), Suspected({"a": 2, "b": 1}, {"b": 2}, ("second",), 9)
    both = together(one, other)
    assert both == Suspected({"a": 3, "b": 1}, {"b": 2}, ("first",), 9)
    assert new_in(one, Suspected()) == one
    assert new_in(other, one) == Suspected({"b": 1}, {"b": 2}, ("second",), 9)
    assert not new_in(other, both)


def test_at_the_end_it_is_said_what_it_comes_to(view: tuple[io.StringIO, Worker, Suspicions]) -> None:
    stream, worker, suspicions = view
    record_a_stale_read(worker)
    suspicions.look(last=True)
    assert f"in all suspected: 1 stale read ({REGIONS[2]} 1)" in stream.getvalue()

"""Runs under a results folder: found by path, name and ``latest``, listed newest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from lastwriter.client.session import RunSession
from lastwriter.drill.runs import find_run, list_runs
from lastwriter.errors import UserError


def open_run(results: Path, name: str = "quickstart") -> RunSession:
    return RunSession.open(
        results, name, {}, "MREC", ["us-east-1", "us-west-2"], None, "lastwriter", "emulator", "wire", 1
    )


def test_runs_of_one_second_do_not_meet(tmp_path: Path) -> None:
    opened = [open_run(tmp_path / "results") for _ in range(5)]
    assert len({session.directory.path for session in opened}) == 5
    assert all(session.info.run == session.directory.name for session in opened)


def test_a_name_becomes_a_plain_folder_name(tmp_path: Path) -> None:
    assert open_run(tmp_path, "../../etc/pass wd").directory.path.parent == tmp_path


def test_listed_newest_first_and_found_by_any_name(tmp_path: Path) -> None:
    results = tmp_path / "results"
    old, new = open_run(results), open_run(results, "other")
    (results / "README.md").write_text("not a run")
    (results / "empty").mkdir()
    assert [run.directory.name for run in list_runs(results)] == [new.directory.name, old.directory.name]
    assert list_runs(results)[0].verdict == "not verified"
    assert find_run("latest", results).path == new.directory.path
    assert find_run(old.directory.name, results).path == old.directory.path
    assert find_run(str(old.directory.path), tmp_path / "elsewhere").path == old.directory.path


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in"):
        find_run("latest", tmp_path)
    with pytest.raises(UserError, match=r"no run\.json"):
        find_run(str(tmp_path), tmp_path)
    name = open_run(tmp_path).directory.name
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        find_run(name[:-1], tmp_path)


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*--results DIR"):
        open_run(tmp_path / "file" / "results")


def test_an_unreadable_run_is_listed_as_such(tmp_path: Path) -> None:
    session = open_run(tmp_path)
    session.directory.run_json.write_text("{")
    (listed,) = list_runs(tmp_path)
    assert listed.info is None
    assert listed.ended == "unreadable"

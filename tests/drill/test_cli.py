"""The command line: help at once, one line for a mistake, exit codes, starters."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lastwriter.drill.profile_file import read_profile
from lastwriter.drill.starter import copy_starter
from lastwriter.errors import UserError
from lastwriter.resources import find_profile, profiles, workloads

COMMANDS = ["run", "verify", "report", "runs", "emulator", "profiles", "init"]


def lastwriter(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LASTWRITER_")}
    return subprocess.run(
        [sys.executable, "-m", "lastwriter", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_help_answers_at_once_and_loads_nothing_heavy(tmp_path: Path) -> None:
    started = time.process_time(), os.times().children_user
    result = lastwriter("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)
    assert os.times().children_user - started[1] < 0.5, "CPU of a help text"
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, lastwriter.cli; print(*sys.modules)"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout.split()  # fmt: skip
    assert not {"numpy", "pyarrow", "gevent", "boto3", "botocore", "locust", "pydantic", "rich"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    result = lastwriter(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    if command in {"run", "verify", "report", "emulator", "init"}:
        assert "Examples:" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "quickstrat"], 2, "no profile 'quickstrat' here and none packaged; did you mean 'quickstart'?"),
        (["run", "none.yaml"], 2, "no such profile: none.yaml"),
        (["run", "quickstart", "--set", "load.0.rte=5/s"], 2, "unknown field; did you mean 'rate'?"),
        (["run", "quickstart", "--mode", "MRCC"], 2, "--mode"),
        (["run", "quickstart", "--workers", "0"], 2, "--workers"),
        (["run"], 2, "Missing argument 'PROFILE'"),
        (["verify", "nothing"], 2, "no run 'nothing'"),
        (["report", "latest"], 2, "no run in results yet"),
        (["emulator", "--regions", "us-east-1,us-east-2", "--set", "replicator_delay"], 2, "write it as name=value"),
        (["emulator", "--regions", "us-east-1,us-east-2", "--set", "replicator_dely=1s"], 2, "replicator_delay"),
        (["init", "x", "--profile", "quickstrat"], 2, "did you mean 'quickstart'?"),
        (["unheard-of"], 2, "No such command"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    result = lastwriter(*arguments, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == [], "nothing left behind"


def test_debug_shows_where(tmp_path: Path) -> None:
    result = lastwriter("run", "none.yaml", "--debug", cwd=tmp_path)
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_profiles_are_listed_with_what_they_show(tmp_path: Path) -> None:
    result = lastwriter("profiles", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("quickstart", "counters-strict", "talk-single-writer", "talk-multi-writer"):
        assert name in result.stdout


def test_a_path_comes_before_a_packaged_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_profile("quickstart") == profiles()["quickstart"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("name: mine")
    assert find_profile("quickstart") == Path("quickstart")
    with pytest.raises(UserError, match="is a folder"):
        find_profile(str(tmp_path))


def test_a_starter_uses_its_own_locustfiles_and_overwrites_nothing(tmp_path: Path) -> None:
    path = copy_starter(tmp_path / "demo", "quickstart")
    own = workloads(path)
    for load in read_profile(path).load:
        assert own[load.workload] == tmp_path / "demo" / "locustfiles" / f"{load.workload}.py"
    with pytest.raises(UserError, match="is there already"):
        copy_starter(tmp_path / "demo", "quickstart")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        copy_starter(tmp_path / "file" / "demo", "quickstart")

"""What a user or a record gets wrong: one line that says what to do, exit 2 or 3, nothing left behind as if done."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.drills import drill, lastwriter

pytestmark = pytest.mark.e2e

SMALL = ("counters-strict", "--mode", "MRSC", "--set", "phases.load.duration=2s", "--seed", "1")


def one_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr + result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line]
    for word in words:
        assert word in line
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = lastwriter("emulator", "--regions", "us-east-1,us-east-2", "--port", port, cwd=tmp_path)
    one_line(result, 2, port)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "us-east-1,us-eats-2"], ["us-eats-2", "us-east-2"]),
        (["--regions", "us-east-1,us-east-1"], ["us-east-1"]),
        (["--regions", ""], ["egion"]),
        (["--regions", "us-east-1,us-east-2", "--table", "t", "--mode", "MRSC"], ["MRSC", "witness"]),
        (["--regions", "us-east-1,us-east-2", "--set", "replicator_delay=2"], ["replicator_delay", "unit"]),
    ],
)
def test_an_emulator_that_cannot_be(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    one_line(lastwriter("emulator", "--port", "0", *arguments, cwd=tmp_path), 2, *words)


def test_a_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = lastwriter("run", *SMALL, "--results", "file/results", cwd=tmp_path)
    assert result.returncode == 2
    assert "file/results cannot be written" in result.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_profile_of_ones_own_with_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "drill.yaml").write_text("name: x\nhypothesis: y\nload:\n  - workload: counters\n    rte: 5/s\n")
    one_line(lastwriter("run", "drill.yaml", cwd=tmp_path), 2, "drill.yaml:5: load.0.rte", "did you mean 'rate'?")
    assert not (tmp_path / "results").exists()


def test_a_workload_that_does_not_load(tmp_path: Path) -> None:
    assert lastwriter("init", "demo", "--profile", "counters-strict", cwd=tmp_path).returncode == 0
    with (tmp_path / "demo" / "locustfiles" / "counters.py").open("a") as locustfile:
        locustfile.write("\nraise ValueError('my own mistake')\n")
    run = drill("demo/counters-strict.yaml", "--short", cwd=tmp_path)
    assert run.exit_code == 4
    assert "my own mistake" in run.stderr.splitlines()[-1]
    assert run.info.ended == "aborted"
    assert not run.directory.verdict.exists()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run."""
    folder = tmp_path_factory.mktemp("recorded")
    run = drill(*SMALL, cwd=folder)
    assert run.exit_code == 0, run.stderr + run.stdout
    return run.directory.path


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwrite(path: Path) -> None:
    content = path.read_bytes()
    third = len(content) // 3
    path.write_bytes(
        content[:third] + bytes(byte ^ 0x40 for byte in content[third : third + 200]) + content[third + 200 :]
    )


def garble(path: Path) -> None:
    path.write_text('{"what": ')


@pytest.mark.parametrize("damage", [cut_in_half, overwrite, garble])
@pytest.mark.parametrize("file", ["history/worker-0.parquet", "final/us-east-2.parquet", "run.json"])
def test_a_damaged_record_is_refused(file: str, damage: Callable[[Path], None], recorded: Path, tmp_path: Path) -> None:
    run = tmp_path / "results" / recorded.name
    shutil.copytree(recorded, run)
    (run / "verdict.json").unlink()
    (run / "report.html").unlink()
    damage(run / file)
    for command in ("verify", "report"):
        one_line(lastwriter(command, run.name, cwd=tmp_path), 3, Path(file).name)
        assert not (run / "verdict.json").exists()
        assert not (run / "report.html").exists()
    assert "not verified" in lastwriter("runs", cwd=tmp_path).stdout


def test_a_run_of_another_schema_is_refused(recorded: Path, tmp_path: Path) -> None:
    run = tmp_path / "results" / recorded.name
    shutil.copytree(recorded, run)
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "schema": 999}))
    one_line(lastwriter("verify", run.name, cwd=tmp_path), 3, "run.json", "schema 999")


def test_a_workers_record_that_is_gone_is_not_passed_over(recorded: Path, tmp_path: Path) -> None:
    run = tmp_path / "results" / recorded.name
    shutil.copytree(recorded, run)
    (run / "history" / "worker-1.parquet").unlink()
    result = lastwriter("verify", run.name, cwd=tmp_path)
    assert result.returncode == 3, result.stdout + result.stderr
    assert "worker" in result.stdout + result.stderr

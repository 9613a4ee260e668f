"""What a newcomer gets with pip: the built wheel, in an empty environment, used from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.wheel, pytest.mark.e2e]


def call(*command: str | Path, cwd: Path) -> str:
    """Output of a command that has to succeed, run without anything of this checkout's environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "LASTWRITER"))
    }
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    call(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        tmp_path / "dist",
        ROOT,
        cwd=tmp_path,
    )
    (built,) = (tmp_path / "dist").glob("lastwriter-*.whl")
    return built


def test_the_wheel_does_outside_the_checkout_what_the_checkout_does(wheel: Path, tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "profiles").glob("*.yaml"), *(ROOT / "locustfiles").glob("*.py")]:
        assert f"lastwriter/{path.relative_to(ROOT)}" in names
    assert not any(name.startswith(("tests/", "benchmarks/", "results/")) for name in names)

    # Without a pip of its own and without compiling what is never imported: the same environment, a minute sooner.
    call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    binaries = tmp_path / "venv" / "bin"
    call(
        sys.executable, "-m", "pip", "--python", binaries / "python", "install", "--quiet", "--no-compile",
        "--constraint", ROOT / "constraints.txt", wheel,
        cwd=tmp_path,
    )  # fmt: skip

    empty = tmp_path / "empty"
    empty.mkdir()
    lastwriter = binaries / "lastwriter"
    assert str(ROOT) not in call(
        binaries / "python", "-c", "import lastwriter, verifier; print(lastwriter, verifier)", cwd=empty
    )
    assert "quickstart" in call(lastwriter, "profiles", cwd=empty)
    summary = call(lastwriter, "run", "quickstart", "--short", cwd=empty)
    assert "lost" in summary
    (run,) = (empty / "results").iterdir()
    assert (run / "report.html").stat().st_size > 10_000

    assert "demo/quickstart.yaml" in call(lastwriter, "init", "demo", cwd=empty)
    assert (empty / "demo" / "locustfiles" / "counters.py").is_file()
    # one's own copy is what runs: this one says so
    with (empty / "demo" / "locustfiles" / "counters.py").open("a") as locustfile:
        locustfile.write('\nprint("my own counters")\n')
    short = ["--set=phases.0.duration=1s", "--set=phases.1.duration=2s", "--set=phases.2.duration=1s"]
    call(lastwriter, "run", "demo/quickstart.yaml", *short, cwd=empty)
    newest = max((empty / "results").iterdir())
    assert "my own counters" in (newest / "logs" / "worker-1.log").read_text()

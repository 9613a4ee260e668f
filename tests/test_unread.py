"""Nobody reads the output: what is under way goes on, and the exit code is what it would be."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.drills import command

VIOLATED = "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n" + (
    "INFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 1\t:ok\t:read\t7\n"
)


@pytest.mark.parametrize("silent", ["stdout", "stderr"])
def test_a_pipe_that_nobody_reads_changes_no_exit_code(silent: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(VIOLATED)
    reading, writing = os.pipe()
    os.close(reading)
    for arguments, code in ((["log", "--model", "register"], 1), (["none", "--model", "register"], 2)):
        with subprocess.Popen(
            command("verify", *arguments),
            cwd=tmp_path,
            stdout=writing if silent == "stdout" else subprocess.PIPE,
            stderr=writing if silent == "stderr" else subprocess.PIPE,
        ) as process:
            said = process.communicate()
        assert process.returncode == code
        assert not any(b"Broken pipe" in (text or b"") for text in said)
    os.close(writing)


def test_closed_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(VIOLATED)
    line = shlex.join(command("verify", "log", "--model", "register")) + " >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False).returncode == 1

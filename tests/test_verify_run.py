"""`lastwriter verify RUN`: what its options mean, and where the verdict stands."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lastwriter.errors import UserError
from lastwriter.verify_run import RunOptions, verify_run
from tests.verifier.test_verify import talk


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_same_verdict_in_parts_and_elsewhere(tmp_path: Path) -> None:
    directory = talk(tmp_path / "run")
    _, where = verify_run(str(directory.path), tmp_path, RunOptions(), io.StringIO())
    assert where == str(directory.verdict)
    expected = directory.verdict.read_bytes()
    options = RunOptions(memory="1KB", jobs=1, output=tmp_path / "other")
    stream = Terminal()
    _, where = verify_run(str(directory.path), tmp_path, options, stream)
    assert where == str(tmp_path / "other" / "verdict.json")
    assert Path(where).read_bytes() == expected
    assert "100 %" in stream.getvalue(), "who looks sees it end; what comes between may be too quick to be drawn"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RunOptions(memory="much"), "no amount of memory; write it like 500MB"),
        (RunOptions(jobs=2, scheduler="tcp://127.0.0.1:1"), "--jobs is of this machine"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, options: RunOptions, words: str) -> None:
    with pytest.raises(UserError, match=words):
        verify_run(str(talk(tmp_path / "run").path), tmp_path, options, io.StringIO())

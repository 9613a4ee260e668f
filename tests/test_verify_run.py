"""`lastwriter verify RUN`: what its options mean, and where the verdict stands."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lastwriter.errors import UserError
from lastwriter.verify_run import RunOptions, report_run, verify_run
from tests.verifier.builders import Op, read, write, write_run
from tests.verifier.test_verify import talk


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_same_verdict_in_parts_and_elsewhere(tmp_path: Path) -> None:
    directory = talk(tmp_path / "run")
    _, made = verify_run(str(directory.path), tmp_path, RunOptions(), io.StringIO())
    assert made == {"verdict": str(directory.verdict)}
    expected = directory.verdict.read_bytes()
    options = RunOptions(memory="1KB", jobs=1, output=tmp_path / "other")
    stream = Terminal()
    _, made = verify_run(str(directory.path), tmp_path, options, stream)
    assert made == {"verdict": str(tmp_path / "other" / "verdict.json")}
    assert Path(made["verdict"]).read_bytes() == expected
    assert "100 %" in stream.getvalue(), "who looks sees it end; what comes between may be too quick to be drawn"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RunOptions(memory="much"), "no amount of memory; write it like 500MB"),
        (RunOptions(jobs=2, scheduler="tcp://127.0.0.1:1"), "--jobs is of this machine"),
        (RunOptions(deadline="3"), "--deadline: '3' has no unit"),
        (RunOptions(picture=Path("how-far.png")), "a picture is called .html or .svg"),
        (RunOptions(export=Path("run.csv")), "an export is called"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, options: RunOptions, words: str) -> None:
    with pytest.raises(UserError, match=words):
        verify_run(str(talk(tmp_path / "run").path), tmp_path, options, io.StringIO())


def test_how_far_the_general_search_got(tmp_path: Path) -> None:
    """An item with deletions is searched; where there is no order, or no time to find one, it can be drawn."""
    gone = [write(1, 2, op=1), Op("delete", 3, 4, op=2), read(5, 6, op=3, saw=1)]
    drawn = tmp_path / "how-far.html"
    for limits in ({}, {"memory": "1KB", "jobs": 1}):  # as a whole, and in parts
        directory = write_run(tmp_path / str(len(limits)) / "run", gone)
        verdict, made = verify_run(str(directory.path), tmp_path, RunOptions(picture=drawn, **limits))  # type: ignore[arg-type]
        assert made["picture"] == str(drawn)
        page = drawn.read_text()
        assert "key k: violated" in page
        assert "read → &quot;0:1&quot;" in page, "marks as sentences have them"
        drawn.unlink()
    assert next(check for check in verdict.checks if check.name == "register").verdict == "violated"
    crowd = [Op("delete", 1, 10_000 + at, op=10 + at) for at in range(200)]
    crowd += [write(1, 20_000 + at, op=300 + at) for at in range(400)] + [read(30_000, 30_001, op=900, saw=77)]
    directory = write_run(tmp_path / "crowd", crowd)
    verdict, _ = verify_run(str(directory.path), tmp_path, RunOptions(picture=drawn, search_memory="1B"))
    assert next(check for check in verdict.checks if check.name == "register").verdict == "unknown"
    assert "key k: inconclusive" in drawn.read_text()
    fine = write_run(tmp_path / "fine", gone[:2])
    assert "nothing to draw" in verify_run(str(fine.path), tmp_path, RunOptions(picture=drawn))[1]["picture"]


def test_the_report_of_a_run_that_is_elsewhere_stands_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    directory = talk(tmp_path / "run")
    assert report_run(f"local://{directory.path}", tmp_path) == f"local://{directory.path}/report.html"
    assert directory.verdict.exists(), "it was judged first"
    there = directory.report.read_text()
    directory.report.unlink()
    assert report_run(str(directory.path), tmp_path) == str(directory.report)
    assert directory.report.read_text() == there

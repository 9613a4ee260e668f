"""Planted bugs: the check named for each finds it, and no check accuses the same drill without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lastwriter.emulator.core.bugs import BUG, BUGS, parse_bugs
from lastwriter.errors import UserError
from tests.emulator.bug_drills import CASES, HIDDEN_RETRIES, MRSC, OF_STREAMS
from tests.emulator.drills import Drill, perform, verdicts
from tests.emulator.running import client, emulator
from tests.emulator.virtual import EAST
from verifier.checks.registry import CHECK


def accused(drill: Drill, seed: int, bugs: dict[str, int] | None) -> dict[str, str]:
    """Verdicts on a drill."""
    return verdicts(drill, *perform(drill, seed, bugs))


@pytest.mark.parametrize(("name", "drill"), CASES, ids=[f"{name}-{drill.mode}" for name, drill in CASES])
def test_the_check_named_for_a_bug_finds_it_and_nothing_without_it(name: str, drill: Drill) -> None:
    judge(name, drill, 1)


@pytest.mark.long
@pytest.mark.parametrize(("name", "drill"), CASES, ids=[f"{name}-{drill.mode}" for name, drill in CASES])
def test_whatever_the_seed(name: str, drill: Drill) -> None:
    for seed in range(2, 12):
        judge(name, drill, seed)


def judge(name: str, drill: Drill, seed: int) -> None:
    """With the bug and without."""
    sound = accused(drill, seed, None)
    assert "violated" not in sound.values(), (seed, sound)
    assert sound[BUG[name].check] == "holds", f"with seed {seed} the drill did not exercise the check"
    found = accused(drill, seed, parse_bugs([name]))
    assert found[BUG[name].check] == "violated", (seed, found)


def test_a_retry_behind_the_recorder_is_found() -> None:
    for seed in range(3):
        assert accused(HIDDEN_RETRIES, seed, None)["store"] == "violated"
        honest = accused(replace(HIDDEN_RETRIES, hidden_retries=False), seed, None)
        assert "violated" not in honest.values(), honest
        assert honest["store"] == "holds"


def test_every_bug_has_a_drill() -> None:
    assert {name for name, _ in CASES} | OF_STREAMS == set(BUG)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("early-ackk", "did you mean early-ack"),
        ("nothing like it at all", "there are early-ack"),
        ("early-ack=3", "takes no number"),
        ("lost-write=0", "one in so many"),
        ("lost-write=x", "one in so many"),
    ],
)
def test_a_bug_that_there_is_not_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_bugs([text])


def test_bugs_work_together() -> None:
    found = accused(MRSC, 1, parse_bugs(["two-winners", "lost-write=50"]))
    assert (found["forks"], found["store"]) == ("violated", "violated")


def test_an_emulator_that_is_broken_on_purpose_says_so_loudly_and_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with emulator((EAST,), table="orders", bugs=["lost-write=1"], log=log) as running:
        table = client(running.endpoints[EAST], EAST)
        table.put_item(TableName="orders", Item={"pk": {"S": "k"}})
        assert table.scan(TableName="orders")["Items"] == []
    assert "BROKEN ON PURPOSE (--bug lost-write)" in log.read_text()


def test_every_bug_is_documented_with_the_check_that_finds_it() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text().splitlines()
    for bug in BUGS:
        assert bug.check in CHECK or bug.name in OF_STREAMS
        assert f"| `{bug.name}` | {bug.mode} | {bug.does} | {bug.shows} | `{bug.check}` |" in lines

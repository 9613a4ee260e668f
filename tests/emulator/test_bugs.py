"""Planted bugs: the check named for each finds it, and no check accuses the same drill without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lastwriter.emulator.core.bugs import BUG, BUGS, parse_bugs
from lastwriter.errors import UserError
from tests.emulator.drills import Drill, perform, verdicts
from tests.emulator.running import client, emulator
from tests.emulator.virtual import EAST, OHIO, OREGON
from verifier.checks.registry import CHECK

MREC = Drill("MREC", settings={"replicator_delay": "30ms", "replicator_delay_spread": "100%"})
MRSC = Drill("MRSC")
OWN = replace(MREC, own=True, counters=3, registers=0)
DRILLS = {
    "early-ack": replace(MRSC, fault={"kind": "region-isolated", "regions": [EAST]}),
    "read-without-heartbeat": MRSC,
    "isolated-read": replace(MRSC, fault={"kind": "region-isolated", "regions": [EAST]}),
    "stale-condition": replace(MRSC, conditions=True, counters=0),
    "early-heartbeat": replace(
        MRSC,
        fault={"kind": "link-latency", "links": [(OHIO, EAST), (OREGON, EAST)], "jitter": "200ms", "one_way": True},
    ),
    "two-winners": MRSC,
    "conflict-applied": MRSC,
    "relay": replace(OWN, fault={"kind": "link-cut", "links": [(EAST, OHIO)]}),
    "reordered": replace(OWN, registers=3, think_ms=3),
    "late-wins": MREC,
    "own-ties-win": replace(MREC, together=True, reads=0.1, counters=0, registers=40, think_ms=0.01),
    "stuck-item": MREC,
    "lost-write": OWN,
    "applied-twice": OWN,
}
OF_STREAMS = {name for name in BUG if name.startswith("stream-")}
"""See test_stream_bugs.py."""
CASES = [(name, DRILLS[name]) for name in BUG if name not in OF_STREAMS] + [
    ("lost-write", MRSC),
    ("applied-twice", MRSC),
]


def accused(drill: Drill, seed: int, bugs: dict[str, int] | None) -> dict[str, str]:
    """Verdicts on a drill."""
    return verdicts(drill, *perform(drill, seed, bugs))


@pytest.mark.parametrize(("name", "drill"), CASES, ids=[f"{name}-{drill.mode}" for name, drill in CASES])
def test_the_check_named_for_a_bug_finds_it_and_nothing_without_it(name: str, drill: Drill) -> None:
    sound = accused(drill, 1, None)
    assert "violated" not in sound.values(), sound
    assert sound[BUG[name].check] == "holds", "the drill did not exercise the check"
    found = accused(drill, 1, parse_bugs([name]))
    assert found[BUG[name].check] == "violated", found


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

"""Streams under load and faults: sound ones lead from nothing to what the Region has; planted bugs break that, and the
verifier's check of streams finds them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastwriter.emulator.core.bugs import parse_bugs
from tests.emulator.drills import Drill, Performance
from tests.emulator.test_streams import records, streamed
from tests.emulator.virtual import EAST, MS, OHIO, REGIONS, Call, World
from verifier.checks.registry import CHECK
from verifier.checks.types import Result, Stream
from verifier.history.columns import History
from verifier.history.schema import ABSENT

Value = str | None


def perform(mode: str, bug: str | None, seed: int = 1) -> tuple[World, list[Call]]:
    """Puts and deletions of a few items in every Region while links break and heal; quiet at the end."""
    bugs = parse_bugs([bug]) if bug else None
    w = World(mode, seed=seed, bugs=bugs, create=streamed(), replicator_delay="30ms", mrsc_timeout="400ms")
    rng = random.Random(seed)
    calls = []
    fault: str | None = None
    for number in range(400):
        region, key = rng.choice(REGIONS), rng.choice("abcde")
        if rng.random() < 0.1:
            calls.append(w.send(region, "DeleteItem", Key={"pk": {"S": key}}))
        else:
            calls.append(w.put(region, key, str(number)))
        w.wait(rng.randrange(20) * MS)
        if number % 40 == 39:
            if fault is None:
                fault = w.cut(EAST, OHIO)
            else:
                w.heal(fault)
                fault = None
    if fault is not None:
        w.heal(fault)
    w.settle()
    return w, calls


def changes(w: World, region: str) -> list[tuple[str, Value, Value]]:
    """Key, value before and after, of each record."""
    found = []
    for record in records(w, region):
        images = record["dynamodb"]
        old, new = (images.get(name, {}).get("v", {}).get("S") for name in ("OldImage", "NewImage"))
        found.append((images["Keys"]["pk"]["S"], old, new))
    return found


def breaches(w: World, calls: list[Call]) -> list[str]:
    """What of the streams' contract is broken."""
    found = []
    for region in REGIONS:
        state: dict[str, Value] = {}
        for key, old, new in changes(w, region):
            if state.get(key) != old:
                found.append(f"{region}: {key} was {state.get(key)!r}, a record says {old!r}")
            state[key] = new
        for key in "abcde":
            if state.get(key) != w.value(region, key):
                found.append(f"{region}: the stream of {key} ends with {state.get(key)!r}")
        shown = {(key, new) for key, _, new in changes(w, region)}
        found += [
            f"{region}: an acknowledged put is missing: {put}"
            for call in calls
            if call.ok and call.operation == "PutItem" and call.region == region
            if (put := _put(call.request)) not in shown
        ]
    return found


def _put(request: dict[str, Any]) -> tuple[str, Value]:
    item = request["Item"]
    return item["pk"]["S"], item["v"]["S"]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_a_sound_stream_leads_from_nothing_to_what_its_region_has(mode: str, seed: int) -> None:
    assert breaches(*perform(mode, None, seed)) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_under_mrsc_all_regions_tell_the_same_story(seed: int) -> None:
    w, _ = perform("MRSC", None, seed)
    assert len({tuple(changes(w, region)) for region in REGIONS}) == 1


IN_BOTH = ("stream-drops=20", "stream-repeats=20", "stream-reorders=20")


@pytest.mark.parametrize(
    ("bug", "mode"), [*((bug, mode) for bug in IN_BOTH for mode in ("MREC", "MRSC")), ("stream-losers", "MREC")]
)
def test_a_planted_bug_breaks_it_and_nothing_but_the_stream(bug: str, mode: str) -> None:
    w, calls = perform(mode, bug)
    assert breaches(w, calls)
    assert len({tuple(w.value(region, key) for key in "abcde") for region in REGIONS}) == 1, "the table is sound"


# -- as the verifier sees it

MARKED = {
    "MREC": Drill("MREC", operations=900, counters=2, registers=4, settings={"replicator_delay": "30ms"}),
    "MRSC": Drill("MRSC", operations=900, counters=2, registers=4),
}
CUT = {"kind": "link-cut", "links": [(EAST, OHIO)]}
DRILLS = {
    **{(bug, mode): drill for bug in IN_BOTH for mode, drill in MARKED.items()},
    ("stream-losers", "MREC"): MARKED["MREC"],
}


def read(performance: Performance, history: History) -> Stream:
    """What a reader has got that read every Region's stream from its beginning to its end."""
    rows: list[tuple[int, int, int, int]] = []
    for place, region in enumerate(REGIONS):
        for record in records(performance.w, region):
            images = record["dynamodb"]
            old, new = (_mark(images.get(name)) for name in ("OldImage", "NewImage"))
            rows.append((place, history.keys.index(images["Keys"]["pk"]["S"]), old, new))
    region, key, old, new = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    numbers = np.arange(len(rows), dtype=np.int64)
    return Stream(
        "all", False, frozenset(range(len(REGIONS))), region, key, old, new, numbers, numbers + performance.w.now_ns
    )


def _mark(image: dict[str, Any] | None) -> int:
    return ABSENT if image is None else int(image["_w"]["N"])


def judged(drill: Drill, bug: str | None, seed: int = 1) -> Result:
    """The verdict on the streams of a drill."""
    performance = Performance(drill, seed, parse_bugs([bug]) if bug else {})
    if drill.mode == "MRSC":
        specification = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        assert performance.w.ask(EAST, "UpdateTable", StreamSpecification=specification).ok
    history, context = performance.record()
    return CHECK["streams"].check(history, replace(context, streams=(read(performance, history),)))


@pytest.mark.parametrize("fault", [None, CUT], ids=["calm", "cut"])
@pytest.mark.parametrize("mode", MARKED)
def test_sound_streams_are_not_accused(mode: str, fault: dict[str, Any] | None) -> None:
    result = judged(replace(MARKED[mode], fault=fault), None)
    assert (result.verdict, result.exercised > 500) == ("holds", True)


@pytest.mark.parametrize(("bug", "mode"), DRILLS)
def test_the_check_of_streams_finds_a_planted_bug(bug: str, mode: str) -> None:
    assert judged(DRILLS[bug, mode], bug).verdict == "violated"

"""Streams: each planted damage is found as what it is, in its place; correct ones, merged or not, are not accused."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.verifier.builders import REGIONS, Item, Op, build, run_info, write
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.streams import check_streams
from verifier.checks.types import Context, Result, Stream
from verifier.history.columns import NULL, History
from verifier.history.schema import ABSENT, EXPIRY
from verifier.rundir import Mode

A, B, C = REGIONS
Record = tuple[str, str, int, int]
"""Region, key, mark before, mark after."""


def stream(
    history: History,
    records: list[Record],
    *,
    live: bool = False,
    whole: tuple[str, ...] | None = None,
    events: list[int] | None = None,
) -> Stream:
    """``whole``: Regions whose streams it has from their beginning; null: those that it has records of."""
    covered = () if live else whole if whole is not None else {region for region, *_ in records}

    def column(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, np.int64)

    return Stream(
        reader="consumer" if live else "all",
        live=live,
        whole=frozenset(REGIONS.index(region) for region in covered),
        region=column([REGIONS.index(region) for region, _, _, _ in records]),
        key=column([history.keys.index(key) for _, key, _, _ in records]),
        old=column([old for _, _, old, _ in records]),
        new=column([new for _, _, _, new in records]),
        event=column(list(range(len(records))) if events is None else events),
        read_ns=column([5_000_000 + at for at in range(len(records))]),
    )


def judged(
    ops: list[Op], records: list[Record], final: dict[str, int], *, mode: Mode = "MREC", quiet: bool = True, **more: Any
) -> tuple[History, Context, Result]:
    ended = {region: {"k": Item(1, mark)} for region, mark in final.items()}
    run = run_info(mode, settled=True, queues_empty=quiet)
    history, context = build(ops, mode=mode, regions=REGIONS[: len(final)], final=ended, run=run)
    context = replace(context, streams=(stream(history, records, **more),))
    return history, context, check_streams(history, context)


OPS = [write(10 * number, 10 * number + 5, op=number) for number in (1, 2, 3)]
CHAIN = [(A, "k", ABSENT, 1), (A, "k", 1, 2), (A, "k", 2, 3)]


@pytest.mark.parametrize(
    ("records", "rule", "op"),
    [
        (CHAIN, None, 0),
        (CHAIN[:1] + CHAIN[2:], "missing record", 2),
        (CHAIN[1:], "missing record", 1),
        (CHAIN[:2], "missing record", 3),
        ([CHAIN[0], (A, "k", 1, 3)], "missing record", 2),  # merged, though it was written here
        ([CHAIN[0], CHAIN[1], CHAIN[1], CHAIN[2]], "repeated record", 2),
        ([CHAIN[0], CHAIN[1], CHAIN[2], CHAIN[1]], "repeated record", 2),
        ([CHAIN[0], CHAIN[2], CHAIN[1]], "record out of order", 3),
        ([CHAIN[1], CHAIN[0], CHAIN[2]], "record out of order", 2),
        ([CHAIN[0], (A, "k", 1, 9), *CHAIN[1:]], "record without effect", 9),
        ([*CHAIN, (A, "k", 3, 9)], "record without effect", 9),
        ([CHAIN[0], (A, "k", 1, NULL), *CHAIN[1:]], None, 0),  # somebody without a mark: not judged
    ],
)
def test_a_stream_is_a_chain_from_the_first_state_to_the_last(records: list[Record], rule: str | None, op: int) -> None:
    ops = [*OPS, write(1, 2, op=9, region=B)]
    history, context, result = judged(ops, records, {A: 3})
    assert [one.facts["rule"] for one in result.violations] == ([rule] if rule else [])
    assert result.verdict == ("violated" if rule else "holds")
    for one in result.violations:
        assert int(history.op[one.rows[-1]]) == op
        sentence = finding("streams", items, history, context, one).sentence
        assert "the stream of us-east-1" in sentence.lower() or "out of order" in sentence


def test_what_arrived_by_replication_may_be_merged_in_mrec_only() -> None:
    merged = [*CHAIN, (B, "k", ABSENT, 3)]
    assert judged(OPS, merged, {A: 3, B: 3})[2].verdict == "holds"
    history, _, result = judged(OPS, merged, {A: 3, B: 3}, mode="MRSC")
    assert sorted(int(history.op[one.rows[-1]]) for one in result.violations) == [1, 2]
    assert {one.facts["final"] for one in result.violations} == {B}


def test_a_consumer_is_judged_by_what_it_got() -> None:
    assert judged(OPS, CHAIN[1:2], {A: 3}, live=True)[2].verdict == "holds"
    assert judged(OPS, [CHAIN[0], CHAIN[2]], {A: 3}, live=True)[2].count == 1
    note = judged(OPS, CHAIN, {A: 3}, live=True)[2].note
    assert note == "us-east-1: 3 records were read within 100 ms of their write"


def test_deletions_and_new_beginnings() -> None:
    ops = [write(10, 15, op=1), Op("delete", 20, 25, op=2), write(30, 35, op=3), Op("delete", 40, 45, op=4)]
    records = [(A, "k", ABSENT, 1), (A, "k", 1, ABSENT), (A, "k", ABSENT, 3), (A, "k", 3, ABSENT)]
    history, context = build(
        ops, mode="MREC", regions=[A], final={A: {}}, run=run_info("MREC", settled=True, queues_empty=True)
    )
    for damage, count in ((records, 0), (records[:1] + records[2:], 1), (records[:3], 1)):
        result = check_streams(history, replace(context, streams=(stream(history, damage),)))
        assert (result.count or 0) == count
    assert check_streams(history, context).verdict == "unknown"


def test_what_a_time_to_live_deletes_after_the_final_state_was_read_accuses_nobody() -> None:
    late, may_expire = [*CHAIN, (A, "k", 3, ABSENT)], Op("delete", 36, 36, op=4, outcome="unknown")
    ops = [*OPS, may_expire]
    assert judged(ops, late, {A: 3})[2].verdict == "holds"
    assert judged(ops, [*CHAIN, (A, "k", 2, ABSENT)], {A: 3})[2].verdict == "violated", "that state was over"
    other = replace(may_expire, key="other", error=EXPIRY)
    unanswered = [*OPS[:2], replace(OPS[2], outcome="unknown"), other]
    assert judged(unanswered, late, {A: 3})[2].verdict == "holds", "it may have been given a time to live, as the other"
    for others in (OPS, [*OPS, other], [*OPS, replace(may_expire, outcome="fail")]):
        assert judged(others, late, {A: 3})[2].verdict == "violated", "nobody's deletion, or one that failed"


def test_a_stream_whose_first_records_are_gone_accuses_nobody_and_proves_little() -> None:
    _, context, result = judged(OPS, CHAIN[1:], {A: 3}, whole=())
    assert (result.verdict, result.count, context.regions) == ("unknown", None, (A,))
    assert result.note == "the first records of us-east-1 were gone when the streams were read"
    assert judged(OPS, [], {A: 3}, whole=())[2].verdict == "unknown"
    assert judged(OPS, [CHAIN[1], CHAIN[1], CHAIN[2]], {A: 3}, whole=())[2].count == 1, "what is left is judged"
    assert judged(OPS, CHAIN[1:2], {A: 3}, whole=())[2].count == 1, "and so is its end"


def test_what_may_yet_come_is_not_missing() -> None:
    _, _, result = judged(OPS, CHAIN[:2], {A: 3}, quiet=False)
    assert (result.verdict, result.count) == ("unknown", None)
    assert result.note == "2 records were not there yet when the streams were read"
    assert judged(OPS, [CHAIN[0], CHAIN[2]], {A: 3}, quiet=False)[2].count == 1, "behind another nothing comes any more"


def test_a_deletion_may_yet_come_as_well() -> None:
    ops = [write(10, 15, op=1), Op("delete", 20, 25, op=2, prev=1)]
    history, context = build(ops, mode="MREC", regions=[A], final={A: {}}, run=run_info("MREC", settled=True))
    result = check_streams(history, replace(context, streams=(stream(history, CHAIN[:1]),)))
    assert (result.verdict, result.count) == ("unknown", None)


def test_an_item_of_which_nothing_is_told_is_missing_too() -> None:
    _, _, result = judged(OPS[:1], CHAIN[:1], {A: 1, B: 1}, whole=(A, B))
    assert [(one.facts["rule"], one.facts["final"], one.rows) for one in result.violations] == [
        ("missing record", B, (0,))
    ]
    assert judged(OPS[:1], [], {A: 1}, whole=(A,))[2].count == 1
    assert judged(OPS[:1], [], {A: 1, B: 1}, whole=(A, B), mode="MRSC")[2].count == 2


def test_a_deletion_that_was_merged_away_is_missing_where_it_was_made() -> None:
    ops = [write(10, 15, op=1), Op("delete", 20, 25, op=2, prev=1), write(30, 35, op=3)]
    merged = [(A, "k", ABSENT, 1), (A, "k", 1, 3)]
    history, context, result = judged(ops, merged, {A: 3})
    assert [int(history.op[one.rows[-1]]) for one in result.violations] == [2]
    sentence = finding("streams", items, history, context, result.violations[0]).sentence
    assert sentence.startswith("us-east-1's deletion 0:2")
    skipped = [(A, "k", ABSENT, 1), (A, "k", ABSENT, 3)]
    assert judged(ops, skipped, {A: 3})[2].count == 1
    twice = [(A, "k", ABSENT, 1), (A, "k", 1, ABSENT), (A, "k", 1, ABSENT), (A, "k", ABSENT, 3)]
    assert [one.facts["rule"] for one in judged(ops, twice, {A: 3})[2].violations] == ["repeated record"]
    elsewhere = [replace(ops[0], region=B), *ops[1:]]
    records = [(B, "k", ABSENT, 1), (B, "k", 1, 3), (A, "k", ABSENT, 1), (A, "k", 1, ABSENT), (A, "k", ABSENT, 3)]
    assert judged(elsewhere, records, {A: 3, B: 3})[2].verdict == "holds"
    nothing = [replace(ops[1], prev=ABSENT), ops[0]]
    assert judged(nothing, CHAIN[:1], {A: 1})[2].verdict == "holds", "it removed nothing"


def last_writer_wins(rng: random.Random, writes: int) -> tuple[list[Op], list[Record], dict[str, dict[str, Item]]]:
    """A correct MREC store: local writes at once, the others later or not at all, if something newer was there."""
    state = {(region, key): (ABSENT, 0) for region in REGIONS for key in "kl"}
    waiting: list[tuple[int, str, str, int, int]] = []
    ops, records = [], []

    def arrive(until: int) -> None:
        for message in sorted(one for one in waiting if one[0] <= until):
            waiting.remove(message)
            _, region, key, mark, stamp = message
            if stamp > state[region, key][1]:
                records.append((region, key, state[region, key][0], mark))
                state[region, key] = (mark, stamp)

    for number in range(1, writes + 1):
        arrive(number)
        region, key = rng.choice(REGIONS), rng.choice("kl")
        outcome = rng.choice(["ok", "ok", "ok", "unknown", "fail"])
        ops.append(write(10 * number, 10 * number + 5, op=number, key=key, region=region, outcome=outcome))
        if outcome == "fail" or (outcome == "unknown" and rng.random() < 0.5):
            continue
        records.append((region, key, state[region, key][0], number))
        state[region, key] = (number, number)
        waiting += [(number + rng.randrange(1, 9), other, key, number, number) for other in REGIONS if other != region]
    arrive(writes + 99)
    final = {
        region: {key: Item(1, state[region, key][0]) for key in "kl" if state[region, key][1]} for region in REGIONS
    }
    return ops, records, final


def test_correct_streams_are_never_accused_and_every_damage_is_found() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        ops, records, final = last_writer_wins(rng, 60)
        history, context = build(ops, mode="MREC", final=final, run=run_info("MREC", settled=True, queues_empty=True))

        def found(some: list[Record], history: History = history, context: Context = context) -> list[object]:
            result = check_streams(history, replace(context, streams=(stream(history, some),)))
            return [(one.facts["rule"], one.facts["final"], int(history.op[one.rows[-1]])) for one in result.violations]

        assert found(records) == [], seed
        at = rng.randrange(len(records))
        region, key, _, new = records[at]
        assert found(records[:at] + records[at + 1 :]) == [("missing record", region, new)], seed
        assert found([*records[: at + 1], *records[at:]]) == [("repeated record", region, new)], seed
        following = next((i for i in range(at + 1, len(records)) if records[i][:2] == (region, key)), None)
        if following is not None:
            swapped = list(records)
            swapped[at], swapped[following] = swapped[following], swapped[at]
            assert ("record out of order", region, records[following][3]) in found(swapped), seed
        loser = next((op.op for op in ops if op.key == key and (op.op or 0) < new and op.region != region), None)
        told = {mark for where, item, _, mark in records if (where, item) == (region, key)}
        if loser is not None and loser not in told:
            planted = [*records[: at + 1], (region, key, new, loser), *records[at + 1 :]]
            assert found(planted) == [("record without effect", region, loser)], seed

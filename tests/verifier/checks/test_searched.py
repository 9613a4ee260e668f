"""Keys with deletions and bare failed conditions, judged by the general search within a run."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.brute import legal
from tests.verifier.builders import REGIONS, Item, Op, build, read, write
from verifier.checks import searched
from verifier.checks.registry import CHECK
from verifier.checks.searched import check_searched, check_searched_locally
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT
from verifier.search.linearise import Limits

REFUSED = "ConditionalCheckFailedException"


def delete(start: int, end: int, **more: object) -> Op:
    return Op("delete", start, end, **more)  # type: ignore[arg-type]


def step(state: int, op: Op) -> int | None:
    """A register with deletions and conditions, told independently of the model."""
    if op.kind == "read":
        return state if op.saw == state else None
    if op.outcome == "fail":
        return state if op.expect != state else None
    if op.expect is not None and op.expect != state:
        return None
    return ABSENT if op.kind == "delete" else op.op


def history(rng: random.Random, size: int) -> list[Op]:
    """A correct one of a key that is written, deleted, read, and set under conditions."""
    planned = []
    for number in range(1, size + 1):
        start = rng.randrange(3 * size)
        end = start + rng.randrange(1, 8)
        planned.append((rng.uniform(start, end), start, end, number))
    state, done = ABSENT, []
    for _, start, end, number in sorted(planned):
        kind = rng.choice(["read", "read", "write", "delete", "cas"])
        op = Op(kind, start, end, op=number)
        if kind == "read":
            done.append(replace(op, saw=state))
            continue
        if kind == "cas":
            op = replace(op, expect=state if rng.random() < 0.6 else rng.randrange(1, size + 1))
            if op.expect != state:
                done.append(replace(op, outcome="fail", error=REFUSED))
                continue
        if rng.random() < 0.15:
            if rng.random() < 0.5:
                state = ABSENT if kind == "delete" else number
            done.append(replace(op, outcome="unknown"))
            continue
        state = ABSENT if kind == "delete" else number
        done.append(op)
    return done


@pytest.mark.parametrize("seed", range(150))
def test_it_agrees_with_trying_every_order(seed: int) -> None:
    rng = random.Random(seed)
    ops = history(rng, 9)
    if seed % 3:
        at = rng.randrange(len(ops))
        if ops[at].kind == "read":
            ops[at] = replace(ops[at], saw=rng.choice([ABSENT, *range(1, 10)]))
        else:
            ops[at] = replace(ops[at], start=ops[at].start + 9, end=ops[at].end + 9)
    result = check_searched(*build(ops))
    if result.exercised:
        judged = [op for op in ops if op.kind != "read" or op.outcome == "ok"]
        assert result.verdict == ("holds" if legal(judged, step, ABSENT) else "violated")
    else:
        assert not any(op.kind == "delete" or op.outcome == "fail" for op in ops)


def seen_in(region: str, ops: list[Op]) -> list[Op]:
    """A Region's own operations; what others wrote may arrive at any time, whatever it was conditional upon."""
    view = []
    for op in ops:
        if op.region == region:
            view.append(op)
        elif op.kind != "read" and op.outcome != "fail":
            view.append(replace(op, kind="delete" if op.kind == "delete" else "write", outcome="unknown", expect=None))
    return view


@pytest.mark.parametrize("seed", range(120))
def test_region_by_region_it_agrees_with_trying_every_order_too(seed: int) -> None:
    rng = random.Random(seed)
    ops = [replace(op, region=rng.choice(REGIONS[:2])) for op in history(rng, 8)]
    for at in rng.sample(range(len(ops)), seed % 3):
        if ops[at].kind == "read":
            ops[at] = replace(ops[at], saw=rng.choice([ABSENT, *range(1, 9)]))
    result = check_searched_locally(*build(ops, mode="MREC"))
    if any(op.kind == "delete" or op.outcome == "fail" for op in ops):
        good = all(legal(seen_in(region, ops), step, ABSENT) for region in {op.region for op in ops})
        assert (result.verdict == "violated") is not good
    else:
        assert result.exercised == 0


def test_a_read_of_what_was_deleted_is_found_by_the_register_check_and_told() -> None:
    ops = [write(1, 2, op=1), delete(30, 31, op=2), read(100, 110, saw=1, op=3), write(1, 2, key="other", op=4)]
    ops.append(read(3, 4, key="other", saw=4, op=5))
    row = CHECK["register"]
    result = row.check(*build(ops))
    assert result.verdict == "violated"
    assert result.count == 1
    assert "1 keys with deletions were judged by the general search" in str(result.note)
    found = result.violations[0]
    assert found.gamma_ns == pytest.approx(28, abs=1), "by bisection: then write and deletion may change places"
    sentence = row.explain(*build(ops), found)
    assert "deletion" in sentence
    assert "showing write 0:1" in sentence


def test_no_clock_error_explains_a_mark_that_nobody_left() -> None:
    result = check_searched(*build([write(1, 2, op=1), delete(3, 4, op=2), read(5, 6, saw=77, op=3)]))
    assert result.violations[0].gamma_ns is None


def test_the_final_items_and_what_the_run_began_with_count() -> None:
    kept = {"us-east-1": {"k": Item(w=1, start=90, end=91)}}
    ops = [write(1, 2, op=1), delete(3, 4, op=2)]
    assert check_searched(*build(ops, final=kept)).verdict == "violated"
    assert check_searched(*build(ops[:1], final=kept)).exercised == 0
    before = {"us-east-1": {"k": Item(w=7)}}
    ops = [read(1, 2, saw=7, op=1), delete(3, 4, op=2), read(5, 6, saw=ABSENT, op=3)]
    assert check_searched(*build(ops, initial=before)).verdict == "holds"
    assert check_searched(*build(ops)).verdict == "violated"


def test_a_write_that_was_not_answered_may_be_what_is_left() -> None:
    kept = {"us-east-1": {"k": Item(w=4, start=90, end=91)}}
    ops = [write(1, 2, op=1), delete(3, 4, op=2, prev=1), write(5, 6, op=4, outcome="unknown")]
    assert check_searched(*build([*ops, delete(6, 7, op=5, outcome="unknown")], final=kept)).verdict == "holds"


def test_an_item_may_be_gone_once_its_time_is_over_and_not_before() -> None:
    ops = [write(1, 2, op=1), delete(3, 3, op=2, outcome="unknown", error="TimeToLive", value=50)]
    assert check_searched(*build([*ops, read(60, 61, op=3, saw=ABSENT)])).verdict == "holds"
    assert check_searched(*build([*ops, read(60, 61, op=3, saw=1)])).verdict == "holds"
    assert check_searched(*build([*ops, read(10, 11, op=3, saw=ABSENT)])).verdict == "violated"


def test_a_condition_that_failed_though_it_held_is_found() -> None:
    ops = [write(1, 2, op=1), Op("cas", 3, 4, op=2, expect=1, outcome="fail", error=REFUSED), read(5, 6, saw=1, op=3)]
    assert check_searched(*build(ops)).verdict == "violated"
    throttled = replace(ops[1], error="ThrottlingException")
    assert check_searched(*build([ops[0], throttled, ops[2]])).exercised == 0


def test_a_condition_that_failed_on_an_item_that_nobody_wrote_is_found_unless_it_was_there_before() -> None:
    ops = [Op("create", 10, 20, op=1, expect=ABSENT, outcome="fail", error=REFUSED), read(30, 40, ABSENT, op=2)]
    assert CHECK["register"].check(*build(ops)).verdict == "violated"
    there = {REGIONS[0]: {"k": Item(value=3)}}  # without a mark
    assert CHECK["register"].check(*build(ops[:1], initial=there)).verdict == "holds"
    written = [*ops[:1], write(30, 35, op=3, prev=None), read(40, 45, 3, op=4)]
    assert CHECK["register"].check(*build(written, initial=there)).verdict == "holds"
    assert CHECK["register"].check(*build(written)).verdict == "violated"


def test_what_is_not_finished_is_inconclusive_and_said() -> None:
    ops = [write(1, 2, op=1), delete(3, 4, op=2)]
    history, context = build(ops)
    result = check_searched(history, replace(context, search=Limits(deadline_s=0.0)))
    assert result.verdict in ("unknown", "holds")  # so few may be done at once
    lost = (LostRange(1, 1 << 48, (1 << 48) + 5, 0),)
    result = CHECK["register"].check(*build([*ops, write(5, 6, key="o", op=3)], lost=lost))
    assert result.verdict == "unknown"
    assert "cannot allow for missing rows" in str(result.note)


def test_too_many_operations_on_one_key_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "MOST_OPERATIONS", 1)
    result = check_searched(*build([write(1, 2, op=1), delete(3, 4, op=2)]))
    assert result.verdict == "unknown"
    assert "not finished" in str(result.note)

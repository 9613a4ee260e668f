"""Indexes: what differs from the table when all has settled is found; what is only behind is told."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.verifier.builders import REGIONS, Item, Op, build, run_info, write
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.index import check_index
from verifier.checks.types import Context, Replica
from verifier.history.columns import History

A, B, C = REGIONS
SETTLED = run_info("MREC", settled=True, queues_empty=True)


def listed(replica: Replica) -> Replica:
    """The same items with a group, as leaderboards have them."""
    return replace(replica, items=tuple(item.replace("{", '{"g":{"S":"board"},', 1) for item in replica.items))


def run(table: dict[str, Item], index: dict[str, Item], **more: object) -> tuple[History, Context]:
    ops = [write(1, 5, op=1, key="k"), write(1, 5, op=2, key="l")]
    history, context = build(ops, mode="MREC", final={A: table, B: index}, run=more.get("run", SETTLED))  # type: ignore[arg-type]
    final, indexed = context.final[A], replace(context.final[B], region=A)
    return history, replace(context, final={A: listed(final)}, index={A: listed(indexed)})


def test_an_index_that_differs_in_the_end_is_wrong() -> None:
    table = {"k": Item(3, 1), "l": Item(5, 2)}
    assert check_index(*run(table, table)).verdict == "holds"
    for index, said in (
        ({"k": Item(3, 1)}, "shows no such item for l, its table 5"),
        ({"k": Item(3, 1), "l": Item(4, 2)}, "shows 4 for l, its table 5"),
    ):
        history, context = run(table, index)
        result = check_index(history, context)
        assert (result.verdict, result.count, result.exercised) == ("violated", 1, 2)
        assert said in finding("index", items, history, context, result.violations[0]).sentence
    history, context = run({"k": Item(3, 1)}, table)
    assert "shows 5 for l, its table no such item" in finding(
        "index", items, history, context, check_index(history, context).violations[0]
    ).sentence  # fmt: skip


def test_a_correct_index_is_never_accused_and_each_damage_is_found_in_its_place() -> None:
    for seed in range(25):
        rng = random.Random(seed)
        table = {f"k{number}": Item(rng.randrange(9), number) for number in range(rng.randint(1, 30))}
        assert check_index(*run(table, table)).verdict == "holds", seed
        victim, index = rng.choice(list(table)), dict(table)
        damage = rng.choice(["left out", "behind", "not deleted"])
        if damage == "not deleted":
            del table[victim]
        elif damage == "behind":
            index[victim] = Item((table[victim].value or 0) + 1, 99)
        else:
            del index[victim]
        history, context = run(table, index)
        result = check_index(history, context)
        assert [history.keys[one.key] for one in result.violations] == [victim], (seed, damage)


def test_an_index_that_may_still_be_filled_is_inconclusive() -> None:
    unsettled = run_info("MREC", settled=False, queues_empty=False)
    result = check_index(*run({"k": Item(3, 1), "l": Item(5, 2)}, {"k": Item(3, 1)}, run=unsettled))
    assert result.verdict == "unknown"
    assert result.note == "1 index entries still differed when they were read, and may yet have become equal"


def test_what_a_time_to_live_deleted_before_the_index_was_read_accuses_nobody() -> None:
    history, context = run({"k": Item(3, 1), "l": Item(5, 2)}, {"k": Item(3, 1)})
    doomed = Op("delete", 6, 6, op=3, key="l", outcome="unknown")
    ops = [write(1, 5, op=1, key="k"), write(1, 5, op=2, key="l"), doomed]
    history, _ = build(ops, mode="MREC")
    assert check_index(history, context).verdict == "holds"
    assert check_index(history, replace(context, index=context.final, final=context.index)).verdict == "violated"


def test_items_without_a_group_are_in_no_index() -> None:
    history, context = run({"k": Item(3, 1), "l": Item(5, 2)}, {"k": Item(3, 1)})
    bare = replace(
        context.final[A],
        items=tuple(item.replace('"g"', '"h"') if '"l"' in item else item for item in context.final[A].items),
    )
    assert check_index(history, replace(context, final={A: bare})).verdict == "holds"


def test_how_far_index_reads_were_behind_is_told() -> None:
    ms = 1_000_000
    ops = [write(at * ms, (at + 2) * ms, op=at) for at in (10, 20, 30)]
    ops += [Op("read_index", 41 * ms, 42 * ms, op=40, saw=30), Op("read_index", 62 * ms, 63 * ms, op=41, saw=20)]
    ops += [Op("read_index", 62 * ms, 63 * ms, op=42, saw=20, region=B)]  # its Region may not have it yet
    note = check_index(*build(ops)).note
    assert note == "2 entries read from an index were as their table; 1 were behind it by at most 100 ms"
    assert check_index(*build(ops[:4])).note == "1 entries read from an index were as their table"

"""What had not settled, or was not read, accuses nobody of its end; and what is said of the rest is true."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, Op, add, build, run_info
from tests.verifier.stores import simulate
from verifier.checks.convergence import check_convergence
from verifier.checks.ledger import balance_of, check_lost
from verifier.checks.sequence import check_gapless
from verifier.checks.sets import check_sets
from verifier.checks.stock import check_stock
from verifier.checks.store import check_store
from verifier.checks.transactions import check_bank
from verifier.checks.types import Check
from verifier.contract import applicable, contract_rows
from verifier.history.schema import ABSENT

A, B, C = REGIONS


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.sampled_from([("add",), ("write",)]),
    unknown=st.sampled_from([0.0, 0.2]),
    away=st.sampled_from([*REGIONS, "none of them"]),
)
def test_what_is_read_too_early_is_not_held_against_anybody(
    seed: int, kinds: tuple[str, ...], unknown: float, away: str
) -> None:
    run = simulate(seed, "MREC", kinds=kinds, unknown=unknown, delay_ms=200, away=away)
    history, context = build(run.ops, **run.arguments(), run=run_info("MREC", settled=False, queues_empty=False))
    results = {row.name: row.check(history, context) for row in applicable("MREC")}
    assert not any(row.violations for row in contract_rows("MREC", results))
    assert not results["store"].count
    lost = balance_of(history, context).lost.row
    for op, key in zip(history.op[lost].tolist(), history.key[lost].tolist(), strict=True):
        assert op not in run.kept[history.keys[key]], "it is said to be lost, and comes back"


def everywhere(**items: Item) -> dict[str, dict[str, Item]]:
    return {A: items, B: items}


MOVE = [
    Op("txn_write", 0, 5, key=key, op=1, process=1, value=amount, logical_key="bank", region=C)
    for key, amount in (("a", -1), ("b", 1))
]
ENTRY = [
    Op("append", 10 * number, 10 * number + 5, key=f"l/{number}", logical_key="l", value=number, region=region)
    for number, region in ((1, A), (2, C), (3, A))
]


@pytest.mark.parametrize(
    ("check", "ops", "final", "note"),
    [
        (check_store, [add(0, 5, 1), add(6, 9, 2, region=C)], everywhere(k=Item(1, 1)), "1 counters had not settled"),
        (check_stock, [Op("create", 0, 1, value=3), Op("take", 2, 3, value=1, region=C)], everywhere(k=Item(3, 1)),
         "1 stocks had not settled"),
        (check_bank, MOVE, everywhere(a=Item(-1), b=Item(0)), "final totals of 1 groups had not settled"),
        (check_gapless, ENTRY, everywhere(**{"l/1": Item(1), "l/3": Item(3)}), "1 ledgers was not read"),
        (check_convergence, [Op("write", 0, 5, op=1), Op("write", 10, 15, op=2, region=C)], everywhere(k=Item(1, 1)),
         "1 items were changed in a Region that was not read"),
        (check_lost, [Op("write", 0, 5, op=1, prev=ABSENT), Op("write", 10, 15, op=2, prev=1, region=C)],
         everywhere(k=Item(1, 1, ABSENT)), "of 1 acknowledged writes the record does not show"),
    ],
)  # fmt: skip
def test_what_a_region_that_was_not_read_may_hold_is_missing_nowhere(
    check: Check, ops: list[Op], final: dict[str, dict[str, Item]], note: str
) -> None:
    early = check(*build(ops, mode="MREC", final=final, run=run_info("MREC", settled=False)))
    assert early.verdict != "violated"
    assert note in str(early.note)
    settled = check(*build(ops, mode="MREC", final=final))
    assert settled.verdict == "violated"


def test_an_element_that_some_replica_has_or_may_yet_get_is_not_lost() -> None:
    ops = [Op("set_add", 0, 5, value=7, process=7)]
    without, with_it = Item(start=40, end=41), Item(start=40, end=41, elements=(7,))

    def rules(final: dict[str, dict[str, Item]], *, settled: bool) -> list[object]:
        run = run_info("MREC", settled=settled)
        return [one.facts["rule"] for one in check_sets(*build(ops, mode="MREC", final=final, run=run)).violations]

    assert rules(everywhere(k=without), settled=True) == ["lost element"]
    assert rules({A: {"k": with_it}, B: {"k": without}}, settled=True) == ["missing element"]
    assert rules({A: {"k": with_it}, B: {"k": without}}, settled=False) == ["missing element"]
    assert rules({B: {"k": without}}, settled=False) == ["missing element"]

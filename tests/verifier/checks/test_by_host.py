"""Registers and counters recorded on several hosts whose clocks are off by less than what is known of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.builders import Op, build, read, run_info, write
from tests.verifier.generators import counter_history, damaged, register_history
from tests.verifier.stores import simulate
from verifier.checks.registry import CHECK
from verifier.checks.types import Result
from verifier.clocks import clocks_of
from verifier.contract import applicable
from verifier.history.schema import op_id, worker_of
from verifier.rundir import ClockAnchor, Mode, WorkerInfo

MS = 1_000_000
HOSTS = "abc"


def judge(name: str, ops: list[Op], epsilon_ns: int, unit_ns: int = 1, **more: object) -> Result:
    """By workers on hosts of their own; offsets are read as 0 ± ``epsilon_ns`` all the time."""
    clock = [
        ClockAnchor(host=host, at_ns=at, offset_ns=0, epsilon_ns=epsilon_ns)
        for host in HOSTS
        for at in range(-200 * unit_ns, 2_000 * unit_ns, 10 * unit_ns)
    ]
    workers = [WorkerInfo(worker=number, host=host) for number, host in enumerate(HOSTS)]
    run = run_info(workers=workers, clock=clock, host="master")
    history, context = build(ops, run=run, **more)  # type: ignore[arg-type]
    return CHECK[name].check(history, replace(context, clocks=clocks_of(run), epsilon_ns=epsilon_ns + 2))


def spread(rng: random.Random, ops: list[Op], skew: dict[int, int]) -> list[Op]:
    """The operations as workers on three hosts would record them, each with a clock of its own."""
    host = {op.op: rng.randrange(3) for op in ops}
    names = {op.op: op_id(host[op.op], number + 1) for number, op in enumerate(ops)}
    moved = []
    for op in ops:
        shift = skew[host[op.op]]
        marks = {
            column: names.get(getattr(op, column), getattr(op, column)) for column in ("op", "saw", "prev", "expect")
        }
        moved.append(replace(op, start=op.start + shift, end=op.end + shift, **marks))
    return moved


def skews(rng: random.Random, most: int) -> dict[int, int]:
    return {host: rng.randint(-most, most) for host in range(3)}


@pytest.mark.parametrize("seed", range(60))
def test_skewed_clocks_accuse_no_correct_register_and_no_correct_counter(seed: int) -> None:
    rng = random.Random(seed)
    most = rng.choice([2, 5, 20])
    registers = spread(rng, register_history(rng, 12, keys=2), skews(rng, most))
    assert judge("register", registers, most).verdict in ("holds", "possible", "unknown")
    counters = spread(rng, counter_history(rng, 12, keys=2), skews(rng, most))
    assert judge("counter", counters, most).verdict in ("holds", "possible", "unknown")


@pytest.mark.parametrize("seed", range(60))
def test_what_is_wrong_by_true_clocks_is_violated_or_possible(seed: int) -> None:
    rng = random.Random(1000 + seed)
    for name, ops in (
        ("register", damaged(rng, register_history(rng, 12), marks=True)),
        ("counter", damaged(rng, counter_history(rng, 12), marks=False)),
    ):
        truth = CHECK[name].check(*build(ops)).verdict
        found = judge(name, spread(rng, ops, skews(rng, 4)), 4)
        if truth == "violated" and found.verdict == "holds":
            # The clocks hid it: then the damage was one that times alone prove, by less than they were off.
            gamma = CHECK[name].check(*build(ops)).violations[0].gamma_ns
            assert gamma is not None
            assert gamma <= 16
        if found.verdict == "violated" and truth == "holds":
            pytest.fail("a correct history was accused")


def test_five_milliseconds_of_skew_accuse_none_of_many_keys_and_every_lost_write_is_found() -> None:
    rng = random.Random(5)
    skew = {0: -5 * MS, 1: 5 * MS, 2: 0}

    def shifted(ops: list[Op]) -> list[Op]:
        return [
            replace(op, start=op.start + skew[worker_of(op.op or 0)], end=op.end + skew[worker_of(op.op or 0)])
            for op in ops
        ]

    good = simulate(rng.randrange(100), "MRSC", kinds=("write",), processes=12, intents=40, keys=8)
    raw = CHECK["register"].check(*build(shifted(good.ops), **good.arguments()))  # type: ignore[arg-type]
    assert raw.verdict == "violated", "without knowing of the skew correct keys are accused"
    assert judge("register", shifted(good.ops), 5 * MS, MS, final=good.final).verdict == "possible"
    bad = simulate(7, "MRSC", kinds=("write",), processes=12, intents=40, keys=8, bug="acknowledged without effect")
    found = judge("register", shifted(bad.ops), 5 * MS, MS, final=bad.final)
    assert found.verdict == "violated"
    assert all(one.gamma_ns is None or one.gamma_ns > 0 for one in found.violations)


def test_what_one_host_saw_is_accused_however_wrong_its_clock_may_be() -> None:
    old, new = op_id(0, 1), op_id(0, 2)
    ops = [
        write(10, 20, op=old),
        write(30, 40, op=new),
        read(50, 60, op=op_id(0, 3), saw=old),  # two writes and a stale read, all of host a
        write(35, 36, op=op_id(1, 1), key="other"),
    ]
    result = judge("register", ops, 10**9)
    assert result.verdict == "violated"
    assert result.violations[0].gamma_ns == 10
    moved = [replace(op, op=op_id(1, 9)) if op.op == op_id(0, 3) else op for op in ops]
    other = judge("register", moved, 10**9)
    assert other.verdict == "possible"
    assert other.violations[0].gamma_ns == 10


def test_gamma_counts_the_slack_that_was_allowed_already() -> None:
    old, new = op_id(0, 1), op_id(0, 2)
    ops = [write(10, 20, op=old), write(30, 40, op=new), read(140, 160, op=op_id(1, 3), saw=old)]
    for epsilon, verdict in ((10, "violated"), (49, "violated"), (60, "possible")):
        result = judge("register", ops, epsilon)
        assert result.verdict == verdict, epsilon


def test_the_search_on_the_mixed_order_proves_what_neither_pass_can() -> None:
    """Host a alone cannot know, nor all widened: one step is certain within a, another only across a wide gap."""
    first, second = op_id(0, 1), op_id(1, 1)
    ops = [
        write(0, 1, op=first),
        write(100, 101, op=second),  # host b, after the first by far more than clocks can be off
        read(102, 103, op=op_id(1, 2), saw=second),  # b: exactly after its own write
        read(104, 105, op=op_id(1, 3), saw=first),  # b: and then the first again
    ]
    assert judge("register", ops, 20).verdict == "violated"


def test_the_final_sweep_is_the_reference_hosts() -> None:
    first, second = op_id(0, 1), op_id(1, 1)
    ops = [write(0, 1, op=first), write(100, 101, op=second)]
    from tests.verifier.builders import REGIONS, Item

    final = {region: {"k": Item(w=first, start=300, end=301)} for region in REGIONS}
    assert judge("register", ops, 20, final=final).verdict == "violated"
    assert judge("register", ops, 80, final=final).verdict == "possible"


@pytest.mark.parametrize("mode", ["MRSC", "MREC"])
@pytest.mark.parametrize("seed", range(8))
def test_no_promise_is_accused_of_a_correct_store_under_skewed_clocks(seed: int, mode: Mode) -> None:
    rng = random.Random(seed)
    skew = {number: rng.choice([-5, 0, 5]) * MS for number in range(2)}
    run = simulate(
        seed, mode, kinds=("add", "write", "cas"), unknown=0.1, refused=0.1, retries=True, cut=mode == "MREC", keys=4
    )
    ops = [
        replace(op, start=op.start + skew[worker_of(op.op or 0)], end=op.end + skew[worker_of(op.op or 0)])
        for op in run.ops
    ]
    for row in applicable(mode):
        if row.role[mode] == "contract":
            found = judge(row.name, ops, 5 * MS, MS, **run.arguments())
            assert found.verdict != "violated", (row.name, found.violations[:1])


@pytest.mark.parametrize("seed", range(6))
def test_what_no_clock_explains_is_found_under_skewed_clocks_as_well(seed: int) -> None:
    run = simulate(seed, "MRSC", kinds=("add",), intents=25, keys=1, bug="applied to a stale copy")
    ops = [replace(op, start=op.start + 5 * MS, end=op.end + 5 * MS) if worker_of(op.op or 0) else op for op in run.ops]
    raw = CHECK["register"].check(*build(run.ops, **run.arguments()))  # type: ignore[arg-type]
    assert raw.verdict == "violated"
    assert judge("register", ops, 5 * MS, MS, **run.arguments()).verdict == "violated", "an update lost to another"

"""A record that is judged in parts gives the bytes of one that is judged as a whole, wherever it is cut."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.builders import Op, add, numbered, write_run
from tests.verifier.checks.test_sets import one_element
from tests.verifier.checks.test_transactions import one_region
from tests.verifier.generators import counter_history, damaged, register_history, side_by_side
from tests.verifier.stores import simulate
from tests.verifier.test_verify import MS, record
from verifier.engine import BYTES_AN_OPERATION, Limits
from verifier.errors import RecordError
from verifier.history.compact import compact
from verifier.history.keys import key_hash, ranked
from verifier.history.schema import op_id
from verifier.rundir import ClockAnchor, PhaseWindow, RunDirectory, WorkerInfo
from verifier.verify import verify

WHOLE = Limits(10**12, 1)
EXPECT = [
    {"metric": metric, "op": "<=", "value": value}
    for metric, value in [
        ("lost_updates", "3"), ("lost_share", "1%"), ("double_applications", "0"), ("stale_strong_reads", "5"),
        ("contract_breaches", "0"), ("conflict_rate", "1%"), ("availability", "99%"), ("error_rate", "1%"),
        ("amplification", "1.5"), ("p50", "9ms"), ("p99", "20ms"), ("max", "1s"), ("unknown_writes", "2"),
    ]
]  # fmt: skip


def parts_of(rows: int, jobs: int = 1) -> Limits:
    """Limits with so many operations a part."""
    return Limits(rows * BYTES_AN_OPERATION * jobs, jobs)


def said(directory: RunDirectory, limits: Limits) -> dict[str, object]:
    """Everything that judging leaves, and nothing besides."""
    verify(directory.path, limits=limits)
    assert not list(directory.path.glob(".*")), "no scratch is left"
    files = (directory.verdict, directory.lost, directory.junit, directory.summary)
    return {
        **{path.name: path.read_bytes() for path in files},
        "findings": pq.read_table(directory.findings).to_pylist(),
    }


def assert_same_in_parts(directory: RunDirectory, rows: Iterable[int], jobs: int = 1) -> None:
    whole = said(directory, WHOLE)
    for size in rows:
        for name, content in said(directory, parts_of(size, jobs)).items():
            if content != whole[name] and isinstance(content, bytes):
                raise AssertionError(f"{name} with {size} operations a part:\n" + difference(whole[name], content))
            assert content == whole[name], f"{name} with {size} operations a part"


def difference(whole: object, parts: bytes) -> str:
    """Lines that differ."""
    assert isinstance(whole, bytes)
    lines = difflib.unified_diff(whole.decode().splitlines(), parts.decode().splitlines(), lineterm="", n=4)
    return "\n".join(itertools.islice(lines, 40))


@pytest.mark.parametrize("seed", range(6))
def test_runs_of_correct_and_of_broken_stores(tmp_path: Path, seed: int) -> None:
    options: list[dict[str, Any]] = [
        {"mode": "MREC", "cut": True, "unknown": 0.1, "refused": 0.1, "retries": True},
        {"mode": "MRSC", "bug": "stale reads", "refused": 0.2},
        {"mode": "MREC", "killed": True, "kinds": ("add", "write", "cas", "create")},
        {"mode": "MRSC", "kinds": ("write", "delete", "create"), "retries": True},
        {"mode": "MREC", "kinds": ("write", "cas"), "delay_ms": 200},
        {"mode": "MRSC", "unknown": 0.2, "killed": True, "kinds": ("add", "delete", "write")},
    ]
    chosen = options[seed]
    if "bug" in chosen:
        del chosen["bug"]
    run = simulate(seed, chosen.pop("mode"), keys=9, intents=25, **chosen)
    phases = [
        PhaseWindow(name="first", start_ns=0, end_ns=100 * MS),
        PhaseWindow(name="then", start_ns=100 * MS, end_ns=10**9),
    ]
    directory = record(tmp_path / "run", run, phases=phases, profile={"name": "test", "expect": EXPECT})
    assert_same_in_parts(directory, (1, 40, 150))
    compact(directory)
    assert_same_in_parts(directory, (60,))


@pytest.mark.parametrize("marks", [True, False])
def test_damaged_histories_with_hundreds_of_findings(tmp_path: Path, marks: bool) -> None:
    rng = random.Random(5)
    make = register_history if marks else counter_history
    histories = [damaged(rng, make(rng, rng.randint(5, 20)), marks=marks) for _ in range(300)]
    directory = write_run(tmp_path / "run", numbered(side_by_side(histories)), mode="MREC", rows_a_batch=500)
    assert_same_in_parts(directory, (300, 2500))


def test_hosts_whose_clocks_differ(tmp_path: Path) -> None:
    rng = random.Random(7)
    ops = [
        op.__class__(**{**op.__dict__, "op": op_id(rng.randrange(3), number)})
        for number, op in enumerate(side_by_side([counter_history(rng, 15) for _ in range(20)]))
    ]
    clock = [
        ClockAnchor(host=f"h{host}", at_ns=at, offset_ns=host * 3, epsilon_ns=4 + host)
        for host in (1, 2)
        for at in (0, 50)
    ]
    directory = write_run(
        tmp_path / "run", ops, workers=[WorkerInfo(worker=n, host=f"h{n}") for n in range(3)], clock=clock
    )
    assert_same_in_parts(directory, (20, 100))


def test_items_of_one_logical_key_and_of_one_transaction_stay_together(tmp_path: Path) -> None:
    ops = [add(n * 10, n * 10 + 5, 1, op=n + 1, prev=-1, key=f"item-{n}") for n in range(10)]
    ops += [
        Op("txn_write", n * 10, n * 10 + 5, op=1000 + n, key=f"item-{n + more}", saw=1000 + n, process=n)
        for n in range(20, 40)
        for more in (0, 1, 50)
    ]
    ops += [
        add(n * 10, n * 10 + 5, 1, op=2000 + n, prev=-1, key=f"shard-{n}", logical_key=f"counter-{n % 3}", process=n)
        for n in range(30)
    ]
    directory = write_run(tmp_path / "run", ops, mode="MRSC")
    assert_same_in_parts(directory, (1, 7))


def test_sets_and_transactions(tmp_path: Path) -> None:
    rng = random.Random(4)
    sets = [op for number in range(60) for op in one_element(rng, f"set-{number}")]
    banks = [one_region(rng, 12) for _ in range(12)]
    ops = side_by_side([*(numbered(bank) for bank in banks), numbered(sets)])
    ops = [replace(op, process=op.op or 0, intent=op.op) for op in ops]
    directory = write_run(tmp_path / "run", ops, mode="MREC")
    assert_same_in_parts(directory, (10, 60))


def test_seconds_in_which_a_worker_sent_late(tmp_path: Path) -> None:
    ops = [
        add(n * 10 * MS + (30 * MS if 150 < n < 220 else 0), n * 10 * MS + 35 * MS, 1, op=op_id(0, n), key=f"k{n % 7}",
            process=n % 50, scheduled=n * 10 * MS)
        for n in range(400)
    ]  # fmt: skip
    directory = write_run(tmp_path / "run", ops, end_ns=5 * 10**9)
    assert verify(directory.path, limits=WHOLE).marked_seconds == [1, 2]
    compact(directory)
    assert_same_in_parts(directory, (50,))


def test_a_record_that_cannot_be_trusted_is_refused_in_parts_as_well(tmp_path: Path) -> None:
    ops = numbered([add(n * 10, n * 10 + 5, 1, key=f"k{n}") for n in range(40)])
    twice = [*ops, replace(ops[3], key="another", start=7, end=9, process=5)]
    next_to_each_other = [*ops[:5], replace(ops[4], key="another", process=99), *ops[5:]]
    backwards = [*ops[:-1], replace(ops[-1], end=ops[-1].start - 1)]
    not_known = [*ops[:-1], replace(ops[-1], kind="frob")]
    for number, (wrong, words) in enumerate(
        [
            (twice, r"worker-0\.arrow: operation 0:\d+ is recorded twice: marks do not name one attempt"),
            (next_to_each_other, "recorded twice"),
            (backwards, "ends before it starts .* none of its times proves anything; so there is no verdict"),
            (not_known, r"worker-0\.arrow: kind 'frob'"),
        ]
    ):
        directory = write_run(tmp_path / str(number), wrong)
        for limits in (WHOLE, parts_of(5)):
            with pytest.raises(RecordError, match=words):
                verify(directory.path, limits=limits)
        assert not directory.verdict.exists()
        assert not list(directory.path.glob(".*"))


@pytest.mark.long
def test_several_processes(tmp_path: Path) -> None:
    run = simulate(3, "MREC", keys=40, intents=200, cut=True, unknown=0.05, retries=True)
    assert_same_in_parts(record(tmp_path / "run", run, profile={"name": "test", "expect": EXPECT}), (500,), jobs=2)


@given(st.lists(st.text(max_size=8), unique=True), st.data())
def test_keys_have_one_order_and_linked_ones_stand_together(keys: list[str], data: st.DataObject) -> None:
    names = st.sampled_from(keys) if keys else st.nothing()
    links = data.draw(st.lists(st.tuples(names, names), max_size=4)) if keys else []
    in_order = [keys[at] for at in ranked(keys, links)]
    assert sorted(in_order) == sorted(keys)
    assert in_order == [keys[::-1][at] for at in ranked(keys[::-1], links)], "whatever their order was"
    if not links:
        assert in_order == sorted(keys, key=lambda key: (key_hash(key), key))
    for one, other in links:
        between = in_order[slice(*sorted((in_order.index(one), in_order.index(other))))]
        linked = {one, other}
        for _ in links:
            linked |= {name for link in links for name in link if set(link) & linked}
        assert set(between) <= linked

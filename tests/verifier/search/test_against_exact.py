"""The exact checks of registers and counters and the general search say the same of every history; bigger ones than
trying every order could judge."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.verifier.builders import Op, build
from tests.verifier.generators import counter_history, damaged, register_history, side_by_side
from verifier.checks.counter_value import check_counter_value
from verifier.checks.register import check_register
from verifier.checks.types import Check
from verifier.foreign.run import counter_keys, operations_of
from verifier.search.judge import judge
from verifier.search.linearise import Limits
from verifier.search.model import Model
from verifier.search.models import CAS_REGISTER, COUNTER


def registers(rng: random.Random, size: int) -> list[Op]:
    """Without links from write to write, of which a plain register knows nothing."""
    return [replace(op, prev=None) for op in register_history(rng, size)]


def counters(rng: random.Random, size: int) -> list[Op]:
    return [Op("add", -9, -8, key="k0", op=10**6, value=1, outcome="unknown"), *counter_history(rng, size)]


@pytest.mark.parametrize("sizes", [(2, 12), (13, 60)])
@pytest.mark.parametrize(
    ("make", "check", "model"),
    [(registers, check_register, CAS_REGISTER), (counters, check_counter_value, COUNTER)],
    ids=["register", "counter"],
)
def test_the_exact_checks_and_the_search_agree(
    make: Callable[[random.Random, int], list[Op]], check: Check, model: Model, sizes: tuple[int, int]
) -> None:
    rng = random.Random(f"{model.name} {sizes}")
    histories = []
    for _ in range(1200 if sizes[1] < 20 else 250):
        ops = make(rng, rng.randint(*sizes))
        histories.append(damaged(rng, ops, marks=model is CAS_REGISTER) if rng.random() < 0.6 else ops)
    ops = [replace(op, intent=None) for op in side_by_side(histories)]
    history, context = build(ops)
    result = check(history, context)
    assert result.everything is not None
    accused = {history.keys[key] for key in result.everything.key}
    operations = list(operations_of(history, counter_keys(history)))
    judged = judge(operations, model, Limits(deadline_s=120), refusals="drop")
    verdicts = {part.key: part.found.verdict for part in judged.parts}
    assert "unknown" not in verdicts.values()
    wrong = {key for key, verdict in verdicts.items() if verdict == "violated"}
    differ = sorted(accused ^ wrong, key=lambda key: sum(op.key == key for op in ops))
    assert not differ, [op for op in ops if op.key == differ[0]]
    assert min(len(wrong), len(verdicts) - len(wrong)) > len(histories) // 8

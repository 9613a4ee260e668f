"""The register check against truth: thousands of small histories, legal or not as trying every order says."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.verifier.brute import legal, register_step
from tests.verifier.builders import Op, build
from tests.verifier.generators import damaged, register_history, side_by_side
from verifier.checks.register import check_register
from verifier.history.schema import ABSENT


def legal_keys(ops: list[Op], initial: int = ABSENT) -> dict[str, bool]:
    return {
        key: legal([op for op in ops if op.key == key], register_step, initial)
        for key in sorted({op.key for op in ops})
    }


def accused(ops: list[Op], **more: Any) -> set[str]:
    history, context = build(ops, **more)
    result = check_register(history, context)
    columns = result.everything
    if columns is None:
        assert result.verdict in ("holds", "unknown")
        assert not result.violations
        return set()
    assert result.verdict == "violated"
    assert result.count == len(columns.key)
    return {history.keys[key] for key in columns.key}


@pytest.mark.parametrize("seed", range(6))
def test_every_small_history_is_judged_as_trying_every_order_does(seed: int) -> None:
    rng = random.Random(seed)
    histories = []
    for _ in range(3000):
        ops = register_history(rng, rng.randint(2, 9), rng.choice([1, 1, 2]))
        histories.append(damaged(rng, ops, marks=True) if rng.random() < 0.8 else ops)
    ops = side_by_side(histories)
    truth: dict[str, bool] = {}
    for i, history in enumerate(histories):
        truth |= {f"{i}:{key}": verdict for key, verdict in legal_keys(history).items()}
    wrong = accused(ops) ^ {key for key, verdict in truth.items() if not verdict}
    worst = min(wrong, key=lambda key: sum(op.key == key for op in ops), default=None)
    assert worst is None, f"{len(wrong)}; {worst} is {truth[worst]}:\n" + "\n".join(
        str(op) for op in sorted(ops, key=lambda op: op.start) if op.key == worst
    )
    count = Counter(truth.values())
    assert min(count.values()) > 500

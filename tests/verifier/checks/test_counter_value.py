"""The counter check against truth: thousands of small histories, legal or not as trying every order says."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.verifier.brute import counter_step, legal
from tests.verifier.builders import Op, build
from tests.verifier.generators import counter_history, damaged, side_by_side
from verifier.checks.counter_value import check_counter_value


def accused(ops: list[Op], **more: Any) -> set[str]:
    history, context = build(ops, **more)
    result = check_counter_value(history, context)
    if result.everything is None:
        assert result.verdict in ("holds", "unknown")
        return set()
    assert result.verdict == "violated"
    assert result.count == len(result.everything.key)
    return {history.keys[key] for key in result.everything.key}


@pytest.mark.parametrize("seed", range(6))
def test_every_small_history_is_judged_as_trying_every_order_does(seed: int) -> None:
    rng = random.Random(seed)
    histories = []
    for _ in range(3000):
        ops = counter_history(rng, rng.randint(2, 9), rng.choice([1, 1, 2]))
        histories.append(damaged(rng, ops, marks=False) if rng.random() < 0.6 else ops)
    ops = side_by_side(histories)
    truth: dict[str, bool] = {}
    for i, history in enumerate(histories):
        for key in sorted({op.key for op in history if op.kind == "add"}):
            truth[f"{i}:{key}"] = legal([op for op in history if op.key == key], counter_step, 0)
    wrong = accused(ops) ^ {key for key, verdict in truth.items() if not verdict}
    worst = min(wrong, key=lambda key: sum(op.key == key for op in ops), default=None)
    assert worst is None, f"{len(wrong)}; {worst} is {truth[worst]}:\n" + "\n".join(
        str(op) for op in sorted(ops, key=lambda op: op.start) if op.key == worst
    )
    count = Counter(truth.values())
    assert min(count.values()) > 500

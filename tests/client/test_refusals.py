"""When a run is not worth going on: a Region that refuses everything for what no other attempt changes."""

from __future__ import annotations

import pytest

from lastwriter.client.refusals import PATIENCE_NS, RefusalWatch

S = 1_000_000_000
EXPIRED = "ExpiredTokenException"


def test_nothing_else_for_some_seconds_is_hopeless_and_said_once_with_what_to_do() -> None:
    watch = RefusalWatch()
    for second in range(5):
        watch.add("us-east-1", "add", 10, {}, second * S)
        watch.add("us-west-2", "add", 10, {EXPIRED: 10}, second * S)
        assert (watch.verdict(second * S) is not None) == (second * S >= PATIENCE_NS)
    said = watch.verdict(4 * S)
    assert said == (
        f"us-west-2: every request of the last 4 s was refused (50): {EXPIRED}; "
        "renew the credentials (for SSO: `aws sso login`)"
    )


@pytest.mark.parametrize("errors", [{}, {EXPIRED: 9}, {"ThrottlingException": 10}, {"Timeout": 10}])
def test_any_other_answer_is_hope(errors: dict[str, int]) -> None:
    watch = RefusalWatch()
    for second in range(10):
        answers = errors if second % 3 == 2 else {EXPIRED: 10}
        watch.add("us-east-1", "add", 10, answers, second * S)
    assert watch.verdict(10 * S) is None


def test_one_refusal_in_a_long_time_is_not_enough() -> None:
    watch = RefusalWatch()
    watch.add("us-east-1", "add", 1, {EXPIRED: 1}, 0)
    watch.add("us-east-1", "add", 0, {}, 1 * S)
    assert watch.verdict(60 * S) is None


def test_who_may_read_and_not_write_is_told_so() -> None:
    watch = RefusalWatch()
    for second in range(5):
        watch.add("us-east-1", "read", 10, {}, second * S)
        watch.add("us-east-1", "add", 10, {"AccessDeniedException": 10}, second * S)
    assert watch.verdict(4 * S) == (
        "us-east-1: every add of the last 4 s was refused (50): AccessDeniedException; let these credentials do that, "
        "or use others (AWS_PROFILE)"
    )
    for second in (5, 6):
        watch.add("us-east-1", "read", 10, {EXPIRED: 10}, second * S)
    assert "every request" in str(watch.verdict(6 * S))

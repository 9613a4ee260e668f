"""Reduced series: every operation in one bucket, percentiles those of the operations themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.report.synthetic import SECOND, T0, make_run
from verifier.history.columns import History
from verifier.history.reader import read_history
from verifier.report import series, words


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return read_history(make_run(tmp_path_factory.mktemp("series"), seconds=20, rate=60))


def test_percentiles_are_exact(history: History) -> None:
    buckets = series.choose_buckets(history, T0, T0 + 20 * SECOND)
    groups = series.by_region_and_kind(history, buckets)
    bucket = (history.scheduled_ns - T0) // buckets.width_ns
    latency_ms = (history.end_ns - history.scheduled_ns) / 1e6
    for region, kinds in groups.items():
        for kind, group in kinds.items():
            for i in range(buckets.count):
                rows = (history.region == history.regions.index(region)) & (bucket == i)
                if kind != "all":
                    rows &= history.kind == history.kinds.index(kind)
                values = np.sort(latency_ms[rows])
                assert group.count[i] == len(values)
                for name, share in series.PERCENTILES.items():
                    shown = group.percentiles[name][i]
                    if not len(values):
                        assert shown is None
                    else:
                        assert shown == pytest.approx(values[max(0, math.ceil(share * len(values)) - 1)], rel=1e-3)


@given(seconds=st.floats(0.05, 200_000), count=st.integers(0, 400), early_s=st.floats(0, 50))
def test_any_run_fits_into_the_buckets(seconds: float, count: int, early_s: float) -> None:
    rng = np.random.default_rng(1)
    scheduled = T0 + np.sort(rng.integers(-int(early_s * SECOND), int(seconds * SECOND) + 1, count))
    history = _only_times(scheduled)
    buckets = series.choose_buckets(history, T0, T0 + int(seconds * SECOND))
    assert 1 <= buckets.count <= series.MAX_BUCKETS
    assert sum(series.at_times(scheduled, buckets)) == count
    inside = (scheduled - buckets.origin_ns) // buckets.width_ns
    assert ((inside >= 0) & (inside < buckets.count)).all()


def test_attempts_in_flight_at_the_end_have_no_latency(history: History) -> None:
    in_flight = replace(
        history,
        errors=(*history.errors, "InFlight"),
        error=np.full_like(history.error, len(history.errors)),
        outcome=np.full_like(history.outcome, 2),
    )
    buckets = series.choose_buckets(in_flight, T0, T0 + 20 * SECOND)
    for kinds in series.by_region_and_kind(in_flight, buckets).values():
        assert set(kinds["all"].percentiles["max"]) == {None}
        assert sum(kinds["all"].unknown) == sum(kinds["all"].count) > 0


def test_errors_beyond_the_most_frequent_are_summed(history: History) -> None:
    names = tuple(f"Error{i}" for i in range(9))
    error = np.arange(len(history), dtype=np.int32) % 9
    buckets = series.choose_buckets(history, T0, T0 + 20 * SECOND)
    shown = series.errors(replace(history, errors=names, error=error), buckets)
    assert len(shown) == series.ERRORS_SHOWN + 1
    assert sum(sum(counts) for counts in shown.values()) == len(history)
    assert "others" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0421, "0.04 ms"),
        (4.2, "4.2 ms"),
        (9.996, "10 ms"),
        (142.4, "142 ms"),
        (999.6, "1 s"),
        (1240, "1.24 s"),
        (None, "–"),
    ],
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert words.ms(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(1, 3, "33.3 %"), (1, 10**6, "< 0.1 %"), (999_999, 10**6, "> 99.9 %"), (5, 5, "100 %"), (0, 0, "–")],
)
def test_shares_never_round_to_none_or_all(part: int, whole: int, text: str) -> None:
    assert words.share(part, whole).replace("\u00a0", " ") == text


def test_times() -> None:
    assert words.at(20_010_000_000) == "20.01 s"
    assert words.at(125_310_000_000) == "2:05.31"
    assert words.at(7_325_000_000_000) == "2:02:05.00"
    assert words.at(None) == "not observed"
    assert words.span(125 * SECOND) == "2 min 5 s"
    assert words.moment("2026-11-20T23:34:12.760+00:00") == "20 November 2026, 23:34 UTC"


def _only_times(scheduled: np.ndarray[tuple[int], np.dtype[np.int64]]) -> History:
    n = len(scheduled)
    columns = {
        name: np.zeros(n, np.int64)
        for name in ("op", "intent", "token", "value", "expect", "result", "saw", "prev", "start_ns", "end_ns")
    }
    codes = {
        name: np.zeros(n, np.int32)
        for name in (
            "process", "region", "home_region", "workload", "kind", "key_class", "key", "logical_key", "error",
        )
    }  # fmt: skip
    names = dict.fromkeys(
        ("regions", "home_regions", "workloads", "kinds", "key_classes", "keys", "logical_keys", "errors"), ("x",)
    )
    small = {"attempt": np.ones(n, np.int16), "worker": np.zeros(n, np.int16), "outcome": np.zeros(n, np.int8)}
    return History(**columns, **codes, **names, **small, units=np.zeros(n, np.float32), scheduled_ns=scheduled)

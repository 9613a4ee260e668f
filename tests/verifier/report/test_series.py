"""Reduced series: every operation in one bucket, percentiles those of the operations themselves."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.report.synthetic import SECOND, T0, make_run
from verifier.context import context_of_run
from verifier.history.reader import worker_files
from verifier.report import record, series, words
from verifier.report.record import Record, Timed
from verifier.report.series import Buckets, Series, choose_buckets
from verifier.rundir import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("series"), seconds=20, rate=60)


@pytest.fixture(scope="module")
def timed(run: RunDirectory) -> Timed:
    (whole,) = Record(worker_files(run), context_of_run(run)).in_time(lambda at: at)
    return whole


def drawn(timed: Timed) -> tuple[Series, Buckets]:
    scheduled = timed.scheduled_ns
    buckets = choose_buckets(len(timed), int(scheduled.min()), int(scheduled.max()), T0, T0 + 20 * SECOND)
    made = Series(buckets)
    made.add(timed)
    return made, buckets


def test_percentiles_are_exact(timed: Timed) -> None:
    made, buckets = drawn(timed)
    bucket = (timed.scheduled_ns - T0) // buckets.width_ns
    latency_ms = (timed.end_ns - timed.scheduled_ns) / 1e6
    for region, kinds in made.by_region_and_kind().items():
        for kind, group in kinds.items():
            for i in range(buckets.count):
                rows = (timed.region == timed.regions.index(region)) & (bucket == i)
                if kind != "all":
                    rows &= timed.kind == timed.kinds.index(kind)
                values = np.sort(latency_ms[rows])
                assert group.count[i] == len(values)
                for name, share in series.PERCENTILES.items():
                    shown = group.percentiles[name][i]
                    if not len(values):
                        assert shown is None
                    else:
                        assert shown == pytest.approx(values[max(0, math.ceil(share * len(values)) - 1)], rel=1e-3)


def test_a_run_drawn_in_stretches_looks_the_same(
    run: RunDirectory, timed: Timed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Files of many row groups, and a few hundred operations at a time."""
    cut = shutil.copytree(run.path, tmp_path / run.name)
    for path in (cut / "history").glob("*.parquet"):
        pq.write_table(pq.read_table(path), path, row_group_size=40)
    monkeypatch.setattr(record, "AT_ONCE", 200)
    whole, buckets = drawn(timed)
    directory = RunDirectory(cut)
    parts, stretches = Series(buckets), 0
    for stretch in Record(worker_files(directory), context_of_run(directory)).in_time(buckets.of):
        parts.add(stretch)
        stretches += 1
    assert stretches > 3
    assert parts.by_region_and_kind() == whole.by_region_and_kind()
    assert parts.errors() == whole.errors()
    assert (parts.writes == whole.writes).all()


@given(seconds=st.floats(0.05, 200_000), count=st.integers(0, 400), early_s=st.floats(0, 50))
def test_any_run_fits_into_the_buckets(seconds: float, count: int, early_s: float) -> None:
    rng = np.random.default_rng(1)
    scheduled = T0 + np.sort(rng.integers(-int(early_s * SECOND), int(seconds * SECOND) + 1, count))
    first, last = (int(scheduled[0]), int(scheduled[-1])) if count else (None, None)
    buckets = choose_buckets(count, first, last, T0, T0 + int(seconds * SECOND))
    assert 1 <= buckets.count <= series.MAX_BUCKETS
    assert series.at_times(scheduled, buckets).sum() == count
    inside = (scheduled - buckets.origin_ns) // buckets.width_ns
    assert ((inside >= 0) & (inside < buckets.count)).all()


def test_attempts_in_flight_at_the_end_have_no_latency(timed: Timed) -> None:
    in_flight = replace(
        timed,
        errors=(*timed.errors, "InFlight"),
        error=np.full_like(timed.error, len(timed.errors)),
        outcome=np.full_like(timed.outcome, 2),
    )
    for kinds in drawn(in_flight)[0].by_region_and_kind().values():
        assert set(kinds["all"].percentiles["max"]) == {None}
        assert sum(kinds["all"].unknown) == sum(kinds["all"].count) > 0


def test_errors_beyond_the_most_frequent_are_summed(timed: Timed) -> None:
    names = tuple(f"Error{i}" for i in range(9))
    error = np.arange(len(timed), dtype=np.int32) % 9
    shown = drawn(replace(timed, errors=names, error=error))[0].errors()
    assert len(shown) == series.ERRORS_SHOWN + 1
    assert sum(sum(counts) for counts in shown.values()) == len(timed)
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

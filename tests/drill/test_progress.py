"""What a run shows while it is under way."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest

from lastwriter.drill.profile import Profile
from lastwriter.drill.profile_file import read_profile
from lastwriter.drill.progress import LiveProgress, PlainProgress, progress_for
from lastwriter.resources import profiles
from verifier.live import Suspected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def profile() -> Profile:
    return read_profile(Path(profiles()["quickstart"]))


def second(**row: Any) -> dict[str, Any]:
    cells = {"rate": 80.0, "ok": 78, "fail": 0, "unknown": 2, "conflict": 0, "p50_ms": 1.2, "p99_ms": 14.8, **row}
    return {
        "t_ns": 1,
        "phase": "baseline",
        "users": 9,
        "offered": 80,
        "sent": 80,
        "late": 0,
        "regions": {"us-east-1": cells},
    }


def start(ago_s: float = 0.0) -> dict[str, Any]:
    return {"event": "start", "t0_ns": time.monotonic_ns() - round(ago_s * 1e9), "workers": 2}


def test_plain_lines_where_there_is_no_terminal(profile: Profile) -> None:
    stream = io.StringIO()
    progress = progress_for(profile, stream)
    assert isinstance(progress, PlainProgress)
    with progress:
        progress.step("emulator with us-east-1")
        progress.live(start(), [])
        progress.live(second(), ["link a – b cut"])
        progress.note("fault: link a – b cut")
    text = stream.getvalue()
    assert "emulator with us-east-1\n" in text
    assert "phase baseline" in text
    assert "us-east-1 80/s p99 15 ms (2 unknown)  [link a – b cut]" in text
    assert "fault: link a – b cut" in text
    assert "\x1b" not in text


def test_a_phase_is_said_once_and_rates_seldom(profile: Profile) -> None:
    stream = io.StringIO()
    progress = PlainProgress(profile, stream)
    progress.live(start(profile.phases[0].duration + 1), [])
    for _ in range(50):
        progress.live(second(), [])
    assert stream.getvalue().count("phase fault") == 1
    assert stream.getvalue().count("us-east-1") <= 2


def test_a_display_in_place_in_a_terminal(profile: Profile) -> None:
    stream = Terminal()
    progress = progress_for(profile, stream)
    assert isinstance(progress, LiveProgress)
    with progress:
        progress.step("load with 2 workers")
        progress.live(start(3), [])
        progress.live(second(fail=3, intents=77, throttled=3, p99_ms=None), ["link a – b cut"])
        progress.note("worker-1 died")
    text = stream.getvalue()
    for words in (
        "load with 2 workers",
        "us-east-1",
        "80/s",
        "77/s",
        "throttled",
        "offered 80, sent 80, late 0",
        "baseline",
        "link a – b cut",
        "worker-1 died",
    ):
        assert words in text


def test_what_is_suspected_anew_is_told_at_once_and_the_number_now_and_then(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    progress = PlainProgress(profile, stream)
    progress.live(start(1), [])
    found = Suspected({"us-west-2": 3}, {"us-east-1": 1}, ("a read shows an old write",))
    progress.suspected(found, found)
    text = stream.getvalue()
    assert "suspected: 3 stale reads (us-west-2 3), 1 lost update (us-east-1 1); a read shows an old write" in text
    more = Suspected({"us-west-2": 7}, {"us-east-1": 1})
    progress.suspected(more, Suspected())
    assert stream.getvalue() == text, "more of the same is nothing to interrupt for"
    monkeypatch.setattr("lastwriter.drill.progress._SUSPECTED_EVERY_S", 0.0)
    progress.suspected(more, Suspected())
    assert "so far suspected: 7 stale reads (us-west-2 7), 1 lost update" in stream.getvalue()


def test_suspicions_are_added_up_in_a_terminal(profile: Profile) -> None:
    stream = Terminal()
    with LiveProgress(profile, stream) as progress:
        progress.live(start(1), [])
        progress.live(second(), [])
        found = Suspected({"us-west-2": 3}, {}, ("a read shows an old write",))
        progress.suspected(found, found)
        progress.suspected(Suspected({"us-west-2": 6}, {}), Suspected())
    text = stream.getvalue()
    assert "so far suspected: 6 stale reads" in text
    assert text.count("a read shows an old write") == 1

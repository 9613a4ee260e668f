"""What the master learns of its workers' clocks, with workers whose clocks and round trips are made up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lastwriter.client import clock, rollcall
from lastwriter.client.rollcall import RollCall

MS = 1_000_000


class Wire:
    """Workers that answer at once; the master's clock advances by the ways there and back."""

    def __init__(self, workers: dict[str, dict[str, Any]], ways: list[tuple[int, int]]) -> None:
        self.now_ns = 10**12
        self.workers, self.ways = workers, ways
        self.roll = RollCall(self.send, lambda: self.now_ns, pause_s=0)
        self.asked: list[str] = []

    def send(self, kind: str, data: dict[str, Any], worker_id: str) -> None:
        assert kind == "lastwriter-ping"
        self.asked.append(worker_id)
        there, back = self.ways[len(self.asked) % len(self.ways)]
        worker = self.workers[worker_id]
        self.now_ns += there
        pong = {**data, "host_ns": self.now_ns + worker["offset_ns"], "pid": 1, "regions": [], **worker}
        self.now_ns += back
        self.roll.on_pong(worker_id, pong)


def worker(host: str, kernel: str, offset_ns: int = 0) -> dict[str, Any]:
    return {"host": host, "kernel": kernel, "offset_ns": offset_ns}


@given(
    st.integers(-(10**13), 10**13), st.lists(st.tuples(st.integers(0, 90 * MS), st.integers(0, 90 * MS)), min_size=1)
)
def test_the_offset_is_known_to_within_epsilon_whatever_each_way_takes(
    offset_ns: int, ways: list[tuple[int, int]]
) -> None:
    wire = Wire({"a": worker("far", "k1", offset_ns)}, ways)
    (anchor,) = wire.roll.read(["a"])
    assert anchor.host == "far"
    assert abs(anchor.offset_ns - offset_ns) <= anchor.epsilon_ns
    assert anchor.epsilon_ns <= max(sum(way) for way in ways) // 2 + 1
    assert wire.roll.offset_ns("a") == anchor.offset_ns


def test_one_worker_a_host_is_asked_once_they_are_known() -> None:
    here = worker(clock.host(), clock.kernel())
    wire = Wire({"a": worker("x", "k1", 5), "b": worker("x", "k1", 5), "c": worker("x", "k2", -5), "d": here}, [(1, 1)])
    assert {anchor.host for anchor in wire.roll.read("abcd")} == {"x", "x-2"}, "two machines of one name are two"
    assert set(wire.asked) == set("abcd")
    wire.asked.clear()
    assert len(wire.roll.read("abcd")) == 2
    assert set(wire.asked) == {"a", "c"}
    assert wire.roll.is_here("d")
    assert not wire.roll.is_here("a")
    assert wire.roll.offset_ns("d") == 0


def test_who_does_not_answer_has_no_anchor(monkeypatch: Any) -> None:
    monkeypatch.setattr(rollcall, "PATIENCE_S", 0.05)
    roll = RollCall(lambda *_: None)
    assert roll.read(["a"]) == []
    assert roll.present("a") is None
    assert roll.offset_ns("a") == 0

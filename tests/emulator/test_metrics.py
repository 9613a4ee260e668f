"""/metrics: what Prometheus reads is what happened."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

import botocore.exceptions
import pytest

from lastwriter.emulator.shell.counts import Counts
from lastwriter.emulator.shell.metrics import exposition
from tests.emulator.running import ask, client, emulator, until
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, S, World

LINE = re.compile(r"(lastwriter_[a-z_]+)\{((?:[a-z]+=\"[^\"]*\",?)*)\} (-?[0-9.e+-]+)")


def parsed(text: str) -> dict[tuple[str, ...], float]:
    """(metric, label values…) → value; every line is one that Prometheus takes."""
    found = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            labels = re.findall(r'="([^"]*)"', match[2])
            found[match[1].removeprefix("lastwriter_"), *labels] = float(match[3])
    return found


def virtual(w: World) -> dict[tuple[str, ...], float]:
    return parsed(exposition(w.core, w.book.states(), {region: Counts() for region in REGIONS}))


def test_mrec_lag_is_the_age_of_the_oldest_change_under_way() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="2s", replicator_delay_spread="0%")
    w.wait(60 * S)
    cut = w.cut(EAST, OHIO)
    w.put(EAST, "a", "1")
    w.wait(3 * S)
    w.put(EAST, "b", "1")
    w.wait(500 * MS)
    now = virtual(w)
    assert (now["replication_backlog", EAST, OHIO], now["replication_lag_seconds", EAST, OHIO]) == (2, 3.5)
    assert (now["replication_backlog", EAST, OREGON], now["replication_lag_seconds", EAST, OREGON]) == (1, 0.5)
    assert (now["replication_backlog", OHIO, EAST], now["replication_lag_seconds", OHIO, EAST]) == (0, 0)
    assert (now["link_up", EAST, OHIO], now["link_up", EAST, OREGON], now["faults", "link-cut"]) == (0, 1, 1)
    w.heal(cut)
    w.settle()
    now = virtual(w)
    assert now["replication_lag_seconds", EAST, OHIO] == 0
    assert ("faults", "link-cut") not in now


def test_mrsc_lag_is_of_what_a_region_has_not_applied() -> None:
    w = World("MRSC", latency_scale="0%")
    w.fault("region-isolated", OREGON)
    w.put(EAST, "k", "a")
    w.wait(S)
    now = virtual(w)
    assert (now["replication_backlog", EAST, OREGON], now["replication_lag_seconds", EAST, OREGON]) == (1, 1)
    assert now["replication_backlog", EAST, OHIO] == 0


def test_the_control_port_counts_requests_errors_conflicts_and_throttles() -> None:
    with emulator((EAST, OHIO), table="orders") as running:
        table = client(running.endpoints[EAST], EAST)
        for _ in range(3):
            table.put_item(TableName="orders", Item={"pk": {"S": "k"}})
        ask(running.control, "POST", "/_lastwriter/faults", {"kind": "region-throttled", "regions": [EAST]})
        ask(running.control, "POST", "/_lastwriter/faults", {"kind": "connection-reset", "regions": [OHIO]})
        with pytest.raises(botocore.exceptions.ClientError):
            table.put_item(TableName="orders", Item={"pk": {"S": "k"}})
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            client(running.endpoints[OHIO], OHIO).put_item(TableName="orders", Item={"pk": {"S": "k"}})

        def read() -> Any:
            with urllib.request.urlopen(running.control + "/metrics") as reply:
                assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                return parsed(reply.read().decode())

        now = until(read)
        assert now["requests_total", EAST] == 4
        assert now["errors_total", EAST, "ThrottlingException"] == 1
        assert now["throttles_total", EAST] == 1
        assert now["conflicts_total", EAST] == 0
        assert now["errors_total", OHIO, "ConnectionReset"] == 1
        assert now["throttles_total", OHIO] == 0

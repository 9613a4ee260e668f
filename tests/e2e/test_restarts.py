"""Drills in which the emulator is killed and comes back with all that it had acknowledged, or is broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Begin
from tests.e2e.drills import drill, end

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PROFILE = """\
name: killed
hypothesis: an emulator that is killed under load comes back with everything that it acknowledged
target: {mode: MODE, data: true, settings: {replicator_delay: 200ms, latency_scale: 50%}}
load:
  - {workload: counters, pattern: home-region, rate: 60/s, keys: {count: 12}}
  - {workload: registers, pattern: home-region, rate: 60/s, keys: {count: 12}}
phases:
  - {name: before, duration: 2s}
  - name: killed
    duration: 7s
    faults:
      - {kind: link-cut, links: [[us-east-1, us-west-2]]}
      - {kind: emulator-killed, at: 1s, duration: 1s}
  - {name: after, duration: 2s}
expect:
  - {metric: contract_breaches, op: "==", value: 0}
  - {metric: lost_updates, op: "==", value: 0}
  - {metric: differing_items, op: "==", value: 0}
"""


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_an_emulator_killed_under_load_lost_nothing(begin: Begin, tmp_path: Path, mode: str) -> None:
    (tmp_path / "killed.yaml").write_text(PROFILE.replace("MODE", mode))
    run = end(begin("killed.yaml", cwd=tmp_path), tmp_path)
    assert run.exit_code == 0, run.stdout + run.stderr
    assert not run.directory.emulator.exists()
    assert all(row.verdict != "violated" for row in run.verdict.contract), run.stdout
    assert run.check("store").verdict == "holds"
    link, death, *again = run.verdict.faults
    assert death.kind == "emulator-killed"
    assert death.onset_ns is not None
    assert death.healed_ns is not None
    assert link.healed_ns == death.onset_ns
    for fault in again:  # unless its time was over before the emulator was back
        assert fault.onset_ns is not None
        assert fault.onset_ns > death.healed_ns, "it was set anew"


def test_a_drill_is_seen_to_fail_on_a_store_that_is_broken_on_purpose(tmp_path: Path) -> None:
    run = drill("counters-strict", "--mode", "MRSC", "--short", "--set", "target.bugs=[lost-write=5]", cwd=tmp_path)
    assert run.exit_code == 1, run.stdout + run.stderr
    assert run.check("store").verdict == "violated"
    (warning,) = run.verdict.warnings
    assert "told to break its promises (target.bugs): lost-write=5" in warning
    assert warning in run.stderr

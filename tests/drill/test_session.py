"""A run's record: settled states, and ``run.json`` at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastwriter.client import session as session_module
from lastwriter.client import tables
from lastwriter.client.session import RunSession
from lastwriter.errors import UserError
from verifier.history.schema import REPLICA_COLUMNS
from verifier.rundir import RunInfo

REGIONS = ["us-east-1", "us-west-2"]
ENDPOINTS = {region: f"http://{region}" for region in REGIONS}


def items(**values: int) -> pa.Table:
    rows = [
        {"key": key, "value": value, "w": 1, "p": -1, "item": json.dumps({"v": value}), "start_ns": 1, "end_ns": 2}
        for key, value in values.items()
    ]
    return pa.Table.from_pylist(rows, schema=REPLICA_COLUMNS)


@pytest.fixture
def session(tmp_path: Path) -> RunSession:
    return RunSession.open(tmp_path, "x", {}, "MREC", REGIONS, None, "t", "emulator", "wire", 1)


def replicas(monkeypatch: pytest.MonkeyPatch, *rounds: dict[str, Any]) -> None:
    """Each round of reads answers with the next of ``rounds``, the last one for ever."""
    waiting = {region: [answers[region] for answers in rounds] for region in REGIONS}

    def read(endpoint: str, region: str, table: str, **_: Any) -> pa.Table:
        answers = waiting[region]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(tables, "read_replica", read)
    monkeypatch.setattr(tables, "create_global_table", lambda *_, **__: None)
    monkeypatch.setattr(session_module, "_POLL_S", 0.001)


def reread(session: RunSession) -> RunInfo:
    return RunInfo.model_validate_json(session.directory.run_json.read_bytes())


def test_replicas_that_differ_before_the_run_are_refused(session: RunSession, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas(monkeypatch, {"us-east-1": items(a=1), "us-west-2": items(a=2)})
    with pytest.raises(UserError, match="replicas differ before the run"):
        session.prepare(ENDPOINTS)


def test_the_initial_state_is_kept_whatever_the_order_of_its_items(
    session: RunSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas(monkeypatch, {"us-east-1": items(a=1, b=2), "us-west-2": items(b=2, a=1)})
    session.prepare(ENDPOINTS)
    assert pq.read_table(session.directory.replica("initial", "us-west-2")).num_rows == 2


def test_an_empty_table_is_a_fine_start(session: RunSession, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas(monkeypatch, dict.fromkeys(REGIONS, items()))
    session.prepare(ENDPOINTS)
    assert pq.read_table(session.directory.replica("initial", "us-east-1")).schema.equals(REPLICA_COLUMNS)


def test_without_a_view_of_the_queues_it_waits_until_the_replicas_agree(
    session: RunSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = {"us-east-1": items(a=2), "us-west-2": items(a=1)}
    replicas(monkeypatch, behind, behind, dict.fromkeys(REGIONS, items(a=2)))
    assert session.settle(ENDPOINTS, deadline_s=30)
    assert pq.read_table(session.directory.replica("final", "us-west-2"))["value"].to_pylist() == [2]
    assert (reread(session).settled, reread(session).queues_empty) == (True, None)


def test_at_the_deadline_the_replicas_are_kept_as_they_are_and_that_is_said(
    session: RunSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas(monkeypatch, {"us-east-1": items(a=2), "us-west-2": items(a=1)})
    assert not session.settle(ENDPOINTS, deadline_s=0.05)
    assert reread(session).settled is False
    assert "had not settled" in reread(session).warnings[-1]
    assert session.directory.replica("final", "us-west-2").exists()


def test_a_replica_that_cannot_be_read_is_left_out_and_named(
    session: RunSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas(monkeypatch, {"us-east-1": items(a=2), "us-west-2": UserError("no answer")})
    assert not session.settle(ENDPOINTS, deadline_s=0.05)
    assert not session.directory.replica("final", "us-west-2").exists()
    assert any("final state of us-west-2 could not be read" in warning for warning in reread(session).warnings)


def test_an_emulator_that_is_gone_is_not_waited_for(session: RunSession, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas(monkeypatch, dict.fromkeys(REGIONS, UserError("no answer")))
    nobody = "http://127.0.0.1:9"  # the port of the service that threw everything away
    assert not session.settle(ENDPOINTS, nobody, deadline_s=10**6)
    assert [warning.split()[4] for warning in reread(session).warnings] == REGIONS


def test_how_a_run_ended_is_in_its_file(session: RunSession) -> None:
    assert reread(session).ended is None
    session.finish("interrupted", "Ctrl-C")
    assert (reread(session).ended, reread(session).reason) == ("interrupted", "Ctrl-C")

"""Both clients send the same requests and tell the same truth about what became of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.scenarios import REQUEST, SCENARIOS, Scenario, play
from verifier.history.schema import Outcome


def _check(name: str, scenario: Scenario, operation: str, got: list[Any]) -> None:
    outcome, status, error, body, target, sent = got
    expected = scenario.write if operation == "UpdateItem" else scenario.read
    assert (Outcome(outcome), status, error) == (expected, scenario.status, scenario.error), name
    if scenario.body is not None:
        assert body == scenario.body
    assert target == f"DynamoDB_20120810.{operation}"
    if operation == "UpdateItem":
        assert sent == REQUEST


@pytest.mark.parametrize("operation", ["UpdateItem", "GetItem"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_both_clients_agree(name: str, operation: str) -> None:
    wire = play("wire", SCENARIOS[name], operation)
    boto3 = play("boto3", SCENARIOS[name], operation)
    _check(name, SCENARIOS[name], operation, wire)
    assert boto3 == wire


def test_the_same_under_monkey_patching() -> None:
    command = [sys.executable, "-m", "tests.client.scenarios", "--patched"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == 4 * len(SCENARIOS)
    for label, got in results.items():
        _, operation, name = label.split(" ", 2)
        _check(label, SCENARIOS[name], operation, got)

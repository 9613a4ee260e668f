"""The emulator in Python and in pytest, as an application's tests use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lastwriter.emulator import Emulator
from lastwriter.errors import UserError
from tests.emulator.virtual import EAST, OHIO, OREGON

FAST = {"latency_scale": "0%", "replicator_delay": "0ms"}
KEY = {"pk": {"S": "k"}}


def test_a_block_with_clients_and_faults() -> None:
    with Emulator(table="orders", settings=FAST) as emulator:
        process = emulator._running.process
        east, ohio = emulator.client(EAST), emulator.client(OHIO)
        with emulator.cut(EAST, OHIO) as cut:
            east.put_item(TableName="orders", Item=KEY)
            assert "Item" not in ohio.get_item(TableName="orders", Key=KEY)
            assert not emulator.state()["quiet"]
            with pytest.raises(TimeoutError, match="is a link still cut"):
                emulator.settle(0.05)
        emulator.settle()
        assert ohio.get_item(TableName="orders", Key=KEY)["Item"] == KEY
        cut.heal()  # twice does no harm
        emulator.set(latency_scale="50%")
        left = [emulator.isolate(EAST), emulator.pause(OHIO), emulator.slow(EAST, OHIO, "100ms"), emulator.down(OREGON)]
        assert [state["healed_ns"] for state in emulator.state()["faults"][: len(left)]] == [None] * 4
        emulator.heal()
        assert all(state["healed_ns"] for state in emulator.state()["faults"])
    assert process.poll() == 0


def test_tables_of_both_modes_are_made_as_on_aws() -> None:
    with Emulator(settings=FAST) as emulator:
        emulator.create_table("eventual")
        emulator.create_table("strong", "MRSC")
        emulator.create_table("witnessed", "MRSC", witness=OREGON)
        describe = emulator.client(EAST).describe_table
        assert "MultiRegionConsistency" not in describe(TableName="eventual")["Table"]
        assert describe(TableName="strong")["Table"]["MultiRegionConsistency"] == "STRONG"
        assert describe(TableName="witnessed")["Table"]["GlobalTableWitnesses"][0]["RegionName"] == OREGON
        assert emulator.resource(OHIO).Table("strong").scan()["Items"] == []


def test_killed_and_started_again_it_has_what_it_had(tmp_path: Path) -> None:
    with Emulator(table="orders", settings=FAST, data=tmp_path) as emulator:
        endpoints = emulator.endpoints
        emulator.client(EAST).put_item(TableName="orders", Item=KEY)
        emulator.kill()
        with pytest.raises(UserError, match="is not running"):
            emulator.state()
        emulator.start()
        assert emulator.endpoints == endpoints
        emulator.settle()
        assert emulator.client(OHIO).get_item(TableName="orders", Key=KEY)["Item"] == KEY


def test_mistakes_are_one_line() -> None:
    emulator = Emulator(settings=FAST, regions=(EAST, OHIO))
    with pytest.raises(UserError, match="is not running"):
        emulator.client(EAST)
    with emulator:
        with pytest.raises(UserError, match="no Region 'mars'"):
            emulator.client("mars")
        with pytest.raises(UserError, match="did you mean us-east-2"):
            emulator.cut("us-east-9", OHIO)
        with pytest.raises(UserError, match="unknown emulator setting"):
            emulator.set(speed="1")
    with pytest.raises(UserError, match="mars"):
        Emulator(regions=("mars",)).start()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'boto3', 'pydantic', 'orjson', 'uvloop'}"
    code = f"import sys, lastwriter.emulator; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_the_fixtures_in_an_applications_tests(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture(scope='session')\ndef emulator_settings():\n"
        "    return {'latency_scale': '0%', 'replicator_delay': '0ms'}\n"
    )
    (tmp_path / "test_application.py").write_text(
        "import pytest\n\n"
        "def test_two_lines(global_table):\n"
        "    global_table.table('us-east-1').put_item(Item={'pk': 'k', 'v': 1})\n"
        "    assert global_table.table('us-west-2').get_item(Key={'pk': 'k'})['Item']['v'] == 1\n"
        "    global_table.emulator.cut('us-east-1', 'us-west-2')  # left to the fixture\n\n"
        "@pytest.mark.global_table(mode='MRSC')\n"
        "def test_strong(global_table, emulator):\n"
        "    assert all(state['healed_ns'] for state in emulator.state()['faults'])\n"
        "    client = global_table.client('us-east-2')\n"
        "    assert client.describe_table(TableName=global_table.name)['Table']['MultiRegionConsistency'] == 'STRONG'\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "lastwriter.emulator.pytest_plugin"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert "2 passed" in run.stdout, run.stdout + run.stderr

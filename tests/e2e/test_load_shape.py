"""Locust's own ways with our users: a LoadTestShape, and listeners to its ``request`` event."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.locusts import REGIONS, TIMEOUT_S, assert_counters_balance, info, runs, said, seconds, started
from verifier.history.reader import read_history
from verifier.history.schema import Outcome

pytestmark = pytest.mark.e2e

FILE = '''
from locust import LoadTestShape, events, task

from lastwriter.client.user import GlobalTableUser

heard = []


@events.request.add_listener
def listen(request_type, name, response, **_):
    heard.append((request_type, name))


@events.quitting.add_listener
def tell(**_):
    print("heard", len(heard), sorted(set(heard)))


class Likes(GlobalTableUser):
    @task
    def like(self):
        self.table.add(self.keys.mine())

    def wait_time(self):
        return 0.05


class Steps(LoadTestShape):
    """Two users, then six, then one."""

    def tick(self):
        steps = ((2, 2), (5, 6), (7, 1))
        return next(((users, 100) for until, users in steps if self.get_run_time() < until), None)
'''


def test_a_shape_and_a_rate_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "likes.py").write_text(FILE)
    command = [sys.executable, "-m", "locust", "-f", "likes.py", "--headless", "--emulator", "--rate", "10/s"]
    with started(tmp_path, command) as process:
        assert process.wait(TIMEOUT_S) == 2, said(tmp_path)
    assert "LoadTestShape: leave --rate out" in said(tmp_path)


def test_a_shape_decides_how_many_users_there_are_and_listeners_hear_of_every_request(tmp_path: Path) -> None:
    (tmp_path / "likes.py").write_text(FILE)
    command = [sys.executable, "-m", "locust", "-f", "likes.py", "--headless", "--emulator", "--mode", "MRSC"]
    with started(tmp_path, command) as process:
        process.wait(TIMEOUT_S)
    assert "Traceback" not in said(tmp_path)
    (directory,) = runs(tmp_path)
    assert info(directory).ended == "finished"
    history = read_history(directory)
    assert history.lost == ()
    assert not (history.outcome == Outcome.UNKNOWN).any(), "users that are taken away end what they are doing"
    assert set(history.regions) == set(REGIONS)
    assert_counters_balance(directory)
    users = [line["users"] for line in seconds(directory)]
    assert 1 in users[users.index(6) :]
    assert f"heard {len(history)} [" in said(tmp_path)
    assert str(sorted((region, "UpdateItem") for region in REGIONS)) in said(tmp_path)

"""The emulator as a user has it: a process, its ports, a real boto3 client, its start and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from lastwriter.emulator.process import start_emulator
from lastwriter.errors import UserError
from tests.emulator.running import FAST, ask, client, clients, connect, emulator, read_all, until
from tests.emulator.virtual import EAST, OHIO, OREGON, REGIONS, create_request

KEY = {"pk": {"S": "k"}}
ADD = {
    "TableName": "orders",
    "Key": KEY,
    "UpdateExpression": "ADD v :one",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
    "ReturnValues": "ALL_NEW",
}


def test_boto3_makes_an_mrec_table_one_replica_a_call() -> None:
    with emulator() as running:
        east, ohio, oregon = clients(running)
        east.create_table(**create_request())
        east.get_waiter("table_exists").wait(TableName="orders", WaiterConfig={"Delay": 1, "MaxAttempts": 5})
        for region in (OHIO, OREGON):
            east.update_table(TableName="orders", ReplicaUpdates=[{"Create": {"RegionName": region}}])
        table = oregon.describe_table(TableName="orders")["Table"]
        assert [replica["RegionName"] for replica in table["Replicas"]] == [EAST, OHIO]
        assert {replica["ReplicaStatus"] for replica in table["Replicas"]} == {"ACTIVE"}
        assert "MultiRegionConsistency" not in table
        east.update_item(**ADD)
        assert ohio.get_item(TableName="orders", Key=KEY)["Item"]["v"] == {"N": "1"}
        oregon.delete_item(TableName="orders", Key=KEY)
        assert "Item" not in east.get_item(TableName="orders", Key=KEY)


def test_boto3_makes_an_mrsc_table_in_one_call_and_takes_it_down_in_one() -> None:
    with emulator() as running:
        east, ohio, oregon = clients(running)
        east.create_table(**create_request())
        others = [{"Create": {"RegionName": region}} for region in (OHIO, OREGON)]
        east.update_table(TableName="orders", ReplicaUpdates=others, MultiRegionConsistency="STRONG")
        assert ohio.describe_table(TableName="orders")["Table"]["MultiRegionConsistency"] == "STRONG"
        assert east.update_item(**ADD)["Attributes"]["v"] == {"N": "1"}
        assert oregon.update_item(**ADD)["Attributes"]["v"] == {"N": "2"}
        assert ohio.scan(TableName="orders", ConsistentRead=True)["Items"][0]["v"] == {"N": "2"}
        with pytest.raises(ClientError, match="Deletion of only one table replica is not supported"):
            ohio.delete_table(TableName="orders")
        gone = [{"Delete": {"RegionName": region}} for region in (OHIO, OREGON)]
        east.update_table(TableName="orders", ReplicaUpdates=gone)
        assert ohio.list_tables()["TableNames"] == []
        assert "Replicas" not in east.describe_table(TableName="orders")["Table"]
        assert east.get_item(TableName="orders", Key=KEY)["Item"]["v"] == {"N": "2"}
        east.delete_table(TableName="orders")
        assert east.list_tables()["TableNames"] == []


def test_a_ready_made_table_with_a_witness() -> None:
    with emulator(table="orders", mode="MRSC", witness=OREGON) as running:
        east, ohio, oregon = clients(running)
        assert east.update_item(**ADD)["Attributes"]["v"] == {"N": "1"}
        assert ohio.get_item(TableName="orders", Key=KEY, ConsistentRead=True)["Item"]["v"] == {"N": "1"}
        assert ohio.describe_table(TableName="orders")["Table"]["GlobalTableWitnesses"] == [
            {"RegionName": OREGON, "WitnessStatus": "ACTIVE"}
        ]
        with pytest.raises(ClientError) as raised:
            oregon.get_item(TableName="orders", Key=KEY)
        assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_races_between_regions_conflict_with_409() -> None:
    settings = {"latency_scale": "100%", "client_latency": "0ms"}
    with emulator(table="orders", mode="MRSC", settings=settings) as running:
        outcomes: list[tuple[int, str]] = []

        def write(region: str) -> None:
            mine = client(running.endpoints[region], region)
            for _ in range(15):
                try:
                    mine.update_item(**ADD)
                    outcomes.append((200, ""))
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    outcomes.append((status, error.response["Error"]["Code"]))

        threads = [threading.Thread(target=write, args=(region,)) for region in REGIONS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(outcomes) == {(200, ""), (409, "ReplicatedWriteConflictException")}
        counted = clients(running)[0].get_item(TableName="orders", Key=KEY, ConsistentRead=True)["Item"]["v"]["N"]
        assert int(counted) == outcomes.count((200, ""))


def test_latency_is_never_shorter_than_the_round_trip() -> None:
    settings = {"latency_scale": "100%", "client_latency": "5ms"}
    with emulator(table="orders", mode="MRSC", settings=settings) as running:
        east = clients(running)[0]
        east.get_item(TableName="orders", Key=KEY)
        for _ in range(10):
            start = time.perf_counter()
            east.update_item(**ADD)
            assert time.perf_counter() - start >= 0.0158 + 0.005  # us-east-1 to us-east-2 and back, and to the client


def test_region_down_refuses_connections_and_comes_back_on_the_same_port() -> None:
    with emulator(table="orders") as running:
        url = running.endpoints[EAST]
        east, ohio, _ = clients(running)
        held = connect(url)
        _, answer = ask(running.control, "POST", "/_lastwriter/faults", {"kind": "region-down", "regions": [EAST]})
        with pytest.raises(ConnectionRefusedError):
            connect(url).close()
        with pytest.raises(ConnectionResetError):
            read_all(held)
        held.close()
        ohio.update_item(**ADD)
        _, state = ask(running.control, "GET", "/_lastwriter/state")
        assert state["caught_up"][EAST] is False
        assert not state["quiet"]
        status, healed = ask(running.control, "DELETE", f"/_lastwriter/faults/{answer['id']}")
        assert status == 200
        assert healed["healed_ns"] >= healed["onset_ns"]
        until(lambda: "Item" in east.get_item(TableName="orders", Key=KEY))


def test_a_region_that_goes_down_and_up_many_times_ends_as_it_was_told() -> None:
    with emulator((EAST,), table="orders") as running:
        east = clients(running)[0]
        for _ in range(10):
            spec = {"kind": "region-down", "regions": [EAST]}
            _, answer = ask(running.control, "POST", "/_lastwriter/faults", spec)
            with pytest.raises(ConnectionRefusedError):
                connect(running.endpoints[EAST]).close()
            ask(running.control, "DELETE", f"/_lastwriter/faults/{answer['id']}")
            connect(running.endpoints[EAST]).close()  # at once: healed means listening
        assert east.list_tables()["TableNames"] == ["orders"]


def test_a_region_that_hangs_accepts_and_never_answers() -> None:
    with emulator(table="orders") as running:
        url = running.endpoints[EAST]
        spec = {"kind": "region-down", "regions": [EAST], "hang": True}
        _, answer = ask(running.control, "POST", "/_lastwriter/faults", spec)
        with connect(url) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            ask(running.control, "DELETE", f"/_lastwriter/faults/{answer['id']}")
            sock.settimeout(10)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert clients(running)[0].list_tables()["TableNames"] == ["orders"]


def test_a_cut_link_through_the_control_port() -> None:
    with emulator(table="orders") as running:
        east, ohio, oregon = clients(running)
        status, answer = ask(
            running.control, "POST", "/_lastwriter/faults", {"kind": "link-cut", "links": [[EAST, OHIO]]}
        )
        assert status == 201
        east.update_item(**ADD)
        assert "Item" in oregon.get_item(TableName="orders", Key=KEY)
        assert "Item" not in ohio.get_item(TableName="orders", Key=KEY)
        _, state = ask(running.control, "GET", "/_lastwriter/state")
        backlog = {(pair["source"], pair["target"]): (pair["connected"], pair["backlog"]) for pair in state["pairs"]}
        assert backlog[EAST, OHIO] == (False, 1)
        assert backlog[OHIO, EAST] == (False, 0)
        assert backlog[EAST, OREGON] == (True, 0)
        assert [fault["id"] for fault in state["faults"]] == [answer["id"]]
        ask(running.control, "DELETE", f"/_lastwriter/faults/{answer['id']}")
        until(lambda: ask(running.control, "GET", "/_lastwriter/state")[1]["quiet"])
        assert "Item" in ohio.get_item(TableName="orders", Key=KEY)


def test_a_fault_with_a_lease_heals_when_nobody_renews_it() -> None:
    with emulator(table="orders") as running:
        spec = {"kind": "region-isolated", "regions": [EAST], "lease": 0.6}
        _, answer = ask(running.control, "POST", "/_lastwriter/faults", spec)
        path = f"/_lastwriter/faults/{answer['id']}"
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert ask(running.control, "PUT", path)[0] == 200
            time.sleep(0.05)
        fault = until(lambda: ask(running.control, "GET", "/_lastwriter/state")[1]["faults"][0]["healed_ns"])
        assert fault
        assert ask(running.control, "PUT", path)[0] == 404
        assert ask(running.control, "DELETE", path)[0] == 404


def test_settings_change_while_it_runs() -> None:
    with emulator(table="orders") as running:
        status, settings = ask(running.control, "PUT", "/_lastwriter/settings", {"replicator_delay": "1h"})
        assert (status, settings["replicator_delay"]) == (200, "3600s")
        east, ohio, _ = clients(running)
        east.update_item(**ADD)
        assert "Item" not in ohio.get_item(TableName="orders", Key=KEY)
        assert ask(running.control, "GET", "/_lastwriter/state")[1]["quiet"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "faults", b"{", 400, "JSON"),
        ("POST", "faults", b"[]", 400, "object"),
        ("POST", "faults", b"\xff\xfe", 400, "JSON"),
        ("POST", "faults", {"kind": "earthquake", "regions": [EAST]}, 400, "kind"),
        ("POST", "faults", {"kind": "link-cut", "regions": [EAST]}, 400, "links"),
        ("POST", "faults", {"kind": "region-down", "regions": ["us-east-9"]}, 400, "did you mean us-east-"),
        ("POST", "faults", {"kind": "link-cut", "links": [[EAST, EAST]]}, 400, "itself"),
        ("POST", "faults", {"kind": "link-cut", "links": [[EAST]]}, 400, "links"),
        ("POST", "faults", {"kind": "region-down", "regions": [EAST, EAST]}, 400, "twice"),
        ("POST", "faults", {"kind": "region-down", "regions": [EAST], "lease": -1}, 400, "lease"),
        ("DELETE", "faults/nothing", None, 404, "nothing"),
        ("PUT", "faults/nothing", None, 404, "nothing"),
        ("PUT", "settings", {"replicator_dely": "1s"}, 400, "did you mean replicator_delay"),
        ("PUT", "settings", {"replicator_delay": "1 parsec"}, 400, "parsec"),
        ("PUT", "settings", {"replicator_delay": 5}, 400, "unit"),
        ("POST", "state", None, 405, "POST"),
        ("GET", "nothing", None, 404, "state"),
    ],
)
def test_the_control_port_answers_garbage_with_one_line(
    control: str, method: str, path: str, body: object, status: int, words: str
) -> None:
    got, answer = ask(control, method, f"/_lastwriter/{path}", body)
    assert got == status
    assert words in answer["message"]
    assert "\n" not in answer["message"]


@pytest.fixture(scope="module")
def control() -> object:
    with emulator() as running:
        yield running.control


def test_endpoints_stand_in_the_order_asked_for_on_consecutive_ports() -> None:
    base = _free_ports(4)
    with emulator((OREGON, EAST, OHIO), port=base) as running:
        assert running.endpoints == {
            OREGON: f"http://127.0.0.1:{base}",
            EAST: f"http://127.0.0.1:{base + 1}",
            OHIO: f"http://127.0.0.1:{base + 2}",
        }
        assert running.control == f"http://127.0.0.1:{base + 3}"


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} for us-east-1: .*in use.*--port"):
            start_emulator(REGIONS, port=port)


def test_two_emulators_never_share_a_port() -> None:
    with emulator((EAST,)) as running:
        port = int(running.endpoints[EAST].rpartition(":")[2])
        ask(running.control, "POST", "/_lastwriter/faults", {"kind": "region-down", "regions": [EAST]})
        with pytest.raises(UserError, match="in use"):
            start_emulator((EAST,), port=port)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "us-east-1,us-east-3"], "did you mean us-east-"),
        (["--regions", "us-east-1,us-east-1"], "twice"),
        (["--regions", "us-east-1,us-east-2", "--table", "orders", "--mode", "MRSC"], "three Regions"),
        (["--regions", "us-east-1,us-east-2,us-west-1", "--table", "orders", "--mode", "MRSC"], "us-west-1"),
        (["--regions", "us-east-1", "--set", "replicator_delai=1s"], "did you mean replicator_delay"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "lastwriter", "emulator", "--port", "0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_when_told_to(number: signal.Signals) -> None:
    with emulator(table="orders") as running:
        clients(running)[0].update_item(**ADD)  # leaves an idle connection
        running.process.send_signal(number)
        assert running.process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            connect(running.control).close()


HEALTH = b"GET / HTTP/1.1\r\n\r\n"
"""Answered at once: when its reply is there, what was sent with it has been read."""


def _get_item() -> bytes:
    body = json.dumps({"TableName": "orders", "Key": KEY}).encode()
    head = b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def test_requests_under_way_are_answered_before_it_ends() -> None:
    with emulator(table="orders", mode="MRSC", settings={"client_latency": "700ms"}) as running:
        with connect(running.endpoints[EAST]) as sock:
            sock.sendall(HEALTH + _get_item())
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            running.process.terminate()
            assert b"HTTP/1.1 200 OK" in read_all(sock)
        assert running.process.wait(10) == 0


def test_a_client_still_waiting_holds_up_the_end_only_until_the_deadline() -> None:
    settings = {"client_latency": "1h", "drain": "200ms"}
    with (
        emulator(table="orders", mode="MRSC", settings=settings) as running,
        connect(running.endpoints[EAST]) as sock,
    ):
        sock.sendall(HEALTH + _get_item())
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        running.process.terminate()
        assert running.process.wait(10) == 0


def test_it_ends_when_its_parent_does(tmp_path: Path) -> None:
    script = (
        "import os,subprocess,sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'lastwriter', 'emulator', '--regions', 'us-east-1', '--port', '0',"
        " '--json', '--parent', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "os._exit(1)\n"
    )
    child = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout)
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_it_prints_endpoints_for_people_too() -> None:
    command = [sys.executable, "-m", "lastwriter", "emulator", "--regions", ",".join(REGIONS), "--port", "0"]
    command += ["--table", "orders", "--mode", "MRSC"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert [line.split()[0] for line in lines] == [*REGIONS, "control", "table"]
        assert all("http://127.0.0.1:" in line for line in lines[:4])
        assert "MRSC" in lines[4]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()  # type: ignore[union-attr]


def test_it_starts_quickly() -> None:
    """Half a second on an idle machine, in CPU time; twice that where other tests run beside it."""
    before = os.times()
    with emulator(settings=FAST):
        pass
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 1.2


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for base in range(20_000 + os.getpid() % 20_000, 60_000, count):
        sockets = []
        try:
            for port in range(base, base + count):
                sock = socket.socket()
                sockets.append(sock)
                sock.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()
    raise AssertionError("no free ports")

"""Faults on schedule against a control port that keeps the promises of ``lastwriter.emulator.faults``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lastwriter.drill import faults as faults_module
from lastwriter.drill.faults import FaultController
from lastwriter.drill.plan import ScheduledFault
from lastwriter.drill.profile import Fault
from lastwriter.emulator.faults import EmulatorState, FaultSpec, FaultState
from lastwriter.errors import UserError
from verifier.rundir import FaultRecord


class Port:
    """A control port: sets, renews and heals; remembers every call."""

    def __init__(self) -> None:
        self.faults: dict[str, FaultState] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: str | None = None
        port = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def answer(self, status: int, body: Any) -> None:
                content = (
                    body.model_dump_json().encode() if hasattr(body, "model_dump_json") else json.dumps(body).encode()
                )
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def handle_any(self) -> None:
                port.calls.append((self.command, self.path))
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = self.path.rsplit("/", 1)[-1]
                if self.command == "GET":
                    state = EmulatorState(
                        now_ns=time.monotonic_ns(), regions={}, tables={}, faults=list(port.faults.values()),
                        pairs=[], quiet=True, caught_up={},
                    )  # fmt: skip
                    self.answer(200, state)
                elif self.command == "POST":
                    if port.refuse is not None:
                        self.answer(400, {"message": port.refuse})
                        return
                    new = f"f{len(port.faults) + 1}"
                    spec = FaultSpec.model_validate_json(content)
                    port.faults[new] = FaultState(id=new, spec=spec, onset_ns=time.monotonic_ns())
                    self.answer(201, {"id": new})
                elif fault not in port.faults or port.faults[fault].healed_ns is not None:
                    self.answer(404, {"message": f"no fault {fault} in effect"})
                else:
                    if self.command == "DELETE":
                        port.faults[fault].healed_ns = time.monotonic_ns()
                    self.answer(200, port.faults[fault])

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server's names

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


def cut(begin_s: float, end_s: float, number: int = 1) -> ScheduledFault:
    fault = Fault(kind="link-cut", links=[("us-east-1", "us-west-2")])
    return ScheduledFault(f"link-cut-{number}", fault, begin_s, end_s)


def records(path: Path) -> list[FaultRecord]:
    return [FaultRecord.model_validate_json(line) for line in path.read_text().splitlines()]


def until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_the_recorded_window_is_what_was_observed(port: Port, tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "faults.jsonl"
    controller = FaultController(port.url, [cut(0.2, 0.6)], path, said.append)
    assert path.read_text() == ""
    t0 = time.monotonic_ns()
    controller.start(t0)
    until(lambda: controller.in_effect == ["link us-east-1 – us-west-2 cut"])
    until(lambda: len(said) == 2)
    controller.stop()
    (record,) = records(path)
    assert record.onset_ns == port.faults["f1"].onset_ns
    assert record.healed_ns == port.faults["f1"].healed_ns
    assert record.asked_ns - t0 >= 0.2e9
    assert record.clear_asked_ns is not None
    assert record.clear_asked_ns - t0 >= 0.6e9
    assert record.links == [("us-east-1", "us-west-2"), ("us-west-2", "us-east-1")]
    assert port.faults["f1"].spec.lease == 10
    assert controller.error is None


def test_a_lease_is_renewed_while_the_fault_lasts(port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_module, "RENEW_S", 0.05)
    controller = FaultController(port.url, [cut(0, 60)], tmp_path / "faults.jsonl")
    controller.start(time.monotonic_ns())
    until(lambda: port.calls.count(("PUT", "/_lastwriter/faults/f1")) >= 3)
    controller.stop()
    assert records(tmp_path / "faults.jsonl")[0].healed_ns is not None, "stopping heals"


def test_a_fault_that_cannot_be_set_is_an_error_of_the_run(port: Port, tmp_path: Path) -> None:
    port.refuse = "no such Region"
    controller = FaultController(port.url, [cut(0, 60)], tmp_path / "faults.jsonl")
    controller.start(time.monotonic_ns())
    until(lambda: controller.error is not None)
    assert controller.error == "link-cut-1 (link us-east-1 – us-west-2 cut) could not be set: no such Region"
    controller.stop()
    assert records(tmp_path / "faults.jsonl") == []


def test_a_fault_that_healed_too_early_is_an_error_of_the_run(
    port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_module, "RENEW_S", 0.05)
    controller = FaultController(port.url, [cut(0, 60)], tmp_path / "faults.jsonl")
    controller.start(time.monotonic_ns())
    until(lambda: controller.in_effect)
    port.faults["f1"].healed_ns = time.monotonic_ns()
    until(lambda: controller.error is not None)
    assert "ended too early" in str(controller.error)
    controller.stop()
    assert records(tmp_path / "faults.jsonl")[0].healed_ns == port.faults["f1"].healed_ns


def test_a_fault_that_cannot_be_recorded_is_healed_all_the_same(port: Port, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    controller = FaultController(port.url, [cut(0, 60)], folder / "faults.jsonl")
    (folder / "faults.jsonl").unlink()
    folder.rmdir()  # as good as a full disk
    controller.start(time.monotonic_ns())
    until(lambda: controller.error is not None)
    assert "faults.jsonl cannot be written" in str(controller.error)
    controller.stop()
    assert [fault.healed_ns is not None for fault in port.faults.values()] == [True]


def test_a_control_port_that_is_gone_does_not_hang_the_end(port: Port, tmp_path: Path) -> None:
    controller = FaultController(port.url, [cut(0, 60)], tmp_path / "faults.jsonl")
    controller.start(time.monotonic_ns())
    until(lambda: controller.in_effect)
    port.server.shutdown()
    port.server.server_close()
    controller.stop()
    assert controller.error is not None
    assert records(tmp_path / "faults.jsonl")[0].healed_ns is None


class Emulator:
    """Dies and comes back with its control port, which has forgotten its faults."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.calls: list[str] = []

    def kill(self) -> None:
        self.calls.append("kill")
        for fault in self.port.faults.values():
            fault.healed_ns = fault.healed_ns or time.monotonic_ns()

    def restart(self) -> None:
        self.calls.append("restart")
        if self.port.refuse:
            raise UserError(self.port.refuse)


def killed(begin_s: float, end_s: float) -> ScheduledFault:
    return ScheduledFault("emulator-killed-1", Fault(kind="emulator-killed"), begin_s, end_s)


def test_a_killed_emulator_comes_back_and_other_faults_with_it(port: Port, tmp_path: Path) -> None:
    emulator = Emulator(port)
    path = tmp_path / "faults.jsonl"
    controller = FaultController(port.url, [cut(0, 60), killed(0.2, 0.5), cut(0.3, 60)], path, emulator=emulator)
    controller.start(time.monotonic_ns())
    until(lambda: controller.emulator_is_down)
    until(lambda: emulator.calls == ["kill", "restart"] and not controller.emulator_is_down)
    until(lambda: len(controller.in_effect) == 2)
    assert [fault.healed_ns is None for fault in port.faults.values()] == [False, True, True], "what was due waited"
    controller.stop()
    assert controller.error is None
    first, death, second, again = records(path)
    assert (first.id, again.id) == ("link-cut-1", "link-cut-1-again")
    assert death.onset_ns is not None
    assert death.healed_ns is not None
    assert second.onset_ns is not None
    assert death.healed_ns - death.onset_ns >= 0.25e9
    assert second.onset_ns > death.healed_ns
    assert first.healed_ns == death.onset_ns, "it died with the emulator"
    assert again.onset_ns is not None
    assert again.onset_ns > death.healed_ns


def test_stopping_starts_a_killed_emulator_again(port: Port, tmp_path: Path) -> None:
    emulator = Emulator(port)
    controller = FaultController(port.url, [cut(0, 60), killed(0.1, 60)], tmp_path / "faults.jsonl", emulator=emulator)
    controller.start(time.monotonic_ns())
    until(lambda: controller.emulator_is_down)
    controller.stop()
    assert emulator.calls == ["kill", "restart"]
    assert all(record.healed_ns is not None for record in records(tmp_path / "faults.jsonl"))


def test_an_emulator_that_does_not_come_back_is_an_error_of_the_run(port: Port, tmp_path: Path) -> None:
    emulator = Emulator(port)
    port.refuse = "the disk is gone"
    controller = FaultController(port.url, [killed(0, 0.1)], tmp_path / "faults.jsonl", emulator=emulator)
    controller.start(time.monotonic_ns())
    until(lambda: controller.error is not None)
    assert controller.error == "emulator-killed-1: the emulator did not come back: the disk is gone"
    controller.stop()


def test_stopping_twice_or_without_start_does_no_harm(port: Port, tmp_path: Path) -> None:
    controller = FaultController(port.url, [cut(0, 1)], tmp_path / "faults.jsonl")
    controller.stop()
    controller.stop()
    assert records(tmp_path / "faults.jsonl") == []


def test_what_a_fault_was_told_is_in_its_record(port: Port, tmp_path: Path) -> None:
    fault = Fault(kind="clock-skew", regions=["us-east-1"], offset="-2s")
    path = tmp_path / "faults.jsonl"
    controller = FaultController(port.url, [ScheduledFault("clock-skew-1", fault, 0, 0.1)], path)
    controller.start(time.monotonic_ns())
    until(lambda: records(path) and records(path)[0].healed_ns is not None)
    controller.stop()
    (record,) = records(path)
    assert record.parameters == {"offset": "-2s", "offset_ns": -2_000_000_000}
    assert controller.error is None

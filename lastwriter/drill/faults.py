"""Faults on schedule: set through the emulator's control port, held by lease, recorded as they were observed.

A fault set here lives as long as this process renews it: every 2 s, gone 10 s after the run is. What is recorded as its
window is what the state call showed, not what was asked for.

The emulator itself can be killed and started again, if whoever runs it says how. The faults that were in effect ended
with it, and are set anew, as faults of their own; what is due meanwhile waits.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from lastwriter.drill.plan import ScheduledFault
from lastwriter.emulator.faults import LEASE_SECONDS, OF_THE_PROCESS, EmulatorState
from lastwriter.errors import UserError
from verifier.rundir import FaultRecord, write_atomically

RENEW_S: Final = 2.0
_POLL_S: Final = 0.1
_TIMEOUT_S: Final = 3.0
_HEAL_DEADLINE_S: Final = 5.0


class ControlPort:
    """The emulator's control port, as far as faults need it. Every call raises :class:`ControlError`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/_lastwriter"

    def state(self) -> EmulatorState:
        """What is broken now, and what waits to be replicated."""
        return EmulatorState.model_validate(self._call("GET", "/state"))

    def set(self, spec: dict[str, Any]) -> str:
        """Break something; its id."""
        return str(self._call("POST", "/faults", spec)["id"])

    def renew(self, fault: str) -> None:
        """Keep a fault for another lease."""
        self._call("PUT", f"/faults/{fault}")

    def heal(self, fault: str) -> None:
        """End a fault."""
        self._call("DELETE", f"/faults/{fault}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - the URL is our own emulator's
            self._url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310
                content = reply.read()
        except urllib.error.HTTPError as error:
            raise ControlError(_message(error.read()) or f"HTTP {error.code}", gone=error.code == 404) from error
        except (OSError, ValueError) as error:
            raise ControlError(f"the emulator's control port does not answer ({error})") from error
        return json.loads(content) if content else None


class ControlError(Exception):
    """The control port refused, or did not answer. One line."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone
        """The fault is not there any more (its lease ran out)."""


class Restartable(Protocol):
    """An emulator whose process this run owns."""

    def kill(self) -> None:
        """End it at once."""

    def restart(self) -> None:
        """Start it anew, at the same endpoints. UserError."""


class FaultController:
    """Sets, renews and heals the faults of a schedule on a thread of its own, and keeps ``faults.jsonl``."""

    def __init__(
        self,
        control: str,
        schedule: Iterable[ScheduledFault],
        record: Path,
        say: Callable[[str], None] = lambda text: None,
        emulator: Restartable | None = None,
    ) -> None:
        self._emulator = emulator
        self._down: _Fault | None = None
        self._port = ControlPort(control)
        self._faults = [_Fault(scheduled) for scheduled in schedule]
        self._record = record
        self._say = say
        self._t0_ns = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: str | None = None
        """Why the schedule could not be kept, or not be recorded; null: it was."""
        self._write()

    @property
    def emulator_is_down(self) -> bool:
        """It was killed on purpose, and is not back yet."""
        return self._down is not None

    @property
    def in_effect(self) -> list[str]:
        """Faults that are in effect, in words."""
        return [f.scheduled.words for f in self._faults if f.onset_ns is not None and f.healed_ns is None]

    @property
    def records(self) -> list[FaultRecord]:
        """What was asked for so far, and what was seen of it."""
        return [fault.record() for fault in self._faults if fault.asked_ns is not None]

    def start(self, t0_ns: int) -> None:
        """Begin the schedule at t0 (monotonic)."""
        self._t0_ns = t0_ns
        self._thread = threading.Thread(target=self._run, args=(t0_ns,), name="faults", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Heal whatever is in effect and wait until that was seen. Harmless when called twice or never started."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, t0_ns: int) -> None:
        try:
            while not self._stop.is_set() and any(fault.healed_ns is None for fault in self._faults):
                now = time.monotonic()
                for fault in self._faults:
                    self._step(fault, now - t0_ns / 1e9, now)
                self._observe()
                self._stop.wait(_POLL_S)
        except ControlError as error:
            self.error = str(error)
        try:
            self._heal_all()
        except ControlError as error:
            self.error = self.error or str(error)
        self._write()

    def _step(self, fault: _Fault, since_t0_s: float, now: float) -> None:
        scheduled = fault.scheduled
        if self._down is not None and fault is not self._down:
            return
        if fault.asked_ns is None:
            if since_t0_s >= scheduled.begin_s:
                if scheduled.fault.kind == OF_THE_PROCESS:
                    self._kill(fault)
                    return
                spec = scheduled.fault.spec(lease=LEASE_SECONDS).model_dump(mode="json")
                asked_ns = time.monotonic_ns()
                try:
                    fault.remote = self._port.set(spec)
                except ControlError as error:
                    raise ControlError(f"{scheduled.id} ({scheduled.words}) could not be set: {error}") from error
                fault.asked_ns, fault.renewed = asked_ns, now
                self._write()
        elif fault.clear_asked_ns is None:
            if since_t0_s >= scheduled.end_s:
                self._heal(fault)
            elif fault is not self._down and now - fault.renewed >= RENEW_S:
                try:
                    self._port.renew(fault.remote)
                except ControlError as error:
                    raise ControlError(f"{scheduled.id} ({scheduled.words}) ended too early: {error}") from error
                fault.renewed = now

    def _kill(self, fault: _Fault) -> None:
        assert self._emulator is not None
        fault.asked_ns = time.monotonic_ns()
        self._down = fault
        self._emulator.kill()
        fault.onset_ns = time.monotonic_ns()
        for other in self._faults:  # they died with it: nothing is certain of them any more since it was asked for
            if other is not fault and other.asked_ns is not None and other.healed_ns is None:
                other.clear_asked_ns = other.clear_asked_ns or fault.asked_ns
                other.healed_ns = fault.onset_ns
        self._say(f"fault: {fault.scheduled.words}")
        self._write()

    def _restart(self, fault: _Fault) -> None:
        assert self._emulator is not None
        try:
            self._emulator.restart()
        except UserError as error:
            raise ControlError(f"{fault.scheduled.id}: the emulator did not come back: {error}") from error
        finally:
            self._down = None
        fault.healed_ns = time.monotonic_ns()
        self._say("healed: the emulator is back")
        since_t0_s = (fault.healed_ns - self._t0_ns) / 1e9
        for other in list(self._faults):
            if other is not fault and other.healed_ns == fault.onset_ns and other.scheduled.end_s > since_t0_s:
                self._faults.append(_Fault(replace(other.scheduled, id=f"{other.scheduled.id}-again")))
        self._write()

    def _heal(self, fault: _Fault) -> None:
        fault.clear_asked_ns = time.monotonic_ns()
        if fault is self._down:
            self._restart(fault)
            return
        try:
            self._port.heal(fault.remote)
        except ControlError as error:
            if not error.gone:
                raise
        self._write()

    def _heal_all(self) -> None:
        for fault in sorted(self._faults, key=lambda fault: fault is not self._down):  # first of all the emulator
            if fault.asked_ns is not None and fault.clear_asked_ns is None:
                self._heal(fault)
        deadline = time.monotonic() + _HEAL_DEADLINE_S
        while any(f.healed_ns is None for f in self._faults if f.asked_ns is not None) and time.monotonic() < deadline:
            self._observe()
            time.sleep(_POLL_S / 5)

    def _observe(self) -> None:
        """Take onset and healing from the state call, while there is something to be seen."""
        awaited = [
            fault
            for fault in self._faults
            if fault.asked_ns is not None
            and (fault.onset_ns is None or (fault.clear_asked_ns is not None and fault.healed_ns is None))
        ]
        if not awaited or self._down is not None:
            return
        states = {state.id: state for state in self._port.state().faults}
        for fault in awaited:
            state = states.get(fault.remote)
            if state is None:
                continue
            if fault.onset_ns is None:
                fault.onset_ns = state.onset_ns
                self._say(f"fault: {fault.scheduled.words}")
            if state.healed_ns is not None and fault.healed_ns is None:
                fault.healed_ns = state.healed_ns
                self._say(f"healed: {fault.scheduled.words}")
            self._write()

    def _write(self) -> None:
        lines = [record.model_dump_json() + "\n" for record in self.records]
        try:
            write_atomically(self._record, "".join(lines))
        except OSError as error:  # a full disk: the run ends for it, but what is broken is healed first
            self.error = self.error or f"{self._record} cannot be written ({error.strerror or error})"


class _Fault:
    """A scheduled fault and what has become of it."""

    def __init__(self, scheduled: ScheduledFault) -> None:
        self.scheduled = scheduled
        self.remote = ""
        self.renewed = 0.0
        self.asked_ns: int | None = None
        self.clear_asked_ns: int | None = None
        self.onset_ns: int | None = None
        self.healed_ns: int | None = None

    def record(self) -> FaultRecord:
        fault = self.scheduled.fault
        links = [(a, b) for a, b in fault.links]
        if not fault.one_way:
            links += [(b, a) for a, b in fault.links]
        assert self.asked_ns is not None
        return FaultRecord(
            id=self.scheduled.id,
            kind=fault.kind,
            regions=fault.regions,
            links=links,
            parameters=fault.parameters | ({"offset_ns": round(fault.offset * 1e9)} if fault.offset else {}),
            asked_ns=self.asked_ns,
            clear_asked_ns=self.clear_asked_ns,
            onset_ns=self.onset_ns,
            healed_ns=self.healed_ns,
        )


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return ""

"""An emulator as a process of its own: for a drill, a locustfile or a test."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from lastwriter.errors import UserError

START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 5.0


@dataclass
class EmulatorProcess:
    """A running emulator. As a context manager it stops at the end of the block; it also ends when its parent does."""

    command: tuple[str, ...]
    """What it was started with."""
    log: Path | None
    """What it prints besides its endpoints; None: nobody reads that."""

    endpoints: dict[str, str]
    """Region → URL, replicas and witness, in the order asked for."""
    control: str
    """URL of the control port."""
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def restart(self) -> None:
        """Once it has ended: start it anew on the same ports, with the same options.

        With ``data`` it has what it had. UserError as from :func:`start_emulator`.
        """
        ports = [urlsplit(url).port for url in (*self.endpoints.values(), self.control)]
        command = [*self.command, "--ports", ",".join(map(str, ports))]
        self.process = _start(command, self.log).process

    def stop(self) -> None:
        """Let it drain and end; kill it if it does not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> EmulatorProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_emulator(
    regions: Sequence[str],
    *,
    table: str | None = None,
    mode: str = "MREC",
    witness: str | None = None,
    settings: Mapping[str, Any] | None = None,
    bugs: Sequence[str] = (),
    port: int = 0,
    data: Path | str | None = None,
    host: str | None = None,
    auth: Path | str | None = None,
    tls_certificate: Path | str | None = None,
    tls_key: Path | str | None = None,
    log: Path | None = None,
) -> EmulatorProcess:
    """Start an emulator and wait until it has printed its endpoints.

    ``port`` 0: any free ports. ``log`` takes what it prints besides. With
    ``table``, a global table of that name and mode is there when it is ready. UserError if it does not start, in the
    emulator's own words. ``bugs`` are planted. ``auth`` is a file of access keys, ``tls_certificate`` and ``tls_key``
    are PEM files, ``data`` is a directory: the options of ``lastwriter emulator``.
    """
    command = [sys.executable, "-m", "lastwriter", "emulator", "--json", "--parent", str(os.getpid())]
    command += ["--regions", ",".join(regions), "--port", str(port)]
    if table is not None:
        command += ["--table", table, "--mode", mode]
    if witness is not None:
        command += ["--witness", witness]
    for name, value in (settings or {}).items():
        command += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    for bug in bugs:
        command += ["--bug", bug]
    files = {
        "--host": host,
        "--data": data,
        "--auth": auth,
        "--tls-cert": tls_certificate,
        "--tls-key": tls_key,
    }
    for option, given in files.items():
        if given is not None:
            command += [option, str(given)]
    return _start(command, log)


def _start(command: list[str], log: Path | None) -> EmulatorProcess:
    with tempfile.TemporaryFile() if log is None else log.open("a+b") as errors:
        # A session of its own: Ctrl-C at the terminal is for whoever uses it, who stops it when the run has settled.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        try:
            ready = json.loads(_first_line(process))
            return EmulatorProcess(tuple(command), log, dict(ready["regions"]), ready["control"], process)
        except BaseException as raised:
            process.kill()
            process.wait()
            if not isinstance(raised, (ValueError, KeyError, TypeError)):
                raise
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()
            raise UserError(f"the emulator did not start: {words[-1] if words else 'it said nothing'}") from None


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """What the process prints first; what there is of it at the deadline or its end."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + START_DEADLINE_S
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        part = os.read(descriptor, 65536)
        if not part:
            break
        line += part
    return line

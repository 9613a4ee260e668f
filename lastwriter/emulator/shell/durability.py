"""Writes the core's records down before anybody hears of what they say, and keeps their log from growing for ever.

Rules
-----
1. Replies wait for the end of the loop's tick. Then its records are appended in one go, and the replies leave: those
   to reads too, for they may show what has just been written. Messages between Regions are events of this process,
   and stand in the same log: what is lost with it is lost to all Regions alike.
2. If the log cannot be written (a full disk), every reply becomes a 500, requests are refused, and the tick's records
   are tried again until there is room. Nothing is acknowledged that is not in the log.
3. When the logs have outgrown the snapshot, a process of its own makes a new snapshot of the old one and the closed
   logs (:mod:`lastwriter.emulator.shell.compacting`). Nobody waits for it, and nothing depends on its success.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.environment import Reply
from lastwriter.emulator.core.restoring import RestoreError, Restoring
from lastwriter.emulator.requests.errors import internal_error
from lastwriter.emulator.shell.datadir import DataDirectory
from lastwriter.errors import UserError

COMPACT_BYTES: Final = 64 * 1024 * 1024
"""Logs smaller than this are left alone."""
_RETRY_S: Final = 0.1


def load(directory: DataDirectory, core: Core, wall: float) -> Restoring:
    """Bring ``core`` to where the directory's records end; nothing moves yet. UserError for what is damaged.

    ``wall``: seconds since 1970, now.
    """
    restoring = Restoring(core, wall)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for now_ns, wall, records in directory.frames():
            restoring.take(records, now_ns, wall)
        restoring.finish()
    except RestoreError as error:
        raise UserError(f"--data {directory.path}: {error}") from None
    finally:
        if collecting:
            gc.enable()
    if directory.cut_bytes:
        sys.stderr.write(
            f"--data {directory.path}: the last {directory.cut_bytes} bytes were being written when the emulator "
            "ended; nobody had been told of them, and they are dropped\n"
        )
    return restoring


class Memory:
    """Between the core and those who wait for its replies. ``deliver`` takes replies that may leave.

    ``forgets_ns``: replies leave at once, and what they say is written down this much later (a planted bug).
    """

    def __init__(
        self, directory: DataDirectory, core: Core, deliver: Callable[[list[Reply]], None], forgets_ns: int = 0
    ) -> None:
        self.failing = False
        """The log cannot be written: answer with 500."""
        self._directory = directory
        self._core = core
        records = core.environment.records
        assert records is not None
        self._records = records
        self._deliver = deliver
        self._outbox: list[Reply] = []
        self._loop = asyncio.get_running_loop()
        self._asked = False
        self._forgets_ns = forgets_ns
        self._remembered_ns = 0
        self._compactor: subprocess.Popen[bytes] | None = None
        self._patience = 1
        try:
            directory.open()
        except OSError as error:
            raise UserError(f"--data {directory.path}: {(error.strerror or str(error)).lower()}") from None
        directory.tidy()

    def take(self, replies: list[Reply]) -> None:
        """Replies that leave when this tick has been written down."""
        self._outbox += replies
        if not self._asked and (self._outbox or self._records):
            self._asked = True
            self._loop.call_soon(self.commit)

    def commit(self) -> None:
        """Write down what has happened, and let the replies go."""
        self._asked = False
        if self._records and not self._puts_off():
            try:
                self._directory.append(self._core.scheduler.now_ns, time.time(), self._records)
            except OSError as error:
                self._fail(error)
            else:
                self._records.clear()
                self._recover()
        replies, self._outbox = self._outbox, []
        if self.failing:
            refusal = internal_error()
            replies = [
                (exchange, refusal.status, refusal.body()) if status > 0 else (exchange, status, body)
                for exchange, status, body in replies
            ]
        if replies:
            self._deliver(replies)

    def keep_house(self) -> None:
        """Called now and then: have the logs compacted when they have grown."""
        if self._compactor is not None:
            code = self._compactor.poll()
            if code is None:
                return
            self._compactor = None
            if code == 0:
                self._patience = 1
                self._directory.tidy()
            else:
                self._patience *= 2
                sys.stderr.write(f"--data {self._directory.path}: the log could not be compacted; going on with it\n")
        directory = self._directory
        if self.failing or directory.logs_bytes < self._patience * max(COMPACT_BYTES, 2 * directory.snapshot_bytes):
            return
        try:
            number = directory.turn()
            self._compactor = subprocess.Popen(
                [
                    sys.executable, "-m", "lastwriter.emulator.shell.compacting",
                    str(directory.path), str(number), ",".join(self._core.regions),
                    self._core.environment.settings.model_dump_json(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError:
            self._patience *= 2

    def close(self) -> None:
        """The last word."""
        self._forgets_ns = 0
        self.commit()
        if self._compactor is not None:
            self._compactor.kill()
            self._compactor.wait()
        self._directory.close()

    def _puts_off(self) -> bool:
        if not self._forgets_ns:
            return False
        now_ns = self._core.scheduler.now_ns
        if now_ns < self._remembered_ns + self._forgets_ns:
            return True
        self._remembered_ns = now_ns
        return False

    def _fail(self, error: OSError) -> None:
        if not self.failing:
            self.failing = True
            sys.stderr.write(
                f"--data {self._directory.path}: {(error.strerror or str(error)).lower()}: every request is answered "
                "with 500 until there is room\n"
            )
            sys.stderr.flush()
        if not self._asked:
            self._asked = True
            self._loop.call_later(_RETRY_S, self.commit)

    def _recover(self) -> None:
        if self.failing:
            self.failing = False
            sys.stderr.write(f"--data {self._directory.path}: there is room again; nothing acknowledged was lost\n")
            sys.stderr.flush()

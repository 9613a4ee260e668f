"""Brings the records of workers on other hosts into the run directory, in small pieces over Locust's channel.

A worker on the master's host writes into the run directory. One elsewhere writes into a folder of its own
(:func:`away`), and when its record is closed the master asks for the files piece by piece, some pieces ahead: a large
message would keep the worker from its heartbeat. What has arrived whole is checked and then removed over there; what
has not stays, and the run says where.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import gevent
import pyarrow as pa

from verifier.rundir import RunDirectory

PIECE_BYTES: Final = 96 * 1024
"""Of the file; on the wire it is compressed."""

AHEAD: Final = 8
"""Pieces asked for and not yet there: a round trip of 200 ms leaves 5 MB/s."""

PATIENCE_S: Final = 20.0
"""How long nothing may arrive before a record is left where it is."""

SCRATCH_VARIABLE: Final = "LASTWRITER_SCRATCH"
"""Environment variable of a worker: where records stay until the master has fetched them."""

_CODEC: Final = pa.Codec("zstd")


def away(run: str) -> Path:
    """Where a worker on another host keeps its record of a run until it is fetched."""
    base = os.environ.get(SCRATCH_VARIABLE) or Path(tempfile.gettempdir()) / f"lastwriter-{os.getuid()}"
    return Path(base) / run


def files_of(history: Path, worker: int) -> dict[str, int]:
    """Name and size in bytes of every file of a worker's record."""
    return {path.name: path.stat().st_size for path in sorted(history.glob(f"worker-{worker}.*"))}


def read_piece(history: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A worker's answer to ``{file, offset}``: that piece, compressed, with its checksum; or why there is none."""
    name, offset = str(asked["file"]), int(asked["offset"])
    try:
        if Path(name).name != name:
            raise OSError(f"{name} is not a file of the record")
        with (history / name).open("rb") as file:
            file.seek(offset)
            content = file.read(PIECE_BYTES)
    except OSError as error:
        return {"file": name, "offset": offset, "failure": str(error)}
    return {
        "file": name,
        "offset": offset,
        "bytes": len(content),
        "crc": zlib.crc32(content),
        "data": _CODEC.compress(content, asbytes=True) if content else b"",
    }


def forget(history: Path, worker: int) -> None:
    """Remove a record that has been fetched, and its folders if nothing else is in them."""
    for name in files_of(history, worker):
        (history / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the record of another worker of this host is there
        history.rmdir()
        history.parent.rmdir()


class Collector:
    """Fetches one worker's record into the run directory."""

    def __init__(
        self, directory: RunDirectory, files: Mapping[str, int], ask: Callable[[dict[str, Any]], None]
    ) -> None:
        """``files``: name → bytes, as the worker said; ``ask(data)`` sends it a request for a piece."""
        self._directory, self._files, self._ask = directory, dict(files), ask
        self._pieces: dict[tuple[str, int], dict[str, Any]] = {}
        self.total_bytes = sum(self._files.values())
        self.got_bytes = 0
        self.failure: str | None = None

    def on_piece(self, data: dict[str, Any]) -> None:
        """A piece has arrived."""
        self._pieces[data["file"], data["offset"]] = data

    def fetch(self, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Fetch every file; whether all came whole. A file is in the directory entirely or not at all."""
        return all(self._fetch_file(name, size, given_up) for name, size in self._files.items())

    def _fetch_file(self, name: str, size: int, given_up: Callable[[], bool]) -> bool:
        path = self._directory.history / Path(name).name
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                asked = written = 0
                while written < size:
                    while asked < size and asked - written < AHEAD * PIECE_BYTES:
                        self._ask({"file": name, "offset": asked})
                        asked += PIECE_BYTES
                    content = self._wait_for(name, written, given_up)
                    if content is None:
                        return False
                    file.write(content)
                    written += len(content)
                    self.got_bytes += len(content)
            partial.replace(path)
        except OSError as error:
            self.failure = f"{path} cannot be written ({error.strerror or error})"
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _wait_for(self, name: str, offset: int, given_up: Callable[[], bool]) -> bytes | None:
        deadline = time.monotonic() + PATIENCE_S
        while (piece := self._pieces.pop((name, offset), None)) is None:
            if given_up() or time.monotonic() > deadline:
                self.failure = "the worker left" if given_up() else f"nothing came for {PATIENCE_S:.0f} s"
                return None
            gevent.sleep(0.005)
        if "failure" in piece:
            self.failure = piece["failure"]
            return None
        content: bytes = _CODEC.decompress(piece["data"], piece["bytes"], asbytes=True) if piece["bytes"] else b""
        if zlib.crc32(content) != piece["crc"] or not content:
            self.failure = f"{name} arrived damaged at byte {offset}"
            return None
        return content

"""Output that nobody reads any more: a pipe to ``head``, a terminal that was closed. What is under way goes on without.

A drill must not end in the middle, nor an exit code change, because of who reads along.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO})


class _Patient:
    """A text stream that falls silent, instead of failing, once nobody reads it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._or_silence():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._or_silence():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_silence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NOBODY_READS:
                raise
            # What is still buffered goes there too, or Python would complain of it when it ends.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)


def be_patient() -> None:
    """Have standard output and standard error fall silent once nobody reads them, or if nobody ever will."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed from the start (`>&-`); this takes its place, before another file does
            stream = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
        setattr(sys, name, _Patient(stream))

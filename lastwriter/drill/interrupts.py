"""Ctrl-C and its like, turned into exceptions at places where they do no harm.

The first ends the load, and what was recorded is still settled and judged; the second ends everything now.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final


class Now(BaseException):
    """End everything at once."""


class Interrupted(Exception):  # noqa: N818 - an event, not a fault
    """The first Ctrl-C or its like. The message names it: ``Ctrl-C``."""


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP turned into exceptions, at places where they do no harm."""

    _WORDS: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the closing of the terminal"}

    def __init__(self) -> None:
        self.count = 0
        self.said = ""
        self._interrupted_at: int | None = None
        """The signal that raises Interrupted, counted from 1; null: none does."""
        self._now_at: int | None = None
        """The signal from which on Now is raised; null: all are only counted."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in self._WORDS:
            if number is signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # `nohup`: the run is to outlive its terminal
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """In here the first signal raises Interrupted, the second Now."""
        yield from self._while(1, 2)

    @contextmanager
    def second_only(self) -> Iterator[None]:
        """In here the first signal is only counted; the second raises Now."""
        yield from self._while(None, 2)

    @contextmanager
    def next_one(self) -> Iterator[None]:
        """In here the next signal raises Now."""
        yield from self._while(None, self.count + 1)

    def _while(self, interrupted_at: int | None, now_at: int) -> Iterator[None]:
        before = self._interrupted_at, self._now_at
        self._interrupted_at, self._now_at = interrupted_at, now_at
        try:
            self._check()
            yield
        finally:
            self._interrupted_at, self._now_at = before

    def _handle(self, number: int, _: object) -> None:
        self.count += 1
        self.said = self._WORDS[signal.Signals(number)]
        self._check()

    def _check(self) -> None:
        if self._now_at is not None and self.count >= self._now_at:
            raise Now
        if self.count == self._interrupted_at:
            raise Interrupted(self.said)

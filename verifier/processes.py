"""Processes that judge parts, and the folder that the parts lie in: both end with whoever began them.

Ctrl-C reaches every process of a terminal at once, but only the one that began the others knows what to do about it, so
they do not hear it. What nobody can act upon, ``kill -9``, leaves the folder (its lock shows that nobody is there any
more, and the next one to judge removes it) and processes that would wait for work for ever, did they not watch.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import multiprocessing
import multiprocessing.process
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from verifier import memory
from verifier.errors import RecordError

T = TypeVar("T")
Call = tuple[Callable[..., T], *tuple[object, ...]]
"""A function and its arguments."""

_BESIDE: Final = ".parts-"
_ELSEWHERE: Final = "lastwriter-parts-"
_LOCK: Final = "lock"
_FOR_ONE: Final = {signal.SIGTERM, signal.SIGHUP}


class Workers:
    """This process, or several others that do the same. An exception that leaves the ``with`` block ends them."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._not_mine: set[multiprocessing.process.BaseProcess] = set()

    def __enter__(self) -> Workers:
        if self._processes > 1:
            self._not_mine = set(multiprocessing.active_children())
            # Not forked: whoever calls may have threads, or an event loop that a copy of would wreck.
            start = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self._processes, mp_context=start, initializer=_begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if error is not None:  # or Ctrl-C would wait for every part that is being judged
            for process in set(multiprocessing.active_children()) - self._not_mine:
                process.kill()
        self._pool.shutdown(cancel_futures=True)

    def all(self, calls: Sequence[Call[T]], done: Callable[[float], None]) -> list[T]:
        """What each call returns, in order; ``done`` is told the share of them that is behind."""
        if self._pool is None:
            results = []
            for at, (function, *arguments) in enumerate(calls):
                done(at / len(calls))
                results.append(function(*arguments))
            return results
        try:
            with _undisturbed():
                futures = [self._pool.submit(function, *arguments) for function, *arguments in calls]
            for at, _ in enumerate(concurrent.futures.as_completed(futures)):
                done((at + 1) / len(futures))
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise RecordError(
                "a process that was judging a part was killed, most likely because memory ran out: "
                "give less with --memory, or fewer --jobs"
            ) from None


@contextlib.contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A folder for the parts, beside the record if that can be written to; those whose owners were killed go."""
    prefix = _BESIDE
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
    except OSError:
        prefix = _ELSEWHERE
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with _held(folder):
            for other in folder.parent.glob(f"{prefix}*"):
                if other != folder and _abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however this process ends."""
    with (folder / f".{_LOCK}").open("w") as file:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody finds it abandoned, either
            fcntl.flock(file, fcntl.LOCK_EX)
            (folder / f".{_LOCK}").rename(folder / _LOCK)  # nobody sees one that is not held yet
        yield


def _abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that are begun in here are born deaf to what ends this one, which hears it a moment later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *_FOR_ONE})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """The first that a process does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_ONE)
    memory.keep()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)

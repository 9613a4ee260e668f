"""What the verifier says when it cannot read a record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class RecordError(Exception):
    """A record that cannot be read or trusted. The message is one line: which file, what is wrong, what it means."""


@contextlib.contextmanager
def or_no_verdict() -> Iterator[None]:
    """What is wrong with a record is said with what it means for who asked for a verdict."""
    try:
        yield
    except RecordError as error:
        raise RecordError(f"{error}; so there is no verdict") from error

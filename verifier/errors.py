"""What the verifier says when it cannot read a record."""

from __future__ import annotations


class RecordError(Exception):
    """A record that cannot be read or trusted. The message is one line: which file, what is wrong, what it means."""

"""Errors that a user can cause and mend."""

from __future__ import annotations


class UserError(Exception):
    """Wrong use. The message is one line: what, where (file:line, Region, table), what to do. Exit code 2."""


class RunAborted(Exception):  # noqa: N818 - it is an ending, not a fault of the code
    """A run that could not go on. The message is one line; what was recorded is kept. Exit code 4."""

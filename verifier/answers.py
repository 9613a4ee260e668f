"""What an error says of an attempt: whether it is an answer, a refusal that may be repeated, or no word at all."""

from __future__ import annotations

from typing import Final

import numpy as np

from verifier.history.columns import Bool, History
from verifier.history.schema import ALREADY_APPLIED, EXPIRY, IN_FLIGHT

CONDITION_FAILED: Final = frozenset({"ConditionalCheckFailedException", ALREADY_APPLIED})
"""The condition of a write did not hold: an answer."""
CONFLICT: Final = "ReplicatedWriteConflictException"
THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
"""The throttling family: refused for now, worth another attempt later."""
TIMEOUT: Final = "Timeout"
_SERVER_ERRORS: Final = frozenset({"InternalFailure", "InternalServerError", "ServiceUnavailable"})


def is_server_error(error: str) -> bool:
    """Whether it came with an HTTP status of 500 or more."""
    return error in _SERVER_ERRORS or error.startswith("HTTP5")


def server_errors(history: History) -> Bool:
    """Rows that were answered so."""
    return with_error(history, *filter(is_server_error, history.errors))


def timed(history: History) -> Bool:
    """Rows whose end says how long a user waited."""
    return with_error(history, IN_FLIGHT, invert=True)


def with_error(history: History, *names: str, invert: bool = False) -> Bool:
    """Rows with one of these errors (or, inverted, with none of them)."""
    wanted = np.array([*(name in names for name in history.errors), False])
    hit = np.asarray(wanted[history.error], np.bool_) if wanted.any() else np.zeros(len(history), np.bool_)
    return ~hit if invert else hit


def asked(history: History) -> Bool:
    """Rows that somebody asked for: not the deletions that a time to live may bring about."""
    return with_error(history, EXPIRY, invert=True)

"""One line for what an endpoint refused or did not answer: what, where, and what to do about it."""

from __future__ import annotations

from typing import Final


def unreachable(region: str, endpoint: str, why: str) -> str:
    """One line for an endpoint that does not answer."""
    return f"{region}: no answer from {endpoint} ({why}); check the endpoint, and that what it names is running"


def refused(region: str, operation: str, table: str, code: str, message: str) -> str:
    """One line for a call that was refused, with what to do about it where that is known."""
    hint = _HINTS.get(code, "")
    text = " ".join(message.split()).rstrip(".")
    return f"{region}: {operation} of table {table} was refused: {code}{f': {text}' if text else ''}{hint}"


_HINTS: Final = {
    "ResourceNotFoundException": "; create the table there, or check its name",
    "AccessDeniedException": "; let these credentials do that, or use others (AWS_PROFILE)",
    "ExpiredTokenException": "; renew the credentials (for SSO: `aws sso login`)",
    "UnrecognizedClientException": "; check the credentials, and that they are for this account and partition",
    "InvalidSignatureException": "; check the secret key, the Region of the endpoint and this host's clock",
    "LimitExceededException": "; too many tables are being changed at once: run again later",
}

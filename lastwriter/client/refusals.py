"""One line for what an endpoint refused or did not answer: what, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lastwriter.client.outcome import CREDENTIALS_ERROR, SHUT_OUT
from lastwriter.errors import UserError

HOPELESS: Final = SHUT_OUT | {CREDENTIALS_ERROR, "ResourceNotFoundException"}
"""What no other attempt will change: somebody has to do something about credentials, permissions, clock or table."""

PATIENCE_NS: Final = 3_000_000_000
"""How long a Region may answer a kind of request with nothing else before a run is not worth going on."""

_FEWEST: Final = 5
"""Requests that must have been refused by then."""


def unreachable(region: str, endpoint: str, why: str) -> str:
    """One line for an endpoint that does not answer."""
    return f"{region}: no answer from {endpoint} ({why}); check the endpoint, and that what it names is running"


class HopelessError(UserError):
    """Refused for what no other attempt will change (:data:`HOPELESS`)."""


def refused(region: str, operation: str, table: str, code: str, message: str) -> UserError:
    """For a call that was refused: one line, with what to do about it where that is known."""
    hint = _HINTS.get(code, "")
    text = " ".join(message.split()).rstrip(".")
    line = f"{region}: {operation} of table {table} was refused: {code}{f': {text}' if text else ''}{hint}"
    return HopelessError(line) if code in HOPELESS else UserError(line)


@dataclass(slots=True)
class _Streak:
    """Hopeless refusals of one kind of request in one Region, without another answer between them."""

    since_ns: int
    count: int
    errors: dict[str, int]


class RefusalWatch:
    """Notices when a Region has refused all requests of a kind for some seconds: one line then, and no flood of rows.

    Kind by kind, for credentials may be allowed to read and not to write.
    """

    def __init__(self) -> None:
        self._streaks: dict[tuple[str, str], _Streak] = {}
        self._kinds: dict[str, set[str]] = {}

    def add(self, region: str, kind: str, answers: int, errors: Mapping[str, int], now_ns: int) -> None:
        """``answers`` attempts of a kind to a Region have ended, some with errors: name → count."""
        hopeless = {name: count for name, count in errors.items() if name in HOPELESS}
        refused_now = sum(hopeless.values())
        if answers:
            self._kinds.setdefault(region, set()).add(kind)
        if refused_now < answers:
            self._streaks.pop((region, kind), None)
        elif answers:
            streak = self._streaks.setdefault((region, kind), _Streak(now_ns, 0, {}))
            streak.count += refused_now
            for name, count in hopeless.items():
                streak.errors[name] = streak.errors.get(name, 0) + count

    def verdict(self, now_ns: int) -> str | None:
        """One line if it is hopeless."""
        for (region, kind), streak in self._streaks.items():
            if now_ns - streak.since_ns >= PATIENCE_NS and streak.count >= _FEWEST:
                refused_kinds = [other for where, other in self._streaks if where == region]
                everything = len(refused_kinds) == len(self._kinds[region])
                count = sum(self._streaks[region, one].count for one in (refused_kinds if everything else [kind]))
                code = max(streak.errors, key=lambda name: streak.errors[name])
                seconds = (now_ns - streak.since_ns) / 1e9
                return (
                    f"{region}: every {'request' if everything else kind} of the last {seconds:.0f} s was refused "
                    f"({count:,}): {code}{_HINTS.get(code, '')}"
                )
        return None


_HINTS: Final = {
    "ResourceNotFoundException": "; create the table there, or check its name",
    "AccessDeniedException": "; let these credentials do that, or use others (AWS_PROFILE)",
    "ExpiredTokenException": "; renew the credentials (for SSO: `aws sso login`)",
    "UnrecognizedClientException": "; check the credentials, and that they are for this account and partition",
    "InvalidSignatureException": "; check the secret key, the Region of the endpoint and this host's clock",
    CREDENTIALS_ERROR: "; the credentials could not be renewed: see where they come from",
    "LimitExceededException": "; too many tables are being changed at once: run again later",
}

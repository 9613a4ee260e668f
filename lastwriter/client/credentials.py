"""Who signs: credentials from botocore's own provider chain, or fixed dummies that no emulator can leak."""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import botocore.session
from botocore.exceptions import BotoCoreError

from lastwriter.client.endpoint import is_loopback, parse_endpoint
from lastwriter.errors import UserError

TargetKind = Literal["emulator", "endpoints", "aws"]


class Keys(NamedTuple):
    """One set of keys. Neither ``repr`` nor ``str`` shows a secret."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key!r}, secret hidden)"


class CredentialSource(Protocol):
    """Gives the keys to sign with now; may refresh them first, which takes time and can fail."""

    def keys(self) -> Keys:
        """The keys; raises :class:`CredentialsUnavailable`."""
        ...

    def __hash__(self) -> int: ...


class CredentialsUnavailable(Exception):  # noqa: N818 - a state of the world, not a fault of the code
    """No keys to sign with: a refresh failed. The message is one line and names no secret."""


class StaticCredentials:
    """The same keys for ever."""

    def __init__(self, access_key: str, secret_key: str, token: str | None = None) -> None:
        self._keys = Keys(access_key, secret_key, token)

    def keys(self) -> Keys:
        """The keys."""
        return self._keys

    def __repr__(self) -> str:
        return f"StaticCredentials({self._keys.access_key!r}, secret hidden)"


class ProviderChain:
    """What botocore finds for a user: environment, profile, SSO, container, instance; refreshed before it expires."""

    def __init__(self, profile: str | None = None) -> None:
        """Raises UserError if the chain finds nothing."""
        try:
            found = botocore.session.Session(profile=profile).get_credentials()
        except BotoCoreError as error:
            raise UserError(f"AWS credentials cannot be read: {_one_line(error)}") from None
        if found is None:
            raise UserError(
                "no AWS credentials found: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run `aws configure` or "
                "`aws sso login`"
            )
        self._credentials = found

    def keys(self) -> Keys:
        """The keys of now; a refresh under way blocks the caller."""
        try:
            frozen = self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - providers call STS, SSO, IMDS or a program: anything can come out
            raise CredentialsUnavailable(f"AWS credentials could not be refreshed: {_one_line(error)}") from None
        if not frozen.access_key or not frozen.secret_key:
            raise CredentialsUnavailable("AWS credentials are empty after a refresh")
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or None)

    def __repr__(self) -> str:
        return f"ProviderChain(method={self._credentials.method!r})"


EMULATOR_CREDENTIALS: Final = StaticCredentials("LASTWRITEREMULATOR00", "lastwriter-emulator-knows-no-secrets")
"""What signs requests to an emulator. Never the user's: they would be sent, signed, to whatever listens there."""


def credentials_for(target: TargetKind) -> CredentialSource:
    """The credentials for a target: the user's for AWS and for given endpoints, dummies for an emulator.

    The user's are looked for once a process, and shared. Raises UserError if there are none.
    """
    return EMULATOR_CREDENTIALS if target == "emulator" else users_credentials()


@cache
def users_credentials() -> ProviderChain:
    """What the provider chain finds, the first time that it finds something."""
    return ProviderChain()


def credentials_at(endpoint: str) -> CredentialSource:
    """The credentials for an endpoint of which no more is known: dummies on this very host, the user's elsewhere."""
    return credentials_for("emulator" if is_loopback(parse_endpoint(endpoint)[1]) else "endpoints")


def isolated_session() -> botocore.session.Session:
    """A botocore session that reads none of the user's files and profile: nothing of them can reach an emulator."""
    nowhere: dict[str, Any] = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return botocore.session.Session(session_vars=nowhere)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""AWS Signature Version 4, as the server sees it: whether a request was signed with the secret it claims, and lately.

Everything is judged in the order and the words that DynamoDB has (recorded by the ``dynalite`` project's tests against
AWS): is there a signature, is it complete, its time, the signed headers, the algorithm, the credential's scope, the
key, and last the signature itself, over the body as it came. The secret's day key is made once a day and scope.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.shell.http import Head

ALGORITHM: Final = "AWS4-HMAC-SHA256"
WINDOW: Final = timedelta(minutes=15)
"""How far the time of a signature may be off, each way. DynamoDB has 15 minutes; some services have 5."""

_BASIC: Final = "%Y%m%dT%H%M%SZ"
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_REMEMBERED: Final = 64


class Claim(NamedTuple):
    """What an Authorization header says."""

    access_key: str
    scope: str
    signed: str
    signature: str
    date: str
    """Of the request, YYYYMMDDTHHMMSSZ."""


def claim_of(head: Head, region: str, now: datetime) -> tuple[Claim, dict[str, str]]:
    """Who says that they have signed, and the headers; ApiError if that alone cannot be right."""
    headers = _joined(head)
    authorization = headers.get("authorization", "")
    if not authorization.startswith("AWS4-"):
        raise ApiError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    algorithm, _, text = authorization.partition(" ")
    parameters = dict(pair.partition("=")[::2] for pair in _pairs(text))
    date = headers.get("x-amz-date") or headers.get("date")
    missing = "".join(
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parameters.get(name)
    )
    if not date:
        missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    if missing or date is None:
        raise _incomplete(f"{missing}Authorization={authorization}")
    _check_time(date, now)
    signed = parameters["SignedHeaders"].lower()
    if "host" not in signed.split(";"):
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'. ")
    access_key, scope = _scope(parameters["Credential"], region, date)
    return Claim(access_key, scope, signed, parameters["Signature"], date), headers


def check_signature(head: Head, claim: Claim, headers: dict[str, str], key: bytes) -> None:
    """InvalidSignatureException if it was not made with ``key`` for this very request."""
    names = claim.signed.split(";")
    path, _, query = head.url.decode("latin-1").partition("?")
    lines = [f"{name}:{headers.get(name, '')}\n" for name in names]
    canonical = (
        f"{head.method.decode('latin-1')}\n{path or '/'}\n{_canonical_query(query)}\n{''.join(lines)}\n{claim.signed}\n"
        f"{sha256(head.body).hexdigest()}"
    )
    text = f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{sha256(canonical.encode('utf-8', 'replace')).hexdigest()}"
    made = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(made.encode(), claim.signature.encode("utf-8", "replace")):
        raise _invalid(_MISMATCH)


class DayKeys:
    """Signing keys of one secret, made once a day and Region."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._made: dict[str, bytes] = {}

    def of(self, scope: str) -> bytes:
        """For ``YYYYMMDD/REGION/dynamodb/aws4_request``."""
        key = self._made.get(scope)
        if key is None:
            key = f"AWS4{self._secret}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            self._made[scope] = key
        return key


def _joined(head: Head) -> dict[str, str]:
    """Headers as they are signed: trimmed, spaces made one, those of one name joined."""
    headers: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("latin-1"), value.decode("utf-8", "replace").strip()
        if "  " in text:
            text = " ".join(part for part in text.split(" ") if part)
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _pairs(text: str) -> list[str]:
    """Authorization's parameters stand between commas, spaces, or both."""
    return [part for part in text.replace(",", " ").split(" ") if part]


def _check_time(date: str, now: datetime) -> None:
    try:
        at = datetime.strptime(date, _BASIC).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None
    minutes = round(WINDOW.total_seconds() / 60)
    if at < now - WINDOW:
        raise _invalid(
            f"Signature expired: {date} is now earlier than {now - WINDOW:{_BASIC}} ({now:{_BASIC}} - {minutes} min.)"
        )
    if at > now + WINDOW:
        raise _invalid(
            f"Signature not yet current: {date} is still later than {now + WINDOW:{_BASIC}} "
            f"({now:{_BASIC}} + {minutes} min.)"
        )


def _scope(credential: str, region: str, date: str) -> tuple[str, str]:
    parts = credential.rstrip("/").split("/")
    if len(parts) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
    access_key, day, place, service, term = parts
    wrong = ""
    if place != region:
        wrong += "Credential should be scoped to a valid region. "
    if service != "dynamodb":
        wrong += "Credential should be scoped to correct service: 'dynamodb'. "
    if term != "aws4_request":
        wrong += f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'. "
    if day != date[:8]:
        wrong += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{day}' != '{date[:8]}', from '{date}'."
        )
    if wrong:
        raise _invalid(wrong)
    return access_key, f"{day}/{place}/{service}/{term}"


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    encoded = [(quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message)


def _incomplete(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", message)

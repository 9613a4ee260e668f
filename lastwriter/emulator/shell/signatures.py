"""AWS Signature Version 4, as the server sees it: whether a request was signed with the secret it claims, and lately.

Everything is judged in the order and the words that DynamoDB has (recorded by the ``dynalite`` project's tests against
AWS): is there a signature, is it complete, its time, the signed headers, the algorithm, the credential's scope, the
key, and last the signature itself, over the body as it came. The secret's day key is made once a day and scope.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.shell.http import Head

ALGORITHM: Final = "AWS4-HMAC-SHA256"
WINDOW_S: Final = 15 * 60
"""How far the time of a signature may be off, each way. DynamoDB has 15 minutes; some services have 5."""

_BASIC: Final = "%Y%m%dT%H%M%SZ"
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_REMEMBERED: Final = 64


Headers = dict[bytes, bytes]


class Claim(NamedTuple):
    """What an Authorization header says."""

    access_key: str
    scope: str
    signed: str
    names: tuple[bytes, ...]
    """Of the signed headers."""
    signature: str
    date: str
    """Of the request, YYYYMMDDTHHMMSSZ."""


def claim_of(head: Head, region: str, now_s: int) -> tuple[Claim, Headers]:
    """Who says that they have signed, and the headers; ApiError if that alone cannot be right."""
    headers = _by_name(head)
    authorization = headers.get(b"authorization", b"").decode("utf-8", "replace").strip()
    if not authorization.startswith("AWS4-"):
        raise ApiError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    at = authorization.rfind("Signature=")
    algorithm, parameters = _parameters(authorization[:at] if at >= 0 else authorization)
    signature = authorization[at + 10 :] if at >= 0 else ""
    if not signature.isalnum():  # more stands behind it
        algorithm, parameters = _parameters(authorization)
        signature = parameters.get("Signature", "")
    date = (headers.get(b"x-amz-date") or headers.get(b"date") or b"").decode("utf-8", "replace").strip()
    credential, signed = parameters.get("Credential"), parameters.get("SignedHeaders")
    if not (credential and signature and signed and date):
        given = {"Credential": credential, "Signature": signature, "SignedHeaders": signed}
        raise _missing(given, date, authorization)
    _check_time(date, now_s)
    names = _names(signed)
    if b"host" not in names:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'. ")
    access_key, scope = _scope(credential, region, date)
    return Claim(access_key, scope, signed.lower(), names, signature, date), headers


def check_signature(head: Head, claim: Claim, headers: Headers, key: bytes) -> None:
    """InvalidSignatureException if it was not made with ``key`` for this very request."""
    path, _, query = head.url.partition(b"?")
    lines = b"".join([b"%b:%b\n" % (name, _trimmed(headers.get(name, b""))) for name in claim.names])
    canonical = b"%b\n%b\n%b\n%b\n%b\n%b" % (
        head.method,
        path or b"/",
        _canonical_query(query.decode("latin-1")).encode() if query else b"",
        lines,
        claim.signed.encode("utf-8", "replace"),
        sha256(head.body).hexdigest().encode(),
    )
    text = f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{sha256(canonical).hexdigest()}"
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


def _by_name(head: Head) -> Headers:
    """Headers; values of one name joined."""
    headers = dict(head.headers)
    if len(headers) < len(head.headers):
        headers = {}
        for name, value in head.headers:
            headers[name] = b"%b,%b" % (headers[name], _trimmed(value)) if name in headers else _trimmed(value)
    return headers


def _trimmed(value: bytes) -> bytes:
    """As values are signed: without spaces around, and with one where there are several."""
    value = value.strip()
    return b" ".join(part for part in value.split(b" ") if part) if b"  " in value else value


@lru_cache(_REMEMBERED)
def _parameters(text: str) -> tuple[str, dict[str, str]]:
    """Algorithm and parameters of an Authorization header; these stand between commas, spaces, or both."""
    algorithm, _, rest = text.partition(" ")
    pairs = [part.partition("=") for part in rest.replace(",", " ").split(" ") if part]
    return algorithm, {name: value for name, _, value in pairs}


@lru_cache(_REMEMBERED)
def _names(signed: str) -> tuple[bytes, ...]:
    return tuple(name.encode("utf-8", "replace") for name in signed.lower().split(";"))


def _missing(given: dict[str, str | None], date: str, authorization: str) -> ApiError:
    missing = "".join(
        f"Authorization header requires '{name}' parameter. " for name, value in given.items() if not value
    )
    if not date:
        missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    return _incomplete(f"{missing}Authorization={authorization}")


@lru_cache(_REMEMBERED)
def _second(date: str) -> int | None:
    """Since 1970."""
    try:
        return round(datetime.strptime(date, _BASIC).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _check_time(date: str, now_s: int) -> None:
    second = _second(date)
    if second is None:
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )
    if -WINDOW_S <= second - now_s <= WINDOW_S:
        return
    now = datetime.fromtimestamp(now_s, UTC)
    window, minutes = timedelta(seconds=WINDOW_S), WINDOW_S // 60
    if second < now_s:
        raise _invalid(
            f"Signature expired: {date} is now earlier than {now - window:{_BASIC}} ({now:{_BASIC}} - {minutes} min.)"
        )
    raise _invalid(
        f"Signature not yet current: {date} is still later than {now + window:{_BASIC}} "
        f"({now:{_BASIC}} + {minutes} min.)"
    )


@lru_cache(_REMEMBERED)
def _place(credential: str) -> tuple[str, ...]:
    return tuple(credential.rstrip("/").split("/"))


def _scope(credential: str, region: str, date: str) -> tuple[str, str]:
    parts = _place(credential)
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

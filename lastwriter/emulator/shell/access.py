"""Who may do what: access keys, session tokens that expire, denied actions. ``lastwriter emulator --auth FILE``.

The file is YAML::

    keys:
      - access_key: AKIAEXAMPLEAPPLICATN
        secret_key: any text
        deny: [DeleteTable, {actions: ["Put*", UpdateItem], regions: [us-west-2], tables: [orders]}]
      - access_key: ASIAEXAMPLESESSION00
        secret_key: any text
        session_token: any text
        expires: 15min

A key may do everything that is not denied; ``deny`` names IAM's actions of DynamoDB (``*`` and ``?`` as in IAM), or
operations, for all or some Regions and tables. A key with a session token is a temporary one; it expires that long
after the emulator's start, or at a time (``2026-12-01T09:00:00Z``). No message, log or state ever holds a secret.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.requests import model
from lastwriter.emulator.requests.errors import ApiError, internal_error
from lastwriter.emulator.shell.http import Head
from lastwriter.emulator.shell.signatures import DayKeys, check_signature, claim_of
from lastwriter.errors import UserError
from lastwriter.units import parse_duration

_ACTIONS_OF: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
"""IAM knows no transactions, only what they do."""
_ARNS: Final = ("ResourceArn", "StreamArn", "BackupArn", "TableArn", "SourceTableArn")
_TABLES: Final = ("TableName", "SourceTableName", "TargetTableName")
_INVALID: Final = "The security token included in the request is invalid."
_EXPIRED: Final = "The security token included in the request is expired"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Denial(_Strict):
    """Actions that a key may not use."""

    actions: list[str] = Field(min_length=1)
    regions: list[str] = []
    """None: in all."""
    tables: list[str] = []
    """None: of all, and what is of no table."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"actions": [value]} if isinstance(value, str) else value

    def covers(self, action: str, region: str, table: str | None) -> bool:
        """Whether it forbids that."""
        return (
            any(fnmatchcase(action, pattern) for pattern in self.actions)
            and (not self.regions or region in self.regions)
            and (not self.tables or (table is not None and any(fnmatchcase(table, name) for name in self.tables)))
        )


def _moment(value: object) -> object:
    """Seconds from the start on, or a time."""
    if isinstance(value, str) and value[:4].isdigit() and value[4:5] == "-":  # quoted in the file
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError("is neither a duration like 15min nor a time like 2026-12-01T09:00:00Z") from None


class Key(_Strict):
    """One access key."""

    access_key: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_]+$")
    secret_key: SecretStr = Field(min_length=1)
    session_token: SecretStr | None = None
    expires: Annotated[float | datetime | None, BeforeValidator(_moment)] = None
    user: str = Field("emulator", pattern=r"^[\w+=,.@-]+$")
    """In messages."""
    deny: list[Denial] = []

    @model_validator(mode="after")
    def _session(self) -> Key:
        if self.expires is not None and self.session_token is None:
            raise ValueError("expires goes with a session_token: only temporary keys expire")
        return self


class _File(_Strict):
    keys: list[Key] = Field(min_length=1)


class Access:
    """The gate of every Region. ``wall``: seconds since 1970."""

    def __init__(self, keys: list[Key], wall: Callable[[], float]) -> None:
        self._wall = wall
        start = wall()
        self._keys = {key.access_key: _Holder(key, start) for key in keys}

    def admit(self, region: str, operation: str, request: dict[str, Any], head: Head | None) -> None:
        """ApiError if the request was not signed as it should be, or its key may not do that."""
        if head is None:
            raise internal_error("the request's head was not kept, so that its signature cannot be judged")
        now_s = self._wall()
        claim, headers = claim_of(head, region, int(now_s))
        holder = self._keys.get(claim.access_key)
        if holder is None:
            raise ApiError("UnrecognizedClientException", _INVALID)
        holder.check_token(headers.get(b"x-amz-security-token"), now_s)
        check_signature(head, claim, headers, holder.day_keys.of(claim.scope))
        if holder.key.deny:
            holder.check_actions(region, operation, request)


class _Holder:
    """A key at work."""

    def __init__(self, key: Key, start_s: float) -> None:
        self.key = key
        self.day_keys = DayKeys(key.secret_key.get_secret_value())
        expires = key.expires
        self._token = key.session_token.get_secret_value().encode() if key.session_token is not None else None
        self._end_s = expires.timestamp() if isinstance(expires, datetime) else None
        if isinstance(expires, float):
            self._end_s = start_s + expires

    def check_token(self, given: bytes | None, now_s: float) -> None:
        """A temporary key goes with its token, another with none."""
        if self._token is None:
            if given is not None:
                raise ApiError("UnrecognizedClientException", _INVALID)
            return
        if given is None or not compare_digest(given, self._token):
            raise ApiError("UnrecognizedClientException", _INVALID)
        if self._end_s is not None and now_s >= self._end_s:
            raise ApiError("ExpiredTokenException", _EXPIRED)

    def check_actions(self, region: str, operation: str, request: dict[str, Any]) -> None:
        """AccessDeniedException for the first that is denied."""
        for action, table, resource in _uses(operation, request):
            for denial in self.key.deny:
                if denial.covers(action, region, table) or denial.covers(operation, region, table):
                    arn = resource or f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{table or '*'}"
                    raise ApiError(
                        "AccessDeniedException",
                        f"User: arn:aws:iam::{ACCOUNT}:user/{self.key.user} is not authorized to perform: "
                        f"dynamodb:{action} on resource: {arn} with an explicit deny in an identity-based policy",
                    )


def _uses(operation: str, request: dict[str, Any]) -> Iterator[tuple[str, str | None, str | None]]:
    """Actions of a request, each with its table and, if that is not the table itself, its resource."""
    items = request.get("RequestItems")
    if isinstance(items, dict):
        for name in items:
            yield operation, _table(name), None
        return
    actions = request.get("TransactItems")
    if isinstance(actions, list):
        for action in actions:
            for kind, content in action.items() if isinstance(action, dict) else ():
                if kind in _ACTIONS_OF and isinstance(content, dict):
                    yield _ACTIONS_OF[kind], _table(content.get("TableName")), None
        return
    for name in _ARNS:
        if isinstance(request.get(name), str):
            yield operation, _table(request[name]), request[name]
            return
    found = [_table(request[name]) for name in _TABLES if isinstance(request.get(name), str)]
    if not found:
        yield operation, None, None
    for table in found:
        yield operation, table, None


def _table(name: object) -> str | None:
    """Out of a name or an ARN."""
    if not isinstance(name, str):
        return None
    return name.partition(":table/")[2].partition("/")[0] if name.startswith("arn:") else name


def load_access(path: Path, wall: Callable[[], float]) -> Access:
    """The gate that the file describes; UserError, which never quotes a secret."""
    return Access(read_keys(path), wall)


def read_keys(path: Path) -> list[Key]:
    """Of the file; UserError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the access keys in {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: the file of access keys is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{path}{line}: the file of access keys is not YAML") from None
    try:
        keys = _File.model_validate(content).keys
    except ValidationError as error:
        raise UserError(f"{path}: {_first(error)}") from None
    names = [key.access_key for key in keys]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: access key {twice} is there twice")
    actions = model.operations() | {"ConditionCheckItem"}
    for key in keys:
        for pattern in (pattern for denial in key.deny for pattern in denial.actions):
            if not any(fnmatchcase(action, pattern) for action in actions):
                near = difflib.get_close_matches(pattern, sorted(actions), n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else "write it like PutItem"
                raise UserError(f"{path}: {key.access_key} is denied {pattern}, which is no action of DynamoDB: {hint}")
    return keys


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("model_type", "dict_type") and not place:
        reason = "write `keys:` and under it a list of access_key and secret_key"
    return f"{place}: {reason}" if place else reason

"""What an experiment template may say: actions, their parameters and targets. Everything else is refused.

Actions are FIS's own for DynamoDB, ``aws:fis:wait``, and ``lastwriter:KIND`` for every fault that the emulator has and
FIS does not (see :mod:`~lastwriter.emulator.faults`); its parameters are the fault's, as text: ``regions``
"us-east-1,us-west-2", ``links`` "us-east-1/us-west-2".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from pydantic import ValidationError

from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.faults import OF_THE_PROCESS, FaultKind, FaultParameters, FaultSpec

PAUSE: Final = "aws:dynamodb:global-table-pause-replication"
WAIT: Final = "aws:fis:wait"
OWN: Final = "lastwriter:"
GLOBAL_TABLE: Final = "aws:dynamodb:global-table"
TABLES: Final = "Tables"
"""What the pause calls its target."""

_REQUIRED: Final = ("description", "stopConditions", "actions", "roleArn")
_OWN_PARAMETERS: Final = set(FaultParameters.model_fields) - {"kind"}
_DURATION: Final = re.compile(r"P(?=[0-9T])(?:(\d+)D)?(?:T(?=[0-9])(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_TABLE: Final = re.compile(r"arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):\d*:(?:global-)?table/([A-Za-z0-9_.-]+)")
_SOME: Final = re.compile(r"(COUNT|PERCENT)\(([1-9][0-9]{0,5})\)")
_LISTS: Final = frozenset({"regions", "keys", "tables"})
_FLAGS: Final = frozenset({"one_way", "hang"})
_OPTIONS: Final = {
    "accountTargeting": ("single-account",),
    "emptyTargetResolutionMode": ("fail", "skip"),
}

_DESCRIPTIONS: Final = {
    PAUSE: "Pauses replication of the target global tables to and from the targets' Regions.",
    WAIT: "Waits.",
    **{OWN + kind: f"Sets the emulator's fault {kind}." for kind in get_args(FaultKind) if kind != OF_THE_PROCESS},
}
_TARGET_TYPES: Final = {GLOBAL_TABLE: "Global tables, by the ARN of a table in a Region."}


class FisError(Exception):
    """What a request is answered with if it is refused."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name = name
        self.status = status


def invalid(message: str) -> FisError:
    """ValidationException."""
    return FisError("ValidationException", message)


# ---- catalogue


def actions(region: str) -> list[dict[str, Any]]:
    """What ListActions lists."""
    return [_described_action(name, region) for name in sorted(_DESCRIPTIONS)]


def action(name: str, region: str) -> dict[str, Any]:
    """One action with its parameters."""
    if name not in _DESCRIPTIONS:
        raise FisError("ResourceNotFoundException", f"there is no action {name}", 404)
    parameters: dict[str, Any] = {"duration": {"description": "ISO 8601, like PT5M", "required": True}}
    if name.startswith(OWN):
        for field_name in sorted(_OWN_PARAMETERS):
            description = FaultParameters.model_fields[field_name].description or ""
            parameters[field_name] = {"description": description, "required": False}
    return {**_described_action(name, region), "parameters": parameters}


def target_types() -> list[dict[str, Any]]:
    """What ListTargetResourceTypes lists."""
    return [{"resourceType": name, "description": words} for name, words in _TARGET_TYPES.items()]


def target_type(name: str) -> dict[str, Any]:
    """One of them."""
    if name not in _TARGET_TYPES:
        raise FisError("ResourceNotFoundException", f"there is no target resource type {name}", 404)
    return {"resourceType": name, "description": _TARGET_TYPES[name], "parameters": {}}


def _described_action(name: str, region: str) -> dict[str, Any]:
    return {
        "id": name,
        "arn": f"arn:aws:fis:{region}:{'' if name.startswith('aws:') else ACCOUNT}:action/{name}",
        "description": _DESCRIPTIONS[name],
        "targets": {TABLES: {"resourceType": GLOBAL_TABLE}} if name == PAUSE else {},
        "tags": {},
    }


# ---- checks


def check_template(template: Mapping[str, Any], check_fault: Callable[[FaultSpec], None]) -> None:
    """Refuse what could not be carried out. ``check_fault``: ValueError for a fault that names what is not here."""
    for name in _REQUIRED:
        if template.get(name) in (None, "", []):
            raise invalid(f"a template takes {name}")
    for condition in template["stopConditions"]:
        if condition.get("source") != "none":
            raise invalid(f'stop condition {condition.get("source")}: there are no alarms here, only "none"')
        if condition.get("value") is not None:
            raise invalid('stop condition "none" takes no value')
    for name, value in (template.get("experimentOptions") or {}).items():
        if value not in _OPTIONS.get(name, ()):
            raise invalid(f"experimentOptions: {name} {value} is not known here")
    for name in ("logConfiguration", "experimentReportConfiguration"):
        if template.get(name):
            raise invalid(f"{name}: there is nowhere to write to here")
    targets: dict[str, Any] = template.get("targets") or {}
    for name, target in targets.items():
        _check_target(name, target)
    given: dict[str, Any] = template["actions"]
    if not given:
        raise invalid("a template takes at least one action")
    for name, one in given.items():
        _check_action(name, one, set(targets), set(given), check_fault)
    _check_order(given)


def _check_target(name: str, target: Mapping[str, Any]) -> None:
    if target.get("resourceType") != GLOBAL_TABLE:
        raise invalid(f"target {name}: unknown resource type {target.get('resourceType')}")
    if target.get("filters") or target.get("resourceTags") or target.get("parameters"):
        raise invalid(f"target {name}: only resourceArns are known here, no filters, tags or parameters")
    mode = str(target.get("selectionMode"))
    if mode != "ALL" and _SOME.fullmatch(mode) is None:
        raise invalid(f"target {name}: selectionMode is ALL, COUNT(n) or PERCENT(n), not {mode}")
    arns = target.get("resourceArns") or []
    if not arns:
        raise invalid(f"target {name}: resourceArns are missing")
    for arn in arns:
        if _TABLE.fullmatch(arn) is None:
            raise invalid(f"target {name}: {arn} is not the ARN of a table")


def _check_action(
    name: str, action: Mapping[str, Any], targets: set[str], others: set[str], check_fault: Callable[[FaultSpec], None]
) -> None:
    kind = str(action.get("actionId"))
    if kind not in _DESCRIPTIONS:
        raise invalid(f"action {name}: unknown actionId {kind}")
    parameters = action.get("parameters") or {}
    known = {"duration"} | (_OWN_PARAMETERS if kind.startswith(OWN) else set())
    for parameter in parameters:
        if parameter not in known:
            raise invalid(f"action {name}: {kind} has no parameter {parameter}")
    duration_s(name, parameters)
    used = action.get("targets") or {}
    if set(used) != ({TABLES} if kind == PAUSE else set()):
        raise invalid(f"action {name}: {kind} takes {'the target Tables' if kind == PAUSE else 'no targets'}")
    for target in used.values():
        if target not in targets:
            raise invalid(f"action {name}: there is no target {target}")
    for other in action.get("startAfter") or []:
        if other not in others:
            raise invalid(f"action {name}: startAfter names {other}, which there is not")
    if kind.startswith(OWN):
        try:
            check_fault(own_fault(name, kind, parameters))
        except ValueError as error:
            raise invalid(f"action {name}: {error}") from None


def _check_order(actions: Mapping[str, Any]) -> None:
    """startAfter leads somewhere."""
    left = dict(actions)
    while left:
        free = [name for name, action in left.items() if not set(action.get("startAfter") or []) & set(left)]
        if not free:
            raise invalid(f"actions {', '.join(left)} start after each other")
        for name in free:
            del left[name]


# ---- meaning


def duration_s(name: str, parameters: Mapping[str, str]) -> float:
    """Seconds of an action's ``duration``."""
    text = str(parameters.get("duration", ""))
    found = _DURATION.fullmatch(text)
    if found is None:
        raise invalid(f"action {name}: duration {text!r} is not like PT5M")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def own_fault(name: str, kind: str, parameters: Mapping[str, str]) -> FaultSpec:
    """``lastwriter:KIND`` with its parameters as text."""
    fields: dict[str, Any] = {"kind": kind.removeprefix(OWN)}
    for parameter, text in parameters.items():
        if parameter in _LISTS:
            fields[parameter] = [part.strip() for part in text.split(",")]
        elif parameter == "links":
            fields[parameter] = [tuple(link.strip().split("/")) for link in text.split(",")]
        elif parameter in _FLAGS:
            fields[parameter] = text.lower() == "true"
        elif parameter != "duration":
            fields[parameter] = text
    try:
        return FaultSpec(**fields)
    except ValidationError as error:
        raise invalid(f"action {name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def table_of(arn: str) -> tuple[str, str]:
    """Region and table that a target's ARN names."""
    found = _TABLE.fullmatch(arn)
    assert found is not None
    return found[1], found[2]


def number_chosen(mode: str, of: int) -> int:
    """How many of ``of`` resources a target's selectionMode takes; at least one."""
    found = _SOME.fullmatch(mode)
    if found is None:
        return of
    number = int(found[2]) if found[1] == "COUNT" else of * int(found[2]) // 100
    return min(max(number, 1), of)

"""AWS Fault Injection Service on the control port: templates and experiments, as boto3's ``fis`` client speaks.

Theory of operation
-------------------
1. A template is checked when it is created: an action, parameter, target or stop condition that is not known here is
   refused then, not when it would be needed.
2. An experiment runs on the core's clock. An action begins when all that it has to start after have completed, and
   ends after its ``duration``; the experiment completes with its last action. Stopping it heals what it has broken.
3. ``aws:dynamodb:global-table-pause-replication`` pauses replication of the Regions in its targets' ARNs;
   ``aws:fis:wait`` waits. For what FIS has no action, ``lastwriter:KIND`` sets the fault of that kind (see
   :mod:`~lastwriter.emulator.faults`); its parameters are the fault's, as text: ``regions`` "us-east-1,us-west-2",
   ``links`` "us-east-1/us-west-2".

Known warts: a pause stops replication of every table of its Regions, not of the target alone; it takes hold at once,
where AWS takes up to five minutes; durations below a minute are taken; roles, logs and reports are kept and ignored.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, get_args
from urllib.parse import unquote

import orjson
from pydantic import ValidationError

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.faults import OF_THE_PROCESS, FaultKind, FaultParameters, FaultSpec
from lastwriter.emulator.shell.faultbook import FaultBook, UnknownFaultError

ROOTS: Final = frozenset({"experimentTemplates", "experiments", "actions"})
PAUSE: Final = "aws:dynamodb:global-table-pause-replication"
WAIT: Final = "aws:fis:wait"
OWN: Final = "lastwriter:"
GLOBAL_TABLE: Final = "aws:dynamodb:global-table"
_TABLES: Final = "Tables"
_OWN_PARAMETERS: Final = set(FaultParameters.model_fields) - {"kind"}
_DURATION: Final = re.compile(r"P(?=[0-9T])(?:(\d+)D)?(?:T(?=[0-9])(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):\d*:(?:global-)?table/([A-Za-z0-9_.-]+)")
_LISTS: Final = frozenset({"regions", "keys"})
_FLAGS: Final = frozenset({"one_way", "hang"})

_DESCRIPTIONS: Final = {
    PAUSE: "Pauses replication of the target global tables' Regions.",
    WAIT: "Waits.",
    **{OWN + kind: f"Sets the emulator's fault {kind}." for kind in get_args(FaultKind) if kind != OF_THE_PROCESS},
}


class FisError(Exception):
    """What a request is answered with if it is refused."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name = name
        self.status = status


@dataclass
class _Action:
    """An action of an experiment."""

    request: dict[str, Any]
    seconds: float
    status: str = "pending"
    started: float | None = None
    ended: float | None = None
    fault: str | None = None


@dataclass
class _Experiment:
    id: str
    template: dict[str, Any]
    created: float
    tags: dict[str, str]
    actions: dict[str, _Action]
    status: str = "running"
    reason: str | None = None
    ended: float | None = None
    faults: dict[str, FaultSpec] = field(default_factory=dict)


class Fis:
    """``respond(method, path, body)`` → HTTP status and JSON."""

    def __init__(self, core: Core, book: FaultBook, wall: Callable[[], float]) -> None:
        self._core = core
        self._book = book
        self._wall = wall
        self._templates: dict[str, dict[str, Any]] = {}
        self._experiments: dict[str, _Experiment] = {}
        self._tokens: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Never raises: mistakes are answered as FIS answers them."""
        kind, _, name = path.strip("/").partition("/")
        try:
            request = orjson.loads(body) if body else {}
            if not isinstance(request, dict):
                raise FisError("ValidationException", "the body is not a JSON object")
            return 200, self._route(method, kind, unquote(name), request)
        except orjson.JSONDecodeError:
            return 400, {"__type": "ValidationException", "message": "the body is not JSON"}
        except (AttributeError, KeyError, TypeError):
            return 400, {"__type": "ValidationException", "message": "the body is not of the shape that FIS takes"}
        except FisError as error:
            return error.status, {"__type": error.name, "message": str(error)}

    def _route(self, method: str, kind: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        match kind, method, bool(name):
            case "actions", "GET", False:
                return {"actions": [_describe_action(action, False) for action in _DESCRIPTIONS]}
            case "actions", "GET", True:
                if name not in _DESCRIPTIONS:
                    raise FisError("ResourceNotFoundException", f"there is no action {name}", 404)
                return {"action": _describe_action(name, True)}
            case "experimentTemplates", "POST", False:
                return {"experimentTemplate": self._once(request, self._create_template)}
            case "experimentTemplates", "GET", False:
                return {"experimentTemplates": [_summary(template) for template in self._templates.values()]}
            case "experimentTemplates", "GET", True:
                return {"experimentTemplate": self._template(name)}
            case "experimentTemplates", "DELETE", True:
                template = self._template(name)
                del self._templates[name]
                return {"experimentTemplate": template}
            case "experiments", "POST", False:
                return {"experiment": self._once(request, self._start)}
            case "experiments", "GET", False:
                return {"experiments": [_described(one, brief=True) for one in self._experiments.values()]}
            case "experiments", "GET", True:
                return {"experiment": _described(self._experiment(name))}
            case "experiments", "DELETE", True:
                return {"experiment": self._stop(self._experiment(name))}
        raise FisError("ValidationException", f"FIS does not {method} /{kind}/{name}", 405)

    def _once(self, request: dict[str, Any], call: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        """The same client token gets the same answer."""
        token = str(request.get("clientToken", ""))
        if token not in self._tokens:
            name = call(request)
            if token:
                self._tokens[token] = name
        else:
            name = self._tokens[token]
        return self._template(name) if name.startswith("EXT") else _described(self._experiment(name))

    # -- templates

    def _create_template(self, request: dict[str, Any]) -> str:
        self._check(request)
        name = f"EXT{next(self._numbers):013d}"
        now = self._wall()
        self._templates[name] = {
            "id": name,
            "arn": f"arn:aws:fis:{self._core.regions[0]}:{ACCOUNT}:experiment-template/{name}",
            "creationTime": now,
            "lastUpdateTime": now,
            "targets": {},
            "tags": {},
            **{key: value for key, value in request.items() if key != "clientToken"},
        }
        return name

    def _check(self, request: dict[str, Any]) -> None:
        """Refuse what could not be carried out."""
        for condition in request.get("stopConditions", []):
            if condition.get("source") != "none":
                raise _invalid(f'stop condition {condition.get("source")}: there are no alarms here, only "none"')
        targets: dict[str, Any] = request.get("targets") or {}
        for name, target in targets.items():
            if target.get("resourceType") != GLOBAL_TABLE:
                raise _invalid(f"target {name}: unknown resource type {target.get('resourceType')}")
            if target.get("selectionMode") != "ALL" or target.get("filters") or target.get("resourceTags"):
                raise _invalid(f"target {name}: only selectionMode ALL of resourceArns is known here")
            for arn in target.get("resourceArns") or []:
                if _ARN.fullmatch(arn) is None:
                    raise _invalid(f"target {name}: {arn} is not the ARN of a table")
        actions: dict[str, Any] = request.get("actions") or {}
        if not actions:
            raise _invalid("a template takes at least one action")
        for name, action in actions.items():
            self._check_action(name, action, set(targets), set(actions))
        _check_order(actions)

    def _check_action(self, name: str, action: dict[str, Any], targets: set[str], others: set[str]) -> None:
        kind = str(action.get("actionId"))
        if kind not in _DESCRIPTIONS:
            raise _invalid(f"action {name}: unknown actionId {kind}")
        parameters = action.get("parameters") or {}
        known = {"duration"} | (_OWN_PARAMETERS if kind.startswith(OWN) else set())
        for parameter in parameters:
            if parameter not in known:
                raise _invalid(f"action {name}: {kind} has no parameter {parameter}")
        _seconds(name, parameters)
        used = action.get("targets") or {}
        if set(used) != ({_TABLES} if kind == PAUSE else set()):
            raise _invalid(f"action {name}: {kind} takes {'the target Tables' if kind == PAUSE else 'no targets'}")
        for target in used.values():
            if target not in targets:
                raise _invalid(f"action {name}: there is no target {target}")
        for other in action.get("startAfter") or []:
            if other not in others:
                raise _invalid(f"action {name}: startAfter names {other}, which there is not")
        if kind.startswith(OWN):
            spec = _own_fault(name, kind, parameters)
            try:
                self._book.check(spec)
            except ValueError as error:
                raise _invalid(f"action {name}: {error}") from None

    def _template(self, name: str) -> dict[str, Any]:
        if name not in self._templates:
            raise FisError("ResourceNotFoundException", f"there is no experiment template {name}", 404)
        return self._templates[name]

    # -- experiments

    def _start(self, request: dict[str, Any]) -> str:
        template = self._template(str(request.get("experimentTemplateId")))
        name = f"EXP{next(self._numbers):013d}"
        actions = {
            key: _Action(action, _seconds(key, action.get("parameters") or {}))
            for key, action in template["actions"].items()
        }
        experiment = _Experiment(name, template, self._wall(), request.get("tags") or {}, actions)
        self._experiments[name] = experiment
        try:
            for key, action in template["actions"].items():
                if (spec := self._fault(key, action, template)) is not None:
                    experiment.faults[key] = spec
        except FisError as error:
            experiment.status, experiment.reason, experiment.ended = "failed", str(error), self._wall()
            for left in actions.values():
                left.status = "cancelled"
            return name
        self._go_on(experiment)
        return name

    def _fault(self, name: str, action: dict[str, Any], template: dict[str, Any]) -> FaultSpec | None:
        """What an action breaks; FisError if its targets are not there."""
        kind, parameters = action["actionId"], action.get("parameters") or {}
        if kind == WAIT:
            return None
        if kind != PAUSE:
            return _own_fault(name, kind, parameters)
        regions = []
        for arn in template["targets"][action["targets"][_TABLES]].get("resourceArns") or []:
            found = _ARN.fullmatch(arn)
            member = found and self._core.control.members.get(found[1], {}).get(found[2])
            if not found or not member or member.table.mode == "one-Region":
                raise FisError("ValidationException", f"Target resolution: there is no global table {arn}")
            regions.append(found[1])
        if not regions:
            raise FisError("ValidationException", "Target resolution returned empty set")
        return FaultSpec(kind="replication-paused", regions=sorted(set(regions)))

    def _go_on(self, experiment: _Experiment) -> None:
        """Begin the actions that are due, or complete."""
        actions = experiment.actions
        for name, action in actions.items():
            before = action.request.get("startAfter") or []
            if action.status == "pending" and all(actions[other].status == "completed" for other in before):
                action.status, action.started = "running", self._wall()
                if name in experiment.faults:
                    action.fault = self._book.set(experiment.faults[name])
                scheduler = self._core.scheduler
                scheduler.at(scheduler.now_ns + round(action.seconds * 1e9), self._end, experiment, action)
        if all(action.status == "completed" for action in actions.values()):
            experiment.status, experiment.ended = "completed", self._wall()

    def _end(self, experiment: _Experiment, action: _Action) -> None:
        if action.status == "running":
            self._heal(action, "completed")
            self._go_on(experiment)

    def _heal(self, action: _Action, status: str) -> None:
        action.status, action.ended = status, self._wall()
        if action.fault is not None:
            with contextlib.suppress(UnknownFaultError):  # somebody was quicker
                self._book.heal(action.fault)

    def _stop(self, experiment: _Experiment) -> dict[str, Any]:
        if experiment.status != "running":
            raise _invalid(f"experiment {experiment.id} is {experiment.status}")
        for action in experiment.actions.values():
            if action.status == "running":
                self._heal(action, "stopped")
            elif action.status == "pending":
                action.status = "cancelled"
        experiment.status, experiment.ended = "stopped", self._wall()
        experiment.reason = "Experiment halted by user."
        return _described(experiment)

    def _experiment(self, name: str) -> _Experiment:
        if name not in self._experiments:
            raise FisError("ResourceNotFoundException", f"there is no experiment {name}", 404)
        return self._experiments[name]


def _invalid(message: str) -> FisError:
    return FisError("ValidationException", message)


def _seconds(name: str, parameters: dict[str, str]) -> float:
    text = str(parameters.get("duration", ""))
    found = _DURATION.fullmatch(text)
    if found is None:
        raise _invalid(f"action {name}: duration {text!r} is not like PT5M")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _own_fault(name: str, kind: str, parameters: dict[str, str]) -> FaultSpec:
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
        raise _invalid(f"action {name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _check_order(actions: dict[str, Any]) -> None:
    """startAfter leads somewhere."""
    left = dict(actions)
    while left:
        free = [name for name, action in left.items() if not set(action.get("startAfter") or []) & set(left)]
        if not free:
            raise _invalid(f"actions {', '.join(left)} start after each other")
        for name in free:
            del left[name]


def _describe_action(name: str, whole: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"id": name, "description": _DESCRIPTIONS[name], "tags": {}}
    described["targets"] = {_TABLES: {"resourceType": GLOBAL_TABLE}} if name == PAUSE else {}
    if whole:
        parameters = {"duration": {"description": "ISO 8601, like PT5M", "required": True}}
        if name.startswith(OWN):
            for field_name in sorted(_OWN_PARAMETERS):
                description = FaultParameters.model_fields[field_name].description or ""
                parameters[field_name] = {"description": description, "required": False}
        described["parameters"] = parameters
    return described


def _summary(template: dict[str, Any]) -> dict[str, Any]:
    return {key: template.get(key) for key in ("id", "arn", "description", "creationTime", "lastUpdateTime", "tags")}


def _described(experiment: _Experiment, brief: bool = False) -> dict[str, Any]:
    state = {"status": experiment.status, **({"reason": experiment.reason} if experiment.reason else {})}
    arn = experiment.template["arn"].rpartition(":")[0] + f":experiment/{experiment.id}"
    described = {
        "id": experiment.id,
        "arn": arn,
        "experimentTemplateId": experiment.template["id"],
        "state": state,
        "creationTime": experiment.created,
        "tags": experiment.tags,
    }
    if brief:
        return described
    described |= {
        "roleArn": experiment.template.get("roleArn"),
        "targets": experiment.template["targets"],
        "stopConditions": experiment.template.get("stopConditions", []),
        "startTime": experiment.created,
        "actions": {
            name: {
                **action.request,
                "state": {"status": action.status},
                **({"startTime": action.started} if action.started is not None else {}),
                **({"endTime": action.ended} if action.ended is not None else {}),
            }
            for name, action in experiment.actions.items()
        },
    }
    if experiment.ended is not None:
        described["endTime"] = experiment.ended
    return described

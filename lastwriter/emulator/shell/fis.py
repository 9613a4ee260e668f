"""AWS Fault Injection Service on the control port: templates and experiments, as boto3's ``fis`` client speaks.

Templates are checked when they are created or updated (:mod:`~lastwriter.emulator.shell.fis_templates`): what is not
known here is refused then, not when it would be needed. Experiments run in
:mod:`~lastwriter.emulator.shell.fis_experiments`.

Known warts: durations below a minute are taken; roles are kept and ignored; there are no alarms, logs, reports, safety
levers or other accounts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.shell import fis_templates
from lastwriter.emulator.shell.faultbook import FaultBook
from lastwriter.emulator.shell.fis_experiments import Experiment, Experiments, described, resolved_targets, summary
from lastwriter.emulator.shell.fis_templates import FisError, check_template, invalid

ROOTS: Final = frozenset({"experimentTemplates", "experiments", "actions", "targetResourceTypes", "tags"})
_MOST: Final = 100
_UPDATABLE: Final = (
    "description", "stopConditions", "targets", "actions", "roleArn", "logConfiguration", "experimentOptions",
    "experimentReportConfiguration",
)  # fmt: skip
_OPTIONS: Final = {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"}

Query = dict[str, list[str]]


class Fis:
    """``respond(method, path, body)`` → HTTP status and JSON."""

    def __init__(self, core: Core, book: FaultBook, wall: Callable[[], float]) -> None:
        self._region = core.regions[0]
        self._book = book
        self._wall = wall
        self._running = Experiments(core, book, wall)
        self._templates: dict[str, dict[str, Any]] = {}
        self._experiments: dict[str, Experiment] = {}
        self._tokens: dict[str, tuple[str, dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Never raises: mistakes are answered as FIS answers them. ``path`` with its query."""
        place, _, query = path.partition("?")
        kind, _, name = place.strip("/").partition("/")
        try:
            request = orjson.loads(body) if body else {}
            if not isinstance(request, dict):
                raise invalid("the body is not a JSON object")
            return 200, self._route(method, kind, unquote(name), request, parse_qs(query))
        except orjson.JSONDecodeError:
            return 400, {"__type": "ValidationException", "message": "the body is not JSON"}
        except (AttributeError, KeyError, TypeError):
            return 400, {"__type": "ValidationException", "message": "the body is not of the shape that FIS takes"}
        except FisError as error:
            return error.status, {"__type": error.name, "message": str(error)}

    def _route(self, method: str, kind: str, name: str, request: dict[str, Any], query: Query) -> dict[str, Any]:
        match kind, method, bool(name):
            case "actions", "GET", False:
                return _page("actions", fis_templates.actions(self._region), query)
            case "actions", "GET", True:
                return {"action": fis_templates.action(name, self._region)}
            case "targetResourceTypes", "GET", False:
                return _page("targetResourceTypes", fis_templates.target_types(), query)
            case "targetResourceTypes", "GET", True:
                return {"targetResourceType": fis_templates.target_type(name)}
            case "experimentTemplates", "POST", False:
                return {"experimentTemplate": self._template(self._once(request, self._create_template))}
            case "experimentTemplates", "GET", False:
                return _page("experimentTemplates", [_summary(one) for one in self._templates.values()], query)
            case "experimentTemplates", "GET", True:
                return {"experimentTemplate": self._template(name)}
            case "experimentTemplates", "PATCH", True:
                return {"experimentTemplate": self._update_template(name, request)}
            case "experimentTemplates", "DELETE", True:
                template = self._template(name)
                del self._templates[name]
                return {"experimentTemplate": template}
            case "experiments", "POST", False:
                return {"experiment": described(self._experiment(self._once(request, self._start)))}
            case "experiments", "GET", False:
                wanted = _one(query, "experimentTemplateId")
                found = [one for one in self._experiments.values() if wanted in (None, one.template["id"])]
                return _page("experiments", [summary(one) for one in found], query)
            case "experiments", "GET", True if name.endswith("/resolvedTargets"):
                experiment = self._experiment(name.removesuffix("/resolvedTargets"))
                return _page("resolvedTargets", resolved_targets(experiment, _one(query, "targetName")), query)
            case "experiments", "GET", True:
                return {"experiment": described(self._experiment(name))}
            case "experiments", "DELETE", True:
                self._running.stop(self._experiment(name))
                return {"experiment": described(self._experiment(name))}
            case "tags", "GET", True:
                return {"tags": self._tagged(name)}
            case "tags", "POST", True:
                self._tagged(name).update(_tags(request.get("tags")))
                return {}
            case "tags", "DELETE", True:
                tags = self._tagged(name)
                for key in query.get("tagKeys", list(tags)):
                    tags.pop(key, None)
                return {}
        raise FisError("ValidationException", f"FIS does not {method} /{kind}/{name} here", 405)

    def _once(self, request: dict[str, Any], make: Callable[[dict[str, Any]], str]) -> str:
        """The same client token gets the same thing, and no other request may use it."""
        token = str(request.get("clientToken") or "")
        if token in self._tokens:
            name, first = self._tokens[token]
            if first != request:
                raise FisError("ConflictException", f"clientToken {token} was used with another request", 409)
            return name
        name = make(request)
        if token:
            self._tokens[token] = name, request
        return name

    # -- templates

    def _create_template(self, request: dict[str, Any]) -> str:
        check_template(request, self._book.check)
        name = f"EXT{next(self._numbers):013d}"
        now = self._wall()
        self._templates[name] = {
            "id": name,
            "arn": f"arn:aws:fis:{self._region}:{ACCOUNT}:experiment-template/{name}",
            "creationTime": now,
            "lastUpdateTime": now,
            "targets": {},
            "targetAccountConfigurationsCount": 0,
            **{key: value for key, value in request.items() if key != "clientToken"},
            "tags": _tags(request.get("tags") or {}),
            "experimentOptions": {**_OPTIONS, **(request.get("experimentOptions") or {})},
        }
        return name

    def _update_template(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        template = self._template(name)
        changes = {key: request[key] for key in _UPDATABLE if request.get(key) is not None}
        changed = {**template, **changes}
        if "experimentOptions" in changes:
            changed["experimentOptions"] = {**template["experimentOptions"], **changes["experimentOptions"]}
        check_template(changed, self._book.check)
        self._templates[name] = {**changed, "lastUpdateTime": self._wall()}
        return self._templates[name]

    def _template(self, name: str) -> dict[str, Any]:
        if name not in self._templates:
            raise FisError("ResourceNotFoundException", f"there is no experiment template {name}", 404)
        return self._templates[name]

    # -- experiments

    def _start(self, request: dict[str, Any]) -> str:
        template = self._template(str(request.get("experimentTemplateId")))
        mode = (request.get("experimentOptions") or {}).get("actionsMode", "run-all")
        if mode not in ("run-all", "skip-all"):
            raise invalid(f"actionsMode is run-all or skip-all, not {mode}")
        name = f"EXP{next(self._numbers):013d}"
        arn = f"arn:aws:fis:{self._region}:{ACCOUNT}:experiment/{name}"
        tags = _tags(request.get("tags") or {})
        self._experiments[name] = self._running.start(name, arn, template, tags, mode)
        return name

    def _experiment(self, name: str) -> Experiment:
        if name not in self._experiments:
            raise FisError("ResourceNotFoundException", f"there is no experiment {name}", 404)
        return self._experiments[name]

    def _tagged(self, arn: str) -> dict[str, str]:
        """Tags of a template or an experiment."""
        name = arn.rpartition("/")[2]
        tags: dict[str, str] = self._experiment(name).tags if name.startswith("EXP") else self._template(name)["tags"]
        return tags


def _summary(template: dict[str, Any]) -> dict[str, Any]:
    return {key: template.get(key) for key in ("id", "arn", "description", "creationTime", "lastUpdateTime", "tags")}


def _tags(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise invalid("tags are a map of texts")
    return dict(given)


def _one(query: Query, name: str) -> str | None:
    return query[name][0] if name in query else None


def _page(what: str, items: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """One page of a list: ``maxResults`` and ``nextToken``."""
    most, token = _one(query, "maxResults"), _one(query, "nextToken")
    if most is not None and not (most.isdecimal() and 1 <= int(most) <= _MOST):
        raise invalid(f"maxResults is a number from 1 to {_MOST}, not {most}")
    if token is not None and not token.isdecimal():
        raise invalid("nextToken is none that was given out")
    begin = int(token or 0)
    end = begin + int(most or _MOST)
    page: dict[str, Any] = {what: items[begin:end]}
    return page if end >= len(items) else {**page, "nextToken": str(end)}

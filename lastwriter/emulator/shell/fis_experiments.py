"""Experiments of FIS at work, on the core's clock.

An action begins when all that it has to start after have completed, takes hold ``fis_onset`` later, and ends after its
``duration``; the experiment completes with its last action. Stopping it heals what it has broken and cancels the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.faults import FaultSpec
from lastwriter.emulator.shell.faultbook import FaultBook, UnknownFaultError
from lastwriter.emulator.shell.fis_templates import (
    GLOBAL_TABLE,
    PAUSE,
    TABLES,
    WAIT,
    FisError,
    duration_s,
    invalid,
    number_chosen,
    own_fault,
    table_of,
)

_OVER = ("completed", "stopped", "failed", "cancelled", "skipped")


@dataclass
class Action:
    """An action of an experiment."""

    request: dict[str, Any]
    seconds: float
    breaks: list[FaultSpec] = field(default_factory=list)
    status: str = "pending"
    reason: str | None = None
    started: float | None = None
    ended: float | None = None
    faults: list[str] = field(default_factory=list)
    """Ids of those set."""


@dataclass
class Experiment:
    """One run of a template."""

    id: str
    arn: str
    template: dict[str, Any]
    created: float
    tags: dict[str, str]
    mode: str
    """``run-all`` or ``skip-all``."""
    actions: dict[str, Action]
    status: str = "running"
    reason: str | None = None
    ended: float | None = None
    resolved: dict[str, list[str]] = field(default_factory=dict)
    """Target → ARNs."""


class Experiments:
    """Runs them."""

    def __init__(self, core: Core, book: FaultBook, wall: Callable[[], float]) -> None:
        self._core = core
        self._book = book
        self._wall = wall

    def start(self, name: str, arn: str, template: dict[str, Any], tags: dict[str, str], mode: str) -> Experiment:
        """Targets are resolved, then actions begin."""
        actions = {
            key: Action(action, duration_s(key, action.get("parameters") or {}))
            for key, action in template["actions"].items()
        }
        experiment = Experiment(name, arn, template, self._wall(), tags, mode, actions)
        try:
            self._resolve(experiment)
        except FisError as error:
            self._end_experiment(experiment, "failed", str(error))
            for action in actions.values():
                action.status = "cancelled"
            return experiment
        self._go_on(experiment)
        return experiment

    def stop(self, experiment: Experiment) -> None:
        """Heal what it has broken; FisError if it is over."""
        if experiment.status in _OVER:
            raise invalid(f"experiment {experiment.id} is {experiment.status}")
        for action in experiment.actions.values():
            if action.status == "running":
                self._end_action(action, "stopped")
            elif action.status == "pending":
                action.status = "cancelled"
        self._end_experiment(experiment, "stopped", "Experiment halted by user.")

    def _resolve(self, experiment: Experiment) -> None:
        """What every action will break; FisError if its targets are not there."""
        template = experiment.template
        for name, target in (template.get("targets") or {}).items():
            found = [arn for arn in dict.fromkeys(target["resourceArns"]) if self._is_there(arn)]
            missing = [arn for arn in target["resourceArns"] if not self._is_there(arn)]
            if missing and (template.get("experimentOptions") or {}).get("emptyTargetResolutionMode") != "skip":
                raise invalid(f"Target resolution: there is no global table {missing[0]}")
            number = number_chosen(str(target["selectionMode"]), len(found)) if found else 0
            chosen = set(self._core.environment.rng.sample(found, number))
            experiment.resolved[name] = [arn for arn in found if arn in chosen]
        for name, action in experiment.actions.items():
            kind, parameters = action.request["actionId"], action.request.get("parameters") or {}
            if experiment.mode == "skip-all":
                action.status, action.reason = "skipped", "Actions were skipped because actionsMode is skip-all."
            elif kind == PAUSE:
                arns = experiment.resolved[action.request["targets"][TABLES]]
                places = [table_of(arn) for arn in arns]
                action.breaks = [
                    FaultSpec(kind="replication-paused", regions=[region], tables=[table]) for region, table in places
                ]
                if not places:
                    action.status, action.reason = "skipped", "Target resolution returned empty set"
            elif kind != WAIT:
                action.breaks = [own_fault(name, kind, parameters)]

    def _is_there(self, arn: str) -> bool:
        region, table = table_of(arn)
        member = self._core.control.members.get(region, {}).get(table)
        return member is not None and member.table.mode != "one-Region"

    def _go_on(self, experiment: Experiment) -> None:
        """Begin the actions that are due, or complete."""
        actions, scheduler = experiment.actions, self._core.scheduler
        for action in actions.values():
            before = action.request.get("startAfter") or []
            if action.status == "pending" and all(actions[other].status in _OVER for other in before):
                action.status, action.started = "running", self._wall()
                onset_ns = round(self._core.environment.settings.fis_onset * 1e9) if action.breaks else 0
                if onset_ns:
                    scheduler.at(scheduler.now_ns + onset_ns, self._take_hold, action)
                else:
                    self._take_hold(action)
                scheduler.at(scheduler.now_ns + round(action.seconds * 1e9), self._complete, experiment, action)
        if all(action.status in _OVER for action in actions.values()):
            failed = next((action for action in actions.values() if action.status == "failed"), None)
            if failed is None:
                self._end_experiment(experiment, "completed", "Experiment completed.")
            else:
                self._end_experiment(experiment, "failed", failed.reason)

    def _take_hold(self, action: Action) -> None:
        if action.status != "running":
            return
        try:
            for spec in action.breaks:
                action.faults.append(self._book.set(spec))
        except ValueError as error:  # what it was for has gone meanwhile
            self._end_action(action, "failed")
            action.reason = str(error)

    def _complete(self, experiment: Experiment, action: Action) -> None:
        if action.status == "running":
            self._end_action(action, "completed")
        if experiment.status not in _OVER:
            self._go_on(experiment)

    def _end_action(self, action: Action, status: str) -> None:
        action.status, action.ended = status, self._wall()
        for name in action.faults:
            with contextlib.suppress(UnknownFaultError):  # somebody was quicker
                self._book.heal(name)

    def _end_experiment(self, experiment: Experiment, status: str, reason: str | None) -> None:
        experiment.status, experiment.reason, experiment.ended = status, reason, self._wall()


# ---- as FIS shows them


def summary(experiment: Experiment) -> dict[str, Any]:
    """As ListExperiments has it."""
    return {
        "id": experiment.id,
        "arn": experiment.arn,
        "experimentTemplateId": experiment.template["id"],
        "state": _state(experiment.status, experiment.reason),
        "creationTime": experiment.created,
        "tags": experiment.tags,
        "experimentOptions": {**experiment.template["experimentOptions"], "actionsMode": experiment.mode},
    }


def described(experiment: Experiment) -> dict[str, Any]:
    """As GetExperiment has it."""
    template = experiment.template
    shown = {
        **summary(experiment),
        "roleArn": template.get("roleArn"),
        "targets": template["targets"],
        "stopConditions": template["stopConditions"],
        "startTime": experiment.created,
        "targetAccountConfigurationsCount": 0,
        "actions": {name: _action(action) for name, action in experiment.actions.items()},
    }
    return shown if experiment.ended is None else {**shown, "endTime": experiment.ended}


def resolved_targets(experiment: Experiment, target: str | None) -> list[dict[str, Any]]:
    """What ListExperimentResolvedTargets lists."""
    return [
        {"resourceType": GLOBAL_TABLE, "targetName": name, "targetInformation": {"resourceArn": arn}}
        for name, arns in experiment.resolved.items()
        if target is None or name == target
        for arn in arns
    ]


def _action(action: Action) -> dict[str, Any]:
    shown = {**action.request, "state": _state(action.status, action.reason)}
    if action.started is not None:
        shown["startTime"] = action.started
    if action.ended is not None:
        shown["endTime"] = action.ended
    return shown


def _state(status: str, reason: str | None) -> dict[str, str]:
    return {"status": status, **({"reason": reason} if reason else {})}

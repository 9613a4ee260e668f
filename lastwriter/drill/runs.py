"""The runs under a results folder: listed newest first, and found by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from lastwriter.errors import UserError
from lastwriter.resources import nearest
from verifier.rundir import RunDirectory, RunInfo

LATEST: Final = "latest"
"""Stands for the newest run wherever a run is named."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A run, as far as its files tell."""

    directory: RunDirectory
    info: RunInfo | None
    """Null: ``run.json`` cannot be read."""
    headline: str | None
    """Null: not verified yet."""
    met: bool | None
    """Whether it met its expectations; null: inconclusive or not verified."""
    verified: bool

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if not self.verified:
            return "not verified"
        return {True: "met", False: "not met", None: "inconclusive"}[self.met]

    @property
    def ended(self) -> str:
        """How it ended."""
        if self.info is None:
            return "unreadable"
        return self.info.ended or "never ended"


def list_runs(results: Path) -> list[Listed]:
    """Every run directory in ``results``, newest first."""
    found = [_listed(path) for path in results.glob("*") if (path / "run.json").is_file()] if results.is_dir() else []
    return sorted(found, key=lambda run: (run.info.created if run.info else "", run.directory.name), reverse=True)


def find_run(name: str, results: Path) -> RunDirectory:
    """The run that a path, a name under ``results`` or ``latest`` means."""
    if name == LATEST:
        runs = list_runs(results)
        if not runs:
            raise UserError(f"no run in {results} yet; make one with `lastwriter run quickstart`")
        return runs[0].directory
    for path in (Path(name), results / name):
        if path.name == "run.json":
            path = path.parent
        if (path / "run.json").is_file():
            return RunDirectory(path)
    if Path(name).is_dir():
        raise UserError(f"{name} is not a run directory: there is no run.json in it")
    names = [run.directory.name for run in list_runs(results)]
    raise UserError(f"no run {name!r}, neither as a path nor in {results}{nearest(name, names)}")


def _listed(path: Path) -> Listed:
    directory = RunDirectory(path)
    try:
        info: RunInfo | None = RunInfo.model_validate_json(directory.run_json.read_bytes())
    except (OSError, ValidationError):
        info = None
    try:
        verdict = json.loads(directory.verdict.read_bytes())
        return Listed(directory, info, str(verdict["headline"]), verdict["expectations_met"], True)
    except (OSError, ValueError, KeyError, TypeError):
        return Listed(directory, info, None, None, False)

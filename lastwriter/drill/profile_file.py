"""Reading a profile from YAML: lines for every mistake, ``--set`` overrides, the nearest right name."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lastwriter.drill.profile import Profile, Where, contradictions
from lastwriter.emulator.core.roundtrips import known_regions
from lastwriter.emulator.settings import Settings
from lastwriter.errors import UserError
from lastwriter.resources import nearest, workloads

_NAMING: Final = ("name", "workload", "metric", "kind")
"""Fields by whose value ``--set`` may name an item of a list, in this order."""


_DEEPEST: Final = 20

_OF_A_RESTART: Final = "restart-forgets"
"""The planted bug that only an emulator with `data` can have."""


@dataclass(frozen=True, slots=True)
class Override:
    """One value set from the command line."""

    path: str
    """``load.0.rate``, ``phases.fault.duration``"""
    text: str
    """The value, as YAML."""
    said: str
    """How the user said it, for messages: ``--set load.0.rate=5/s``, ``--mode MRSC``."""


def parse_override(text: str) -> Override:
    """An override from ``path=value``."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {text}: write it as path=value, for example --set load.0.rate=50/s")
    return Override(path.strip(), value.strip(), f"--set {text}")


def read_profile(path: Path, overrides: Iterable[Override] = ()) -> Profile:
    """The profile in ``path`` with ``overrides`` applied; UserError with file and line for the first mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"profile {path} cannot be read: {reason}") from error
    return parse_profile(text, path, overrides)


def parse_profile(text: str, path: Path, overrides: Iterable[Override] = ()) -> Profile:
    """As :func:`read_profile`, from the file's text; ``path`` is for messages and for the workloads beside it."""
    document = _Document(path, text)
    for override in overrides:
        document.override(override)
    try:
        profile = Profile.model_validate(document.data)
    except ValidationError as error:
        raise document.error(*_first(error, document)) from None
    problems = list(contradictions(profile, workloads(path), sorted(known_regions())))
    problems += _setting_problems(profile)
    problems += _bug_problems(profile)
    if problems:
        where, why = problems[0]
        raise document.error(where, why, len(problems) - 1)
    return profile.of_its_mode()


class _Document:
    """A YAML document as data, and the line of every value in it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines: dict[Where, int] = {}
        self.overrides: dict[Where, str] = {}
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                self._note_lines(node, ())
            self.data: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UserError(f"{path}:{line}: this is not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(self.data, dict):
            raise UserError(f"{path}:1: a profile is a mapping that begins with `name:`, `hypothesis:`, `target:` …")

    def override(self, override: Override) -> None:
        """Set one value. Names on the way must be there or be new fields; whether they mean anything comes later."""
        try:
            value = yaml.safe_load(override.text)
        except yaml.YAMLError:
            raise UserError(f"{override.said}: the value is not YAML") from None
        parts = override.path.split(".")
        holder: Any = self.data
        where: Where = ()
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            if isinstance(holder, list):
                index = _item(holder, part, override)
                where += (index,)
                if last:
                    holder[index] = value
                else:
                    holder = holder[index]
            elif isinstance(holder, dict):
                where += (part,)
                if last:
                    holder[part] = value
                else:
                    if holder.get(part) is None:
                        holder[part] = {}
                    holder = holder[part]
            else:
                raise UserError(f"{override.said}: {'.'.join(parts[:number])} holds a single value, nothing inside it")
        self.overrides[where] = override.said

    def error(self, where: Where, why: str, others: int = 0) -> UserError:
        """One line: file and line (or the option), the path, what is wrong."""
        said = next((said for place, said in self.overrides.items() if where[: len(place)] == place), None)
        if said is None:
            line = next(self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines)
            said = f"{self.path}:{line}"
        path = ".".join(str(part) for part in where)
        more = f" (and {others} more)" if others else ""
        return UserError(f"{said}: {path + ': ' if path else ''}{why}{more}")

    def at(self, where: Where) -> Any:
        """The value at a path; None where there is none."""
        value = self.data
        for part in where:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _note_lines(self, node: yaml.Node, where: Where) -> None:
        if len(where) > _DEEPEST:
            raise UserError(f"{self.path}:{node.start_mark.line + 1}: nested too deep for a profile")
        self.lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*where, key.value)
                if place in self.lines:
                    path = ".".join(str(part) for part in place)
                    raise UserError(
                        f"{self.path}:{key.start_mark.line + 1}: {path}: given twice, first on line {self.lines[place]}"
                    )
                self.lines[place] = key.start_mark.line + 1
                self._note_lines(value, place)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note_lines(value, (*where, index))


def _item(items: list[Any], part: str, override: Override) -> int:
    """Index of the list item that ``--set`` names by number or by name."""
    if part.isdigit():
        if int(part) < len(items):
            return int(part)
        raise UserError(f"{override.said}: there are {len(items)} items, the last is {len(items) - 1}")
    names: list[str] = []
    for field in _NAMING:
        values = [item.get(field) if isinstance(item, dict) else None for item in items]
        if values.count(part) == 1:
            return values.index(part)
        if values.count(part) > 1:
            raise UserError(f"{override.said}: several items have the {field} {part!r}; name one by its number from 0")
        names += [str(value) for value in values if value is not None]
    raise UserError(f"{override.said}: no item {part!r}{nearest(part, names)}")


def _first(error: ValidationError, document: _Document) -> tuple[Where, str, int]:
    """The most helpful of pydantic's errors, in our words, and how many others there are."""
    errors = error.errors(include_url=False)
    # A misspelt field is reported twice: as unknown, and often as a missing one. The first says more.
    errors.sort(key=lambda item: item["type"] == "missing")
    first = errors[0]
    where = tuple(part for part in first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        known = _fields(where[:-1])
        why = f"unknown field{nearest(str(where[-1]), known)}"
        if ";" not in why:
            why += f"; known here: {', '.join(known)}"
    elif kind == "missing":
        why = "missing"
        near = [name for name in (document.at(where[:-1]) or {}) if name not in _fields(where[:-1])]
        if close := difflib.get_close_matches(str(where[-1]), near, n=1, cutoff=0.5):
            why += f"; is {close[0]!r} meant?"
    elif kind == "literal_error":
        choices = [text.strip("'") for text in context["expected"].replace(" or ", ", ").split(", ")]
        given = str(first["input"])
        why = f"unknown {where[-1]} {given!r}{nearest(given, choices)}"
        if ";" not in why:
            why += f"; one of {', '.join(choices)}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        why = message[0].lower() + message[1:]
    if kind != "missing":
        while where and document.at(where) is None and kind not in {"extra_forbidden"}:
            where = where[:-1]  # pydantic names the branch of a union too; the file has no such place
    return where, why, len(errors) - 1


def _fields(where: Sequence[str | int]) -> list[str]:
    """Fields of the model at a path of the profile."""
    model: Any = Profile
    for part in where:
        if isinstance(part, int):
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return []
        model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _model_in(annotation: Any) -> Any:
    """The model that a field holds, alone, optionally or in a list."""
    if get_origin(annotation) in (list, Union, types.UnionType):
        inner = [_model_in(argument) for argument in get_args(annotation)]
        return next((item for item in inner if isinstance(item, type) and issubclass(item, BaseModel)), None)
    return annotation


def _setting_problems(profile: Profile) -> list[tuple[Where, str]]:
    """What the emulator would refuse of ``target.settings``."""
    problems: list[tuple[Where, str]] = []
    for name, value in profile.target.settings.items():
        try:
            Settings.parse({name: value})
        except UserError as error:
            problems.append((("target", "settings", name), str(error)))
    return problems


def _bug_problems(profile: Profile) -> list[tuple[Where, str]]:
    """Bugs that the emulator does not have, or that nothing of this drill could show."""
    target, problems = profile.target, list[tuple[Where, str]]()
    if target.bugs:
        from lastwriter.emulator.core.bugs import BUG, parse_bugs  # the whole core comes with it

        for number, text in enumerate(target.bugs):
            where: Where = ("target", "bugs", number)
            try:
                (name,) = parse_bugs([text])
            except UserError as error:
                problems.append((where, str(error).removeprefix("--bug ")))
                continue
            if BUG[name].mode not in (target.mode, "both"):
                problems.append((where, f"{name} breaks what {BUG[name].mode} promises, and the target's mode is not"))
            if name == _OF_A_RESTART and not target.data:
                problems.append((where, f"{name} is about what is written down: give `data: true` under target"))
    return problems


def profile_schema() -> str:
    """JSON Schema of a profile, as docs/schemas/profile.schema.json holds it."""
    return json.dumps(Profile.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

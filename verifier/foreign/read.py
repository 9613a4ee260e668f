"""Read a history that somebody else recorded: the format is told from the content, a bad line is named by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from verifier.errors import RecordError
from verifier.foreign import edn
from verifier.foreign.events import NEMESIS, TYPES, Event, Foreign, Type, lines, paired
from verifier.search.model import Answer, Call, Operation

Format = Literal["log", "edn", "jsonl"]

_NAMES: Final[dict[Format, str]] = {"log": "Jepsen's text log", "edn": "EDN", "jsonl": "JSON lines"}
_LOG_LINE: Final = re.compile(
    r"(?:^|[\s\]])(?P<process>:?[\w-]+)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)(?P<rest>.*)$"
)
_LOGGER: Final = re.compile(r"\bjepsen\.util\b(?:\s+-|:)?")
_COMMON: Final = re.compile(
    r"INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:([\w-]+)\s+"
    r"(?:nil|(-?\d{1,18})|\[(\d{1,18}) (\d{1,18})\]|:(timed-out))\s*\Z"
)
"""Nearly every line; the others take longer to read."""
_OTHER_LOGGER: Final = re.compile(r"(?:\S+\s+)*?(?:INFO|WARN|ERROR|DEBUG|TRACE)\b")
_ANSWERS: Final[tuple[Answer, ...]] = ("ok", "fail", "unknown")


def read_file(path: Path) -> Foreign:
    """The history in a file. Raises RecordError, in one line with the file and the line that cannot be read."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise RecordError(f"{path}: line {line}: this is no text (UTF-8)") from error
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error
    return read_text(text, where=f"{path}: ")


def read_text(text: str, format: Format | None = None, where: str = "") -> Foreign:
    """The history in a text; ``where`` goes before every complaint."""
    format = format or format_of(text)
    readers: dict[Format, Callable[[str, str], Foreign]] = {"log": _log, "edn": _edn, "jsonl": _json}
    found = readers[format](text, where)
    if not found.operations:
        raise RecordError(f"{where}no operation in it (read as {_NAMES[format]})")
    return Foreign(found.operations, found.notes, _NAMES[format])


def format_of(text: str) -> Format:
    """Told from the first characters."""
    begin = text.lstrip("\ufeff \t\r\n")
    while begin.startswith(";"):
        begin = begin.partition("\n")[2].lstrip()
    if re.match(r'\{\s*["}]', begin):
        return "jsonl"
    # `[main] INFO …` and `[2026-…` are loggers, not vectors.
    return "edn" if re.match(r"\{|#|\(|\[\s*(?:[{#\]]|$)", begin) else "log"


# --- Jepsen's text log ------------------------------------------------------------------------------------------------


def _log(text: str, where: str) -> Foreign:
    return paired(_log_events(text, where), where)


def _log_events(text: str, where: str) -> Iterator[Event]:
    passed_over = False
    """What follows belongs to another logger's message, until the next line that begins with a logger."""
    for number, line in enumerate(text.splitlines(), 1):
        common = _COMMON.match(line)
        if common is not None:
            passed_over = False
            who, kind, function, plain, first, second, error = common.groups()
            value = int(plain) if plain is not None else (int(first), int(second)) if first is not None else None
            yield Event(number, int(who), kind, function, value, None, error)  # type: ignore[arg-type]
            continue
        logger = _LOGGER.search(line)
        match = _LOG_LINE.search(line, logger.end() if logger else 0)
        if match is None:
            other = not logger and bool(_OTHER_LOGGER.match(line))
            strange = line.strip() and not other and not _is_prose(line, bool(logger))
            if strange and (logger or not passed_over):
                raise RecordError(
                    f"{where}line {number}: cannot read {line.strip()[:60]!r}; "
                    "an operation is: process, :invoke, :write, 3 with tabs between"
                )
            passed_over |= other or bool(logger)
            continue
        passed_over = False
        name = match["process"].lstrip(":")
        process: int | str = int(name) if name.isdigit() else name
        if name != NEMESIS:
            value, more = edn.one(match["rest"], where, number)
            yield _event(number, process, match["type"], match["f"], value, None, more.strip() or None)  # type: ignore[arg-type]


def _is_prose(line: str, from_jepsen: bool) -> bool:
    """A line of a log that is not about an operation: what follows an exception, for example."""
    if from_jepsen:
        return not re.search(r":(?:invoke|ok|fail|info)\b", line)
    return bool(re.match(r"\s+at |\s+\.\.\.|\t|[\w.$]+(?:Exception|Error)\b|Caused by:", line))


def _event(
    line: int, process: int | str, kind: Type, function: str, value: Any, key: Any = None, error: str | None = None
) -> Event:
    """An event whose value may be the reason of a refusal (``:timed-out``)."""
    if kind in ("fail", "info") and isinstance(value, edn.Name):
        return Event(line, process, kind, function, None, key, error or value.text.lstrip(":"))
    return Event(line, process, kind, function, value, key, error)


# --- EDN --------------------------------------------------------------------------------------------------------------


def _edn(text: str, where: str) -> Foreign:
    return paired(_edn_events(text, where), where)


def _edn_events(text: str, where: str) -> Iterator[Event]:
    for line, form in edn.forms(text, where, inside=True):
        if not isinstance(form, edn.Map):
            raise RecordError(
                f"{where}line {line}: {edn.write(form)[:40]} is no map; an operation is {{:process 0, …}}"
            )
        fields = {name.text.lstrip(":"): value for name, value in form.items if isinstance(name, edn.Name)}
        process, kind, function = fields.get("process"), fields.get("type"), fields.get("f")
        if isinstance(process, edn.Name):
            process = process.text.lstrip(":")
        for name, value, good in (
            ("process", process, isinstance(process, int | str)),
            ("type", kind, isinstance(kind, edn.Name) and kind.text.lstrip(":") in TYPES),
            ("f", function, isinstance(function, edn.Name | str) or process == "nemesis"),
        ):
            if not good:
                said = f"{edn.write(value)} is no :{name}" if value is not None else f"no :{name}"
                raise RecordError(f"{where}line {line}: {said} in this operation")
        assert isinstance(kind, edn.Name)
        error = None if fields.get("error") is None else edn.write(fields["error"]).lstrip(":")
        called = function.text.lstrip(":") if isinstance(function, edn.Name) else str(function)
        type_: Type = kind.text.lstrip(":")  # type: ignore[assignment]
        yield _event(line, process, type_, called, fields.get("value"), fields.get("key"), error)  # type: ignore[arg-type]


# --- JSON lines -------------------------------------------------------------------------------------------------------


def _json(text: str, where: str) -> Foreign:
    events: list[Event] = []
    operations: list[Operation] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RecordError(f"{where}line {number}: this is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise RecordError(f'{where}line {number}: an operation is an object, like {{"process": 0, …}}')
        checked = _Fields(fields, f"{where}line {number}: ")
        if "type" in fields:
            events.append(checked.event(number))
        else:
            operations.append(checked.operation(number))
        if events and operations:
            raise RecordError(f"{where}line {number}: events (with a type) and operations (with an outcome) are mixed")
    return paired(events, where) if events else Foreign(tuple(operations), _overlaps(operations))


class _Fields:
    """What a line of JSON says, checked."""

    def __init__(self, fields: dict[str, Any], where: str) -> None:
        self.fields, self.where = fields, where

    def _one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self.fields.get(name)
        if value not in known:
            raise RecordError(f"{self.where}{name} is {value!r}; it must be one of {', '.join(known)}")
        return str(value)

    def _of_type(self, name: str, *types: type) -> Any:
        value = self.fields.get(name)
        if not isinstance(value, types) or isinstance(value, bool):
            said = f"no {name}" if name not in self.fields else f"{name} is {value!r}"
            kinds = " or ".join({int: "a whole number", str: "a text", type(None): "null"}[one] for one in types)
            raise RecordError(f"{self.where}{said}; it must be {kinds}")
        return value

    def _value(self, name: str) -> Any:
        return _frozen(self.fields.get(name))

    def event(self, number: int) -> Event:
        """The line as a call or an answer."""
        kind: Type = self._one_of("type", TYPES)  # type: ignore[assignment]
        error = self.fields.get("error")
        return _event(
            number,
            self._of_type("process", int, str),
            kind,
            self._of_type("f", str),
            self._value("value"),
            self._value("key"),
            None if error is None else str(error),
        )

    def operation(self, number: int) -> Operation:
        """The line as a whole operation."""
        answer: Answer = self._one_of("outcome", _ANSWERS)  # type: ignore[assignment]
        start, end = self._of_type("start", int), self._of_type("end", int, type(None))
        if answer != "unknown" and end is None:
            raise RecordError(f"{self.where}outcome is {answer}, but there is no end; what has no end is unknown")
        if end is not None and end < start:
            raise RecordError(f"{self.where}it ends at {end}, before it starts at {start}: clocks went backwards")
        error = self.fields.get("error")
        result = self._value("result") if answer == "ok" else None
        return Operation(
            self._of_type("process", int, str),
            Call(self._of_type("f", str), self._value("value"), answer, result),
            start,
            None if answer == "unknown" else end,
            self._value("key"),
            number,
            None if error is None else str(error),
        )


def _frozen(value: Any) -> Any:
    """JSON's value as one that hashes."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return edn.Map(frozenset((key, _frozen(one)) for key, one in value.items()))
    return value


def _overlaps(operations: list[Operation]) -> tuple[str, ...]:
    """A process with two operations at once: they are judged by their times, but somebody counted wrongly."""
    latest: dict[int | str, int] = {}
    odd = []
    for operation in sorted(operations, key=lambda one: (one.start, one.end is None, one.end or 0)):
        if operation.start < latest.get(operation.process, operation.start):
            odd.append(operation.line or 0)
        if operation.end is not None:
            latest[operation.process] = max(operation.end, latest.get(operation.process, operation.end))
    if not odd:
        return ()
    return (f"{lines(sorted(odd))}: a process has two operations at once. All are judged by their times.",)

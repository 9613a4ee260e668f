"""``lastwriter verify FILE --model``: a history from elsewhere is read, judged by a model, drawn and written on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lastwriter.errors import UserError
from lastwriter.units import parse_duration
from verifier.errors import RecordError, or_no_verdict
from verifier.foreign import edn
from verifier.foreign.events import repeated
from verifier.foreign.export import SUFFIXES, export
from verifier.foreign.read import read_file
from verifier.foreign.run import operations_of_run
from verifier.rundir import RunDirectory, write_atomically
from verifier.search.judge import Judged, judge, sentences
from verifier.search.linearise import Limits
from verifier.search.model import load_model
from verifier.search.models import MODELS, starting_at
from verifier.search.picture import html, svg
from verifier.verdict import WORDS

_BYTES: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_CODES: Final = {"holds": 0, "violated": 1}
_INCONCLUSIVE: Final = 3


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What was asked for besides the file."""

    model: str
    deadline: str = "60s"
    memory: str | None = None
    """Null: 1 GiB."""
    refusals: Literal["judge", "drop"] = "judge"
    export: Path | None = None
    picture: Path | None = None
    initial: str | None = None
    """What the object is before the first operation, as EDN; null: as the model says."""


def verify_file(path: Path, options: FileOptions, say: Callable[[str], None]) -> int:
    """Judge a file; the exit code: 0 holds, 1 violated, 3 otherwise. ``say`` takes every line of the answer."""
    limits = Limits(seconds_of(options.deadline), memory_bytes(options.memory or "1GiB"))
    draw = None if options.picture is None else drawing(options.picture, f"{path.name} as a {options.model}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; --model judges a file, not a run")
    try:
        model = load_model(options.model, MODELS)
    except RecordError as error:
        raise UserError(f"--model: {error}") from error
    if options.initial is not None:
        try:
            model = starting_at(model, edn.whole(options.initial))
        except RecordError as error:
            raise UserError(f"--initial: {error}") from error
    check_export(options.export)
    with or_no_verdict():
        history = read_file(path)
    if options.export is not None:
        export(history.operations, options.export)
    try:
        judged = judge(history.operations, model, limits, refusals=options.refusals)
    except RecordError as error:
        raise RecordError(f"{path}: {error}; so there is no verdict") from error
    keys = f" on {len(judged.parts):,} keys" if len(judged.parts) > 1 else ""
    left_out = f", {judged.dropped:,} left out" if judged.dropped else ""
    say(f"{path}: {history.format}, {judged.operations:,} operations{keys} judged{left_out}")
    for note in (*history.notes, *repeated(history.operations)):
        say(note)
    say(f"{model.name}: {WORDS[judged.verdict]}")
    for line in sentences(judged):
        say(line)
    if draw is not None:
        draw(judged)
        say(f"picture: {options.picture}")
    if options.export is not None:
        say(f"export: {options.export}")
    return _CODES.get(judged.verdict, _INCONCLUSIVE)


def export_run(directory: RunDirectory, path: Path) -> str:
    """Write a run's operations for other checkers; says where and what."""
    operations, notes = operations_of_run(directory)
    export(operations, path)
    return "\n".join([f"{path} ({len(operations):,} operations)", *notes])


def check_export(path: Path | None) -> None:
    if path is not None and path.suffix not in SUFFIXES:
        raise UserError(f"--export {path}: an export is called {' or '.join(SUFFIXES)}")


def drawing(path: Path, title: str) -> Callable[[Judged], None]:
    """What draws how far a search got into a file; raises :class:`UserError` for a file of another kind."""
    draw = {".html": html, ".svg": svg}.get(path.suffix)
    if draw is None:
        raise UserError(f"--picture {path}: a picture is called .html or .svg")
    return lambda judged: write_atomically(path, draw(judged, title))


def seconds_of(text: str) -> float:
    """A ``--deadline`` in seconds; raises :class:`UserError`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"--deadline: {error}") from error


def memory_bytes(text: str) -> int:
    """An amount of memory like ``500MB`` or ``1GiB``; raises :class:`UserError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?B|B)\s*", text)
    if match is None:
        raise UserError(f"--memory {text!r} is no amount of memory; write it like 500MB or 1GiB")
    return int(float(match[1]) * _BYTES[match[2]])

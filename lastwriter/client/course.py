"""How a phase's rate runs: even, in steps, as a ramp, with bursts.

Written as ``50%`` (of each load's own rate), ``100/s`` (all loads together), ``50%..200%`` (a ramp), or as a list of
these (steps of equal length). Bursts interrupt it: ``{every: 5s, length: 500ms, rate: 300%}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from lastwriter.units import Duration, format_rate, format_share, parse_rate, parse_share


@dataclass(frozen=True, slots=True)
class Course:
    """Steps of equal length, each a ramp from one rate to another."""

    steps: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    absolute: bool = False
    """Intents a second of all loads together; else the share of each load's own rate."""

    def as_share_of(self, total: float) -> Course:
        """The same as a share of a rate."""
        if not self.absolute:
            return self
        return Course(tuple((first / total, last / total) for first, last in self.steps))

    @property
    def highest(self) -> float:
        """The highest rate."""
        return max(max(step) for step in self.steps)


def _parse(value: object) -> Course:
    if isinstance(value, Course):
        return value
    parts = value if isinstance(value, list) else [value]
    if not parts:
        raise ValueError("an empty list of rates; write one like [50%, 100%, 100%..300%]")
    found, units = [], set()
    for part in parts:
        ends = str(part).split("..")
        if len(ends) > 2:
            raise ValueError(f"{part!r} has more than two ends; write a ramp like 50%..200%")
        absolute = "/" in ends[-1]
        units.add(absolute)
        rates = [parse_rate(end) if absolute else parse_share(_bare(end, part)) for end in ends]
        found.append((rates[0], rates[-1]))
    if len(units) > 1:
        raise ValueError("rates in /s and shares in % do not mix in one phase")
    return Course(tuple(found), units.pop())


def _bare(end: str, part: object) -> object:
    """A rate of the phase, as :func:`parse_share` takes it: a number without unit stays one."""
    return part if end == str(part) and not isinstance(part, str) else end


def _render(course: Course) -> str | list[str]:
    form = format_rate if course.absolute else format_share
    texts = [form(first) if first == last else f"{form(first)}..{form(last)}" for first, last in course.steps]
    return texts[0] if len(texts) == 1 else texts


_PATTERN: Final = r"^[0-9.]+ *(%|/(s|min|h))( *\.\. *[0-9.]+ *(%|/(s|min|h)))?$"
_TEXT: Final[dict[str, Any]] = {"type": "string", "pattern": _PATTERN, "examples": ["50%", "100/s..500/s"]}

RateCourse = Annotated[
    Course,
    BeforeValidator(_parse),
    PlainSerializer(_render, return_type=str | list[str], when_used="json"),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]


class Burst(BaseModel):
    """A rate of its own for a short time, again and again."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    every: Duration = Field(gt=0, description="from the start of one burst to the next; the first begins after as long")
    length: Duration = Field(gt=0, description="of each burst")
    rate: RateCourse = Field(description="in a burst, instead of the phase's rate")

    @model_validator(mode="after")
    def _fits(self) -> Burst:
        if self.length >= self.every:
            raise ValueError("`length` of a burst has to be less than `every`")
        return self


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a phase on which the rate is even or a ramp, as a share of the load's own."""

    start_s: float
    """From the start of the phase."""
    seconds: float
    first: float
    last: float


def pieces(duration_s: float, course: Course, burst: Burst | None = None) -> list[Piece]:
    """A phase cut where the rate bends. Shares only (:meth:`Course.as_share_of`)."""
    length = duration_s / len(course.steps)
    ramps = [Piece(number * length, length, *step) for number, step in enumerate(course.steps)]
    if burst is None:
        return ramps
    found: list[Piece] = []
    at, number = 0.0, 1
    while at < duration_s:
        begin = min(number * burst.every, duration_s)
        end = min(begin + burst.length, duration_s)
        found += _cut(ramps, at, begin)
        found += [
            Piece(begin + piece.start_s, piece.seconds, piece.first, piece.last)
            for piece in (pieces(end - begin, burst.rate) if end > begin else ())
        ]
        at, number = end, number + 1
    return found


def _cut(ramps: list[Piece], begin: float, end: float) -> list[Piece]:
    """What lies between two times."""
    found = []
    for ramp in ramps:
        first, last = max(begin, ramp.start_s), min(end, ramp.start_s + ramp.seconds)
        if first < last:
            slope = (ramp.last - ramp.first) / ramp.seconds
            rates = (ramp.first + slope * (at - ramp.start_s) for at in (first, last))
            found.append(Piece(first, last - first, *rates))
    return found

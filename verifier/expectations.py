"""What a profile expects of a run, and whether the run met it: met, not met, or not to be told.

An expectation never passes by default. What could not be measured (no marks, a run that did not settle, a worker that
died) is inconclusive; a figure of which only bounds are known is judged by its bounds: "at least 3 lost" breaks
``lost_updates == 0`` whatever else is missing. A profile without a single expectation for the run's mode is judged by
the contract of the mode: kept is met, broken is not met, anything else is inconclusive.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from verifier.metrics import METRICS, Measured, Metric, Selection
from verifier.rundir import Mode
from verifier.tally import Tally, failed
from verifier.values import format_value, parse_value
from verifier.verdict import ExpectationRow, Judgement
from verifier.whole import Whole

__all__ = ["METRICS", "Expectation", "Metric", "Operator", "judge", "met_all"]

Operator = Literal["==", "!=", "<", "<=", ">", ">="]


class Expectation(BaseModel):
    """One line under ``expect`` of a profile: ``{metric: lost_updates, op: "==", value: 0, mode: MRSC}``."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(description="one of METRICS", json_schema_extra={"enum": [*sorted(METRICS)]})
    op: Operator
    value: str = Field(description="with the metric's unit: 0, 1%, 300ms")
    phase: str | None = Field(
        None, description="only what was scheduled in this phase, or before, during, after the faults"
    )
    region: str | None = Field(None, description="only what this Region was asked")
    kind: str | None = Field(None, description="only this kind of operation: read, add, write …")
    mode: Mode | None = Field(None, description="only in a run of this mode")

    @field_validator("value", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return f"{value:g}" if isinstance(value, float) else str(value)

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"metrics are {', '.join(METRICS)}"
            raise ValueError(f"unknown metric {name!r}; {hint}")
        return name

    @model_validator(mode="after")
    def _fits(self) -> Expectation:
        metric = METRICS[self.metric]
        parse_value(self.value, metric.unit)
        asked = {"phase": self.phase, "region": self.region, "kind": self.kind}
        for name, value in asked.items():
            if value is not None and name not in metric.narrows:
                raise ValueError(f"{self.metric} cannot be narrowed by {name}")
        return self

    @property
    def selection(self) -> Selection:
        """What it is narrowed to."""
        return Selection(self.phase, self.region, self.kind)


def applying(expectations: Iterable[Expectation], mode: Mode) -> list[Expectation]:
    """Those that apply in the run's mode."""
    return [expectation for expectation in expectations if expectation.mode in (None, mode)]


def judge(
    expectations: Sequence[Expectation], tallies: Sequence[Tally], whole: Whole, cut_short: str | None = None
) -> list[ExpectationRow]:
    """Measure each expectation from what was counted for it.

    In a run that was cut short (the reason is given) what looks met may only not have been put to the test.
    """
    rows = [_row(*pair, whole) for pair in zip(expectations, tallies, strict=True)]
    if cut_short is not None:
        rows = [row.model_copy(update={"met": None, "reason": cut_short}) if row.met else row for row in rows]
    return rows


def met_all(rows: Sequence[ExpectationRow], contract: Judgement) -> bool | None:
    """Whether a run did what was expected of it; None if that cannot be told.

    One missed expectation decides. Without any expectation the contract decides; a broken contract is expected by
    nobody, so that it is a miss unless the profile has its own expectation on ``contract_breaches``.
    """
    if not rows:
        return {"holds": True, "violated": False}.get(contract)
    if any(row.met is False for row in rows):
        return False
    if contract == "violated" and not any(row.metric == "contract_breaches" for row in rows):
        return False
    return None if any(row.met is None for row in rows) else True


def _row(expectation: Expectation, tally: Tally, whole: Whole) -> ExpectationRow:
    metric = METRICS[expectation.metric]
    try:
        if (failure := failed(tally)) is not None:
            measured = Measured(None, None, f"could not be measured: {failure}")
        else:
            measured = metric.measure(tally, whole, expectation.selection)
    except Exception as error:  # noqa: BLE001 - one metric that fails must not take the verdict with it
        measured = Measured(None, None, f"could not be measured: {type(error).__name__}: {error}")
    met = (
        compare(measured, expectation.op, parse_value(expectation.value, metric.unit)) if measured.conclusive else None
    )
    reason = measured.reason if met is None else None
    if met is None and reason is None:
        reason = "only bounds are known"
    return ExpectationRow(
        metric=expectation.metric,
        op=expectation.op,
        value=expectation.value,
        phase=expectation.phase,
        region=expectation.region,
        kind=expectation.kind,
        mode=expectation.mode,
        measured=_say(measured, metric),
        met=met,
        reason=reason,
    )


def compare(measured: Measured, op: Operator, value: float) -> bool | None:
    """Whether every number between the bounds stands in this relation to ``value``; None if only some do."""
    low, high = measured.low, measured.high
    if low is None or high is None:
        return None
    if op == "==":
        return False if value < low or value > high else (True if low == high else None)
    if op == "!=":
        return True if value < low or value > high else (False if low == high else None)
    if op == "<":
        return True if high < value else (False if low >= value else None)
    if op == "<=":
        return True if high <= value else (False if low > value else None)
    if op == ">":
        return True if low > value else (False if high <= value else None)
    return True if low >= value else (False if high < value else None)


def _say(measured: Measured, metric: Metric) -> str | None:
    if measured.low is None or measured.high is None:
        return None
    low = format_value(measured.low, metric.unit)
    if measured.low == measured.high:
        return low
    if measured.high == float("inf"):
        return f"at least {low}"
    if measured.low == 0 and metric.unit == "ms":
        return f"at most {format_value(measured.high, metric.unit)}"
    return f"{low} to {format_value(measured.high, metric.unit)}"

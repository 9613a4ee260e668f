"""How long users went without answers after a fault (RTO): by fault, by the Region that they live in, and by kind.

From the onset of a fault on, time is cut into windows of ``w`` seconds. A window is good if at least a share of the
intents that were *due* in it got an answer in time, as the profile's :class:`Terms` say; an intent that was sent late
because its client was still waiting counts as much as any. The recovery time is the start of the first window from
which on every window is good until the fault ends. (A failed condition is an answer.) Clients that live in one Region
are told apart by what they do when it does not answer: the ``failover`` of their load.

``w`` is the shortest of :data:`WINDOWS_S` with which every window has :data:`FEWEST` intents; if none is, too few
intents were due to tell. A fault that has not ended counts until the load did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from verifier.checks.types import Context
from verifier.errors import RecordError
from verifier.history.columns import History, Int64
from verifier.intents import intents_of, population, population_names
from verifier.loads import SWEEP, failover_policies, policy_of_rows
from verifier.rundir import FaultRecord
from verifier.tally import Tally, number
from verifier.values import parse_value
from verifier.verdict import Rto

WINDOWS_S: Final = (1, 2, 5, 10)
FEWEST: Final = 10
_SECOND_NS: Final = 1_000_000_000


class Terms(BaseModel):
    """``rto`` of a profile: when users count as served."""

    model_config = ConfigDict(extra="forbid")

    objective: str = Field("95%", description="least share of the intents due that get an answer in time, in a window")
    within: str = Field("5s", description="an answer that takes longer, from the schedule on, came too late")

    @field_validator("objective")
    @classmethod
    def _share(cls, text: str) -> str:
        if not 0 < parse_value(text, "share") <= 1:
            raise ValueError(f"{text!r} is no share that can be asked for; write it like 95%")
        return text

    @field_validator("within")
    @classmethod
    def _time(cls, text: str) -> str:
        if not parse_value(text, "ms") > 0:
            raise ValueError(f"{text!r} is no time to wait; write it like 5s")
        return text

    @property
    def share(self) -> float:
        """Of 1."""
        return round(parse_value(self.objective, "share"), 9)

    @property
    def within_ms(self) -> float:
        """Milliseconds."""
        return parse_value(self.within, "ms")


def terms_of(context: Context) -> Terms:
    """The terms of a run's profile. Raises :class:`RecordError`."""
    try:
        return Terms.model_validate(context.run.profile.get("rto") or {})
    except ValidationError as error:
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise RecordError(f"run.json: profile.rto: {said}") from None


def count_windows(history: History, context: Context) -> Tally:
    """By fault, population, kind and second from the onset: intents due, and those that were answered in time."""
    if not context.faults or not len(history):
        return {}
    table = intents_of(history, context)
    due = history.scheduled_ns[table.first]
    in_time = table.answered & (table.final_ns - due <= terms_of(context).within_ms * 1e6)
    names, kinds = population_names(history), len(history.kinds)
    policies = failover_policies(context.run.profile)
    policy = policy_of_rows(history, context)[table.first]
    who = (population(history, table.first) * len(policies) + policy) * kinds + history.kind[table.first]
    users = np.ones(len(due), np.bool_)
    if SWEEP in history.workloads:
        users = history.workload[table.first] != history.workloads.index(SWEEP)
    counts: dict[str, int] = {}
    for fault, start, end in spans(context):
        seconds = (end - start) // _SECOND_NS
        mine = np.flatnonzero(users & (due >= start) & (due < start + seconds * _SECOND_NS))
        if not len(mine):
            continue
        cell = who[mine] * seconds + (due[mine] - start) // _SECOND_NS
        all_due, answered = np.bincount(cell), np.bincount(cell[in_time[mine]])
        for at in np.flatnonzero(all_due).tolist():
            group, second = divmod(at, seconds)
            place, kind = divmod(group, kinds)
            region, rule = divmod(place, len(policies))
            name = f"{fault.id}|{names[region]}|{policies[rule]}|{history.kinds[kind]}|{second}"
            counts[f"{name}|due"] = int(all_due[at])
            counts[f"{name}|answered"] = int(answered[at]) if at < len(answered) else 0
    return counts


def rto_rows(tally: Tally, context: Context) -> dict[str, list[Rto]]:
    """By fault id, what the counts of all parts say."""
    cells: dict[tuple[str, str, str, str], dict[int, tuple[int, int]]] = {}
    for name in tally:
        fault, region, policy, kind, second, what = name.split("|")
        if what == "due":
            due, answered = number(tally, name), number(tally, name.removesuffix("due") + "answered")
            cells.setdefault((fault, region, policy, kind), {})[int(second)] = due, answered
    rows: dict[str, list[Rto]] = {}
    terms = terms_of(context)
    for fault_record, start, end in spans(context):
        seconds = int((end - start) // _SECOND_NS)
        for (fault, region, policy, kind), counts in sorted(cells.items()):
            if fault == fault_record.id and seconds:
                by_second = np.zeros((2, seconds), np.int64)
                for at, both in counts.items():
                    by_second[:, at] = both
                rows.setdefault(fault, []).append(_row(terms, region, policy, kind, by_second[0], by_second[1]))
    return rows


def spans(context: Context) -> Iterable[tuple[FaultRecord, int, int]]:
    """Faults that took hold, each from onset to healing, or to the end of the load."""
    for fault in context.faults:
        ends = [at for at in (fault.healed_ns, context.run.end_ns) if at is not None]
        if fault.onset_ns is not None and ends and min(ends) > fault.onset_ns:
            yield fault, fault.onset_ns, min(ends)


def _row(terms: Terms, region: str, policy: str, kind: str, due: Int64, answered: Int64) -> Rto:
    total, good = int(due.sum()), int(answered.sum())
    same = {"population": region, "failover": policy, "kind": kind, "due": total, "answered": good}
    asked_for = {"objective": terms.share, "within_ms": terms.within_ms}
    for window_s in WINDOWS_S:
        windows = len(due) // window_s
        asked = due[: windows * window_s].reshape(windows, window_s).sum(axis=1)
        if windows and int(asked.min()) >= FEWEST:
            got = answered[: windows * window_s].reshape(windows, window_s).sum(axis=1)
            bad = np.flatnonzero(got < terms.share * asked)
            after = int(bad[-1]) + 1 if len(bad) else 0
            time_ms = after * window_s * 1000.0
            return Rto(recovered=after < windows, time_ms=time_ms, window_s=window_s, **same, **asked_for)
    return Rto(
        recovered=None,
        time_ms=None,
        window_s=None,
        **same,
        **asked_for,
        reason=f"{total:,} intents in {len(due):,} s are too few to tell",
    )

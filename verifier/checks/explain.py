"""A sentence for each finding that convinces a person: who did what, where, when, and why that cannot be.

Times are seconds from t0. One function a check; the registry says which belongs to which.
"""

from __future__ import annotations

from collections.abc import Callable

from verifier.checks.types import Context, Violation
from verifier.history.columns import NULL, History
from verifier.history.schema import ABSENT, WORKER_SHIFT, Kind, Outcome, short
from verifier.verdict import Finding, WitnessOperation
from verifier.windows import fault_at, origin_ns

Explainer = Callable[[History, Context, Violation], str]
"""From a violation to its sentence."""

_OUTCOMES = ("ok", "fail", "unknown")


def finding(check: str, explainer: Explainer, history: History, context: Context, found: Violation) -> Finding:
    """A violation with its operations, its sentence and the fault window it falls in."""
    t0 = origin_ns(history, context)
    fault = fault_at(context, found.at_ns)
    return Finding(
        check=check,
        rule=rule_of(found),
        key=history.keys[found.key],
        regions=regions_of(history, context, found),
        operations=[witness(history, row, t0) for row in found.rows],
        sentence=explainer(history, context, found),
        at_ns=found.at_ns - t0,
        gamma_ns=found.gamma_ns,
        stale_ms=found.stale_ms,
        stale_versions=found.stale_versions,
        fault=fault.id if fault else None,
    )


def regions_of(history: History, context: Context, found: Violation) -> list[str]:
    """Where the operations were sent, and where the final item is; without either, where final items were read."""
    regions = [history.regions[history.region[row]] for row in found.rows]
    final = found.facts.get("final")
    return list(dict.fromkeys([*regions, str(final)] if final is not None else regions or context.final))


def rule_of(found: Violation) -> str | None:
    """What is broken, within the check."""
    rule = found.facts.get("rule")
    return str(rule) if rule is not None else None


def witness(history: History, row: int, t0: int) -> WitnessOperation:
    """One row as verdict.json shows it."""
    error = int(history.error[row])
    return WitnessOperation(
        op=int(history.op[row]),
        process=int(history.process[row]),
        region=history.regions[history.region[row]],
        kind=history.kinds[history.kind[row]],
        key=history.keys[history.key[row]],
        value=_number(history.value[row]),
        result=_number(history.result[row]),
        saw=_number(history.saw[row]),
        prev=_number(history.prev[row]),
        outcome=_OUTCOMES[history.outcome[row]],
        error=history.errors[error] if error >= 0 else None,
        start_ns=int(history.start_ns[row]) - t0,
        end_ns=None if history.outcome[row] == Outcome.UNKNOWN else int(history.end_ns[row]) - t0,
    )


# One explainer a check.


def lost(history: History, context: Context, found: Violation) -> str:
    """``check_lost``: rows are the lost write and, where it has a row, the write in its place."""
    gone = found.rows[0]
    sentence = f"{who(history, context, gone)} was acknowledged, and the final {item(history, found)} does not hold it"
    branch = found.facts.get("branch")
    if len(found.rows) == 1:
        if found.facts.get("winner_exists"):
            return f"{sentence}: its place was taken by a write that has no row in the record."
        return f"{sentence}: there is no such item any more, though nobody deleted it."
    by = found.rows[1]
    common = "the state that the run began with"
    if isinstance(branch, int) and branch >= 0:
        common = f"{name(history, branch)} of {region(history, branch)}"
    sentence += (
        f". It came from {common}, and so did the history that won: {who(history, context, by)} stands in its place"
    )
    if history.start_ns[by] <= history.end_ns[gone] and history.outcome[gone] == Outcome.OK:
        return sentence + " (the two were under way at the same time, and neither Region knew of the other's)."
    return sentence + " (written before the first had reached that Region)."


def store(history: History, context: Context, found: Violation) -> str:
    """``check_store``: a counter outside its interval."""
    missing, surplus = found.facts["missing"], found.facts["surplus"]
    finals = {
        where: _number(replica.value[replica.key == found.key][0]) if (replica.key == found.key).any() else None
        for where, replica in context.final.items()
    }
    values = sorted({value if value is not None else 0 for value in finals.values()})
    ended = f"ended at {' or '.join(f'{value:,}' for value in values)}"
    if missing:
        return f"Counter {item(history, found)} {ended}: {missing:,} less than the increments that were acknowledged."
    return (
        f"Counter {item(history, found)} {ended}: {surplus:,} more than all increments that may have taken effect, "
        "so some were applied twice or by nobody."
    )


def convergence(history: History, context: Context, found: Violation) -> str:
    """``check_convergence``: differs, superseded or gone."""
    key = item(history, found)
    if found.facts["rule"] == "differs":
        at = {where: replica.value[replica.key == found.key] for where, replica in context.final.items()}
        texts = [
            f"{where} shows {_said(int(value[0])) if len(value) else 'no such item'}" for where, value in at.items()
        ]
        return f"Replicas still differ on {key} with nothing left to be replicated: {', '.join(texts)}."
    if found.facts["rule"] == "gone":
        return f"{who(history, context, found.rows[0])} was acknowledged and nobody deleted {key}, but it is gone."
    survivor, later = found.rows
    return (
        f"{key} ended on {who(history, context, survivor)}, though {who(history, context, later)} began "
        f"{milliseconds(found.gamma_ns or 0)} after that had been answered, and was acknowledged: the later must win."
    )


def relay(history: History, context: Context, found: Violation) -> str:
    """``check_relay``: the write behind the cut, and who saw it."""
    by, seen = found.rows
    source, target = found.facts["source"], found.facts["target"]
    since = seconds(context, history, int(str(found.facts["since_ns"])))
    return (
        f"Nothing could pass from {source} to {target} from {since} on, yet {who(history, context, seen)} "
        f"shows {who(history, context, by)}, sent to {source} while the cut held: it came by way of another Region."
    )


def refused(history: History, context: Context, found: Violation) -> str:
    """``check_refused``: the refused write, and who saw it."""
    by = found.rows[0]
    error = history.errors[history.error[by]] if history.error[by] >= 0 else "a refusal"
    sentence = f"{who(history, context, by)} was refused with {error}, which means that nothing was written"
    if len(found.rows) > 1:
        return f"{sentence}, yet {who(history, context, found.rows[1])} shows it."
    return f"{sentence}, yet the final item of {found.facts['final']} shows it."


def forks(history: History, context: Context, found: Violation) -> str:
    """``check_forks``: the predecessor (where it has a row), then two writes that both followed it."""
    first, second = found.rows[-2:]
    base = "the state that the run began with" if len(found.rows) == 2 else who(history, context, found.rows[0])
    count = int(str(found.facts["followers"]))
    more = f" ({count:,} writes did)" if count > 2 else ""
    return (
        f"{who(history, context, first)} and {who(history, context, second)} were both applied to {base}{more}, "
        f"and both acknowledged: one of them is lost."
    )


def twice(history: History, context: Context, found: Violation) -> str:
    """``check_twice``: the attempts that all took effect."""
    attempts = [
        f"attempt {int(history.attempt[row])} at {seconds(context, history, int(history.start_ns[row]))}"
        for row in found.rows
    ]
    return (
        f"One intent of process {int(history.process[found.rows[0]])} on {item(history, found)} was applied "
        f"{len(found.rows)} times: {', '.join(attempts)} are all in what the item finally holds."
    )


# Words.


def who(history: History, context: Context, row: int) -> str:
    """``us-east-1's increment 281474976710657 (process 4, 3.204-3.219 s, returned 5)``."""
    start = seconds(context, history, int(history.start_ns[row]))
    if history.outcome[row] == Outcome.UNKNOWN:
        when = f"from {start} on, never answered"
    else:
        when = f"{start.removesuffix(' s')} to {seconds(context, history, int(history.end_ns[row]))}"
    facts = [f"process {int(history.process[row])}", when]
    kind = history.kinds[history.kind[row]]
    if history.result[row] != NULL and history.outcome[row] != Outcome.FAIL:
        shown = _value(int(history.result[row]), int(history.saw[row]))
        facts.append(f"{'read' if kind.startswith('read') else 'returned'} {shown}")
    elif history.value[row] != NULL and kind != Kind.ADD:
        facts.append(f"value {_value(int(history.value[row]), int(history.op[row]))}")
    elif kind.startswith("read") and history.saw[row] == ABSENT:
        facts.append("saw no item")
    return f"{region(history, row)}'s {name(history, row)} ({', '.join(facts)})"


def _value(value: int, mark: int) -> str:
    """A domain value; of a register that holds its writer's mark as its value, that mark as people can read it."""
    return short(value) if value == mark and value >= 0 else f"{value:,}"


def name(history: History, row: int) -> str:
    """``increment 0:17``: the kind and the operation's worker and number in it."""
    op = int(history.op[row])
    return f"{WORDS.get(history.kinds[history.kind[row]], 'operation')} {short(op)}"


def region(history: History, row: int) -> str:
    """The Region that was asked."""
    return history.regions[int(history.region[row])]


def item(history: History, found: Violation) -> str:
    """The key."""
    return history.keys[found.key]


def seconds(context: Context, history: History, at_ns: int) -> str:
    """A time from t0, to the tenth of a millisecond."""
    return f"{(at_ns - origin_ns(history, context)) / 1e9:.4f} s"


def milliseconds(duration_ns: int) -> str:
    """A duration."""
    if duration_ns < 0:
        return f"−{milliseconds(-duration_ns)}"
    if duration_ns < 1000:
        return f"{duration_ns} ns"
    digits = 0 if duration_ns >= 100_000_000 else 1 if duration_ns >= 10_000_000 else 3
    return f"{duration_ns / 1e6:,.{digits}f} ms"


WORDS = {
    "read": "strong read",
    "read_eventual": "eventual read",
    "write": "write",
    "add": "increment",
    "cas": "conditional write",
    "create": "creation",
    "delete": "deletion",
    "txn_write": "transaction",
    "txn_read": "transactional read",
    "set_add": "addition",
    "set_remove": "removal",
    "append": "entry",
    "take": "taking",
    "read_index": "index read",
}
"""What a kind is called in a sentence."""


def _number(value: object) -> int | None:
    number = int(str(value))
    return None if number == NULL else number


def _said(value: int) -> str:
    """A final value; of a register that holds operation ids, the id as people can read it."""
    if value >= 1 << WORKER_SHIFT:
        return short(value)
    return "an item without value" if value == NULL else f"{value:,}"

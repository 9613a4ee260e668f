"""Sentences for the checks that judge order: registers, counters, and what a Region shows one after the other.

A finding of these checks has a rule, and its witness operations have roles (:mod:`verifier.checks.story`): ``write`` or
``increment`` made the state that ``by`` shows, ``later`` a newer one, which ``in_place`` proves to have been there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from verifier.checks.explain import milliseconds, region, seconds, who
from verifier.checks.story import Story
from verifier.checks.types import Context, Violation
from verifier.history.columns import NULL, History
from verifier.history.schema import Outcome, short


def order(history: History, context: Context, found: Violation) -> str:
    """Every rule of the checks of registers and counters and of ``check_region_order``."""
    story = Story(history, context, found)
    return _RULES.get(str(found.facts.get("rule")), _contradiction)(story)


def _stale(story: Story) -> str:
    history, found = story.history, story.found
    sentence = story.blamed()
    if story.is_read("by"):
        sentence += f" shows {story.brief('write', 'increment')}"
    later, proof = story.rows.get("later"), story.rows.get("in_place")
    sentence += f", but {story.who('later') if later is not None else 'a later state'}"
    if proof is not None and proof != later:
        sentence += f" was in place by then: {story.who('in_place')} had already shown it"
    else:
        sentence += " had already been answered"
        if later is not None and "by" in story.rows and history.outcome[later] == Outcome.OK:
            since = int(history.start_ns[story.rows["by"]]) - int(history.end_ns[later])
            sentence += f", {milliseconds(since)} before" if since >= 0 else ""
    behind = []
    if found.stale_ms is not None and found.stale_ms > 0:
        behind.append(milliseconds(round(found.stale_ms * 1e6)))
    if found.stale_versions:
        behind.append(f"{found.stale_versions:,} version{'' if found.stale_versions == 1 else 's'}")
    return f"{sentence}. It was behind by at least {' and '.join(behind)}." if behind else f"{sentence}."


def _lost_update(story: Story) -> str:
    history, first, second = story.history, story.rows["first"], story.rows["second"]
    if "base" in story.roles:
        return (
            f"{story.who('first')} and {story.who('second')} were both applied to {story.brief('base')}: "
            "one overwrote the other without having seen it."
        )
    if history.result[second] == history.result[first]:
        return (
            f"{story.who('first')} and {story.who('second')} were both told {int(history.result[second]):,}: "
            "both counted on from the same value, so one of them is lost."
        )
    return f"{story.who('second')} overlaps what {story.who('first')} shows: one of two increments is lost."


def _early(story: Story) -> str:
    role = "write" if "write" in story.rows else "increment"
    return f"{story.blamed()} shows {story.who(role)}, which began {story.gap()} after that had been answered."


def _nobody(story: Story) -> str:
    row = story.rows.get("by")
    mark = int(story.history.saw[row]) if row is not None else NULL
    return f"{story.blamed()} shows {f'the mark {mark}' if mark != NULL else 'the mark of a write'}, which nobody made."


def _refused(story: Story) -> str:
    error = story.history.error[story.rows["write"]]
    refusal = story.history.errors[error] if error >= 0 else "a refusal"
    return f"{story.blamed()} shows {story.who('write')}, which was answered with {refusal} and so wrote nothing."


def _foreign(story: Story) -> str:
    shown = f": {story.who('shown')}" if "shown" in story.rows else ""
    return f"{story.who('write')} was answered with the mark of another write{shown}."


def _condition(story: Story) -> str:
    return (
        f"{story.who('write')} was to succeed only on {story.brief('expected')}, and did, "
        f"but was applied to {story.brief('before')}."
    )


def _circle(story: Story) -> str:
    return (
        f"{story.who('write')} says that it was applied to {story.who('before')}, and that, write by write, to itself: "
        "no order of writes does this."
    )


def _late(story: Story) -> str:
    if story.found.stale_ms is not None:
        return _stale(story)
    proof = f" ({story.who('in_place')} had shown it)" if story.rows.get("in_place") != story.rows.get("later") else ""
    return (
        f"{story.who('by')} began {story.gap()} after {story.who('later')} was in place{proof}, "
        "though that was built upon it."
    )


def _below(story: Story) -> str:
    return f"{story.blamed()} shows less than counter {story.key} had when the run began."


def _surplus(story: Story) -> str:
    when = seconds(story.context, story.history, story.found.at_ns)
    return (
        f"{story.blamed()} shows more than all increments of {story.key} that had begun by "
        f"{when} can have made: some were applied twice, or by nobody."
    )


def _backwards(story: Story) -> str:
    where = story.final if "by" not in story.rows else region(story.history, story.rows["by"])
    before = f" (in {story.who('before')})" if story.rows.get("before") not in (None, story.rows.get("newer")) else ""
    return (
        f"{where} had shown {story.who('newer')}{before}, and then {story.blamed()} went back to {story.who('older')}, "
        "which had ended before the other began."
    )


def _created_again(story: Story) -> str:
    if "first" not in story.rows:
        return f"{story.who('second')} created {story.key}, which the run began with and nobody deleted."
    return (
        f"{story.who('first')} and {story.who('second')} both created {story.key} on condition that there was "
        "no such item, and no deletion can have come between: one replaced the other."
    )


def _session(story: Story) -> str:
    history = story.history
    before, newer, by = story.rows["before"], story.rows["newer"], story.rows["by"]
    if before == newer:
        left = f"had written {story.who('newer')}"
    else:
        left = f"had been shown {story.who('newer')} by {story.brief('before')}"
    met = f"{story.who('by')} {'shows' if story.is_read('by') else 'was applied to'} {story.brief('older')}"
    if "older" not in story.rows:
        proof = ""
    elif story.found.gamma_ns is not None:
        proof = f", which had been answered {story.gap()} before that began"
    else:
        proof = ", which that was built upon"
    return f"Process {int(history.process[by])} {left}. Then {met}{proof}."


def _contradiction(story: Story) -> str:
    history, found = story.history, story.found
    listed = "; ".join(who(history, story.context, row) + _shows(history, row) for row in found.rows)
    slack = f" Clocks off by more than {milliseconds(found.gamma_ns)} would explain it." if found.gamma_ns else ""
    return f"No order of the operations on {story.key} explains what these saw: {listed}.{slack}"


def _shows(history: History, row: int) -> str:
    """What an operation says of the order: whose state it shows, or was applied to."""
    if history.kinds[history.kind[row]].startswith("read"):
        mark, verb = int(history.saw[row]), "showing"
    elif history.outcome[row] == Outcome.FAIL:
        mark, verb = int(history.saw[row]), "refused on"
    else:
        mark, verb = int(history.prev[row]), "applied to"
    return f" {verb} write {short(mark)}" if mark >= 0 else ""


_RULES: Final[Mapping[str, Callable[[Story], str]]] = {
    "stale": _stale,
    "lost update": _lost_update,
    "early": _early,
    "nobody": _nobody,
    "refused": _refused,
    "foreign": _foreign,
    "condition": _condition,
    "circle": _circle,
    "late": _late,
    "below": _below,
    "surplus": _surplus,
    "backwards": _backwards,
    "created again": _created_again,
    "read your writes": _session,
    "monotonic reads": _session,
    "monotonic writes": _session,
    "writes follow reads": _session,
    "order": _contradiction,
}
"""Sentence by rule; a rule without its own is told by listing the operations."""

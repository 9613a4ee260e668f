"""Sentences for the checks of transactions, sets, ledgers, stock, streams and indexes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from verifier.checks import stock, transactions
from verifier.checks.explain import milliseconds
from verifier.checks.story import Story
from verifier.checks.types import Context, Replica, Violation
from verifier.history.columns import NULL, History
from verifier.history.schema import Outcome


def items(history: History, context: Context, found: Violation) -> str:
    """Every rule of these checks."""
    return _RULES[str(found.facts.get("rule"))](Story(history, context, found))


def _torn(told: Story) -> str:
    gamma = told.found.gamma_ns
    why = f", which had been answered {milliseconds(gamma)} before that transaction began" if gamma is not None else ""
    return (
        f"{told.who('by')} shows {told.brief('wrote')} on {told.key_of('by')}, but on {told.key}, which that "
        f"transaction wrote at the same moment, it shows {told.brief('older')}{why}: half of a transaction, "
        "in its own Region."
    )


def _long_fork(told: Story) -> str:
    return (
        f"{told.who('one')} and {told.who('by')} each read the same items of one Region at once, and cannot be put in "
        f"any order: the first shows {told.key_of('one_beside')} newer than the second, and {told.key_of('one')} older."
    )


def _total(told: Story) -> str:
    row = told.rows.get("by")
    op = None if row is None else int(told.history.op[row])
    where = None if told.final is None else str(told.final)
    total, expected = transactions.total_of(told.history, told.context, told.found.key, op, where)
    group = told.history.logical_key[told.history.key == told.found.key]
    named = told.history.logical_keys[int(group.max())] if len(group) and int(group.max()) >= 0 else told.key
    shown = f"{told.who('by')} read all of {named} at once" if row is not None else f"The final items of {where}"
    return (
        f"{shown}: together they hold {total:,}, though every change of {named} only moved amounts and it began with "
        f"{expected:,}: {abs(total - expected):,} {'appeared' if total > expected else 'vanished'}."
    )


def _element(told: Story) -> str:
    return f"element {told.column('value', 'element')} of {told.key}"


def _lost_element(told: Story) -> str:
    seen = f", {told.brief('shown')} had shown it" if "shown" in told.rows else ""
    return (
        f"{told.who('element')} added {_element(told)} and was acknowledged{seen}, and nobody removed it; but "
        f"{_lower(told.blamed())} does not have it, and no final item has: it is lost."
    )


def _missing_element(told: Story) -> str:
    proof = f"{told.who('shown')} had shown it" if "shown" in told.rows else f"{told.who('element')} had been answered"
    gap = told.gap("before")
    return (
        f"{told.blamed()} does not show {_element(told)}, though {proof} before that began, and no removal can have "
        f"taken effect by its end ({gap} apart)."
    )


def _early_element(told: Story) -> str:
    if told.history.outcome[told.rows["element"]] == Outcome.FAIL:
        return f"{told.blamed()} shows {_element(told)}, whose addition was refused: {told.who('element')}."
    return (
        f"{told.blamed()} shows {_element(told)}, which {told.who('element')} began to add only after that had ended."
    )


def _seen_again(told: Story) -> str:
    gap = told.gap("after")
    return (
        f"{told.blamed()} shows {_element(told)} again, {gap} after {told.who('removal')} had removed it; nobody added "
        "it a second time."
    )


def _nobodys_element(told: Story) -> str:
    return f"{told.blamed()} shows an element of {told.key} that nobody added."


def _repeat(told: Story) -> str:
    return (
        f"{told.who('first')} and {told.who('by')} both became entry {told.column('value', 'by'):,} of {_ledger(told)}."
    )


def _reorder(told: Story) -> str:
    gap = told.gap("long")
    return (
        f"{told.who('by')} became entry {told.column('value', 'by'):,} of {_ledger(told)}, though "
        f"{told.who('later')} had been answered as entry {told.column('value', 'later'):,} {gap} before that began."
    )


def _gap(told: Story) -> str:
    if "gone" in told.rows:
        return (
            f"Entry {told.column('value', 'gone'):,} of {_ledger(told)} is missing from every final replica, though "
            f"{told.who('gone')} took effect."
        )
    near = "after" if "after" in told.rows else "before" if "before" in told.rows else None
    if near is None:
        return f"{_ledger(told)} has a gap: a number between its lowest and its highest entry is in no final replica."
    which = told.column("value", near) + (-1 if near == "after" else 1)
    return (
        f"{_ledger(told)} has a gap: nobody's entry {which:,} took effect, and yet {told.who(near)} became entry "
        f"{told.column('value', near):,}."
    )


def _ledger(told: Story) -> str:
    rows = (told.history.key == told.found.key) & (told.history.logical_key >= 0)
    return told.history.logical_keys[int(told.history.logical_key[rows][0])] if rows.any() else told.key


def _below_zero(told: Story) -> str:
    if "by" in told.rows:
        return f"{told.who('by')} left {told.column('result', 'by'):,} of {told.key}: less than nothing."
    replica = told.context.final[str(told.final)]
    value = int(replica.value[replica.key == told.found.key][0])
    return f"The final item of {told.final} holds {value:,} of {told.key}: less than nothing."


def _oversold(told: Story) -> str:
    supply, taken = stock.by_the_end_of(told.history, told.context, told.rows["by"])
    return (
        f"{told.who('by')} was given {told.column('value', 'by'):,} of {told.key}, of which all that there can have "
        f"been by then ({supply:,}) was gone: with it {taken:,} were sold, {taken - supply:,} that did not exist."
    )


def _miscounted(told: Story) -> str:
    supply, sure, perhaps = stock.supply_of(told.history, told.context, told.found.key)
    replica = told.context.final[str(told.final)]
    value = int(replica.value[replica.key == told.found.key][0])
    if value > supply - sure:
        return (
            f"The final item of {told.final} offers {value:,} of {told.key}, though of at most {supply:,} "
            f"{sure:,} were taken and acknowledged: {value - max(0, supply - sure):,} that were sold are offered again."
        )
    return (
        f"The final item of {told.final} offers {value:,} of {told.key}, less than all takings ({perhaps:,}) can "
        f"have left of {supply:,}: some were applied twice, or deliveries were lost."
    )


def _in_stream(told: Story) -> str:
    return f"the stream of {told.final}"


def _repeated_record(told: Story) -> str:
    return f"{told.who('by')} is told twice by {_in_stream(told)}."


def _out_of_order(told: Story) -> str:
    return (
        f"{told.who('by')} is told by {_in_stream(told)} before the change that it was made upon: the records of "
        f"{told.key} are out of order."
    )


def _without_effect(told: Story) -> str:
    return (
        f"The stream of {told.final} tells that {told.key} became {told.who('by')}, but the next change of it there "
        f"began at {told.brief('before')} again: what lost changes nothing, and must not be told."
    )


def _missing_record(told: Story) -> str:
    if "by" not in told.rows:
        return f"A change of {told.key} is missing from {_in_stream(told)}: its records are no chain."
    return f"{told.who('by')} changed {told.key} in {told.final}, and {_in_stream(told)} does not tell it."


def _index_differs(told: Story) -> str:
    table, index = (one[str(told.final)] for one in (told.context.final, told.context.index))

    def shown(items: Replica) -> str:
        at = (items.key == told.found.key).nonzero()[0]
        value = int(items.value[at[0]]) if len(at) else NULL
        return "no such item" if not len(at) else "an item without value" if value == NULL else f"{value:,}"

    return (
        f"The index of {told.final} shows {shown(index)} for {told.key}, its table {shown(table)}, with nothing left "
        "to be replicated or indexed."
    )


def _gone_early(told: Story) -> str:
    left = told.gap("some time")
    return (
        f"{told.who('by')} shows no {told.key} any more, {left} before the end that its last acknowledged write had "
        "set, and nobody had deleted it: it was gone before its time."
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:] if text.startswith("The ") else text


_RULES: Final[Mapping[str, Callable[[Story], str]]] = {
    "torn": _torn,
    "long fork": _long_fork,
    "total": _total,
    "lost element": _lost_element,
    "missing element": _missing_element,
    "early element": _early_element,
    "seen again": _seen_again,
    "element of nobody": _nobodys_element,
    "repeat": _repeat,
    "reorder": _reorder,
    "gap": _gap,
    "gone early": _gone_early,
    "index differs": _index_differs,
    "repeated record": _repeated_record,
    "record out of order": _out_of_order,
    "record without effect": _without_effect,
    "missing record": _missing_record,
    "below zero": _below_zero,
    "oversold": _oversold,
    "miscounted": _miscounted,
}

"""Order under change: Scan and Query of a replica that changes see what sorting everything anew would show."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lastwriter.emulator.core.arranged import Arranged
from lastwriter.emulator.core.ordered import ABOVE, Above, Ordered
from lastwriter.emulator.requests.operations import compile_query, compile_scan, parse_create_table
from tests.emulator.replicas import Replica, arranged
from tests.emulator.virtual import indexed_request

SCHEMA, _ = parse_create_table(indexed_request(local=True))

numbers = st.integers(0, 3000)


@given(st.sets(numbers), st.lists(numbers, max_size=300), numbers, numbers)
def test_ordered_is_a_sorted_set(first: set[int], toggled: list[int], low: int, high: int) -> None:
    ordered, plain = Ordered((number,) for number in first), set(first)
    for number in toggled:
        (ordered.remove if number in plain else ordered.add)((number,))
        plain ^= {number}
    expected = [(number,) for number in sorted(plain) if low <= number < high]
    assert list(ordered.between((low,), (high,))) == expected
    assert list(ordered.backwards((low,), (high,))) == expected[::-1]
    assert len(ordered) == len(plain)


def test_ordered_with_many_members_in_lists_that_split_and_empty() -> None:
    ordered = Ordered()
    for number in range(5000):
        ordered.add((number * 7919 % 5003,))
    everything = list(ordered.between((), (ABOVE,)))
    assert everything == sorted(everything)
    assert len(everything) == len(ordered) == 5000
    for position in everything[:4000]:
        ordered.remove(position)
    assert list(ordered.backwards((), (ABOVE,))) == everything[:3999:-1]
    for position in everything[4000:]:
        ordered.remove(position)
    assert list(ordered.between((), (ABOVE,))) == []


@given(st.lists(st.text("ab", max_size=4), unique=True), st.text("ab", max_size=3))
def test_above_a_beginning_ends_what_begins_with_it(texts: list[str], start: str) -> None:
    ordered = Ordered((text,) for text in texts)
    found = list(ordered.between((start,), (Above(start),)))
    assert found == sorted((text,) for text in texts if text.startswith(start))


attributes = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([{"S": "x"}, {"S": "y"}, {"N": "1"}]) for name in ("g", "l", "a")}
)
changes = st.lists(
    st.tuples(st.sampled_from("pq"), st.integers(0, 4), st.none() | attributes, st.booleans()), max_size=40
)
READS: list[tuple[Any, dict[str, Any]]] = [
    (compile_scan, {}),
    (compile_scan, {"IndexName": "by-g"}),
    (compile_scan, {"IndexName": "by-l", "Limit": 3}),
    (compile_query, {"KeyConditionExpression": "pk = :p AND sk >= :n"}),
    (compile_query, {"KeyConditionExpression": "pk = :p AND sk < :n", "ScanIndexForward": False}),
    (compile_query, {"KeyConditionExpression": "g = :g", "IndexName": "by-g"}),
    (compile_query, {"KeyConditionExpression": "pk = :p AND l > :g", "IndexName": "by-l"}),
]
VALUES = {":p": {"S": "p"}, ":n": {"N": "2"}, ":g": {"S": "x"}}


@given(changes)
def test_reads_between_changes_see_what_sorting_anew_would_show(steps: list[Any]) -> None:
    replica = Replica()
    kept = Arranged(SCHEMA, replica)
    for partition, sort, others, read in steps:
        new = None if others is None else {"pk": {"S": partition}, "sk": {"N": str(sort)}, **others}
        replica.set((partition, sort), new)
        if read:
            items = [version[0] for version in replica.items.values() if version[0] is not None]
            for compile_read, parameters in READS:
                text = parameters.get("KeyConditionExpression", "")
                values = {name: value for name, value in VALUES.items() if name in text}
                request = {"TableName": "orders", **parameters, "ExpressionAttributeValues": values or None}
                compiled = compile_read(request, SCHEMA)
                assert compiled.reply(kept) == compiled.reply(arranged(SCHEMA, items))

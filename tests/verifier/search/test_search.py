"""The general search against truth: every model, thousands of histories, legal or not as trying every order says."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.search.histories import OBJECTS, correct, damaged, legal
from verifier.errors import RecordError
from verifier.search.judge import judge, sentences
from verifier.search.linearise import Limits, linearise
from verifier.search.model import ILLEGAL, Call, Model, Operation, load_model
from verifier.search.models import CAS_REGISTER, COUNTER, KEY_VALUE, MODELS, QUEUE, REGISTER


def op(process: int, function: str, value: object, start: int, end: int | None, **more: object) -> Operation:
    result = more.pop("result", None)
    answer = more.pop("answer", "ok" if end is not None else "unknown")
    return Operation(process, Call(function, value, answer, result), start, end, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OBJECTS)
def test_every_small_history_is_judged_as_trying_every_order_does(name: str) -> None:
    rng = random.Random(name)
    model = MODELS[name]
    seen: Counter[str] = Counter()
    for _ in range(2500):
        history = correct(rng, name, rng.randint(2, 10), unknown=rng.choice([0, 0.2, 0.5]))
        intact = rng.random() < 0.2
        if not intact:
            history = damaged(rng, history)
        truth = "holds" if legal(history, model) else "violated"
        assert truth == "holds" or not intact
        judged = judge(history, model)
        if judged.operations:
            assert judged.verdict == truth, "\n".join(map(str, sorted(history, key=lambda one: one.start)))
        else:
            assert judged.verdict == "unknown"
            assert truth == "holds"
        seen[judged.verdict] += 1
    assert min(seen["holds"], seen["violated"]) > 150, seen


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_found_is_a_legal_order_and_a_witness_is_illegal_on_its_own(name: str) -> None:
    rng = random.Random(f"order of {name}")
    model = MODELS[name]
    witnesses = 0
    for _ in range(300):
        history = damaged(rng, correct(rng, name, 8))
        for part in judge(history, model).parts:
            state, latest = model.init(), -(10**9)
            for at in part.found.order:
                one = part.operations[at]
                state = model.step(state, one.call)
                assert state is not ILLEGAL
                assert one.end is None or one.end >= latest
                latest = max(latest, one.start)
            assert state == part.found.state
            if part.found.verdict == "holds":
                answered = {at for at, one in enumerate(part.operations) if one.end is not None}
                assert answered <= set(part.found.order)
            elif part.witness:
                witnesses += 1
                last = part.operations[part.found.stuck[0]].end
                assert last is not None
                loose = [
                    replace(one, start=-(10**6), end=None, call=one.call._replace(answer="unknown", result=None))
                    for at, one in enumerate(part.operations)
                    if at not in part.witness and one.start <= last and not model.is_pure(one.call)
                ]
                assert not legal([part.operations[at] for at in part.witness] + loose, model)
    assert witnesses > 20


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(OBJECTS)), st.integers(1, 8), st.booleans())
def test_neither_keys_nor_the_order_of_lines_nor_processes_matter(
    rng: random.Random, name: str, size: int, harm: bool
) -> None:
    model = MODELS[name]
    parts = [correct(rng, name, size, key=key) for key in ("a", "b", 3)]
    if harm:
        parts[1] = damaged(rng, parts[1])
    history = [one for part in parts for one in part]
    expected = {part[0].key: legal(part, model) for part in parts}
    for _ in range(2):
        rng.shuffle(history)
        judged = judge(history, model)
        for found in judged.parts:
            assert (found.found.verdict == "holds") == expected[found.key]


def test_a_stale_read_is_told_with_its_witness() -> None:
    history = [
        op(0, "write", 1, 0, 1, line=1),
        op(1, "write", 2, 2, 3, line=3),
        op(4, "write", 2, 2, 9, line=4),
        op(1, "read", None, 4, 5, result=2, line=5),
        op(0, "read", None, 6, 7, result=1, line=7),
        op(0, "read", None, 8, 9, result=2, line=9),
    ]
    judged = judge(history, CAS_REGISTER)
    assert judged.verdict == "violated"
    first = sentences(judged)[0]
    assert "No order of the operations explains process 0's read → 1 (line 7)" in first
    assert "leaves 2" in first
    (part,) = judged.parts
    assert [part.operations[at].line for at in part.witness] == [1, 5, 7]


def test_a_refusal_is_held_against_the_state_unless_told_otherwise() -> None:
    history = [op(0, "write", 1, 0, 1), op(0, "cas", (1, 2), 2, 3, answer="fail")]
    judged = judge(history, CAS_REGISTER)
    assert judged.verdict == "violated"
    assert "--refusals drop" in " ".join(sentences(judged))
    assert judge(history, CAS_REGISTER, refusals="drop").verdict == "holds"
    assert judge([history[0], replace(history[1], error="timeout")], CAS_REGISTER).verdict == "holds"


def test_nothing_that_tells_anything_proves_nothing() -> None:
    assert judge([], REGISTER).verdict == "unknown"
    judged = judge([op(0, "read", None, 1, None)], REGISTER)
    assert (judged.verdict, judged.dropped) == ("unknown", 1)
    assert "proves nothing" in sentences(judged)[0]


def hard(size: int) -> list[Operation]:
    """Concurrent increments of all powers of two, and a read of what no subset of them comes to."""
    adds = [op(i, "add", 3**i, 0, 10**6 + i) for i in range(size)]
    return [*adds, op(size, "read", None, 1, 2, result=2)]


def test_the_deadline_ends_a_search_without_a_verdict_that_says_how_far_it_got() -> None:
    judged = judge([op(99, "add", 5, -9, -8), *hard(40)], COUNTER, Limits(deadline_s=0.2))
    assert judged.verdict == "unknown"
    text = sentences(judged)[0]
    assert "not finished: the deadline of 0.2 s has passed" in text
    assert "So far the longest order found places 41 of 42 operations" in text
    assert "process 8's read → 2" in sentences(judge([*hard(8)], COUNTER))[0]
    (part,) = judged.parts
    assert part.found.order[0] == 0
    assert part.found.stuck[0] == 41


def test_the_memory_bound_holds() -> None:
    bound = 6 << 20
    tracemalloc.start()
    judged = judge(hard(40), COUNTER, Limits(deadline_s=60, memory_bytes=bound))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert judged.verdict == "unknown"
    assert "6 MiB" in sentences(judged)[0]
    assert bound / 4 < peak < 1.5 * bound


def test_one_key_without_an_end_does_not_hide_what_is_wrong_with_another() -> None:
    other = [op(0, "add", 1, 0, 1, key="b"), op(0, "read", None, 2, 3, key="b", result=0)]
    judged = judge([replace(one, key="a") for one in hard(40)] + other, COUNTER, Limits(deadline_s=0.3))
    assert judged.verdict == "violated"
    text = " ".join(sentences(judged))
    assert 'on key "b"' in text
    assert 'for key "a" was not finished' in text


def test_many_equal_unanswered_calls_are_only_counted() -> None:
    history = [op(i, "add", 1, i, None) for i in range(300)]
    history += [op(1000 + i, "read", None, 1000 + 2 * i, 1001 + 2 * i, result=i) for i in range(0, 300, 3)]
    found = linearise(history, COUNTER, Limits(deadline_s=20))
    assert found.verdict == "holds"
    assert found.explored < 1000


def test_equal_calls_at_once_are_taken_in_order_of_return() -> None:
    history = [op(i, "enqueue", 7, 0, 100 + i) for i in range(60)]
    history += [op(100 + i, "dequeue", None, 1, 100 + i, result=7) for i in range(60)]
    assert linearise(history, QUEUE, Limits(deadline_s=20)).verdict == "holds"


def test_a_long_history_takes_time_in_proportion() -> None:
    rng = random.Random(5)
    text, history, at = "", [], 0
    for number in range(3000):
        at += 2
        if rng.random() < 0.5:
            letter = rng.choice("abc")
            text = (text + letter)[-1:] if number % 50 == 0 else text + letter
            history.append(op(number % 5, "put" if number % 50 == 0 else "append", letter, at, at + 3))
            text = letter if number % 50 == 0 else text
            at += 3
        else:
            history.append(op(number % 5, "get", None, at, at + 1, result=text))
    found = linearise(history, KEY_VALUE, Limits(deadline_s=30))
    assert found.verdict == "holds"
    assert len(found.order) == 3000


def test_many_appends_at_once_are_put_in_order_by_the_reads_to_come() -> None:
    rng = random.Random(8)
    text, history, under_way, free = "", [], [], list(range(10))
    for time in range(1500):
        if free and rng.random() < 0.6:
            function = rng.choice(["get", "append", "append", "put"] if rng.random() < 0.3 else ["get", "append"])
            under_way.append([free.pop(), function, f"({time})", time, None])
            continue
        one = rng.choice(under_way)
        if one[4] is None:
            text = one[2] if one[1] == "put" else text + one[2] if one[1] == "append" else text
            one[4] = text
        else:
            under_way.remove(one)
            free.append(one[0])
            value, result = (None, one[4]) if one[1] == "get" else (one[2], None)
            history.append(op(one[0], one[1], value, one[3], time, result=result))
    history += [op(one[0], one[1], one[2], one[3], None) for one in under_way if one[1] != "get"]
    found = linearise(history, KEY_VALUE, Limits(deadline_s=60))
    assert found.verdict == "holds"
    assert found.explored < 5 * len(history)


def test_a_call_that_the_model_does_not_know_is_named_with_its_line() -> None:
    with pytest.raises(RecordError, match=r"line 3: model register has no cas; it has read, write"):
        judge([op(0, "cas", (1, 2), 0, 1, line=3)], REGISTER)
    with pytest.raises(RecordError, match=r"line 4: cas 5 makes no sense to model cas-register: cas takes \[expected"):
        judge([op(0, "cas", 5, 0, 1, line=4)], CAS_REGISTER)


def test_models_of_ones_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "stack.py"
    path.write_text(
        "from verifier.search.model import ILLEGAL, Model\n"
        "def step(state, call):\n"
        "    if call.function == 'push': return [*state, call.value]\n"
        "    if call.answer != 'ok': return state[:-1]\n"
        "    return state[:-1] if state and state[-1] == call.result else ILLEGAL\n"
        "STACK = Model('stack', list, step, {'push': 'a value', 'pop': 'nothing'}, equal=lambda a, b: a == b)\n"
        "BROKEN = Model('broken', list, step, {'push': 'a value', 'pop': 'nothing'})\n"
        "LIAR = Model('liar', tuple, lambda s, c: (*s, 1), {'push': 'a value'}, reads=frozenset({'push'}))\n"
    )
    stack = load_model(f"{path}:STACK", MODELS)
    assert isinstance(stack, Model)
    history = [op(0, "push", 1, 0, 1), op(0, "push", 2, 2, 3), op(0, "pop", None, 4, 5, result=2)]
    assert judge(history, stack).verdict == "holds"
    assert judge([*history, op(0, "pop", None, 6, 7, result=2)], stack).verdict == "violated"
    for name, why in (("BROKEN", "give it `equal`"), ("LIAR", "push changes the state")):
        judged = judge(history[:1], load_model(f"{path}:{name}", MODELS))
        assert judged.verdict == "unknown"
        assert why in sentences(judged)[0]
    for text, why in (
        ("nope", "no model 'nope': it is one of register, cas-register"),
        (f"{tmp_path}/missing.py:X", "no such file"),
        (f"{path}:NOPE", "it has STACK, BROKEN, LIAR"),
    ):
        with pytest.raises(RecordError, match=why):
            load_model(text, MODELS)
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(RecordError, match="ZeroDivisionError"):
        load_model(f"{tmp_path}/bad.py:X", MODELS)

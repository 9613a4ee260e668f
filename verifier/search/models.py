"""The models that come with the verifier: registers, a counter, a set, a queue, and strings by key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from verifier.errors import RecordError
from verifier.search.model import ILLEGAL, Call, Model


def _words(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(repr, value))) + "}" if value else "an empty set"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(repr, value)) + "]" if value else "an empty queue"
    return repr(value)


# --- registers --------------------------------------------------------------------------------------------------------


def _register(state: Any, call: Call) -> Any:
    if call.function == "write":
        return call.value
    if call.function == "read":
        return state if call.answer != "ok" or call.result == state else ILLEGAL
    expected, new = call.value
    if call.answer == "fail":
        return state if state != expected else ILLEGAL
    return new if state == expected else ILLEGAL


def _cas_call(call: Call) -> Call | None:
    if call.function == "cas" and not (isinstance(call.value, tuple) and len(call.value) == 2):
        return None
    return call


REGISTER: Final = Model(
    "register",
    init=lambda: None,
    step=_register,
    functions={"read": "nothing; answers the value", "write": "a value"},
    reads=frozenset({"read"}),
    show=_words,
)
"""One value; nothing (``nil``) at first."""

CAS_REGISTER: Final = replace(
    REGISTER,
    name="cas-register",
    functions={**REGISTER.functions, "cas": "[expected new]; refused if the value is another"},
    refusals=frozenset({"cas"}),
    normal=_cas_call,
)
"""A register with compare-and-set."""


# --- counter ----------------------------------------------------------------------------------------------------------

_ADDS: Final = frozenset({"add", "increment", "inc", "incr"})
_SUBTRACTS: Final = frozenset({"decrement", "dec", "decr"})


def _counter(state: int, call: Call) -> Any:
    if call.function == "read":
        return state if call.answer != "ok" or call.result == state else ILLEGAL
    after = state + call.value
    return after if call.answer != "ok" or call.result is None or call.result == after else ILLEGAL


def _counter_call(call: Call) -> Call | None:
    if call.function == "read":
        return call
    step = 1 if call.value is None else call.value
    if not isinstance(step, int):
        return None
    return call._replace(function="add", value=-step if call.function in _SUBTRACTS else step)


COUNTER: Final = Model(
    "counter",
    init=lambda: 0,
    step=_counter,
    functions={
        **dict.fromkeys(sorted(_ADDS | _SUBTRACTS), "a number, or nothing for one; may answer the new value"),
        "read": "nothing; answers the number",
    },
    reads=frozenset({"read"}),
    normal=_counter_call,
    show=_words,
)
"""A number; 0 at first."""


# --- set --------------------------------------------------------------------------------------------------------------


def _set(state: frozenset[Any], call: Call) -> Any:
    if call.function == "add":
        return state | {call.value}
    if call.function == "remove":
        return state - {call.value}
    if call.answer != "ok":
        return state
    if call.function == "contains":
        return state if call.result == (call.value in state) else ILLEGAL
    return state if call.result == state else ILLEGAL


def _set_call(call: Call) -> Call | None:
    if call.function == "read" and call.answer == "ok":
        if not isinstance(call.result, tuple | frozenset):
            return None
        return call._replace(result=frozenset(call.result))
    return call


SET: Final = Model(
    "set",
    init=frozenset,
    step=_set,
    functions={
        "add": "an element",
        "remove": "an element",
        "contains": "an element; answers true or false",
        "read": "nothing; answers all elements",
    },
    reads=frozenset({"read", "contains"}),
    normal=_set_call,
    show=_words,
)
"""Elements, each once; none at first."""


# --- queue ------------------------------------------------------------------------------------------------------------


def _queue(state: tuple[Any, ...], call: Call) -> Any:
    if call.function == "enqueue":
        return (*state, call.value)
    if call.answer == "ok":
        if not state:
            return state if call.result is None else ILLEGAL
        return state[1:] if call.result == state[0] else ILLEGAL
    return state[1:]


QUEUE: Final = Model(
    "queue",
    init=tuple,
    step=_queue,
    functions={"enqueue": "a value", "dequeue": "nothing; answers the oldest value, or nil if there is none"},
    show=_words,
)
"""First in, first out; empty at first."""


# --- strings by key ---------------------------------------------------------------------------------------------------


def _key_value(state: str, call: Call) -> Any:
    if call.function == "put":
        return call.value
    if call.function == "append":
        return state + call.value
    return state if call.answer != "ok" or (call.result or "") == state else ILLEGAL


def _key_value_call(call: Call) -> Call | None:
    text = call.result if call.function == "get" else call.value
    return call if isinstance(text, str) or (call.function == "get" and text is None) else None


def _key_value_reachable(state: str, read: Call, updates: frozenset[Call]) -> bool:
    """What is read is the state, or something put, and after it nothing but what may be appended."""
    text = read.result or ""
    pieces = [update.value for update in updates if update.function == "append" and update.value]
    places = [len(update.value) for update in updates if update.function == "put" and text.startswith(update.value)]
    places += [len(state)] if text.startswith(state) else []
    seen = set(places)
    while places:
        place = places.pop()
        if place == len(text):
            return True
        ends = {place + len(piece) for piece in pieces if text.startswith(piece, place)} - seen
        seen |= ends
        places += ends
    return False


def _key_value_forget(state: str, texts: Sequence[str]) -> str:
    """A string that nothing read begins with shows in no read until something is put in its place."""
    at = bisect_left(texts, state)
    return state if not state or (at < len(texts) and texts[at].startswith(state)) else _UNSEEN


def _key_value_unseen(update: Call, texts: Sequence[str]) -> bool:
    """No text has what was appended, or begins with what was put."""
    if update.function == "append":
        return bool(update.value) and not any(update.value in text for text in texts)
    return _key_value_forget(update.value, texts) == _UNSEEN


_UNSEEN: Final = "\N{REPLACEMENT CHARACTER} (something that nobody read)"

KEY_VALUE: Final = Model(
    "key-value",
    init=str,
    step=_key_value,
    functions={"get": "nothing; answers the string", "put": "a string", "append": "a string"},
    reads=frozenset({"get"}),
    reachable=_key_value_reachable,
    forget=_key_value_forget,
    unseen=_key_value_unseen,
    normal=_key_value_call,
    show=_words,
)
"""Strings by key; empty at first (``nil`` and ``""`` are the same)."""


MODELS: Final[Mapping[str, Model]] = {
    model.name: model for model in (REGISTER, CAS_REGISTER, COUNTER, SET, QUEUE, KEY_VALUE)
}
"""By name."""

_STATES: Final[Mapping[str, Callable[[Any], Any]]] = {
    COUNTER.name: lambda value: value if isinstance(value, int) and not isinstance(value, bool) else None,
    SET.name: lambda value: frozenset(value) if isinstance(value, tuple | frozenset) else None,
    QUEUE.name: lambda value: value if isinstance(value, tuple) else None,
    KEY_VALUE.name: lambda value: value if isinstance(value, str) else None,
}
"""What a model's first state is made from; null: it makes no sense. Registers take anything, and so do other models."""


def starting_at(model: Model, value: Any) -> Model:
    """The model with another state before the first operation (of every key). Raises RecordError."""
    state = _STATES.get(model.name, lambda any_value: any_value)(value)
    if state is None and value is not None:
        raise RecordError(f"{value!r} is nothing that a {model.name} can be")
    return replace(model, init=lambda: state)

"""Histories of every model: correct ones from a plain Python object with one moment of truth an operation, and damage;
and what is legal, found by trying every order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from verifier.search.model import ILLEGAL, Call, Model, Operation

FOREVER: Final = 1 << 60


class Register:
    """A variable; what is drawn and answered knows nothing of the model."""

    def __init__(self) -> None:
        self.value: Any = None

    def draw(self, rng: random.Random) -> tuple[str, Any]:
        return rng.choice([("read", None), ("write", rng.randrange(4))])

    def apply(self, function: str, value: Any) -> tuple[bool, Any]:
        """Whether it was done, and what it answers."""
        if function == "write":
            self.value = value
            return True, None
        if function == "cas":
            if self.value != value[0]:
                return False, None
            self.value = value[1]
            return True, None
        return True, self.value


class CasRegister(Register):
    def draw(self, rng: random.Random) -> tuple[str, Any]:
        cas = (rng.choice([None, 0, 1, 2]), rng.randrange(3))
        return rng.choice([("read", None), ("write", rng.randrange(3)), ("cas", cas)])


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def draw(self, rng: random.Random) -> tuple[str, Any]:
        return rng.choice([("read", None), ("add", rng.choice([1, 1, 2])), ("increment", None), ("decr", 1)])

    def apply(self, function: str, value: Any) -> tuple[bool, Any]:
        if function == "read":
            return True, self.value
        self.value += {"add": 1, "increment": 1, "decr": -1}[function] * (1 if value is None else value)
        return True, self.value if value == 2 else None


class Bag:
    def __init__(self) -> None:
        self.value: list[int] = []

    def draw(self, rng: random.Random) -> tuple[str, Any]:
        one = rng.randrange(3)
        return rng.choice([("read", None), ("add", one), ("add", one), ("remove", one), ("contains", one)])

    def apply(self, function: str, value: Any) -> tuple[bool, Any]:
        if function == "add" and value not in self.value:
            self.value.append(value)
        if function == "remove" and value in self.value:
            self.value.remove(value)
        if function == "contains":
            return True, value in self.value
        return True, tuple(self.value) if function == "read" else None


class Queue:
    def __init__(self) -> None:
        self.value: list[int] = []
        self.next = 0

    def draw(self, rng: random.Random) -> tuple[str, Any]:
        return rng.choice([("dequeue", None), ("enqueue", rng.randrange(4))])

    def apply(self, function: str, value: Any) -> tuple[bool, Any]:
        if function == "enqueue":
            self.value.append(value)
            return True, None
        return True, self.value.pop(0) if self.value else None


class Text:
    def __init__(self) -> None:
        self.value = ""

    def draw(self, rng: random.Random) -> tuple[str, Any]:
        letter = rng.choice("ab")
        return rng.choice([("get", None), ("put", letter), ("append", letter), ("append", letter)])

    def apply(self, function: str, value: Any) -> tuple[bool, Any]:
        if function == "get":
            return True, self.value
        self.value = value if function == "put" else self.value + value
        return True, None


OBJECTS: Final[dict[str, Callable[[], Any]]] = {
    "register": Register,
    "cas-register": CasRegister,
    "counter": Counter,
    "set": Bag,
    "queue": Queue,
    "key-value": Text,
}
"""By name of the model that they should obey."""


def correct(rng: random.Random, name: str, size: int, *, key: Any = None, unknown: float = 0.2) -> list[Operation]:
    """A correct history: ties abound, some calls never answer, and only some of those took effect."""
    scale = rng.choice([size, 3 * size, 12 * size])
    planned = []
    for number in range(size):
        start = rng.randrange(scale)
        end = start + rng.randrange(rng.choice([1, 4, scale // 2 + 1]) + 1)
        planned.append((rng.uniform(start, end), start, end, number))
    thing = OBJECTS[name]()
    done = []
    for _, start, end, number in sorted(planned):
        function, value = thing.draw(rng)
        fate = rng.random()
        call = Call(function, value, "unknown")
        if fate < unknown:
            if rng.random() < 0.6:
                thing.apply(function, value)
            done.append(Operation(number, call, start, None, key))
        elif fate < unknown + 0.05:
            done.append(Operation(number, call._replace(answer="fail"), start, end, key, error="throttled"))
        else:
            took, result = thing.apply(function, value)
            call = call._replace(answer="ok" if took else "fail", result=result)
            done.append(Operation(number, call, start, end, key))
    rng.shuffle(done)
    return done


def damaged(rng: random.Random, operations: list[Operation]) -> list[Operation]:
    """One to three things changed: an answer, a time, whether it was refused. Often still correct."""
    operations = list(operations)
    for _ in range(rng.choice([1, 2, 3, 5])):
        at = rng.randrange(len(operations))
        one, shift, what = operations[at], rng.randint(-9, 9), rng.randrange(4)
        call = one.call
        if what == 0:
            operations[at] = replace(one, start=one.start + shift, end=None if one.end is None else one.end + shift)
        elif what == 1 and one.end is not None:
            operations[at] = replace(one, end=max(one.start, one.end + shift))
        elif what == 2 and call.answer == "ok":
            answers = [o.call.result for o in operations if o.call.function == call.function and o.call.answer == "ok"]
            operations[at] = replace(one, call=call._replace(result=rng.choice(answers)))
        elif what == 3 and call.function in ("cas", "write", "add", "append", "enqueue") and call.answer == "ok":
            operations[at] = replace(one, call=call._replace(answer="fail", result=None))
    return operations


def legal(operations: Sequence[Operation], model: Model) -> bool:
    """Whether some order is legal: tries every one. For a dozen operations of one object."""
    events = []
    for one in operations:
        call = model.normal(one.call)
        assert call is not None
        refused = call.answer == "fail"
        if not refused or (call.function in model.refusals and one.error is None):
            events.append((one.start, FOREVER if one.end is None else one.end, call))
    needed = sum(1 << i for i, (_, _, call) in enumerate(events) if call.answer != "unknown")
    known: set[tuple[int, Any]] = set()

    def search(done: int, state: Any) -> bool:
        if done & needed == needed:
            return True
        if (done, state) in known:
            return False
        known.add((done, state))
        deadline = min((end for i, (_, end, _) in enumerate(events) if not done >> i & 1), default=FOREVER)
        for i, (start, _, call) in enumerate(events):
            if done >> i & 1 or start > deadline:
                continue
            after = model.step(state, call)
            if after is not ILLEGAL and search(done | 1 << i, after):
                return True
        return False

    return search(0, model.init())

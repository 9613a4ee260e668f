"""What nobody saw is not tried in every order: strings by key, many of which are overwritten before they are read."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.search.histories import correct, legal
from verifier.search.linearise import Limits, linearise
from verifier.search.model import Call, Operation
from verifier.search.models import KEY_VALUE


def twenty_clients(seed: int, size: int, puts: float, gets: float) -> list[Operation]:
    """A correct history of one key: each client asks again as soon as it has its answer."""
    rng, free = random.Random(seed), [0.0] * 20
    planned = []
    for number in range(size):
        client = min(range(len(free)), key=free.__getitem__)
        start = free[client] + rng.random() * 0.1
        free[client] = end = start + rng.expovariate(1) + 0.01
        planned.append((rng.uniform(start, end), start, end, client, number))
    text, done = "", []
    for _, start, end, client, number in sorted(planned):
        drawn = rng.random()
        if drawn < gets:
            call = Call("get", None, "ok", text)
        elif drawn < gets + puts:
            text = f"p{number};"
            call = Call("put", text)
        else:
            text += f"x {client} {number} y"
            call = Call("append", f"x {client} {number} y")
        done.append(Operation(client, call, int(start * 1e6), int(end * 1e6)))
    return done


@pytest.mark.parametrize(("puts", "gets"), [(0.05, 0.5), (0.2, 0.3)])
def test_two_thousand_operations_of_twenty_clients_on_one_key(puts: float, gets: float) -> None:
    history = twenty_clients(1, 2000, puts, gets)
    limits = Limits(deadline_s=300, configurations=100_000)
    assert linearise(history, KEY_VALUE, limits).verdict == "holds"
    at = next(at for at, one in enumerate(history) if at > 1500 and one.call.function == "get" and one.call.result)
    call = history[at].call
    history[at] = replace(history[at], call=call._replace(result=call.result + "x 0 0 y"))
    assert linearise(history, KEY_VALUE, limits).verdict == "violated"


def test_small_histories_with_many_puts_are_judged_as_every_order_does() -> None:
    rng = random.Random(3)
    for _ in range(400):
        history = [
            replace(one, call=one.call._replace(function="put"))
            if one.call.function == "append" and rng.random() < 0.5
            else one
            for one in correct(rng, "key-value", rng.randint(2, 7), unknown=0.3)
            if one.call.answer != "fail"
        ]
        assert (linearise(history, KEY_VALUE, Limits()).verdict == "holds") == legal(history, KEY_VALUE)

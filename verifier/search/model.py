"""What a sequential object does: a few pure functions, from which the search works out what a concurrent one may do."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from verifier.errors import RecordError

Answer = Literal["ok", "fail", "unknown"]
"""``ok``: it took effect and answered; ``fail``: it was refused; ``unknown``: it may have taken effect, or not."""


class Call(NamedTuple):
    """What was called and what it answered: all that a model sees of an operation."""

    function: str
    """``read``, ``write``, ``cas`` …"""
    value: Any = None
    """What was passed. Lists are tuples, sets frozensets, maps frozensets of pairs."""
    answer: Answer = "ok"
    result: Any = None
    """What came back; None where nothing did, or it was not recorded, or the answer is not ``ok``."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call by one process, from ``start`` to ``end``; times are of any unit, lines of a file for example."""

    process: int | str
    call: Call
    start: int
    end: int | None
    """Null: never answered, or the answer says nothing; it may take effect at any time from ``start`` on."""
    key: Hashable = None
    """The object that it is about; null where the history has only one."""
    line: int | None = None
    """Where it was called, in the file that it was read from."""
    error: str | None = None
    """Why it was refused or is unknown, where the history says so."""


class _Illegal:
    def __repr__(self) -> str:
        return "ILLEGAL"


ILLEGAL: Final = _Illegal()
"""What ``step`` returns if the call cannot have answered what it did."""


def _same(call: Call) -> Call | None:
    return call


@dataclass(frozen=True, slots=True)
class Model:
    """A sequential object. All functions are pure: the search calls them in any order, and remembers the answers."""

    name: str
    init: Callable[[], Any]
    """The state before the first operation."""
    step: Callable[[Any, Call], Any]
    """The state after a call, or :data:`ILLEGAL`. The result of a call that is ``unknown`` is not known: accept any."""
    functions: Mapping[str, str]
    """What may be called, and how: ``{"write": "a value", "read": "nothing; answers the value"}``."""
    reads: frozenset[str] = frozenset()
    """Functions that never change the state. It makes the search faster to name them."""
    refusals: frozenset[str] = frozenset()
    """Functions whose refusal tells something of the state; ``step`` sees them with the answer ``fail`` and must leave
    the state as it is. Other refused calls are left out: they did not happen."""
    reachable: Callable[[Any, Call, frozenset[Call]], bool] | None = None
    """Whether a read can still become legal, from this state, after some of these updates in some order. It saves the
    search from following orders that a read will refute. It may say yes too often, but never no. Null: always yes."""
    forget: Callable[[Any, Sequence[Any]], Any] | None = None
    """The state, or the one that stands for all those from which no read of the history can become legal before an
    update that leaves nothing of it. Given are the results of all reads but None, sorted. It saves the search from
    telling apart what nobody saw. Null: every state is kept."""
    unseen: Callable[[Call, Sequence[Any]], bool] | None = None
    """Whether an update leads to that state from every other, because no read shows what it wrote. All of these are
    then one to the search. Needs ``forget``. Null: none does."""
    equal: Callable[[Any, Any], bool] | None = None
    """Whether two states are the same. Null: states are hashable and compared by ``==``, which is much faster."""
    by_key: bool = True
    """Whether keys are objects of their own, each with its own state; else one object has all of them."""
    normal: Callable[[Call], Call | None] = field(default=_same)
    """The call as ``step`` wants it (other names of a function, defaults), once for each call; None if it makes no
    sense to this model."""
    show: Callable[[Any], str] = field(default=repr)
    """A state in words."""

    def is_pure(self, call: Call) -> bool:
        """Whether the call leaves every state as it is."""
        return call.function in self.reads or call.answer == "fail"


def load_model(text: str, known: Mapping[str, Model]) -> Model:
    """The model that ``--model`` names: one of ``known``, or ``path.py:NAME``. Raises RecordError with what to do."""
    if text in known:
        return known[text]
    path_text, colon, name = text.rpartition(":")
    if not colon or not path_text.endswith(".py"):
        raise RecordError(f"no model {text!r}: it is one of {', '.join(known)}, or path.py:NAME for one of your own")
    path = Path(path_text)
    if not path.is_file():
        raise RecordError(f"{path}: no such file; --model path.py:NAME takes the Model called NAME from path.py")
    spec = importlib.util.spec_from_file_location(f"lastwriter_model_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecordError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    model = getattr(module, name, None)
    if not isinstance(model, Model):
        models = [one for one, value in vars(module).items() if isinstance(value, Model)]
        offer = f"it has {', '.join(models)}" if models else "it has none"
        raise RecordError(f"{path}: no Model called {name}; {offer} (see docs/models.md)")
    return model

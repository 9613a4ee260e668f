"""Just-in-time linearisation: whether operations on one object have an order that its model allows.

After Wing & Gong and G. Lowe (*Testing for linearizability*, 2017). Operations are gone through as events, calls and
returns in order of time; on a tie the call comes first, since an operation that ended when another began is concurrent
with it. A *configuration* is one way of having explained everything so far: which of the operations under way have
taken effect already (a mask), how many of the unanswered ones have been made use of, and the state. When an operation
returns it must have taken effect: configurations in which it has not are carried on, one operation under way after the
other, until it has. None left: no order explains the history up to there.

What keeps configurations few:

- R1: an operation that never changes the state takes effect as soon as it is legal. Doing it earlier than another order
  would takes nothing away.
- R2: of equal calls under way, the one that returns first goes first. (They may change places in any order.)
- R3: unanswered calls that are equal are only counted, and a configuration is dropped if another one with the same mask
  and state has used no more of any of them. An unanswered call that would change nothing is never used.

States and calls are numbered once, so that a step is looked up and the model is asked once for each pair.
"""

from __future__ import annotations

import sys
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from verifier.search.model import ILLEGAL, Call, Model, Operation

Trail = tuple[int, int, Any] | None
"""How a configuration came about: (answered operations placed, the last one, the trail before it)."""

_CONFIGURATION_BYTES: Final = 300
"""What one costs: its place in a dict, its key, its trail. Measured."""
_STATE_BYTES: Final = 300
_ILLEGAL: Final = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to give up."""

    deadline_s: float = 60.0
    memory_bytes: int = 1 << 30
    configurations: int | None = None
    """How many may be looked at; null: any number."""


@dataclass(frozen=True, slots=True)
class Linearisation:
    """What came of a search."""

    verdict: Literal["holds", "violated", "unknown"]
    order: tuple[int, ...]
    """Places (in the list of operations) of the longest order found, in that order; of all of them if it holds."""
    stuck: tuple[int, ...]
    """What was under way and could not be placed after it; the first is the one whose return was to be explained."""
    state: Any
    """After the last of ``order``."""
    explored: int
    """Configurations looked at."""
    reason: str | None = None
    """Why it was given up."""


def linearise(operations: Sequence[Operation], model: Model, limits: Limits) -> Linearisation:
    """Search for a legal order of operations on one object. Their calls are in the model's normal form.

    Refused operations must be left out unless the model judges refusals. Exponential at worst: see :class:`Limits`.
    """
    return _Search(operations, model, limits).run()


class _GivenUpError(Exception):
    pass


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model, limits: Limits) -> None:
        self.operations, self.model, self.limits = operations, model, limits
        self.until = time.monotonic() + limits.deadline_s
        self.explored = 0
        self.state_bytes = 0

        numbers: dict[Call, int] = {}
        self.call_of = [numbers.setdefault(operation.call, len(numbers)) for operation in operations]
        self.calls = list(numbers)
        self.pure = [model.is_pure(call) for call in self.calls]

        self.states: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.steps: list[dict[int, int]] = []

        # Live: called, and not yet returned. By call, since equal ones are taken in order of return.
        self.live: dict[int, list[tuple[int, int, int]]] = {}
        self.live_reads: dict[int, tuple[int, int]] = {}
        self.unknown: dict[int, list[int]] = {}
        self._spent_fields()

    def _spent_fields(self) -> None:
        """Where each unanswered call is counted: so many bits of one number, with a guard bit above."""
        totals: dict[int, int] = {}
        for operation, call in zip(self.operations, self.call_of, strict=True):
            if operation.end is None and not self.pure[call]:
                totals[call] = totals.get(call, 0) + 1
        self.field: dict[int, tuple[int, int]] = {}
        shift = self.guards = 0
        for call, total in totals.items():
            width = total.bit_length()
            self.field[call] = (shift, (1 << width) - 1)
            shift += width + 1
            self.guards |= 1 << (shift - 1)

    def run(self) -> Linearisation:
        """Go through all events."""
        start = self._number(self.model.init())
        configurations: _Configurations = {(0, start): [(0, None)]}
        free: list[int] = []
        slots = 0
        bit_of: dict[int, int] = {}
        for _, returns, at in self._events():
            call = self.call_of[at]
            if not returns:
                end = self.operations[at].end
                if end is None:
                    if not self.pure[call]:
                        self.unknown.setdefault(call, []).append(at)
                    continue
                if free:
                    bit = free.pop()
                else:
                    bit, slots = 1 << slots, slots + 1
                bit_of[at] = bit
                if self.pure[call]:
                    self.live_reads[bit] = (call, at)
                    configurations = self._called(configurations, bit, call, at)
                else:
                    insort(self.live.setdefault(call, []), (end, at, bit))
                continue
            bit = bit_of.pop(at)
            try:
                after = self._returned(configurations, bit)
            except _GivenUpError as given_up:
                return self._result("unknown", _longest(configurations, start), at, str(given_up))
            if not after:
                return self._result("violated", _longest(self.seen, start), at)
            configurations = after
            free.append(bit)
            if self.pure[call]:
                del self.live_reads[bit]
            else:
                members = self.live[call]
                members[:] = [member for member in members if member[1] != at]
                if not members:
                    del self.live[call]
        return self._result("holds", _longest(configurations, start), None)

    def _events(self) -> list[tuple[int, bool, int]]:
        events = [(operation.start, False, at) for at, operation in enumerate(self.operations)]
        events += [
            (operation.end, True, at) for at, operation in enumerate(self.operations) if operation.end is not None
        ]
        events.sort()
        return events

    def _called(self, configurations: _Configurations, bit: int, call: int, at: int) -> _Configurations:
        """A read has been called: it takes effect wherever it is legal already (R1)."""
        after: _Configurations = {}
        for (mask, state), kept in configurations.items():
            if self._step(state, call) >= 0:
                after[mask | bit, state] = [(spent, (trail[0] + 1 if trail else 1, at, trail)) for spent, trail in kept]
            else:
                after[mask, state] = kept
        return after

    def _returned(self, configurations: _Configurations, bit: int) -> _Configurations:
        """An operation has returned: every way in which it has taken effect by now, its bit free again."""
        survivors: _Configurations = {}
        self.seen: _Configurations = {}
        stack: list[tuple[int, int, int, Trail]] = []
        for (mask, state), kept in configurations.items():
            if mask & bit:
                survivors[mask ^ bit, state] = kept
            else:
                self.seen[mask, state] = kept.copy()
                stack += [(mask, state, spent, trail) for spent, trail in kept]
        if not stack:
            return survivors
        self._may_go_on(len(stack) + len(survivors))
        live, steps, reads, guards = list(self.live.items()), self.steps, self.live_reads, self.guards
        unknown = [(call, ats, *self.field[call]) for call, ats in self.unknown.items()]
        while stack:
            mask, state, spent, trail = stack.pop()
            self.explored += 1
            if not self.explored & 63:
                self._may_go_on(len(self.seen) + len(survivors) + len(stack))
            placed = trail[0] if trail else 0
            row = steps[state]
            moves: list[tuple[int, int, int, int]] = []
            for call, members in live:
                for _, at, one in members:
                    if not mask & one:
                        after = row.get(call)
                        if after is None:
                            after = self._step(state, call)
                        if after >= 0:
                            moves.append((mask | one, after, spent, at))
                        break
            for call, ats, shift, most in unknown:
                used = spent >> shift & most
                if used < len(ats):
                    after = row.get(call)
                    if after is None:
                        after = self._step(state, call)
                    if after >= 0 and after != state:
                        moves.append((mask, after, spent + (1 << shift), ats[used]))
            for new, after, used, at in moves:
                path = (placed + (used == spent), at, trail)
                if after != state:
                    for one, (call, read) in reads.items():
                        if not new & one and self._step(after, call) >= 0:
                            new |= one
                            path = (path[0] + 1, read, path)
                if new & bit:
                    key, into = (new ^ bit, after), survivors
                else:
                    key, into = (new, after), self.seen
                kept = into.get(key)  # type: ignore[assignment]
                if kept is None:
                    into[key] = [(used, path)]
                elif guards:
                    # R3: (b with all guards up) − a keeps every guard exactly if no field of a exceeds b's.
                    if any((used | guards) - other & guards == guards for other, _ in kept):
                        continue
                    kept[:] = [one for one in kept if (one[0] | guards) - used & guards != guards]
                    kept.append((used, path))
                else:
                    continue
                if into is self.seen:
                    stack.append((new, after, used, path))
        return survivors

    def _may_go_on(self, held: int) -> None:
        if time.monotonic() > self.until:
            raise _GivenUpError(f"the deadline of {self.limits.deadline_s:g} s has passed")
        if held * _CONFIGURATION_BYTES + self.state_bytes > self.limits.memory_bytes:
            raise _GivenUpError(f"more than {self.limits.memory_bytes / 2**20:,.0f} MiB would be needed")
        if self.limits.configurations is not None and self.explored > self.limits.configurations:
            raise _GivenUpError(f"{self.explored:,} configurations have been looked at")

    def _step(self, state: int, call: int) -> int:
        """Number of the state after a call, or −1; asked of the model once."""
        row = self.steps[state]
        after = row.get(call)
        if after is None:
            new = self.model.step(self.states[state], self.calls[call])
            after = row[call] = _ILLEGAL if new is ILLEGAL else self._number(new)
            self.state_bytes += 100
            if self.pure[call] and after not in (_ILLEGAL, state):
                raise TypeError(f"model {self.model.name}: {self.calls[call].function} changes the state")
        return after

    def _number(self, state: Any) -> int:
        equal = self.model.equal
        if equal is not None:
            for number, known in enumerate(self.states):
                if equal(known, state):
                    return number
        else:
            try:
                found = self.numbers.get(state)
            except TypeError as error:
                raise TypeError(f"model {self.model.name}: {error}; give it `equal`, or states that hash") from error
            if found is not None:
                return found
            self.numbers[state] = len(self.states)
        self.states.append(state)
        self.steps.append({})
        self.state_bytes += sys.getsizeof(state) + _STATE_BYTES
        return len(self.states) - 1

    def _result(
        self,
        verdict: Literal["holds", "violated", "unknown"],
        longest: tuple[Trail, int],
        at: int | None,
        reason: str | None = None,
    ) -> Linearisation:
        trail, state = longest
        order: list[int] = []
        while trail is not None:
            order.append(trail[1])
            trail = trail[2]
        stuck: list[int] = []
        if at is not None:
            placed = set(order)
            under_way = [one[1] for members in self.live.values() for one in members]
            under_way += [one[1] for one in self.live_reads.values()]
            stuck = [at] if at not in placed else []
            stuck += sorted(one for one in under_way if one not in placed and one != at)
        return Linearisation(verdict, tuple(reversed(order)), tuple(stuck), self.states[state], self.explored, reason)


_Configurations = dict[tuple[int, int], list[tuple[int, Trail]]]
"""(mask, state) → unanswered calls spent, and the trail; several only where none has spent less of everything."""


def _longest(configurations: _Configurations, start: int) -> tuple[Trail, int]:
    """The trail with most operations placed, and the state at its end."""
    best: Trail = None
    state = start
    for (_, reached), kept in configurations.items():
        for _, trail in kept:
            if trail is not None and (best is None or trail[0] > best[0]):
                best, state = trail, reached
    return best, state

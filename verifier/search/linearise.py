"""Just-in-time linearisation: whether operations on one object have an order that its model allows.

After Wing & Gong (*Testing and verifying concurrent objects*, 1993) and G. Lowe (*Testing for linearizability*, 2017).
Operations are gone through in order of their returns. An operation that ended when another began is concurrent with it
(closed intervals). A *configuration* is one way of having explained everything so far: which of the operations under
way have taken effect already (a mask), how many of the unanswered ones have been made use of, and the state. When an
operation returns it must have taken effect: a configuration in which it has not is carried on, one operation under way
after the other, until it has. The search goes deep first, so that a history with an order is mostly found in one go;
when no configuration is left, no order explains the history up to the furthest return that any of them came to.

What keeps configurations few:

- R1: an operation that never changes the state takes effect as soon as it is legal. Doing it earlier than another order
  would takes nothing away.
- R2: of equal calls under way, the one that returns first goes first. (They may change places in any order.)
- R3: unanswered calls that are equal are only counted, and a configuration is dropped if another one with the same mask
  and state has used no more of any of them. An unanswered call that would change nothing is never used.

- R4, if the model can tell: a configuration is dropped if one of the next reads to return can no longer become legal
  from its state by what may still come before that.
- R5, if the model can tell: states that no read will ever tell apart are one state, the updates that always lead to it
  are one call, and where one of them changes nothing, it takes effect as soon as it is called.

States and calls are numbered once, so that a step is looked up and the model is asked once for each pair.
"""

from __future__ import annotations

import sys
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from verifier.search.model import ILLEGAL, Call, Model, Operation

Trail = tuple[int, int, Any] | None
"""How a configuration came about: (answered operations placed, the last one, the trail before it)."""

_CONFIGURATION_BYTES: Final = 300
"""What one costs: its places in the stack and among those seen, its trail. Measured."""
_STATE_BYTES: Final = 300
_ILLEGAL: Final = -1
_AHEAD: Final = 6
"""Reads that R4 looks ahead to."""
_UNKNOWN_AHEAD: Final = 64
"""With more different unanswered calls than these, looking ahead costs more than it saves."""


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


class _Return(NamedTuple):
    """The moment at which an operation returns, and who is under way then. Bits are of the mask."""

    at: int
    bit: int
    called: tuple[tuple[int, int, int], ...]
    """(bit, call, place) of the reads called since the last return."""
    reads: tuple[tuple[int, int, int], ...]
    """The same of all reads."""
    updates: tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...]
    """By call: (end, place, bit) in order of return. The call of the one that returns here comes last."""
    unknown: tuple[tuple[int, int, int, int], ...]
    """(call, how many, shift, mask of its count in ``spent``) of unanswered updates called by now."""


class _Ahead(NamedTuple):
    """A read that returns now or later."""

    here: int
    """Which return it is."""
    bit: int
    """Of the mask; 0 if it has not been called yet."""
    call: int
    updates: tuple[tuple[int, int], ...]
    """(bit, call) of all that may still take effect before it, unless the mask says that it has; 0: not called yet."""
    bits: int
    """All bits of ``updates``."""


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model, limits: Limits) -> None:
        self.operations, self.model, self.limits = operations, model, limits
        self.until = time.monotonic() + limits.deadline_s
        self.explored = 0
        self.state_bytes = 0

        numbers: dict[Call, int] = {}
        self.call_of = [numbers.setdefault(operation.call, len(numbers)) for operation in operations]
        self.calls = list(numbers)
        self.unseen = self._one_for_all_unseen()
        """Call that stands for all updates that nobody saw; −1: there is none."""
        self.pure = [model.is_pure(call) for call in self.calls]

        self.forget = model.forget
        self.states: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.steps: list[dict[int, int]] = []

        self.unknown: dict[int, list[int]] = {}
        """Places of unanswered updates by call, in order of call."""
        self.returns = self._returns()
        look = model.reachable is not None and len(self.unknown) <= _UNKNOWN_AHEAD
        self.ahead = self._ahead() if look else None
        self.hopes: dict[tuple[int, int, int, int], bool] = {}

        self.refuting = 0
        """The last return that has been used against some configuration."""
        self.furthest = 0
        """The return that some configuration has come to, and the longest trail there with its state."""
        self.trail: Trail = None
        self.state = 0

    def run(self) -> Linearisation:
        """Find an order, or that there is none, or give up."""
        self._number(self.model.init())
        try:
            order = self._searched()
        except _GivenUpError as given_up:
            return self._result("unknown", str(given_up))
        return self._result("holds" if order else "violated")

    def _searched(self) -> bool:
        returns, steps, unknown_at, guards = self.returns, self.steps, self.unknown, self.guards
        last, ahead, unseen = len(returns), self.ahead, self.unseen
        seen: dict[tuple[int, int, int], list[int]] = {}
        stack: list[tuple[int, int, int, int, Trail]] = [(0, 0, 0, 0, None)]
        if last:
            stack = [(0, *self._arrived(0, 0, 0, 0, None))]
        while stack:
            here, mask, state, spent, trail = stack.pop()
            while here < last and mask & returns[here].bit:
                mask ^= returns[here].bit
                here += 1
                if here < last and returns[here].called:
                    mask, state, spent, trail = self._arrived(here, mask, state, spent, trail)
            placed = trail[0] if trail else 0
            if here > self.furthest or (here == self.furthest and (self.trail is None or placed > self.trail[0])):
                self.furthest, self.trail, self.state = here, trail, state
            if here == last:
                return True
            known = seen.get((here, mask, state))
            if known is None:
                seen[here, mask, state] = [spent]
            elif not guards:
                continue
            else:
                # R3: (b with all guards up) − a keeps every guard exactly if no field of a exceeds b's.
                if any((spent | guards) - other & guards == guards for other in known):
                    continue
                known.append(spent)
            self.explored += 1
            if not self.explored & 63:
                self._may_go_on(len(seen) + len(stack))
            moment = returns[here]
            row = steps[state]
            if row.get(unseen) == state:
                # Nobody sees what there is, nor this: at once is as good as later.
                at_once = next((one for call, members in moment.updates if call == unseen for one in members
                                if not mask & one[2]), None)  # fmt: skip
                if at_once is not None:
                    stack.append((here, mask | at_once[2], state, spent, (placed + 1, at_once[1], trail)))
                    continue
            # What is pushed last is tried first: rather answered calls than unanswered ones.
            for call, count, shift, most in moment.unknown:
                used = spent >> shift & most
                if used < count:
                    after = row.get(call)
                    if after is None:
                        after = self._step(state, call)
                    if after >= 0 and after != state:
                        path: Trail = (placed, unknown_at[call][used], trail)
                        new, path = self._reads(moment, mask, after, path)
                        if ahead is None or self._hopeful(here, ahead[here], new, after):
                            stack.append((here, new, after, spent + (1 << shift), path))
            for call, members in moment.updates:
                for _, at, bit in members:
                    if not mask & bit:
                        after = row.get(call)
                        if after is None:
                            after = self._step(state, call)
                        if after >= 0:
                            new, path = mask | bit, (placed + 1, at, trail)
                            if after != state and moment.reads:
                                new, path = self._reads(moment, new, after, path)
                            if ahead is None or self._hopeful(here, ahead[here], new, after):
                                stack.append((here, new, after, spent, path))
                        break
        return False

    def _one_for_all_unseen(self) -> int:
        """R5: updates that nobody saw are one call; whatever it is applied to, nobody will know."""
        model, self.results = self.model, []
        if model.forget is None:
            return -1
        reads = [call for call in self.calls if call.function in model.reads and call.answer == "ok"]
        self.results = sorted({call.result for call in reads if call.result is not None})
        if model.unseen is None:
            return -1
        unseen = [
            number
            for number, call in enumerate(self.calls)
            if not model.is_pure(call) and model.unseen(call, self.results)
        ]
        stands = dict.fromkeys(unseen, unseen[0]) if unseen else {}
        self.call_of = [stands.get(call, call) for call in self.call_of]
        return unseen[0] if unseen else -1

    def _arrived(self, here: int, mask: int, state: int, spent: int, trail: Trail) -> tuple[int, int, int, Trail]:
        """The next return is ``here``: reads called since the last one take effect where they are legal (R1)."""
        row = self.steps[state]
        for bit, call, at in self.returns[here].called:
            after = row.get(call)
            if (self._step(state, call) if after is None else after) >= 0:
                mask |= bit
                trail = (trail[0] + 1 if trail else 1, at, trail)
        return mask, state, spent, trail

    def _reads(self, moment: _Return, mask: int, state: int, trail: Trail) -> tuple[int, Trail]:
        """The state is new: every read under way takes effect that is legal now (R1)."""
        row = self.steps[state]
        for bit, call, at in moment.reads:
            if not mask & bit:
                after = row.get(call)
                if (self._step(state, call) if after is None else after) >= 0:
                    mask |= bit
                    trail = (trail[0] + 1 if trail else 1, at, trail)
        return mask, trail

    def _hopeful(self, here: int, ahead: tuple[_Ahead, ...], mask: int, state: int) -> bool:
        """R4: whether every read to come can still become legal."""
        for read in ahead:
            if mask & read.bit:
                continue
            key = (state, mask & read.bits, here, read.here)
            hope = self.hopes.get(key)
            if hope is None:
                assert self.model.reachable is not None
                updates = frozenset(self.calls[call] for bit, call in read.updates if not mask & bit)
                hope = self.model.reachable(self.states[state], self.calls[read.call], updates)
                self.hopes[key] = hope
                self.state_bytes += 100
            if not hope:
                self.refuting = max(self.refuting, read.here)
                return False
        return True

    def _ahead(self) -> list[tuple[_Ahead, ...]]:
        """For every return the next reads to return, with what may come before them."""
        returns, reads = self.returns, []
        for here, moment in enumerate(returns):
            call = self.calls[self.call_of[moment.at]]
            if call.function in self.model.reads and call.answer == "ok":
                reads.append(here)
        found = []
        first = 0
        for here, moment in enumerate(returns):
            while first < len(reads) and reads[first] < here:
                first += 1
            bits = {at: bit for bit, _, at in moment.reads}
            bits |= {at: bit for _, members in moment.updates for _, at, bit in members}
            passed: set[int] = set()
            mine, done = [], here
            for there in reads[first : first + _AHEAD]:
                # What returns until then, is under way then, or was never answered.
                then = returns[there]
                passed.update(one.at for one in returns[done:there])
                done = there
                under_way = {at for _, members in then.updates for _, at, _ in members}
                updates = {(bits.get(at, 0), self.call_of[at]) for at in passed | under_way}
                updates = {one for one in updates if not self.pure[one[1]]} | {(0, one[0]) for one in then.unknown}
                every = sum({bit for bit, _ in updates})
                mine.append(_Ahead(there, bits.get(then.at, 0), self.call_of[then.at], tuple(updates), every))
            found.append(tuple(mine))
        return found

    def _returns(self) -> list[_Return]:
        """Every return in order of time, with who is under way; on a tie calls come first."""
        operations, call_of, pure = self.operations, self.call_of, self.pure
        events = [(operation.start, False, at) for at, operation in enumerate(operations)]
        events += [(one.end, True, at) for at, one in enumerate(operations) if one.end is not None]
        events.sort()
        fields = self._spent_fields()
        updates: dict[int, list[tuple[int, int, int]]] = {}
        reads: dict[int, tuple[int, int, int]] = {}
        called: list[tuple[int, int, int]] = []
        counts: tuple[tuple[int, int, int, int], ...] = ()
        bits: dict[int, int] = {}
        free: list[int] = []
        slots = 0
        returns = []
        for _, returning, at in events:
            call = call_of[at]
            end = operations[at].end
            if end is None:
                if not pure[call]:
                    self.unknown.setdefault(call, []).append(at)
                    counts = tuple((one, len(ats), *fields[one]) for one, ats in self.unknown.items())
            elif not returning:
                if free:
                    bit = free.pop()
                else:
                    bit, slots = 1 << slots, slots + 1
                bits[at] = bit
                if pure[call]:
                    reads[at] = (bit, call, at)
                    called.append(reads[at])
                else:
                    insort(updates.setdefault(call, []), (end, at, bit))
            else:
                bit = bits.pop(at)
                free.append(bit)
                mine = updates.pop(call, None)
                live = [(one, tuple(members)) for one, members in updates.items()]
                if mine is not None:
                    live.append((call, tuple(mine)))
                    mine.remove((end, at, bit))
                    if mine:
                        updates[call] = mine
                returns.append(_Return(at, bit, tuple(called), tuple(reads.values()), tuple(live), counts))
                reads.pop(at, None)
                called.clear()
        return returns

    def _spent_fields(self) -> dict[int, tuple[int, int]]:
        """Where each unanswered call is counted: so many bits of one number, with a guard bit above."""
        totals: dict[int, int] = {}
        for operation, call in zip(self.operations, self.call_of, strict=True):
            if operation.end is None and not self.pure[call]:
                totals[call] = totals.get(call, 0) + 1
        fields: dict[int, tuple[int, int]] = {}
        shift = self.guards = 0
        for call, total in totals.items():
            width = total.bit_length()
            fields[call] = (shift, (1 << width) - 1)
            shift += width + 1
            self.guards |= 1 << (shift - 1)
        return fields

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
            if self.forget is not None and new is not ILLEGAL and not self.pure[call]:
                new = self.forget(new, self.results)  # R5
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

    def _result(self, verdict: Literal["holds", "violated", "unknown"], reason: str | None = None) -> Linearisation:
        trail = self.trail
        order: list[int] = []
        while trail is not None:
            order.append(trail[1])
            trail = trail[2]
        order.reverse()
        stuck: list[int] = []
        if self.furthest < len(self.returns):
            moment = self.returns[max(self.furthest, self.refuting) if verdict == "violated" else self.furthest]
            placed = set(order)
            under_way = [one[1] for _, members in moment.updates for one in members]
            under_way += [one[2] for one in moment.reads]
            stuck = [moment.at, *sorted(one for one in under_way if one not in placed and one != moment.at)]
        state = self.states[self.state]
        if self.forget is not None:  # one that stands for others tells nobody anything
            state = self.model.init()
            for at in order:
                state = self.model.step(state, self.operations[at].call)
        return Linearisation(verdict, tuple(order), tuple(stuck), state, self.explored, reason)

"""What is wrong with a Region's endpoint: requests that fail, are throttled, are slow, or lose their connection.

Theory of operation
-------------------
1. A Region without any such fault has no entry in :attr:`Ailments.regions`: that one look is all that a request of a
   healthy Region costs.
2. Faults are tried in the order in which they were set. One that refuses a request answers it, and the request is
   never seen by a table. One that spoils the reply puts a :class:`~lastwriter.emulator.core.gathering.Part` in place of
   the request's handle, and the reply passes through it.
3. Only requests for items are touched, never those for tables: a drill has to be able to look while things are broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

from lastwriter.emulator.core.environment import RESET, SILENCE, Environment, Handle
from lastwriter.emulator.core.gathering import Outcome, Part
from lastwriter.emulator.core.members import ACCOUNT
from lastwriter.emulator.faults import FaultSpec
from lastwriter.emulator.requests.errors import ApiError, internal_error

KINDS: Final = frozenset({"region-impaired", "region-throttled", "reply-lost", "connection-reset", "az-lost"})
"""The kinds of faults that live here."""

_READS: Final = frozenset({"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"})
_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
REQUESTS: Final = _READS | _WRITES
"""The operations that can suffer."""

_LED_FROM_ONE_ZONE: Final = 1 / 3
"""Of a Region's partitions: one copy of each is in each of three zones, and any of them may lead."""
_REFUSED_WITHOUT_LEADER: Final = 0.5

KeyOf = Callable[[str, dict[str, Any]], str | None]
"""Region and request → the partition key of the one item it is for, as text."""


class Ailments:
    """The faults of every Region's endpoint."""

    def __init__(self, environment: Environment, key_of: KeyOf) -> None:
        self.regions: dict[str, list[FaultSpec]] = {}
        self._since_ns: dict[int, int] = {}  # fault → when it was set
        self._environment = environment
        self._key_of = key_of

    def add(self, spec: FaultSpec) -> None:
        """From now on."""
        self._since_ns[id(spec)] = self._environment.scheduler.now_ns
        for region in spec.regions:
            self.regions.setdefault(region, []).append(spec)

    def remove(self, spec: FaultSpec) -> None:
        """No more."""
        self._since_ns.pop(id(spec), None)
        for region in spec.regions:
            specs = [other for other in self.regions[region] if other is not spec]
            if specs:
                self.regions[region] = specs
            else:
                del self.regions[region]

    def suffer(self, region: str, operation: str, request: dict[str, Any], handle: Handle) -> Handle | None:
        """What the Region's faults do to a request: the handle to go on with; None: it has been answered."""
        if operation not in REQUESTS:
            return handle
        environment = self._environment
        slow_ns = 0
        status: int | None = None
        for spec in self.regions[region]:
            if spec.kind == "region-impaired":
                if self._hits(spec.errors):
                    environment.refuse(handle, internal_error())
                    return None
                if self._hits(spec.slow):
                    slow_ns += round(spec.slow_by * 1e9)
                if self._hits(spec.errors_after):
                    status = status or 500
            elif spec.kind == "az-lost":
                wait_ns = self._without_leader_ns(spec, region, operation, request)
                if wait_ns and self._hits(_REFUSED_WITHOUT_LEADER):
                    environment.refuse(handle, internal_error())
                    return None
                slow_ns += wait_ns
            elif spec.kind == "region-throttled":
                if (not spec.keys or self._key_of(region, request) in spec.keys) and self._hits(spec.share):
                    environment.refuse(handle, throttled(region, operation, request, bool(spec.keys)))
                    return None
            elif self._hits(spec.share):
                if spec.kind == "connection-reset":
                    environment.answer(handle, {}, RESET)
                    return None
                status = SILENCE if spec.hang else RESET
        if slow_ns or status is not None:
            return Part(_Spoilt(environment, handle, slow_ns, status), 0)
        return handle

    def _without_leader_ns(self, spec: FaultSpec, region: str, operation: str, request: dict[str, Any]) -> int:
        """How long the partition that a request is for will still be without a leader, if that is what it needs."""
        if operation in ("GetItem", "Query", "Scan") and not request.get("ConsistentRead"):
            return 0
        left_ns = self._since_ns[id(spec)] + round(spec.election * 1e9) - self._environment.scheduler.now_ns
        if left_ns <= 0:
            return 0
        key = self._key_of(region, request) or str(self._environment.rng.random())  # of many partitions: any of them
        drawn = crc32(f"{region} {key}".encode()) / 2**32
        if drawn >= _LED_FROM_ONE_ZONE:
            return 0
        early_ns = (1 - drawn / _LED_FROM_ONE_ZONE) * spec.election * 1e9  # partitions elect one after the other
        return max(0, left_ns - round(early_ns))

    def _hits(self, share: float) -> bool:
        return share >= 1 or (share > 0 and self._environment.rng.random() < share)


def throttled(region: str, operation: str, request: dict[str, Any], hot: bool) -> ApiError:
    """The refusal of a hot partition, or of an account's whole table, with its reasons."""
    way = "Read" if operation in _READS else "Write"
    resource = f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{request.get('TableName', '')}"
    if hot:
        reasons = [{"reason": f"Table{way}KeyRangeThroughputExceeded", "resource": resource}]
        message = (
            "The level of configured provisioned throughput for the table was exceeded. Consider increasing your "
            "provisioning level with the UpdateTable API."
        )
        return ApiError("ProvisionedThroughputExceededException", message, 400, {"ThrottlingReasons": reasons})
    reasons = [{"reason": f"Table{way}AccountLimitExceeded", "resource": resource}]
    message = "Throughput exceeds the current throughput limit for your account."
    return ApiError("ThrottlingException", message, 400, {"throttlingReasons": reasons})


class _Spoilt:
    """Stands where a Gathering stands, and passes one reply on: later, as an error, or not at all."""

    def __init__(self, environment: Environment, handle: Handle, slow_ns: int, status: int | None) -> None:
        self._environment = environment
        self._handle = handle
        self._slow_ns = slow_ns
        self._status = status
        self._taken = False

    def take(self, number: int, outcome: Outcome) -> None:
        """The request has had its effect, or has been refused."""
        if self._taken:
            return
        self._taken = True
        scheduler = self._environment.scheduler
        if self._slow_ns:
            scheduler.at(scheduler.now_ns + self._slow_ns, self._answer, outcome)
        else:
            self._answer(outcome)

    def _answer(self, outcome: Outcome) -> None:
        if self._status == 500:
            self._environment.refuse(self._handle, internal_error())
        elif self._status is not None:
            self._environment.answer(self._handle, {}, self._status)
        elif isinstance(outcome, ApiError):
            self._environment.refuse(self._handle, outcome)
        else:
            self._environment.answer(self._handle, outcome)

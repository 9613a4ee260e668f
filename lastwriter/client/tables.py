"""The control plane: makes and removes global tables through boto3. Needs no gevent.

What AWS does with these calls is written down in the public ``aws-controllers-k8s/dynamodb-controller`` repository
(``docs/api-quirks/table-global-tables.md`` and ``table-replicas.md``, observed in October 2026). What shaped this file:
an MREC group takes one replica action a call, an MRSC group is born and dissolved in one call and frozen in between; a
new replica shows in ``Replicas`` only seconds after the call that made it; ``DescribeTable`` never lists the Region it
was asked in, and says nothing of the mode unless it is STRONG.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import botocore.exceptions

from lastwriter.client.boto import dynamodb
from lastwriter.client.credentials import CredentialSource, CredentialsUnavailable, credentials_at
from lastwriter.client.refusals import refused, unreachable
from lastwriter.client.replica import read_replica
from lastwriter.errors import UserError
from verifier.history.schema import EXPIRES_ATTRIBUTE, GROUP_ATTRIBUTE, INDEX_NAME, KEY_ATTRIBUTE, VALUE_ATTRIBUTE
from verifier.rundir import Mode

__all__ = ["Progress", "create_global_table", "delete_global_table", "read_replica"]

Progress = Callable[[str], None]
"""Told in one short sentence what is being done or waited for."""

WAIT_S: Final = 900.0
"""How long a table may take to become ACTIVE. A replica of a table with one item took AWS eleven minutes."""

_CONTROL_DEADLINE_S: Final = 10.0
_CONTROL_ATTEMPTS: Final = 4
_FIRST_POLL_S: Final = 0.02
_LONGEST_POLL_S: Final = 3.0


def create_global_table(
    endpoints: Mapping[str, str],
    table: str,
    mode: Mode,
    witness: str | None = None,
    *,
    credentials: CredentialSource | None = None,
    progress: Progress | None = None,
    wait_s: float = WAIT_S,
    needs: Collection[str] = (),
) -> bool:
    """Have a global table with a replica in each Region of ``endpoints``; False if it was there already.

    The first Region is where the table is created, with the partition key ``pk`` (a string) and on-demand capacity;
    then it is made global and waited for until it is ACTIVE everywhere. What is there already and fits is kept, and
    what an interrupted call left behind is completed. ``needs``: ``streams``, with old and new images, also where the
    mode would do without; ``index``: items that have a group, by value; ``ttl``: a time to live.

    Raises UserError: a number of Regions that the mode does not have, a table that is there and is something else, an
    endpoint that cannot be reached or refuses.
    """
    _check_regions(mode, tuple(endpoints), witness)
    with _Group(endpoints, table, credentials, progress or _say_nothing, time.monotonic() + wait_s) as group:
        return _create(group, tuple(endpoints), mode, witness, needs)


def delete_global_table(
    endpoints: Mapping[str, str],
    table: str,
    *,
    credentials: CredentialSource | None = None,
    progress: Progress | None = None,
    wait_s: float = WAIT_S,
) -> bool:
    """Delete a global table, or what is left of one, in every Region of ``endpoints``; False if there was none.

    Raises UserError where the table has replicas in Regions that ``endpoints`` does not name, and for an endpoint that
    cannot be reached or refuses.
    """
    with _Group(endpoints, table, credentials, progress or _say_nothing, time.monotonic() + wait_s) as group:
        return _delete(group, tuple(endpoints))


def _create(group: _Group, regions: tuple[str, ...], mode: Mode, witness: str | None, needs: Collection[str]) -> bool:
    table = group.table
    home, *others = regions
    found = group.describe_all()
    for region in [region for region, description in found.items() if description["TableStatus"] == "DELETING"]:
        group.wait_gone(region)
        del found[region]
    changed = home not in found
    if changed:
        if found:
            raise UserError(
                f"table {table} is in {_and(found)} but not in {home}; delete it there, or name another table"
            )
        group.say(f"creating {table} in {home}")
        group.create(home, needs)
    elif "index" in needs and INDEX_NAME not in _indexes(found[home]):
        raise UserError(
            f"table {table} in {home} has no index {INDEX_NAME}, which a workload reads; name another table"
        )
    shape = group.wait_active(home)
    _check_fits(table, home, shape, mode, regions, witness)
    missing = [region for region in others if region not in shape.replicas]
    for region in missing:
        if region in found:
            raise UserError(f"table {table} in {region} is a table of its own; delete it, or name another table")
    if mode == "MRSC" and missing:
        group.say(f"making {table} a global table of {_and([*regions, *([f'witness {witness}'] if witness else [])])}")
        witnesses = {"GlobalTableWitnessUpdates": [{"Create": {"RegionName": witness}}]} if witness else {}
        group.update(
            home,
            ReplicaUpdates=[{"Create": {"RegionName": region}} for region in others],
            MultiRegionConsistency="STRONG",
            **witnesses,
        )
    elif mode == "MREC":
        for region in missing:
            group.say(f"adding a replica of {table} in {region}")
            group.update(home, ReplicaUpdates=[{"Create": {"RegionName": region}}])
            group.wait_active(home, [region])
    for region in regions:
        group.wait_active(region, [other for other in regions if other != region], witness)
    if "ttl" in needs:
        group.expire(home)
    return changed or bool(missing)


def _delete(group: _Group, regions: tuple[str, ...]) -> bool:
    table = group.table
    found = group.describe_all()
    if not found:
        return False
    for description in found.values():
        strangers = [region for region in _Shape.of(description).replicas if region not in regions]
        if strangers:
            raise UserError(
                f"table {table} has replicas in {_and(strangers)} too, which were not named; nothing was deleted"
            )
    home = next(region for region in regions if region in found)
    shape = group.wait_settled(home)
    if shape.mode == "MRSC":
        group.say(f"dissolving the global table {table}")
        witnesses = {"GlobalTableWitnessUpdates": [{"Delete": {"RegionName": shape.witness}}]} if shape.witness else {}
        deletions = [{"Delete": {"RegionName": region}} for region in shape.replicas]
        group.update(home, ReplicaUpdates=deletions, **witnesses)
    else:
        for region in shape.replicas:
            group.say(f"removing the replica of {table} in {region}")
            group.update(home, ReplicaUpdates=[{"Delete": {"RegionName": region}}])
            group.wait_gone(region)
    for region in shape.replicas:
        group.wait_gone(region)
    group.wait_settled(home)
    for region in found:
        if region not in shape.replicas:
            group.say(f"deleting {table} in {region}")
            group.delete(region)
    for region in regions:
        group.wait_gone(region)
    return True


@dataclass(frozen=True, slots=True)
class _Shape:
    """What ``DescribeTable`` says in one Region."""

    status: str
    replicas: Mapping[str, str]
    """Other Region → status."""
    witness: str | None
    witness_status: str | None
    strong: bool
    key: tuple[tuple[str, str, str], ...]
    """Name, type and role of each key attribute."""

    @property
    def mode(self) -> Mode | None:
        """None: a table of one Region."""
        if self.strong:
            return "MRSC"
        return "MREC" if self.replicas else None

    @staticmethod
    def of(description: Mapping[str, Any]) -> _Shape:
        types = {each["AttributeName"]: each["AttributeType"] for each in description.get("AttributeDefinitions", ())}
        witnesses = description.get("GlobalTableWitnesses") or [{}]
        return _Shape(
            description.get("TableStatus", ""),
            {each["RegionName"]: each.get("ReplicaStatus", "") for each in description.get("Replicas") or ()},
            witnesses[0].get("RegionName"),
            witnesses[0].get("WitnessStatus"),
            description.get("MultiRegionConsistency") == "STRONG",
            tuple(
                (each["AttributeName"], types.get(each["AttributeName"], "?"), each["KeyType"])
                for each in description.get("KeySchema", ())
            ),
        )


class _Group:
    """The endpoints of one table, and the calls that are made there. Closes its connections at the end of the block."""

    def __init__(
        self,
        endpoints: Mapping[str, str],
        table: str,
        credentials: CredentialSource | None,
        say: Progress,
        deadline: float,
    ) -> None:
        self.table = table
        self.say = say
        self._endpoints = endpoints
        self._deadline = deadline
        self._clients = {
            region: dynamodb(
                endpoint,
                region,
                credentials or credentials_at(endpoint),
                deadline_s=_CONTROL_DEADLINE_S,
                attempts=_CONTROL_ATTEMPTS,
            )
            for region, endpoint in endpoints.items()
        }

    def __enter__(self) -> _Group:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def create(self, region: str, needs: Collection[str] = ()) -> None:
        """``CreateTable``: a table of one Region."""
        attributes = [{"AttributeName": KEY_ATTRIBUTE, "AttributeType": "S"}]
        request: dict[str, Any] = {
            "TableName": self.table,
            "AttributeDefinitions": attributes,
            "KeySchema": [{"AttributeName": KEY_ATTRIBUTE, "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        if "streams" in needs:
            request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        if "index" in needs:
            attributes.append({"AttributeName": GROUP_ATTRIBUTE, "AttributeType": "S"})
            attributes.append({"AttributeName": VALUE_ATTRIBUTE, "AttributeType": "N"})
            keys = [
                {"AttributeName": GROUP_ATTRIBUTE, "KeyType": "HASH"},
                {"AttributeName": VALUE_ATTRIBUTE, "KeyType": "RANGE"},
            ]
            index = {"IndexName": INDEX_NAME, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}
            request["GlobalSecondaryIndexes"] = [index]
        try:
            self._send(region, "CreateTable", request)
        except botocore.exceptions.ClientError as error:
            # It came into being meanwhile: somebody else's, or our own call, sent again because its answer was lost.
            if _code(error) != "ResourceInUseException":
                raise self._refused(region, "CreateTable", error) from None

    def expire(self, region: str) -> None:
        """``UpdateTimeToLive``: items are deleted some time after their :data:`EXPIRES_ATTRIBUTE`."""
        specification = {"Enabled": True, "AttributeName": EXPIRES_ATTRIBUTE}
        try:
            self._send(region, "UpdateTimeToLive", {"TableName": self.table, "TimeToLiveSpecification": specification})
        except botocore.exceptions.ClientError as error:
            if "already enabled" not in str(error):
                raise self._refused(region, "UpdateTimeToLive", error) from None

    def delete(self, region: str) -> None:
        """``DeleteTable``: of one Region."""
        try:
            self._send(region, "DeleteTable", {"TableName": self.table})
        except botocore.exceptions.ClientError as error:
            if _code(error) != "ResourceNotFoundException":
                raise self._refused(region, "DeleteTable", error) from None

    def update(self, region: str, **changes: Any) -> None:
        """``UpdateTable``, once nothing else is under way at the table."""
        while True:
            try:
                self._send(region, "UpdateTable", {"TableName": self.table, **changes})
            except botocore.exceptions.ClientError as error:
                if _code(error) not in ("ResourceInUseException", "LimitExceededException"):
                    raise self._refused(region, "UpdateTable", error) from None
                self._pause(_LONGEST_POLL_S / 10, f"table {self.table} is being changed by somebody else in {region}")
            else:
                return

    def describe(self, region: str) -> dict[str, Any] | None:
        """The table's description in a Region; None if it is not there."""
        try:
            found: dict[str, Any] = self._send(region, "DescribeTable", {"TableName": self.table})["Table"]
        except botocore.exceptions.ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise self._refused(region, "DescribeTable", error) from None
        return found

    def describe_all(self) -> dict[str, dict[str, Any]]:
        """The Regions that have the table, with its description."""
        found = {region: self.describe(region) for region in self._clients}
        return {region: description for region, description in found.items() if description is not None}

    def wait_active(self, region: str, replicas: Iterable[str] = (), witness: str | None = None) -> _Shape:
        """Wait until the table is ACTIVE in a Region and shows these replicas, and every other, as ACTIVE."""

        def ready(shape: _Shape) -> bool:
            return (
                shape.status == "ACTIVE"
                and all(status == "ACTIVE" for status in shape.replicas.values())
                and all(other in shape.replicas for other in replicas)
                and (witness is None or shape.witness_status == "ACTIVE")
            )

        return self._wait(region, ready)

    def wait_settled(self, region: str) -> _Shape:
        """Wait until nothing is being made, changed or removed."""
        settled = {"ACTIVE", "CREATION_FAILED", "REGION_DISABLED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVED"}
        return self._wait(
            region,
            lambda shape: {shape.status, *shape.replicas.values(), shape.witness_status or "ACTIVE"} <= settled,
        )

    def wait_gone(self, region: str) -> None:
        """Wait until the table is not there any more."""
        pause = _FIRST_POLL_S
        while self.describe(region) is not None:
            pause = self._pause(pause, f"table {self.table} is still being deleted in {region}")

    def _wait(self, region: str, ready: Callable[[_Shape], bool]) -> _Shape:
        pause = _FIRST_POLL_S
        while True:
            description = self.describe(region)
            state = "missing"
            if description is not None:
                shape = _Shape.of(description)
                if ready(shape):
                    return shape
                others = [f"{other} {status}" for other, status in shape.replicas.items()]
                if shape.witness:
                    others.append(f"witness {shape.witness} {shape.witness_status}")
                state = shape.status + (f" ({', '.join(others)})" if others else "")
            pause = self._pause(pause, f"table {self.table} in {region} is {state}")

    def _pause(self, pause: float, state: str) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise UserError(f"{state}, and did not become ready in time; look at it, then run again")
        if pause > 0.5:
            self.say(f"waiting: {state}")
        time.sleep(min(pause, left))
        return min(pause * 1.5, _LONGEST_POLL_S)

    def _send(self, region: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._clients[region]._make_api_call(operation, parameters)
        except botocore.exceptions.ClientError:
            raise
        except CredentialsUnavailable as error:
            raise UserError(str(error)) from None
        except botocore.exceptions.BotoCoreError as error:
            raise UserError(unreachable(region, self._endpoints[region], _why(error))) from None
        return answer

    def _refused(self, region: str, operation: str, error: botocore.exceptions.ClientError) -> UserError:
        message = error.response.get("Error", {}).get("Message", "")
        return refused(region, operation, self.table, _code(error), message)


def _indexes(description: Mapping[str, Any]) -> set[str]:
    return {index["IndexName"] for index in description.get("GlobalSecondaryIndexes") or ()}


def _check_regions(mode: Mode, regions: tuple[str, ...], witness: str | None) -> None:
    named = ", ".join(regions) + (f" and witness {witness}" if witness else "")
    if not regions:
        raise UserError("no Region given: a global table needs at least one")
    if mode == "MRSC" and len(regions) + (witness is not None) != 3:
        raise UserError(
            f"MRSC needs exactly three Regions (three replicas, or two and a witness), and {named} makes "
            f"{len(regions) + (witness is not None)}; name three, or use MREC"
        )
    if mode == "MREC" and witness is not None:
        raise UserError(f"MREC has no witness; leave out witness {witness}, or use MRSC")
    if witness in regions:
        raise UserError(f"witness {witness} is also the Region of a replica; name another Region")


def _check_fits(table: str, home: str, shape: _Shape, mode: Mode, regions: Iterable[str], witness: str | None) -> None:
    """A table that is there already must be what was asked for, as far as it goes."""
    if shape.mode is not None and shape.mode != mode:
        raise UserError(
            f"table {table} in {home} is {shape.mode}, and {mode} was asked for: a table's mode is fixed for life; "
            f"name another table, or delete this one"
        )
    if shape.key != ((KEY_ATTRIBUTE, "S", "HASH"),):
        key = ", ".join(f"{name} ({kind}, {role})" for name, kind, role in shape.key)
        raise UserError(
            f"table {table} in {home} has the key {key}; the workloads need the partition key {KEY_ATTRIBUTE} (S) alone"
        )
    if shape.mode == "MRSC":
        there = {home, *shape.replicas}
        if there != set(regions) or shape.witness != witness:
            raise UserError(
                f"table {table} is an MRSC table of {_and(sorted(there))}"
                f"{f' with witness {shape.witness}' if shape.witness else ''}, which cannot be changed; name these "
                f"Regions, or another table"
            )


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _why(error: botocore.exceptions.BotoCoreError) -> str:
    if isinstance(error, botocore.exceptions.ConnectTimeoutError | botocore.exceptions.ReadTimeoutError):
        return "timed out"
    if isinstance(error, botocore.exceptions.SSLError):
        return f"TLS: {error.kwargs.get('error', error)}"
    if isinstance(error, botocore.exceptions.EndpointConnectionError):
        return "cannot connect"
    return " ".join(str(error).split())


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _say_nothing(_sentence: str) -> None:
    pass

"""An UpdateTable request, taken apart: what it may say, before the table it is about is looked at.

Messages are those of AWS (findings 202, 203, 223, 224, 257, 260 and 265 named in
:mod:`lastwriter.emulator.core.tables`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.core.properties import SUPPORTED, check_together
from lastwriter.emulator.core.roundtrips import known_regions, mrsc_regions
from lastwriter.emulator.requests.errors import ApiError, serialization, validation

_MEMBERSHIP: Final = frozenset({"ReplicaUpdates", "GlobalTableWitnessUpdates", "MultiRegionConsistency"})
_OTHERS: Final = (
    "ProvisionedThroughput", "BillingMode", "StreamSpecification", "GlobalSecondaryIndexUpdates", "SSESpecification",
    "TableClass", "DeletionProtectionEnabled", "OnDemandThroughput", "WarmThroughput",
    "GlobalTableSettingsReplicationMode",
)  # fmt: skip
_NOTHING: Final = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, "
    "SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, "
    "DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required"
)
OVERRIDES: Final = ("ProvisionedThroughputOverride", "OnDemandThroughputOverride")
"""What a replica can have of its own: units, or a maximum, for reading the table."""
_STRONG_SUFFIX: Final = "global tables with MultiRegionConsistency set to STRONG"


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """Replicas and witness to come or go."""

    creations: tuple[str, ...]
    deletions: tuple[str, ...]
    updates: tuple[str, ...]
    mode: str | None
    """``EVENTUAL``, ``STRONG`` or not said."""
    witness_creation: str | None
    witness_deletion: str | None
    overrides: dict[str, dict[str, Any]]
    """Region → what its replica is to have of its own."""

    @property
    def strong(self) -> bool:
        """Whether the request makes an MRSC table."""
        return self.mode == "STRONG"

    def check_regions(self, region: str, regions: tuple[str, ...], any_region: bool) -> None:
        """Refuse the Region asked, and Regions that there are not. ``regions``: those of this emulator."""
        named = (*self.creations, *self.deletions, *self.updates)
        if region in named:
            raise validation(
                "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or "
                "UpdateTable as required."
            )
        for name in self.creations:
            if name not in regions:
                raise _no_such_region(name, regions)
        if self.witness_creation is not None and self.witness_creation not in known_regions():
            raise _no_such_region(self.witness_creation, sorted(known_regions()))
        if self.strong and not self.deletions:
            self._check_strong(region, any_region)

    def _check_strong(self, region: str, any_region: bool) -> None:
        witness = self.witness_creation
        if len(self.creations) != (1 if witness else 2):
            raise validation(f"Unsupported replica count for {_STRONG_SUFFIX}.")
        everywhere = (region, *self.creations, *((witness,) if witness else ()))
        unsupported = [] if any_region else [name for name in everywhere if name not in mrsc_regions()]
        if unsupported:
            raise validation(f"Unsupported Region(s) specified for {_STRONG_SUFFIX}: [{', '.join(unsupported)}].")
        if witness in self.creations:
            raise validation("Cannot target multiple regions with the same action")
        if witness == region:
            raise validation(
                "Cannot add a witness in the same region as an existing replica when creating a global table with "
                "MultiRegionConsistency set to STRONG."
            )

    def check_mrsc(self, replicas: frozenset[str], witness: str | None) -> None:
        """The table is an MRSC group with these other ``replicas``: only its end, as a whole, is possible."""
        if self.mode is not None:
            if self.deletions:
                raise validation(
                    "Only Replica Create actions are supported when MultiRegionConsistency parameter is provided."
                )
            raise validation("MultiRegionConsistency parameter is unsupported on existing global table")
        if self.creations:
            raise validation("Cannot add replicas to a global table with strong MultiRegionConsistency")
        if self.witness_deletion is not None and self.witness_deletion != witness:
            raise validation(
                "Update global table operation failed because one or more witnesses were not part of the global table. "
                f"Please retry the request without these witnesses: [{self.witness_deletion}]."
            )
        strangers = [name for name in self.deletions if name not in replicas]
        if strangers:
            raise validation(
                "Update global table operation failed because one or more replicas were not part of the global table. "
                f"Please retry the request without these replicas: [{', '.join(strangers)}]."
            )
        if witness is not None and self.witness_deletion is None:
            raise validation("Update table delete operation does not include all witnesses.")
        if set(self.deletions) != replicas:
            raise validation(f"Deletion of only one table replica is not supported for {_STRONG_SUFFIX}.")

    def check_new(self, is_global: bool) -> None:
        """The table is of one Region or an MREC group."""
        if self.strong:
            if self.deletions:
                raise validation(
                    "Only Replica Create actions are supported when MultiRegionConsistency parameter is provided."
                )
            if is_global:
                raise validation("MultiRegionConsistency parameter is unsupported on existing global table")
            return
        if self.witness_creation is not None:
            raise validation(
                "MultiRegionConsistency must be set as STRONG when GlobalTableWitnessUpdates parameter is present."
            )
        if self.witness_deletion is not None:
            raise validation(
                "Update global table operation failed because one or more witnesses were not part of the global table. "
                f"Please retry the request without these witnesses: [{self.witness_deletion}]."
            )
        if len(self.creations) + len(self.deletions) > 1:
            raise validation("Update table operation with more than one create or delete replica actions not allowed")


@dataclass(frozen=True, slots=True)
class TableChange:
    """What UpdateTable asks for: other members, or other properties, never both."""

    membership: MembershipChange | None
    request: dict[str, Any]


def parse_update(request: dict[str, Any]) -> TableChange:
    """ApiError for what no table would take."""
    others = [name for name in _OTHERS if name in request]
    replicas = _list(request, "ReplicaUpdates")
    if not replicas and not others:
        raise validation(_NOTHING)
    if not _MEMBERSHIP & set(request):
        unsupported = [name for name in others if name not in SUPPORTED]
        if unsupported:
            raise validation(f"UpdateTable with {unsupported[0]} is not supported by this emulator")
        check_together(request)
        return TableChange(None, request)
    if others:
        if "GlobalTableWitnessUpdates" in request or "MultiRegionConsistency" in request:
            raise validation("Requests that modify replicas or witnesses must not also modify other fields")
        raise validation(
            "One or more parameter values were invalid: Replica modification must be the only operation in the request"
        )
    mode = request.get("MultiRegionConsistency")
    if mode not in (None, "EVENTUAL", "STRONG"):
        raise validation(
            f"1 validation error detected: Value '{mode}' at 'multiRegionConsistency' failed to satisfy constraint: "
            "Member must satisfy enum value set: [EVENTUAL, STRONG]"
        )
    actions = _actions(replicas, ("Create", "Delete", "Update"))
    overrides = {body["RegionName"]: body for update in replicas for body in update.values() if len(body) > 1}
    for body in overrides.values():
        unsupported = [name for name in body if name not in (*OVERRIDES, "RegionName")]
        if unsupported:
            raise validation(f"ReplicaUpdates with {unsupported[0]} is not supported by this emulator")
    witnesses = _list(request, "GlobalTableWitnessUpdates")
    if len(witnesses) > 1:
        raise validation(
            f"1 validation error detected: Value '{witnesses}' at 'globalTableWitnessUpdates' failed to satisfy "
            "constraint: Member must have length less than or equal to 1"
        )
    of_witness = _actions(witnesses, ("Create", "Delete"))
    change = MembershipChange(
        creations=_unique(region for kind, region in actions if kind == "Create"),
        deletions=_unique(region for kind, region in actions if kind == "Delete"),
        updates=_unique(region for kind, region in actions if kind == "Update"),
        mode=mode,
        witness_creation=next((region for kind, region in of_witness if kind == "Create"), None),
        witness_deletion=next((region for kind, region in of_witness if kind == "Delete"), None),
        overrides=overrides,
    )
    if change.witness_creation is not None and not change.strong:
        raise validation(
            "MultiRegionConsistency must be set as STRONG when GlobalTableWitnessUpdates parameter is present."
        )
    return TableChange(change, request)


def _list(request: dict[str, Any], name: str) -> list[Any]:
    value = request.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise serialization(f"{name} is not a list")
    return value


def _actions(updates: list[Any], kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    actions = []
    for update in updates:
        if not isinstance(update, dict):
            raise serialization("Unexpected field type")
        given = [(kind, update[kind]) for kind in kinds if update.get(kind) is not None]
        if len(given) > 1:
            raise validation("Update table operation with more than one type of replica actions not allowed")
        if not given or not isinstance(given[0][1], dict):
            raise validation("There are no actions specified in the Replica Update Action of the request.")
        kind, body = given[0]
        region = body.get("RegionName")
        if not isinstance(region, str) or not region:
            raise validation(
                "1 validation error detected: Value null at 'replicaUpdates.1.member.regionName' failed to satisfy "
                "constraint: Member must not be null"
            )
        if kind == "Update" and len(body) == 1:
            raise validation("There are no actions specified in the Replica Update Action of the request.")
        actions.append((kind, region))
    return actions


def _unique(regions: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(regions))


def _no_such_region(name: str, regions: Iterable[str]) -> ApiError:
    return validation(
        f"Region {name} is not supported. The latest version of global tables are only supported in the following "
        f"regions: [{', '.join(regions)}]"
    )

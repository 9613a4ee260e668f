"""What the control plane refuses about a table as it stands, in AWS's words."""

from __future__ import annotations

from lastwriter.emulator.core.members import Member, Table
from lastwriter.emulator.core.mrsc import MrscTable
from lastwriter.emulator.requests.errors import ApiError, validation


def check_deletable(member: Member) -> None:
    """A table that is protected, or that is being changed, is not deleted."""
    table, name = member.table, member.table.schema.name
    if member.deletion_protection:
        raise validation(
            "Resource cannot be deleted as it is currently protected against deletion. "
            "Disable deletion protection first."
        )
    if member.joining:
        raise ApiError(
            "ResourceInUseException",
            f"Attempt to change a resource which is still in use: Table: {name} is being used.",
        )
    if member.status != "ACTIVE":
        raise ApiError(
            "ResourceInUseException",
            f"Attempt to change a resource which is still in use: Table is being {_doing(member.status)}: {name}",
        )
    if any(index.status != "ACTIVE" for index in table.indexes.values()):
        raise ApiError(
            "ResourceInUseException",
            "Attempt to change a resource which is still in use: Cannot delete table while indexes are being "
            "created, updated, or deleted.",
        )


def refuse_in_strong(table: Table) -> None:
    """Refuse what an MRSC table cannot have."""
    if table.ttl is not None or any(not index.is_global for index in table.schema.indexes):
        what = "Time to live is" if table.ttl is not None else "Local secondary indexes are"
        raise validation(f"{what} not supported for global tables with MultiRegionConsistency set to STRONG.")


def refuse_while_paused(table: Table) -> None:
    """Settings of an MRSC group stay while replication of one of its Regions is paused, catch-up included."""
    if isinstance(table.engine, MrscTable) and any(site.refusing for site in table.engine.replicas.values()):
        raise in_use()


def in_use() -> ApiError:
    """A change is under way already."""
    return ApiError("ResourceInUseException", "The resource which you are attempting to change is in use.")


def no_table(name: str) -> ApiError:
    """There is no such table, or none that may be spoken of yet."""
    return ApiError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")


def not_part(regions: list[str]) -> ApiError:
    """These Regions have no replica of the table."""
    return validation(
        "Update global table operation failed because one or more replicas were not part of the global table. Please "
        f"retry the request without these replicas: [{', '.join(regions)}]."
    )


def _doing(status: str) -> str:
    return {"CREATING": "created", "UPDATING": "updated", "DELETING": "deleted"}.get(status, status.lower())

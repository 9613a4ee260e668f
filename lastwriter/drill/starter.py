"""A folder to start one's own drill from: a packaged profile and the locustfiles that it names."""

from __future__ import annotations

from pathlib import Path

from lastwriter.drill.profile_file import read_profile
from lastwriter.errors import UserError
from lastwriter.resources import nearest, profiles, workloads


def copy_starter(folder: Path, name: str) -> Path:
    """Copy profile ``name`` to ``folder`` and its locustfiles to ``folder/locustfiles``; the copied profile.

    UserError if a file of that name is there already (nothing is overwritten) or the folder cannot be written.
    """
    packaged = profiles()
    if name not in packaged:
        raise UserError(f"no packaged profile {name!r}{nearest(name, packaged)}; `lastwriter profiles` lists them")
    source = packaged[name]
    names = dict.fromkeys(load.workload for load in read_profile(source).load)
    known = workloads()
    copies = {folder / source.name: source}
    copies |= {folder / "locustfiles" / known[workload].name: known[workload] for workload in names}
    for target in copies:
        if target.exists():
            raise UserError(f"{target} is there already; name another folder")
    try:
        (folder / "locustfiles").mkdir(parents=True, exist_ok=True)
        for target, origin in copies.items():
            target.write_bytes(origin.read_bytes())
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); name another folder") from error
    return folder / source.name

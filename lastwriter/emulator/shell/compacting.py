"""Makes one snapshot out of a data directory's old one and its closed logs: a process that the emulator starts.

``python -m lastwriter.emulator.shell.compacting DIRECTORY NUMBER REGION,REGION… SETTINGS``: a snapshot of everything
before ``log-NUMBER``. It ends when its parent does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.snapshot import snapshot
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell.datadir import DataDirectory
from lastwriter.emulator.shell.durability import load
from lastwriter.errors import UserError


def main(path: str, number: str, regions: str, settings: str) -> int:
    """Exit code 1: it did not work, and everything is as it was."""
    parent = os.getppid()
    os.nice(10)
    try:
        directory = DataDirectory(Path(path), until=int(number))
        now_ns, wall = time.monotonic_ns(), time.time()
        given = Settings.model_validate_json(settings)
        core = Core(tuple(regions.split(",")), given, now_ns=now_ns, wall=lambda: wall, records=[])
        load(directory, core, wall)
        directory.write_snapshot(int(number), now_ns, wall, _while_alive(snapshot(core, wall), parent))
    except (UserError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _while_alive(records: Iterator[list[Any]], parent: int) -> Iterator[list[Any]]:
    for record in records:
        if os.getppid() != parent:
            raise OSError("the emulator has ended")
        yield record


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Locust, and at its exit the CPU time that its process has spent since the load began, in the file MEASURED."""

import atexit
import json
import os
import sys
import time
from pathlib import Path

from locust import events
from locust.main import main

begun: list[float] = []


@events.test_start.add_listener
def begin(**_: object) -> None:
    begun.append(time.process_time())


@atexit.register
def tell() -> None:
    if begun:
        Path(os.environ["MEASURED"]).write_text(json.dumps({"cpu_s": time.process_time() - begun[0]}))


if __name__ == "__main__":
    sys.exit(main())

"""Memory that items cost an emulator with three replicas: resident set size after writing them, streams and all.

    .venv/bin/python benchmarks/emulator_memory.py [--items 1000000] [--modes MREC,MRSC]

Each mode runs in a process of its own. Items have four attributes and 200 bytes (as DynamoDB counts them); each request
is parsed from JSON, as one that comes over HTTP, and goes through the core of the emulator: everything but the socket.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import orjson
import psutil

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.requests.sizes import item_bytes
from lastwriter.emulator.settings import Settings

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
TABLE = {
    "TableName": "bench",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def request(number: int) -> bytes:
    """Body of a PutItem."""
    item = {
        "pk": {"S": f"user-{number:08d}"},
        "version": {"N": str(number * 7 + 1)},
        "name": {"S": f"{number:x}" * 3 + "abcdefghij"[number % 10]},
        "text": {"S": ""},
    }
    item["text"]["S"] = f"{number:08d}".ljust(200 - item_bytes(item), "x")
    return orjson.dumps({"TableName": "bench", "Item": item})


def fill(mode: str, items: int) -> None:
    """Write the items and print MB before and after, and the CPU time of a write."""
    core = Core(REGIONS, Settings.parse({"latency_scale": "0%", "replicator_delay": "0ms"}))
    core.control.make_global(TABLE, REGIONS, mode, None)
    process = psutil.Process()
    before = process.memory_info().rss
    started = time.process_time()
    for number in range(items):
        ((_, status, body),) = core.handle(REGIONS[number % 3], "PutItem", orjson.loads(request(number)), 0, number)
        assert status == 200, body
    taken = time.process_time() - started
    after = process.memory_info().rss
    print(
        f"{mode}: {items:,} items in three replicas: {(after - before) / 1e6:,.0f} MB, "
        f"{(after - before) / items:,.0f} bytes an item; process {after / 1e6:,.0f} MB; "
        f"{taken / items * 1e6:.1f} µs a write"
    )


def main() -> None:
    """A process a mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--modes", default="MREC,MRSC")
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.items)
        return
    for mode in options.modes.split(","):
        subprocess.run([sys.executable, __file__, "--fill", mode, "--items", str(options.items)], check=True)


if __name__ == "__main__":
    main()

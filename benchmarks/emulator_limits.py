"""What an emulator promises besides speed: when it is ready, how exact its delays are, that its memory stays flat.

    .venv/bin/python benchmarks/emulator_limits.py start [--rounds 9]
    .venv/bin/python benchmarks/emulator_limits.py delays [--seconds 10] [--rate 2000] [--connections 64]
    .venv/bin/python benchmarks/emulator_limits.py flat [--seconds 600] [--rate 1000] [--mode MREC]

start   From the start of the process until its endpoints are printed: CPU time, and wall time, which other work on the
        machine lengthens. Three Regions, a table, MRSC.
delays  Paced requests to an emulator whose clients are 20 ms away, and MRSC writes over links of 20 ms: time from
        sending to receiving less the time asked for (negative: early). What this process, the kernel and everybody else
        on the machine take is in it, so an emulator without delay is measured in turn: the difference is what counts.
flat    Updates of 2,048 items in all Regions; resident memory ten times, after the streams are full.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import psutil
import uvloop
from emulator import KEYS, REGIONS, requests

from lastwriter.emulator.process import start_emulator

ASKED_MS = 20.0
LINKS = {"latency_scale": "128%"}
ROUNDS = 5
STREAM_RECORDS = 20_000
COMMAND = (
    "-m", "lastwriter", "emulator", "--regions", ",".join(REGIONS), "--port", "0", "--table", "orders",
    "--mode", "MRSC",
)  # fmt: skip


class Paced(asyncio.Protocol):
    """One connection that sends a request every ``pause_s``, if the last one has been answered."""

    def __init__(self, messages: list[bytes], number: int, pause_s: float, taken_ns: list[int]) -> None:
        self._messages = messages
        self._next = number
        self._pause_s = pause_s
        self._taken_ns = taken_ns
        self._sent_ns = 0
        self._transport: asyncio.Transport | None = None
        self.skipped = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin somewhere within a pause."""
        self._transport = transport  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        loop.call_later(self._pause_s * (self._next % 64) / 64, self._send, loop.time() + self._pause_s)

    def _send(self, due: float) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        if self._sent_ns == 0:
            self._sent_ns = time.monotonic_ns()
            self._transport.write(self._messages[self._next % KEYS])
            self._next += 64
        else:
            self.skipped += 1
        asyncio.get_running_loop().call_at(due, self._send, due + self._pause_s)

    def data_received(self, data: bytes) -> None:
        """A reply: they are short, and come in one piece."""
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not a success: {data[:300]!r}")
        self._taken_ns.append(time.monotonic_ns() - self._sent_ns)
        self._sent_ns = 0


async def paced(urls: list[str], operation: str, rate: float, connections: int, seconds: float) -> list[int]:
    """Nanoseconds that each request took."""
    loop = asyncio.get_running_loop()
    messages = requests(operation)
    taken_ns: list[int] = []
    peers = []
    for number in range(connections):
        parts = urlsplit(urls[number % len(urls)])
        peer = Paced(messages, number, connections / rate, taken_ns)
        peers.append(await loop.create_connection(lambda peer=peer: peer, parts.hostname, parts.port))
    await asyncio.sleep(seconds)
    for transport, _ in peers:
        transport.abort()
    return taken_ns


def start(rounds: int) -> None:
    """Print CPU and wall time of starts."""
    wall, cpu = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        with subprocess.Popen([sys.executable, *COMMAND], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while not (line := process.stdout.readline()).startswith("table"):
                if not line:
                    raise SystemExit("the emulator did not start")
            wall.append(time.perf_counter() - began)
            times = psutil.Process(process.pid).cpu_times()
            cpu.append(times.user + times.system)
            process.terminate()
    print(
        f"ready after: CPU {statistics.median(cpu):.2f} s (lowest {min(cpu):.2f}), wall {statistics.median(wall):.2f} s"
    )


def delays(seconds: float, rate: float, connections: int) -> None:
    """Print how much later than asked replies come, beside an emulator that is asked for no delay."""
    # A write under MRSC is answered when it has been to the nearest Region and back; us-east-1 and -2 are the nearest.
    cases: dict[str, tuple[float, tuple[str, ...], str, dict[str, str]]] = {
        "no delay": (0.0, REGIONS[:1], "MREC", {"latency_scale": "0%"}),
        "clients 20 ms away": (ASKED_MS, REGIONS[:1], "MREC", {"client_latency": f"{ASKED_MS:.0f}ms"}),
        "MRSC, links of 20 ms": (1.28 * round_trip_ms(), REGIONS, "MRSC", {"client_latency": "0ms"} | LINKS),
    }
    late_ms: dict[str, list[float]] = {what: [] for what in cases}
    with ExitStack() as stack:
        running = {
            what: stack.enter_context(start_emulator(regions, table="bench", mode=mode, settings=settings))
            for what, (_, regions, mode, settings) in cases.items()
        }
        for _ in range(ROUNDS):
            for what, (asked_ms, *_) in cases.items():
                urls = list(running[what].endpoints.values())[:1]
                taken_ns = uvloop.run(paced(urls, "UpdateItem", rate, connections, seconds / ROUNDS))
                late_ms[what] += [one / 1e6 - asked_ms for one in taken_ns]
    print("milliseconds later than asked          requests   least     p50     p90     p99   p99.9    most")
    for what, late in late_ms.items():
        late.sort()
        at = [late[min(len(late) - 1, int(len(late) * share))] for share in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)]
        print(f"{what:<22} asked {cases[what][0]:6.2f} {len(late):12,}", *(f"{one:7.3f}" for one in at))


def round_trip_ms() -> float:
    """Between the first two Regions."""
    from lastwriter.emulator.core.roundtrips import round_trip_ns

    return round_trip_ns(*REGIONS[:2]) / 1e6


def flat(seconds: float, rate: float, mode: str) -> None:
    """Print resident memory over time."""
    settings = {"latency_scale": "0%", "replicator_delay": "100ms", "stream_records": str(STREAM_RECORDS)}

    async def sampled(urls: list[str], process: psutil.Process) -> list[float]:
        load = asyncio.create_task(paced(urls, "UpdateItem", rate, 64, seconds + 3600))
        warm_s = max(seconds / 10, 2.5 * STREAM_RECORDS / rate)
        samples = []
        await asyncio.sleep(warm_s)
        for _ in range(11):
            samples.append(process.memory_info().rss / 1e6)
            await asyncio.sleep(max(0.0, seconds - warm_s) / 10)
        load.cancel()
        return samples

    with start_emulator(REGIONS, table="bench", mode=mode, settings=settings) as running:
        samples = uvloop.run(sampled(list(running.endpoints.values()), psutil.Process(running.process.pid)))
    print(
        f"{mode}, {rate:,.0f} updates a second for {seconds:,.0f} s, MB: {', '.join(f'{one:.1f}' for one in samples)}"
    )
    print(f"last to first: {samples[-1] - samples[0]:+.1f} MB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("start", "delays", "flat"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--mode", default="MREC")
    options = parser.parse_args()
    if options.what == "start":
        start(options.rounds)
    elif options.what == "delays":
        delays(options.seconds or 10, options.rate or 2000, options.connections)
    else:
        flat(options.seconds or 600, options.rate or 1000, options.mode)


if __name__ == "__main__":
    main()

"""What the general search costs: histories like Jepsen's logs of a compare-and-set register, five processes, some of
whose calls time out. The figure is the median of a history, in process CPU time, search alone and with reading the log.

    .venv/bin/python benchmarks/search.py
    .venv/bin/python benchmarks/search.py --operations 200 --processes 10
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

from verifier.search.judge import judge
from verifier.search.linearise import Limits
from verifier.search.model import Operation
from verifier.search.models import CAS_REGISTER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--operations", type=int, default=80)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--timeouts", type=float, default=0.05, help="share of calls that are never answered")
    parser.add_argument("--wrong", type=float, default=0.3, help="share of histories with an answer changed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    histories = []
    for _ in range(options.histories):
        events = events_of(rng, options.operations, options.processes, options.timeouts)
        histories.append(spoilt(rng, events) if rng.random() < options.wrong else events)
    searched, both, verdicts = [], [], {"holds": 0, "violated": 0, "unknown": 0, "possible": 0}
    for events in histories:
        text = log_of(events)
        operations = read_log(text)
        searched.append(best(options.rounds, lambda operations=operations: judge(operations, CAS_REGISTER, Limits())))
        both.append(best(options.rounds, lambda text=text: judge(read_log(text), CAS_REGISTER, Limits())))
        verdicts[judge(operations, CAS_REGISTER).verdict] += 1
    print(
        f"{len(histories)} histories of {options.operations} operations: "
        + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items() if count)
    )
    for name, times in (("search", searched), ("reading and search", both)):
        print(
            f"{name}: median {statistics.median(times) * 1e3:.2f} ms, "
            f"90% {sorted(times)[len(times) * 9 // 10] * 1e3:.2f} ms, worst {max(times) * 1e3:.2f} ms"
        )


def best(rounds: int, run: Any) -> float:
    """Least CPU seconds of several runs."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)


Event = tuple[int, str, str, Any]


def events_of(rng: random.Random, operations: int, processes: int, timeouts: float) -> list[Event]:
    """Calls and answers of a correct register in order of time."""
    value = None
    free = list(range(processes))
    under_way: list[tuple[int, str, Any, str, Any]] = []
    next_process = processes
    events: list[Event] = []
    called = 0
    while called < operations or under_way:
        if free and called < operations and (not under_way or rng.random() < 0.5):
            process = free.pop(rng.randrange(len(free)))
            function = rng.choice(["read", "write", "cas"])
            argument = {"read": None, "write": rng.randrange(5), "cas": (rng.randrange(5), rng.randrange(5))}[function]
            events.append((process, "invoke", function, argument))
            under_way.append((process, function, argument, "", None))
            called += 1
            continue
        at = rng.randrange(len(under_way))
        process, function, argument, answer, result = under_way[at]
        if not answer:  # its moment comes first, its answer some events later
            lost = rng.random() < timeouts
            answer, result = "info" if lost else "ok", argument
            if not lost or rng.random() < 0.5:
                if function == "read":
                    result = value
                elif function == "write":
                    value = argument
                elif argument[0] == value:
                    value = argument[1]
                elif not lost:
                    answer = "fail"
            under_way[at] = (process, function, argument, answer, result)
            continue
        under_way.pop(at)
        events.append((process, answer, function, ":timed-out" if answer == "info" else result))
        if answer == "info":
            free.append(next_process)
            next_process += 1
        else:
            free.append(process)
    return events


def spoilt(rng: random.Random, events: list[Event]) -> list[Event]:
    """The same with what one read answered changed."""
    reads = [at for at, event in enumerate(events) if event[1:3] == ("ok", "read")]
    if not reads:
        return events
    at = rng.choice(reads)
    return [*events[:at], (*events[at][:3], rng.randrange(5)), *events[at + 1 :]]


def log_of(events: list[Event]) -> str:
    """As Jepsen prints it."""

    def form(value: Any) -> str:
        return "nil" if value is None else f"[{value[0]} {value[1]}]" if isinstance(value, tuple) else str(value)

    return "".join(
        f"INFO  jepsen.util - {process}\t:{kind}\t:{function}\t{form(value)}\n"
        for process, kind, function, value in events
    )


def read_log(text: str) -> list[Operation]:
    """The operations of a log."""
    from verifier.foreign.read import read_text

    return list(read_text(text, "log").operations)


if __name__ == "__main__":
    main()

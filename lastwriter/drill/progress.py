"""What a run shows while it is under way: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO

from lastwriter.drill.profile import Profile
from verifier.live import Suspected

_PLAIN_EVERY_S: Final = 5.0
_SUSPECTED_EVERY_S: Final = 15.0
"""Between two lines that say how many suspicions there are by now; what is of a new kind or Region is said at once."""
_BAR_WIDTH: Final = 48


class Progress(Protocol):
    """Told what happens; shows it. Used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def step(self, text: str) -> None:
        """The run goes on to its next step."""

    def note(self, text: str) -> None:
        """Something happened: a fault took hold, a worker died."""

    def live(self, second: dict[str, Any], faults: list[str]) -> None:
        """One line of ``live.jsonl`` (rates and latencies of a second), and the faults in effect."""

    def suspected(self, so_far: Suspected, news: Suspected) -> None:
        """What looks lost or stale, as far as the last seconds show: all of it, and what is of a new kind or Region."""


def progress_for(profile: Profile, stream: TextIO | None = None) -> Progress:
    """Live where ``stream`` (standard error, by default) is a terminal; else plain lines."""
    stream = stream if stream is not None else sys.stderr
    return LiveProgress(profile, stream) if stream.isatty() else PlainProgress(profile, stream)


class PlainProgress:
    """A line a step, a phase and an event; the rates every few seconds."""

    def __init__(self, profile: Profile, stream: TextIO) -> None:
        self._clock = PhaseClock(profile)
        self._stream = stream
        self._phase: str | None = None
        self._last = 0.0
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def step(self, text: str) -> None:
        self._print(text)

    def note(self, text: str) -> None:
        self._say_phase()
        self._print(f"{self._clock.stamp()}  {text}")

    def live(self, second: dict[str, Any], faults: list[str]) -> None:
        self._clock.begin(second)
        self._say_phase()
        if "regions" in second and time.monotonic() - self._last >= _PLAIN_EVERY_S:
            self._last = time.monotonic()
            cells = [
                f"{region} {_rate(row)} p99 {_ms(row.get('p99_ms'))}{_errors(row)}"
                for region, row in second["regions"].items()
            ]
            self._print(f"{self._clock.stamp()}  {'; '.join(cells)}" + (f"  [{', '.join(faults)}]" if faults else ""))

    def suspected(self, so_far: Suspected, news: Suspected) -> None:
        if news:
            self.note(_with_example(news))
        elif time.monotonic() - self._told >= _SUSPECTED_EVERY_S:
            self.note(f"so far {so_far.line()}")
        else:
            return
        self._told = time.monotonic()

    def _say_phase(self) -> None:
        phase = self._clock.phase
        if phase is not None and phase != self._phase:
            self._phase = phase
            self._print(f"{self._clock.stamp()}  phase {phase}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


_COUNTED: Final = {
    "condition": "condition",
    "conflict": "conflict",
    "throttled": "throttled",
    "server_error": "5xx",
    "timeout": "timeout",
    "other": "other",
    "unknown": "unknown",
}
"""What is shown of failed attempts, where there are any → its heading. Unknown ones are among those before."""


class LiveProgress:
    """A bar of the phases, a table of the Regions and the faults in effect, redrawn in place (rich)."""

    def __init__(self, profile: Profile, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._clock = PhaseClock(profile)
        self._second: dict[str, Any] | None = None
        self._faults: list[str] = []
        self._suspected = Suspected()
        self._console = Console(file=stream)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def step(self, text: str) -> None:
        self._second = None
        self._console.print(text, highlight=False)

    def note(self, text: str) -> None:
        self._console.print(f"{self._clock.stamp()}  {text}", highlight=False)

    def live(self, second: dict[str, Any], faults: list[str]) -> None:
        self._clock.begin(second)
        if "regions" in second:
            self._second, self._faults = second, faults

    def suspected(self, so_far: Suspected, news: Suspected) -> None:
        if news:
            self.note(_with_example(news))
        self._suspected = so_far

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if self._second is None:
            return Text("")
        table = Table(box=None, padding=(0, 2, 0, 0))
        rows = self._second["regions"]
        shown = [name for name in _COUNTED if any(row.get(name) for row in rows.values())]
        for heading in ("Region", "attempts/s", "intents/s", "p50", "p99", *(_COUNTED[name] for name in shown)):
            table.add_column(heading, justify="left" if heading == "Region" else "right", style="none")
        for region, row in rows.items():
            table.add_row(
                region,
                _rate(row),
                f"{row.get('intents', 0):,}/s",
                _ms(row.get("p50_ms")),
                _ms(row.get("p99_ms")),
                *(_count(row, name, "yellow" if name in ("condition", "conflict") else "red") for name in shown),
            )
        faults = Text("in effect: " + ", ".join(self._faults), style="bold red") if self._faults else Text("no fault")
        suspected = Text("nothing looks lost or stale")
        if self._suspected:
            suspected = Text(f"so far {self._suspected.line()}", style="yellow")
        counts = (f"{name} {self._second.get(name, 0):,}" for name in ("offered", "sent", "late"))
        return Group(self._bar(), table, Text(f"intents in this second: {', '.join(counts)}"), faults, suspected)

    def _bar(self) -> Any:
        from rich.text import Text

        bar = Text()
        done = self._clock.elapsed_s / self._clock.total_s * _BAR_WIDTH
        position = 0
        for name, start, duration in self._clock.phases:
            end = round((start + duration) / self._clock.total_s * _BAR_WIDTH)
            width, filled = end - position, max(0, min(end - position, round(done) - position))
            style = "bold cyan" if name == self._clock.phase else "cyan"
            bar.append("█" * filled + "░" * (width - filled), style=style)
            bar.append(" ")
            position = end
        bar.append(f"{self._clock.phase or ''}  {self._clock.elapsed_s:.0f} of {self._clock.total_s:.0f} s")
        return bar


class PhaseClock:
    """Where in the drill's phases the load is."""

    def __init__(self, profile: Profile) -> None:
        self.phases: list[tuple[str, float, float]] = []
        start = 0.0
        for phase in profile.phases:
            self.phases.append((phase.name, start, phase.duration))
            start += phase.duration
        self.total_s = start
        self._t0: float | None = None

    def begin(self, second: dict[str, Any]) -> None:
        """Take t0 from the ``start`` event."""
        if second.get("event") == "start":
            self._t0 = second["t0_ns"] / 1e9

    @property
    def elapsed_s(self) -> float:
        """Seconds since t0, at most the length of the load; 0 before."""
        return 0.0 if self._t0 is None else max(0.0, min(time.monotonic() - self._t0, self.total_s))

    @property
    def phase(self) -> str | None:
        """Name of the phase; null before t0."""
        if self._t0 is None or time.monotonic() < self._t0:
            return None
        return next((n for n, start, length in self.phases if self.elapsed_s < start + length), self.phases[-1][0])

    def stamp(self) -> str:
        """``  12 s`` since t0."""
        return f"{self.elapsed_s:4.0f} s"


def _with_example(found: Suspected) -> str:
    return found.line() + (f"; {found.examples[0]}" if found.examples else "")


def _rate(row: dict[str, Any]) -> str:
    return f"{row.get('rate', 0):,.0f}/s"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _count(row: dict[str, Any], name: str, style: str) -> str:
    count = row.get(name, 0)
    return f"[{style}]{count:,.0f}[/]" if count else "0"


def _errors(row: dict[str, Any]) -> str:
    said = [f"{row[name]:,.0f} {name}" for name in ("fail", "conflict", "unknown") if row.get(name)]
    return f" ({', '.join(said)})" if said else ""

"""A picture of how far a search got: operations as bars, a row a process, in the order that was found. One SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from verifier.search.judge import Judged, Part, say, say_call, sentences
from verifier.search.model import Operation

_MOST: Final = 120
"""Operations drawn: the last ones before it stops, the witness always."""
_STEP: Final = 44
_ROW: Final = 38
_LEFT: Final = 110
_TOP: Final = 46
_BAR: Final = 22

_STYLE: Final = """
  .page { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1d2430 } .faint { fill: #667085 }
  .rule { stroke: #e3e7ee } .order { stroke: #1f6f43; fill: none; stroke-dasharray: 3 3; opacity: .7 }
  .placed { fill: #cdebd9; stroke: #1f6f43 } .stuck { fill: #ffd5cf; stroke: #b42318 }
  .later { fill: #eef0f4; stroke: #98a2b3 } .witness { stroke-width: 3 } .dot { fill: #1f6f43 }
  .number { font-size: 10px; fill: #1f6f43 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12161d } text { fill: #e6e9ef } .faint { fill: #98a2b3 } .rule { stroke: #2a3140 }
    .placed { fill: #17402a; stroke: #6fcf97 } .stuck { fill: #5b1f19; stroke: #ff8a7a }
    .later { fill: #232a36; stroke: #667085 } .order { stroke: #6fcf97 } .dot, .number { fill: #6fcf97 }
  }
"""


def html(judged: Judged, title: str) -> str:
    """The picture with its sentences as a page of its own."""
    said = "".join(f"<p>{escape(line)}</p>" for line in sentences(judged))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>body{{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;"
        "padding:0 1em;color-scheme:light dark}div{overflow-x:auto}p{overflow-wrap:anywhere}</style>"
        f"<h1>{escape(title)}</h1>{said}<div>{svg(judged, title)}</div></html>\n"
    )


def svg(judged: Judged, title: str) -> str:
    """The first part of what was judged: the one in which something is wrong, if any is."""
    if not judged.parts:
        return _framed(320, _TOP + 30, title, [_text(12, _TOP + 12, "nothing to draw")])
    return _Drawing(judged.parts[0]).svg(title)


class _Drawing:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.number = {at: number for number, at in enumerate(part.found.order, 1)}
        self.shown = _chosen(part)
        times = {part.operations[at].start for at in self.shown}
        times |= {end for at in self.shown if (end := part.operations[at].end) is not None}
        # Distances are by rank: what matters is what came before what.
        self.rank = {time: rank for rank, time in enumerate(sorted(times))}
        self.right = _LEFT + (len(self.rank) + 1) * _STEP
        self.rows = _rows([part.operations[at] for at in self.shown])

    def svg(self, title: str) -> str:
        found, shapes = self.part.found, []
        for row, process in enumerate(self.rows):
            y = _TOP + row * _ROW + _ROW / 2
            shapes.append(f'<line class="rule" x1="{_LEFT}" x2="{self.right}" y1="{y}" y2="{y}"/>')
            shapes.append(_text(12, y + 4, f"process {process}"[:16], "faint"))
        for at in self.shown:
            shapes.append(self._bar(at))
        shapes += self._order()
        height = _TOP + len(self.rows) * _ROW + 34
        left_out = len(self.part.operations) - len(self.shown)
        legend = (
            "green: placed, in this order · red: could not be placed · grey: after that, or never answered and unused"
        )
        legend += " · thick: the witness" if self.part.witness else ""
        legend += f" · {left_out:,} operations not drawn" if left_out else ""
        shapes.append(_text(12, height - 12, legend, "faint"))
        key = "" if self.part.key is None else f", key {self.part.key}"
        return _framed(max(self.right + 20, 760), height, f"{title}{key}: {_VERDICTS[found.verdict]}", shapes)

    def _x(self, time: int) -> float:
        return _LEFT + (self.rank[time] + 0.5) * _STEP

    def _bar(self, at: int) -> str:
        one = self.part.operations[at]
        kind = "placed" if at in self.number else "stuck" if at in self.part.found.stuck else "later"
        left, right = self._x(one.start) - 6, (self.right if one.end is None else self._x(one.end) + 6)
        y = _TOP + self.rows.index(one.process) * _ROW + (_ROW - _BAR) / 2
        label = say_call(one.call).replace(" (unknown)", " ?")
        room = max(3, int((right - left) / 6.5))
        label = label if len(label) <= room else label[: room - 1] + "…"
        thick = " witness" if at in self.part.witness else ""
        open_end = ' stroke-dasharray="4 3"' if one.end is None else ""
        return (
            f'<g><title>{escape(say(one))}</title><rect class="{kind}{thick}" x="{left:.0f}" y="{y:.0f}" '
            f'width="{right - left:.0f}" height="{_BAR}" rx="4"{open_end}/>{_text(left + 5, y + 15, label)}</g>'
        )

    def _order(self) -> list[str]:
        """A line through the moments at which the placed operations can have taken effect, in order."""
        points, dots, x = [], [], 0.0
        shown = set(self.shown)
        placed = [at for at in self.part.found.order if at in shown]
        for at in placed:
            one = self.part.operations[at]
            x = max(x + 2, self._x(one.start))
            end = self.right if one.end is None else self._x(one.end) + 5
            x = min(x, end)
            y = _TOP + self.rows.index(one.process) * _ROW + _ROW / 2 + _BAR / 2
            points.append(f"{x:.0f},{y:.0f}")
            dots.append(f'<circle class="dot" cx="{x:.0f}" cy="{y:.0f}" r="3"/>')
            dots.append(f'<text class="number" x="{x + 3:.0f}" y="{y + 10:.0f}">{self.number[at]}</text>')
        return [f'<polyline class="order" points="{" ".join(points)}"/>', *dots] if points else []


_VERDICTS: Final = {"holds": "holds", "violated": "violated", "unknown": "inconclusive"}


def _chosen(part: Part) -> list[int]:
    """Places of the operations to draw, in order of start."""
    by_start = sorted(range(len(part.operations)), key=lambda at: part.operations[at].start)
    if len(by_start) <= _MOST:
        return by_start
    stuck = part.found.stuck
    last = part.operations[stuck[0]].end if stuck else None
    before = [at for at in by_start if last is None or part.operations[at].start <= last]
    return sorted({*before[-_MOST:], *part.witness[:_MOST], *stuck}, key=lambda at: part.operations[at].start)


def _rows(operations: Sequence[Operation]) -> list[int | str]:
    processes = {one.process for one in operations}
    return sorted(processes, key=lambda process: (isinstance(process, str), process if isinstance(process, int) else 0))


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


def _framed(width: float, height: float, title: str, shapes: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<rect class="page" width="100%" height="100%"/>{_text(12, 24, title)}{"".join(shapes)}</svg>\n'
    )

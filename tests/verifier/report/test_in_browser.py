"""The report in a real browser, opened from disk: charts drawn, filters and diagrams worked by clicks and keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, Page, find_chromium
from tests.verifier.report.synthetic import HOSTILE_KEY, make_run
from verifier.report import write_report
from verifier.rundir import RunDirectory, write_atomically
from verifier.verdict import CheckSummary, Finding, Verdict, WitnessOperation
from verifier.verify import verify

pytestmark = pytest.mark.e2e

PROBES = (Path(__file__).parent / "probes.js").read_text("utf-8")
ZOOMS = "lw.charts.charts.map(chart => chart.u.scales.x.max - chart.u.scales.x.min)"


def probe(page: Page, name: str, *arguments: object) -> Any:
    """Ask the page one of probes.js."""
    code = PROBES[PROBES.index("({") :]
    return page.evaluate(f"({code.strip()}).{name}({', '.join(json.dumps(one) for one in arguments)})")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        message = "NO BROWSER: the report was not opened in one; install `chromium` or set CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with Browser(path) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, run: RunDirectory) -> Iterator[Page]:
    opened = browser.open(run.report.as_uri())
    yield opened
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith("file:")] == []
    opened.close()


def test_it_opens_from_disk_and_draws_every_chart(page: Page) -> None:
    assert page.count(".uplot canvas") == page.count(".chart") - page.count("[hidden] .chart")
    assert page.count(".region-row") == 3
    assert probe(page, "drawn", ".uplot canvas")
    assert "acknowledged" in page.text("#headline")
    assert page.requests == [page.evaluate("location.href")]


def test_what_the_run_calls_itself_is_never_run(page: Page) -> None:
    page.click("#findings h2")
    page.click("[name=key]")
    page.type("<script>alert(")
    page.click(".finding button")
    assert page.count("img") == 0
    assert page.count("script") == page.evaluate("document.scripts.length") == 6
    assert page.evaluate("document.querySelector('.finding .tag[title]').title") == HOSTILE_KEY


def test_drag_zooms_all_charts_and_a_double_click_shows_everything_again(page: Page) -> None:
    whole = page.evaluate(ZOOMS)
    page.drag(".region-row:nth-child(2) .u-over", 0.3, 0.6)
    zoomed = page.evaluate(ZOOMS)
    assert len(set(zoomed)) == 1
    assert zoomed[0] == pytest.approx(0.3 * whole[0], rel=0.1)
    page.double_click(".region-row:nth-child(2) .u-over")
    assert page.evaluate(ZOOMS) == whole


def test_zoom_to_a_phase_and_to_a_fault(page: Page) -> None:
    page.click("#zooms button:nth-child(3)")
    assert page.text("#zooms [aria-pressed=true]") == "fault"
    assert page.evaluate("[lw.charts.state.min, lw.charts.state.max]") == [10, 20]
    page.click("[data-zoom-fault]")
    low, high = page.evaluate("[lw.charts.state.min, lw.charts.state.max]")
    assert low < 10 < 20 < high < 30


def test_scale_kind_and_the_arrow_keys(page: Page) -> None:
    assert page.evaluate("lw.charts.charts[1].u.scales.y.distr") == 3
    page.click("[name=scale][value=linear]")
    assert page.evaluate("lw.charts.charts[1].u.scales.y.distr") == 1
    shown = page.evaluate("lw.charts.charts[2].u.data[1].reduce((a, b) => a + b)")
    page.choose("#chart-kind", "read")
    assert 0 < page.evaluate("lw.charts.charts[2].u.data[1].reduce((a, b) => a + b)") < shown
    assert probe(page, "drawn", ".uplot canvas")

    page.evaluate("document.querySelector('.region-row .chart-frame').focus()")
    page.key("ArrowRight")
    page.key("ArrowRight")
    said = page.evaluate("document.getElementById('say').textContent")
    assert "p50" in said
    assert "p99" in said
    assert "ms" in page.text(".region-row .readout")
    page.key("+")
    assert page.evaluate("lw.charts.state.max - lw.charts.state.min") == pytest.approx(15)
    page.key("0")
    assert page.evaluate("lw.charts.state.max - lw.charts.state.min") == pytest.approx(30)


def test_a_finding_opens_its_diagram_and_its_operations(page: Page) -> None:
    assert page.count(".finding") == 25
    page.click(".finding:nth-child(2) h3 button")
    assert page.count(".diagram svg") == 1
    operations = page.evaluate("lw.data.findings[1].ops.length")
    assert operations >= 2
    assert page.count(".diagram .op-bar") == operations
    assert page.count(".finding .ops tbody tr") == operations
    assert page.evaluate("location.hash") == "#finding-2"
    page.click(".finding:nth-child(2) h3 button")
    assert not page.evaluate("document.querySelector('.finding .diagram').checkVisibility()")
    held = page.evaluate("lw.data.findings.length")
    page.click("#more")
    assert page.count(".finding") == min(75, held)
    assert page.evaluate("document.activeElement.closest('.finding') === document.querySelectorAll('.finding')[25]")


def test_every_finding_can_be_drawn_in_every_way(page: Page) -> None:
    assert probe(page, "drawEvery", 5) > 100


def test_the_diagram_is_to_scale_and_links_what_was_read_to_what_was_written(browser: Browser, tmp_path: Path) -> None:
    """Write A, write B after it, a read that still shows A; a refused and an unanswered write beside them."""
    millisecond = 1_000_000

    def operation(
        op: int, region: str, kind: str, start_ms: float, end_ms: float | None, **more: Any
    ) -> WitnessOperation:
        end_ns = None if end_ms is None else round(end_ms * millisecond)
        start_ns = round(start_ms * millisecond)
        fields = {"outcome": "ok", "process": op} | more
        return WitnessOperation(op=op, region=region, kind=kind, key="k", start_ns=start_ns, end_ns=end_ns, **fields)

    directory = make_run(tmp_path, seconds=3)
    verdict = verify(directory.path)
    found = Finding(
        check="made-up", key="k", regions=["us-east-1"], sentence="A stale read.", at_ns=0, stale_ms=12,
        operations=[
            operation(1, "us-east-1", "write", 0, 10, value=7, saw=1, prev=-1),
            operation(2, "us-east-1", "add", 20, 25, value=1, result=8, saw=2, prev=1),
            operation(3, "eu-west-1", "read", 40, 60, result=7, saw=1),
            operation(4, "us-west-2", "write", 30, 35, value=9, outcome="fail", error="ThrottlingException"),
            operation(5, "us-west-2", "write", 45, None, value=9, outcome="unknown", error="Timeout"),
        ],
    )  # fmt: skip
    verdict.checks.insert(
        0, CheckSummary(name="made-up", verdict="violated", exercised=5, violations=1, findings=[found])
    )
    write_atomically(directory.verdict, verdict.model_dump_json(by_alias=True))
    page = browser.open(write_report(directory).as_uri() + "#finding-1")

    bars = probe(page, "bars")
    scale = bars["0:1"][1] / 10
    for name, start, long in (("0:2", 20, 5), ("0:3", 40, 20), ("0:4", 30, 5)):
        assert bars[name] == pytest.approx([bars["0:1"][0] + start * scale, long * scale], abs=0.5)
    assert sum(bars["0:5"]) >= page.evaluate("document.querySelector('.diagram').clientWidth")

    drawn = page.evaluate("[...document.querySelectorAll('.diagram .caption')].map(text => text.textContent)")
    assert drawn == ["write 7", "add +1 → 8", "write 9 ✕ ThrottlingException", "write 9 ? Timeout", "read → 7"]
    lanes = page.evaluate("[...document.querySelectorAll('.diagram .lane-name')].map(text => text.textContent)")
    assert lanes == [
        "us-east-1 · process 1", "us-east-1 · process 2", "us-west-2 · process 4", "us-west-2 · process 5",
        "eu-west-1 · process 3",
    ]  # fmt: skip
    paths = page.evaluate(
        "[...document.querySelectorAll('.diagram .link')].map(path => [path.className.baseVal, path.getAttribute('d')])"
    )
    assert sorted(name for name, _ in paths) == ["link", "link prev"]
    shows = next(d for name, d in paths if name == "link")
    assert float(shows[1:].split(" ")[0]) == pytest.approx(sum(bars["0:1"]), abs=0.5)  # from the write's answer
    assert float(shows.split(" ")[-2]) == pytest.approx(sum(bars["0:3"]), abs=0.5)  # to the read's

    page.evaluate(
        "document.querySelector('.ops tbody tr:nth-child(3)').dispatchEvent(new Event('pointerover', {bubbles: true}))"
    )
    assert page.evaluate("document.querySelector('.op.lit').dataset.op") == "0:3"
    assert page.problems == []
    page.close()


def test_filters(page: Page, run: RunDirectory) -> None:
    verdict = Verdict.model_validate_json(run.verdict.read_bytes())
    violated = [check for check in verdict.checks if check.violations]
    options = page.evaluate("[...document.querySelectorAll('#filters [name=check] option')].map(o => o.value)")
    assert options == ["", *(check.name for check in violated)]
    for name in options[1:]:
        page.choose("#filters [name=check]", name)
        tags = page.evaluate("[...document.querySelectorAll('.finding .meta .tag:last-child')].map(t => t.textContent)")
        assert set(tags) == {name}
    page.click("#filters [type=reset]")
    page.wait_for("document.querySelector('#filters [name=check]').value === ''")

    page.click("[name=key]")
    page.type("REGISTERS-3")
    keys = page.evaluate("[...document.querySelectorAll('.finding .tag[title]:not(.fault)')].map(t => t.title)")
    assert set(keys) == {"registers-3"}
    page.click("#filters [type=reset]")

    page.choose("#filters [name=fault]", "fault-1")
    inside = page.evaluate("lw.data.findings.filter(f => f.fault === 'fault-1').length")
    assert page.text("#found").startswith(f"{inside:,} of ")
    page.choose("#filters [name=region]", "us-west-2")
    both = page.evaluate("lw.data.findings.filter(f => f.fault && f.regions.includes('us-west-2')).length")
    assert both < inside
    assert page.text("#found").startswith(f"{both:,} of ")
    page.choose("#filters [name=order]", "time")
    times = page.evaluate("[...document.querySelectorAll('.finding')].map(f => lw.data.findings[f.id.slice(8) - 1].at)")
    assert times == sorted(times)

    key = page.text("#loss-by-key tbody tr:first-child th")
    page.click("#loss-by-key tbody tr:first-child a")
    page.wait_for("document.querySelector('[name=key]').value !== ''")
    assert page.evaluate("document.querySelector('[name=key]').value") == key
    assert page.evaluate("document.querySelector('[name=fault]').value") == ""


def test_dark_by_preference_and_by_button(browser: Browser, run: RunDirectory) -> None:
    page = browser.open(run.report.as_uri(), dark=True)

    def paper() -> int:
        return int(page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"))

    assert paper() < 60
    page.click("#theme")
    assert paper() > 200
    assert probe(page, "drawn", ".uplot canvas")
    page.goto(run.report.as_uri())
    assert paper() > 200, "the choice was forgotten"
    page.close()


def test_no_sideways_scrolling_on_a_phone(browser: Browser, run: RunDirectory) -> None:
    page = browser.open(run.report.as_uri(), width=320, height=800)
    for index in (1, 2):
        page.click(f".finding:nth-child({index}) h3 button")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.settle()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.resize(768, 800)
    page.wait_for("lw.charts.charts.every(chart => chart.u.width === chart.spec.host.clientWidth)")
    assert page.evaluate("document.documentElement.scrollWidth") == 768
    assert probe(page, "drawn", ".uplot canvas")
    assert page.problems == []
    page.close()


def test_everybody_can_read_it_and_reach_it(page: Page) -> None:
    page.key("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.click(".finding h3 button")
    for dark in (False, True):
        page.media(dark=dark)
        page.settle()
        assert probe(page, "faint") == []
    assert probe(page, "nameless") == []
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope]'))")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_it_prints_light_and_without_what_only_a_screen_can_use(
    browser: Browser, run: RunDirectory, tmp_path: Path
) -> None:
    page = browser.open(run.report.as_uri(), dark=True)
    paper = page.pdf(tmp_path / "report.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert 3 < paper.count(b"/Type /Page\n") < 25
    page.media(medium="print", dark=True)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for selector in (".top", "#filters", "#chart-controls"):
        assert not page.evaluate(f"document.querySelector('{selector}').checkVisibility()")
    page.close()


def test_a_run_in_which_hardly_anything_happened(browser: Browser, quiet_run: Path) -> None:
    page = browser.open(quiet_run.as_uri())
    operations = page.evaluate("lw.data.operations.length")
    assert 0 < operations == page.count("#whole-run .op-bar")
    assert page.count(".uplot canvas") >= 2
    assert page.problems == []
    page.close()


def test_it_opens_in_under_two_seconds_of_work(browser: Browser, run: RunDirectory) -> None:
    page = browser.open("about:blank")
    page.call("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(run.report.as_uri())
    spent = {one["name"]: one["value"] for one in page.call("Performance.getMetrics")["metrics"]}
    assert spent["TaskDuration"] < 2
    page.close()

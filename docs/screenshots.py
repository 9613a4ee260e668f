"""Pictures of a real report for README and docs: ``.venv/bin/python docs/screenshots.py results/RUN``.

Makes the report of a verified run anew and photographs it in headless Chromium: the answer, the faults, time (dark),
ledgers, a finding, and the page on a phone. Run it after the report's looks have changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import BrowserError, Page, chromium  # noqa: E402 - found through the line above
from verifier.errors import RecordError  # noqa: E402
from verifier.report import write_report  # noqa: E402
from verifier.rundir import RunDirectory  # noqa: E402

DESKTOP = (1280, 900)
PHONE = (390, 844)


def main() -> int:
    """Exit code 0, or 2 with one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a verified run directory")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        url = write_report(RunDirectory(arguments.run)).resolve().as_uri()
        with chromium() as browser:
            for name, (size, dark, needed, prepare) in PICTURES.items():
                page = browser.open(url, width=size[0], height=size[1], scale=1.5, dark=dark)
                if page.count(needed):
                    prepare(page)
                    page.settle()
                    print(page.screenshot(arguments.out / f"{name}.png"))  # noqa: T201 - a script
                page.close()
    except (RecordError, BrowserError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a script
        return 2
    return 0


def top(page: Page) -> None:
    """As it opens."""
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")


def at(section: str) -> Callable[[Page], None]:
    """Scrolled to a section, as the links at the top do."""

    def scroll(page: Page) -> None:
        page.evaluate(f"document.querySelector('#{section}').scrollIntoView({{behavior: 'instant'}})")

    return scroll


def stalest(page: Page) -> None:
    """The stalest read, opened."""
    page.choose("#filters [name=order]", "stale")
    page.click(".finding h3 button")
    page.evaluate("document.querySelector('#filters').scrollIntoView({behavior: 'instant'})")
    page.evaluate("document.activeElement.blur()")


PICTURES = {
    "report": (DESKTOP, False, "#answer", top),
    "report-faults": (DESKTOP, False, "#faults", at("faults")),
    "report-time": (DESKTOP, True, "#time", at("time")),
    "report-losses": (DESKTOP, False, "#losses", at("losses")),
    "report-finding": (DESKTOP, False, ".finding", stalest),
    "report-phone": (PHONE, False, "#answer", top),
}
"""Name → size, dark, what the page must have (a run may have no faults and no findings), what to do first."""

if __name__ == "__main__":
    raise SystemExit(main())

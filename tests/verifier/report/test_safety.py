"""The page holds what keys and sentences say as text, can fetch nothing, stays small, and says what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.verifier.report.synthetic import HOSTILE_KEY, make_run
from verifier.errors import RecordError
from verifier.report import write_report
from verifier.report.findings import MAX_BYTES, MAX_FINDINGS
from verifier.report.page import script_json
from verifier.rundir import RunDirectory, RunInfo, write_atomically
from verifier.verdict import Finding, Verdict, WitnessOperation
from verifier.verify import verify

MEGABYTE = 1_000_000


def test_no_text_of_the_run_becomes_markup(page_html: str) -> None:
    assert HOSTILE_KEY not in page_html
    assert "<img src=x" not in page_html
    assert "<script>alert" not in page_html
    assert page_html.count("<script") == page_html.count("</script>")


def test_json_inside_a_script_cannot_end_it() -> None:
    nasty = {"a": "</script><!--<script>", "b": "\u2028\u2029&amp;", "c": ["]]>"]}
    text = script_json(nasty)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == nasty


def test_the_policy_allows_nothing_from_outside(page_html: str) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page_html)
    assert found is not None
    policy = dict(part.strip().split(" ", 1) for part in found[1].replace("&#39;", "'").split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in found[1]
    assert not re.search(r"https?:|\*", found[1])
    assert all(source.startswith("'sha256-") for name in ("script-src", "style-src") for source in policy[name].split())


def test_nothing_is_linked_from_outside(page_html: str) -> None:
    links = re.findall(r'(?:src|href)="([^"]*)"', page_html)
    assert links
    outside = [link for link in links if re.match(r"[a-z]+:|//", link) and not link.startswith("data:")]
    assert outside == []


def test_linked_files_exist(run: RunDirectory, page_html: str) -> None:
    links = {link for link in re.findall(r'href="([^"#]+)"', page_html) if not link.startswith("data:")}
    assert "verdict.json" in links
    assert [link for link in links if not (run.path / link).exists()] == []


def test_six_megabytes_hold_any_run(tmp_path: Path) -> None:
    """Many Regions, kinds, hours, findings, keys of two kilobytes: data is reduced, totals stay."""
    directory = make_run(tmp_path, seconds=7200, rate=2, keys=60)
    verify(directory.path)
    verdict = Verdict.model_validate_json(directory.verdict.read_bytes())
    operation = WitnessOperation(
        op=3 << 48, process=1, region="us-east-1", kind="write", key="k", outcome="ok", start_ns=0, end_ns=10**6
    )
    for number, check in enumerate(verdict.checks):
        check.findings = [
            Finding(
                check=check.name,
                key=f"{number}-{i}-" + "k" * 2000,
                sentence="x" * 800,
                at_ns=i,
                operations=[operation] * 6,
            )
            for i in range(1500)
        ]
        check.violations = 1_000_000
    write_atomically(directory.verdict, verdict.model_dump_json(by_alias=True))
    page = write_report(directory)
    text = page.read_text("utf-8")
    assert page.stat().st_size < 6 * MEGABYTE
    held = text.count('"sentence":')
    assert 200 < held <= MAX_FINDINGS
    assert f"{1_000_000 * len(verdict.checks):,} breaches were found" in text
    assert f"this page holds the {held:,} worst" in text
    assert MAX_BYTES < 4 * MEGABYTE


def test_a_small_run_makes_a_small_page(quiet_run: Path) -> None:
    assert quiet_run.stat().st_size < MEGABYTE


def test_without_a_verdict_it_says_what_to_do(tmp_path: Path) -> None:
    directory = make_run(tmp_path, seconds=2)
    with pytest.raises(RecordError, match=r"verdict\.json: not found; run `lastwriter verify "):
        write_report(directory)
    directory.verdict.write_text('{"schema": 99}')
    with pytest.raises(RecordError, match="not a verdict of this version"):
        write_report(directory)
    assert not directory.report.exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    directory = make_run(tmp_path, seconds=5)
    verify(directory.path)
    whole = directory.findings.read_bytes()
    directory.findings.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=r"findings\.parquet"):
        write_report(directory)
    directory.findings.write_bytes(whole)
    directory.lost.write_text('{"key": 3\n')
    with pytest.raises(RecordError, match=r"lost\.jsonl"):
        write_report(directory)


@pytest.mark.parametrize("change", ["incomplete", "no ledger", "no phases", "killed", "nothing judged"])
def test_what_may_be_missing_of_a_run_is_said(tmp_path: Path, change: str) -> None:
    directory = make_run(tmp_path, seconds=4)
    verify(directory.path)
    verdict = Verdict.model_validate_json(directory.verdict.read_bytes())
    info = RunInfo.model_validate_json(directory.run_json.read_bytes())
    if change == "incomplete":
        verdict.complete, verdict.incomplete_reasons = False, ["Worker 1 left no end mark."]
        wanted = "This record is not complete."
    elif change == "no ledger":
        verdict.ledger.intent = verdict.ledger.store = None
        wanted = "No write of this run carried a mark"
    elif change == "no phases":
        info.phases, verdict.faults, verdict.latency = [], [], []
        wanted = "Over time"
    elif change == "killed":
        info.ended, info.end_ns = None, None
        wanted = "not in order: it was killed, or its disk was full"
    else:
        verdict.contract, verdict.invariants, verdict.expectations, verdict.checks = [], [], [], []
        verdict.contract_verdict, verdict.expectations_met = "unknown", None
        wanted = "No check found a breach."
    write_atomically(directory.verdict, verdict.model_dump_json(by_alias=True))
    write_atomically(directory.run_json, info.model_dump_json(by_alias=True))
    assert wanted in write_report(directory).read_text("utf-8")

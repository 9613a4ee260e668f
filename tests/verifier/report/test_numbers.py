"""Every figure on the page is verdict.json's: tables, tiles, ledgers, and the charts' totals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from verifier.context import read_context
from verifier.rundir import RunDirectory
from verifier.verdict import Verdict


class Tables(HTMLParser):
    """Rows of every table that has an id, and of everything with ``data-value``: text and value of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.values: dict[str, list[str]] = {}
        self._table: str | None = None
        self._cell: list[str] | None = None
        self._value: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self._table = given.get("id")
            if self._table:
                self.rows[self._table] = []
        elif tag == "tr" and self._table:
            self.rows[self._table].append([])
        elif tag in ("td", "th") and self._table:
            self._cell, self._value = [], given.get("data-value")
        if "data-value" in given and tag not in ("td", "th"):
            self.values.setdefault(given["data-name"] or "", []).append(given["data-value"] or "")

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self._table:
            self.rows[self._table][-1].append(("".join(self._cell).strip(), self._value))
            self._cell = None
        elif tag == "table":
            self._table = None

    def body(self, table: str) -> Iterator[list[tuple[str, str | None]]]:
        """Rows that hold figures."""
        return (row for row in self.rows[table] if any(value is not None for _, value in row))


@pytest.fixture(scope="module")
def verdict(run: RunDirectory) -> Verdict:
    return Verdict.model_validate_json(run.verdict.read_bytes())


@pytest.fixture(scope="module")
def tables(page_html: str) -> Tables:
    return Tables(page_html)


@pytest.fixture(scope="module")
def data(page_html: str) -> dict[str, Any]:
    start = page_html.index('<script type="application/json" id="data">')
    text = page_html[page_html.index(">", start) + 1 : page_html.index("</script>", start)]
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def figures(row: list[tuple[str, str | None]]) -> list[int]:
    """Whole numbers of a row; what is shown must be what the cell holds."""
    found = []
    for text, value in row:
        if value is not None:
            found.append(int(value or 0))
            assert text.replace(",", "").replace("·", "0") == value
    return found


def test_contract_and_invariants(verdict: Verdict, tables: Tables, page_html: str) -> None:
    for name, rows in (("contract", verdict.contract), ("invariants", verdict.invariants)):
        exercised = [row for row in rows if row.exercised or row.verdict != "unknown"]
        assert [figures(row) for row in tables.body(name)] == [[r.exercised, r.violations] for r in exercised]
        assert 0 < len(exercised) < len(rows)
        assert f"{len(rows) - len(exercised)} more, not exercised by this load" in page_html
    assert [figures(row) for row in tables.body("checks")] == [[c.exercised, c.violations] for c in verdict.checks]


def test_headline_and_answers(verdict: Verdict, page_html: str) -> None:
    headline = page_html[page_html.index('<h1 id="headline"') : page_html.index("</h1>")]
    assert verdict.headline in headline
    ledger = verdict.ledger.intent
    assert ledger is not None
    assert ledger.lost > 0
    assert f"{ledger.lost:,} of {ledger.acknowledged:,} acknowledged writes are gone" in page_html


def test_expectations(verdict: Verdict, tables: Tables) -> None:
    assert [row[3][0] for row in tables.body("expectations")] == [r.measured or "–" for r in verdict.expectations]
    assert len(verdict.expectations) == 3


def test_ledgers(verdict: Verdict, tables: Tables) -> None:
    intent, store = verdict.ledger.intent, verdict.ledger.store
    assert intent is not None
    assert store is not None
    assert tables.values["lost"] == [str(intent.lost)] * 2
    assert tables.values["acknowledged"] == [str(intent.acknowledged)] * 2
    assert tables.values["kept"] == [str(intent.kept)]
    assert tables.values["unattributed"] == [str(intent.unattributed)]
    assert [figures(row) for row in tables.body("store-ledger")] == [
        [store.initial, store.acknowledged, store.unknown, store.final, store.missing, store.surplus]
    ]
    by_kind = {row[0][0]: figures(row) for row in tables.body("loss-by-kind")}
    assert by_kind == {
        kind: [part.acknowledged, part.kept, part.lost, part.unattributed] for kind, part in intent.by_kind.items()
    }


def test_who_overwrote_whom(verdict: Verdict, tables: Tables) -> None:
    intent = verdict.ledger.intent
    assert intent is not None
    winners = [text.removeprefix("won by") for text, _ in tables.rows["loss-matrix"][0][1:-1]]
    shown = {}
    for row in tables.body("loss-matrix"):
        loser = row[0][0].removeprefix("lost in")
        *counts, total = figures(row)
        shown[loser] = {winner: n for winner, n in zip(winners, counts, strict=True) if n}
        assert total == intent.lost_by_region[loser]
    assert shown == {loser: {w: n for w, n in row.items() if n} for loser, row in intent.lost_by_winner.items()}
    assert {row[0][0]: figures(row)[0] for row in tables.body("loss-by-key")} == intent.lost_by_key


def test_losses_by_key_and_region_add_up(verdict: Verdict, tables: Tables) -> None:
    for row in tables.body("loss-by-key"):
        by_region = [int(text.replace(",", "").replace("·", "0")) for text, value in row[1:-2]]
        assert sum(by_region) == figures(row)[0]


def test_latencies(verdict: Verdict, tables: Tables) -> None:
    shown = sorted(tuple(float(v) for _, v in row if v is not None) for row in tables.body("latency-by-fault"))
    wanted = sorted(
        (r.count, r.failed, r.unknown, r.p50_ms, r.p95_ms, r.p99_ms, r.p999_ms, r.max_ms)
        for r in verdict.latency
        if r.window in ("before", "during", "after")
    )
    assert shown == wanted
    assert len(list(tables.body("latency-by-phase"))) == len(verdict.latency) - len(wanted)


def test_charts_hold_every_operation_once(verdict: Verdict, data: dict[str, Any]) -> None:
    groups = data["time"]["groups"]
    assert sum(sum(kinds["all"]["count"]) for kinds in groups.values()) == verdict.operations
    for kinds in groups.values():
        of_kinds = [np.array(group["count"]) for name, group in kinds.items() if name != "all"]
        assert (np.sum(of_kinds, axis=0) == kinds["all"]["count"]).all()
        for group in kinds.values():
            parts = np.sum([group["ok"], group["failed"], group["unknown"]], axis=0)
            assert (parts == group["count"]).all()
    intent = verdict.ledger.intent
    assert intent is not None
    assert sum(data["time"]["lost"]) == intent.lost


def test_every_finding_is_counted(verdict: Verdict, data: dict[str, Any]) -> None:
    wanted = {check.name: check.violations for check in verdict.checks if check.violations}
    assert {name: sum(counts) for name, counts in data["time"]["findings"].items()} == wanted
    assert data["totals"] == wanted


def test_findings_are_those_of_the_verdict_and_more(verdict: Verdict, data: dict[str, Any]) -> None:
    for check in verdict.checks:
        shown = [finding for finding in data["findings"] if finding["check"] == check.name]
        assert [f["sentence"] for f in shown[: len(check.findings)]] == [f.sentence for f in check.findings]
        assert [[op["start"] for op in f["ops"]] for f in shown[: len(check.findings)]] == [
            [op.start_ns for op in f.operations] for f in check.findings
        ]
        assert len(shown) <= check.violations


def test_neighbours_are_operations_on_the_key_around_the_finding(run: RunDirectory, data: dict[str, Any]) -> None:
    history, context = read_context(run.path)
    assert context.run.start_ns is not None
    starts = {
        (f"{op >> 48}:{op & (1 << 48) - 1}", history.keys[key])
        for op, key in zip(history.op.tolist(), history.key.tolist(), strict=True)
    }
    near = [(op["id"], finding["key"]) for finding in data["findings"] for op in finding.get("near", ())]
    assert near
    assert set(near) <= starts
    for finding in data["findings"]:
        assert not {op["id"] for op in finding["ops"]} & {op["id"] for op in finding.get("near", ())}

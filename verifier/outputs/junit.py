"""``junit.xml``: one case an expectation, and one for the contract, for whatever reads JUnit."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from verifier.verdict import WORDS, ExpectationRow, Verdict

_ILLEGAL = {code: "\N{REPLACEMENT CHARACTER}" for code in range(0x20) if code not in (0x9, 0xA, 0xD)}


def junit(verdict: Verdict) -> str:
    """The whole file. Not met is a failure, inconclusive an error: neither passes."""
    suite = ET.Element("testsuite", name=_text(verdict.run))
    for row in verdict.expectations:
        case = ET.SubElement(suite, "testcase", classname="expectations", name=_text(expectation_text(row)))
        if row.met is False:
            ET.SubElement(case, "failure", message=_text(f"measured {row.measured}"), type=row.metric)
        elif row.met is None:
            ET.SubElement(case, "error", message=_text(f"inconclusive: {row.reason}"), type=row.metric)
    contract = ET.SubElement(suite, "testcase", classname="contract", name=f"{verdict.mode} keeps its contract")
    lines = [
        f"{WORDS[row.verdict]}: {row.promise} ({row.exercised:,} operations, {row.violations:,} findings)"
        for row in verdict.contract
    ]
    if verdict.contract_verdict == "violated":
        broken = ET.SubElement(contract, "failure", message=_text(verdict.headline), type="contract")
        broken.text = _text("\n".join(lines))
    elif not verdict.expectations and verdict.contract_verdict != "holds":
        ET.SubElement(contract, "error", message="inconclusive: nothing else was expected of this run", type="contract")
    ET.SubElement(contract, "system-out").text = _text("\n".join([verdict.headline, *lines]))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("skipped", "0")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def expectation_text(row: ExpectationRow) -> str:
    """``lost_updates == 0 (phase fault, MRSC)``."""
    narrowed = [f"phase {row.phase}"] if row.phase else []
    narrowed += [text for text in (row.region, row.kind, row.mode) if text]
    return f"{row.metric} {row.op} {row.value}" + (f" ({', '.join(narrowed)})" if narrowed else "")


def _text(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return text.translate(_ILLEGAL)

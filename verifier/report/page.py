"""From the page's data to one HTML document that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from verifier import recovery
from verifier.report import words
from verifier.report.data import STATE_OF, PageData
from verifier.rundir import RunInfo

_STYLES: Final = ("vendor/uPlot.min.css", "page.css")
_SCRIPTS: Final = ("vendor/uPlot.iife.min.js", "base.js", "charts.js", "diagram.js", "findings.js")

_TARGETS: Final = {
    "emulator": "lastwriter's emulator, on loopback",
    "endpoints": "endpoints given by the profile",
    "aws": "AWS",
}


@dataclass(frozen=True, slots=True)
class RunFile:
    """One file of the run directory, as the page links to it."""

    href: str
    name: str
    what: str
    bytes: int


def render(page: PageData, run_files: Sequence[RunFile]) -> str:
    """The whole document. Every text of the run is escaped; the only scripts that may run are the page's own."""
    style, scripts = _assets()
    run = page.run
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            verdict=page.verdict,
            intent=page.verdict.ledger.intent,
            run=run,
            t0_ns=page.t0_ns,
            title=f"{_profile_name(run)} · {run.mode} · lastwriter",
            profile_name=_profile_name(run),
            started=words.moment(run.created),
            warnings=list(dict.fromkeys([*page.verdict.warnings, *run.warnings])),
            run_facts=_run_facts(page),
            files=run_files,
            profile_text=yaml.safe_dump(run.profile, sort_keys=False, allow_unicode=True, width=100).rstrip(),
            style=Markup(style),  # noqa: S704 - our own file, and it is what the policy's hash allows
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - same
            script_data=Markup(script_json(page.script)),  # noqa: S704 - escaped by script_json
            policy=_policy(style, scripts),
        )
    )


def script_json(value: Mapping[str, Any]) -> str:
    """JSON that can stand inside ``<script>``: no text in it can end the element or begin a comment."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _assets() -> tuple[str, tuple[str, ...]]:
    static = files("verifier.report") / "static"
    font = base64.b64encode((static / "vendor/Inter.woff2").read_bytes()).decode()
    face = (
        '@font-face{font-family:"Inter";font-weight:100 900;font-display:swap;'
        f'src:url("data:font/woff2;base64,{font}") format("woff2")}}\n'
    )
    licence = (static / "vendor/uPlot.LICENSE").read_text("utf-8")
    style = face + "\n".join((static / name).read_text("utf-8") for name in _STYLES)
    scripts = [(static / name).read_text("utf-8") for name in _SCRIPTS]
    scripts[0] = f"/*\n{licence}*/\n{scripts[0]}"
    for text in (style, *scripts):
        if "</s" in text.lower().replace("</svg", ""):
            raise AssertionError("a bundled file would end its own element")
    return style, tuple(scripts)


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Content-Security-Policy: our own scripts and styles by their hashes, data: for type and icon, nothing else."""
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; "
        "font-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("verifier.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "at": words.at,
        "count": words.count,
        "first_upper": words.first_upper,
        "judgement": words.judgement,
        "ms": words.ms,
        "operator": _operator,
        "rpo": recovery.rpo_text,
        "rto": recovery.rto_text,
        "plural": words.plural,
        "share": words.share,
        "size": words.size,
        "span": words.span,
        "state": STATE_OF.__getitem__,
        "times": words.times,
    }
    return environment


def _operator(value: str) -> str:
    return {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥"}.get(value, value)


def _profile_name(run: RunInfo) -> str:
    return str(run.profile.get("name") or run.run)


def _run_facts(page: PageData) -> list[tuple[str, str]]:
    run, verdict = page.run, page.verdict
    ended = {
        "finished": "by its schedule",
        "stopped": "by a stop condition",
        "interrupted": "interrupted by hand",
        "aborted": "aborted by an error",
        None: "not in order: it was killed, or its disk was full",
    }[run.ended]
    settled = {True: "yes", False: "no", None: "not looked at"}[run.settled]
    intents = verdict.intents
    return [
        ("Run", run.run),
        ("Profile", _profile_name(run)),
        ("Target", _TARGETS[run.target]),
        ("Table", f"{run.table}, {run.mode}"),
        ("Regions", ", ".join(run.regions) + (f"; witness {run.witness}" if run.witness else "")),
        ("Client", {"wire": "wire, lastwriter's own", "boto3": "boto3"}[run.client]),
        ("Seed", str(run.seed)),
        ("Workers", f"{len(run.workers)} on {words.plural(len({w.host for w in run.workers}), 'host')}"),
        ("Ended", ended + (f": {run.reason}" if run.reason else "")),
        ("Settled", settled),
        (
            "Intents",
            f"{intents.intents:,}: {intents.succeeded:,} succeeded, {intents.failed:,} failed, "
            f"{intents.unknown:,} unknown; {words.plural(intents.attempts, 'attempt')}",
        ),
        (
            "From schedule to final answer",
            f"p50 {words.ms(intents.p50_ms)}, p99 {words.ms(intents.p99_ms)}, max {words.ms(intents.max_ms)}",
        ),
        (
            "Attempts that failed or stayed open",
            f"{words.plural(intents.conflicts, 'write conflict')}, {intents.throttled:,} throttled, "
            f"{words.plural(intents.condition_failed, 'failed condition')}, "
            f"{words.plural(intents.server_errors, 'server error')}, {words.plural(intents.timeouts, 'timeout')}",
        ),
        ("Versions", ", ".join(f"{name} {value}" for name, value in run.versions.model_dump().items())),
    ]

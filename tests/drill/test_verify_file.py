"""``lastwriter verify FILE --model``: what it prints and writes, and how it exits."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lastwriter.cli import cli
from lastwriter.errors import UserError
from tests.verifier.builders import write, write_run
from verifier.errors import RecordError

LOG = (
    "INFO  jepsen.util - 0\t:invoke\t:write\t3\n"
    "INFO  jepsen.util - 0\t:ok\t:write\t3\n"
    "INFO  jepsen.util - 1\t:invoke\t:read\tnil\n"
    "INFO  jepsen.util - 1\t:ok\t:read\t%s\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "etcd.log"
    path.write_text(LOG % 3)
    return path


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)], standalone_mode=False)


def test_a_history_that_holds(log: Path) -> None:
    result = verify(log, "--model", "cas-register")
    assert result.return_value == 0
    assert result.output.splitlines() == [
        f"{log}: Jepsen's text log, 2 operations judged",
        "cas-register: holds",
        "All 2 operations have an order that a cas-register allows.",
    ]


@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_one_that_does_not_with_a_picture_and_an_export(log: Path, suffix: str) -> None:
    log.write_text(LOG % 4)
    picture, export = log.with_name(f"far.{suffix}"), log.with_name("out.jsonl")
    result = verify(log, "--model", "register", "--picture", picture, "--export", export)
    assert result.return_value == 1
    assert "register: violated" in result.output
    assert "No order of the operations explains process 1's read → 4 (line 3)" in result.output
    text = picture.read_text()
    drawn = text[text.index("<svg") : text.index("</svg>") + 6]
    bars = [element.get("class") for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("rect")]
    assert bars == ["page", "placed", "stuck witness"]
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert verify(export, "--model", "register").return_value == 1


def test_a_search_that_is_not_finished_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "hard.jsonl"
    add = '{"process": 1, "f": "add", "value": VALUE, "outcome": "ok", "start": 0, "end": 90}'
    lines = [add.replace("VALUE", str(3**i)) for i in range(30)]
    lines.append('{"process": 99, "f": "read", "outcome": "ok", "result": 2, "start": 1, "end": 5}')
    path.write_text("\n".join(lines))
    result = verify(path, "--model", "counter", "--deadline", "50ms", "--picture", tmp_path / "far.svg")
    assert result.return_value == 3
    assert "counter: inconclusive" in result.output
    assert "the deadline of 0.05 s has passed" in result.output
    assert "inconclusive" in (tmp_path / "far.svg").read_text()
    result = verify(path, "--model", "counter", "--memory", "1MiB")
    assert result.return_value == 3
    assert "more than 1 MiB would be needed" in result.output


def test_a_model_of_ones_own_and_refusals(log: Path) -> None:
    own = log.with_name("own.py")
    own.write_text(
        "from dataclasses import replace\nfrom verifier.search.models import REGISTER\n"
        "SEVEN = replace(REGISTER, name='seven', init=lambda: 7)\n"
    )
    log.write_text("0 :invoke :read nil\n0 :ok :read 7\n")
    assert verify(log, "--model", f"{own}:SEVEN").return_value == 0
    assert verify(log, "--model", "register").return_value == 1
    log.write_text("0 :invoke :cas [nil 7]\n0 :fail :cas [nil 7]\n1 :invoke :read nil\n1 :ok :read nil\n")
    assert verify(log, "--model", "cas-register").return_value == 1
    assert verify(log, "--model", "cas-register", "--refusals", "drop").return_value == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "complaint"),
    [
        (["LOG"], UserError, "is a file: say by which --model"),
        (["nowhere.log", "--model", "register"], UserError, "no such file"),
        (["LOG", "--model", "nope"], UserError, "--model: no model 'nope'"),
        (["LOG", "--model", "register", "--deadline", "5"], UserError, "--deadline: '5' has no unit"),
        (["LOG", "--model", "register", "--memory", "much"], UserError, "like 500MB or 1GiB"),
        (["LOG", "--model", "register", "--picture", "a.png"], UserError, "called .html or .svg"),
        (["LOG", "--model", "register", "--export", "a.txt"], UserError, "called .edn or .jsonl"),
        (["LOG", "--model", "queue"], RecordError, "line 1: model queue has no write"),
    ],
)
def test_wrong_use_is_said_in_a_line(
    arguments: list[str], kind: type[Exception], complaint: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log.parent)
    result = verify(*(str(log) if one == "LOG" else one for one in arguments))
    assert isinstance(result.exception, kind)
    assert complaint in str(result.exception)


def test_a_run_is_judged_as_ever_and_exported(tmp_path: Path) -> None:
    write_run(tmp_path / "results" / "one", [write(1, 2, op=1), write(3, 4, op=2)])
    result = verify("one", "--results", tmp_path / "results", "--export", tmp_path / "one.edn")
    assert "verdict:" in result.output
    assert f"export: {tmp_path / 'one.edn'} (2 operations)" in result.output
    assert verify(tmp_path / "one.edn", "--model", "register").return_value == 0


def test_an_object_that_was_something_at_first(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("0\t:invoke\t:read\tnil\n0\t:ok\t:read\t0\n")
    assert verify(log, "--model", "register").return_value == 1
    assert verify(log, "--model", "register", "--initial", "0").return_value == 0
    for model, initial, complaint in (
        ("counter", '"x"', "is nothing that a counter can be"),
        ("register", "0 1", "one value is wanted"),
        ("register", "[", "is never closed"),
    ):
        assert complaint in str(verify(log, "--model", model, "--initial", initial).exception)


def test_what_a_model_does_not_know_is_one_line_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "txn.edn"
    path.write_text("{:process 0 :type :invoke :f :txn :value [[:r 0 nil]]}")
    assert "txn.edn: line 1: model register has no txn" in str(verify(path, "--model", "register").exception)


def test_the_model_in_the_documents_works_by_copy_and_paste(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (tmp_path / "my_models.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    lines = ["{:process 0 :type %s :f :push :value 1}", "{:process 0 :type %s :f :push :value 2}"]
    lines.append("{:process 0 :type %s :f :pop :value nil}")
    history = tmp_path / "stack.edn"
    for popped, code in ((2, 0), (1, 1)):
        calls = [(line % ":invoke", line.replace("nil", str(popped)) % ":ok") for line in lines]
        history.write_text("\n".join(line for pair in calls for line in pair))
        assert verify(history, "--model", f"{tmp_path / 'my_models.py'}:STACK").return_value == code

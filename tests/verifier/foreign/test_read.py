"""Histories from elsewhere: what is read, what is odd and said, and what ends it with the number of a line."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.search.histories import OBJECTS, correct
from verifier.errors import RecordError
from verifier.foreign import edn
from verifier.foreign.events import repeated
from verifier.foreign.export import edn_lines, json_lines
from verifier.foreign.read import format_of, read_file, read_text
from verifier.search.judge import judge
from verifier.search.model import Call, Operation
from verifier.search.models import CAS_REGISTER, KEY_VALUE, MODELS, SET, starting_at

LOG = """\
INFO  jepsen.core - Running test: etcd
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\t"Cut off {:n1 #{:n2}}"
INFO  jepsen.util - 1\t:ok\t:write\t3
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 2\t:invoke\t:cas\t[3 0]
INFO  jepsen.util - 3\t:invoke\t:cas\t[7 1]
INFO  jepsen.util - 2\t:ok\t:cas\t[3 0]
INFO  jepsen.util - 3\t:fail\t:cas\t[7 1]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 4\t:invoke\t:write\t2
INFO  jepsen.util - 4\t:info\t:write\t:timed-out
INFO  jepsen.util - 1\t:invoke\t:read\tnil
"""


def calls(text: str) -> list[Call]:
    return [one.call for one in read_text(text).operations]


def test_a_text_log_of_jepsen() -> None:
    history = read_text(LOG)
    assert history.format == "Jepsen's text log"
    assert [one.call for one in history.operations] == [
        Call("read"),
        Call("write", 3),
        Call("cas", (3, 0)),
        Call("cas", (7, 1), "fail"),
        Call("read", None, "fail"),
        Call("write", 2, "unknown"),
        Call("read", None, "unknown"),
    ]
    assert [one.line for one in history.operations] == [2, 3, 7, 8, 11, 13, 15]
    assert history.operations[4].error == "timed-out"
    assert history.notes == ()
    assert judge(history.operations, CAS_REGISTER).verdict == "holds"


def test_a_text_log_as_newer_versions_write_it() -> None:
    stamp = "2026-11-20 10:00:00,123{GMT}\tINFO\t[jepsen worker 3] jepsen.util:"
    text = (
        f"{stamp} 3\t:invoke\t:write\t[5 [1 2]]\n{stamp} 4\t:invoke\t:read\t[5 nil]\n"
        f"{stamp} 3\t:fail\t:write\t[5 [1 2]]\t[:not-leader 3]\n{stamp} 4\t:ok\t:read\t[5 nil]\n"
    )
    first, second = read_text(text).operations
    assert (first.key, first.call.value, first.error) == (5, (1, 2), "[:not-leader 3]")
    assert (second.key, second.call) == (5, Call("read"))


STORED = """\
{stamp} [jepsen test runner] jepsen.core: Command line:
lein run test --time-limit 180
{stamp} [jepsen test runner] jepsen.core: Running test:
{{:remote
 #jepsen.control.retry.Remote{{:conn nil}}
                 ({{:type :info,
                   :f :stop-partition}})
 :concurrency 5}}

{stamp} [jepsen worker nemesis] jepsen.util: :nemesis\t:info\t:kill\t("n5" "n4")
{stamp} [jepsen worker 4] jepsen.util: 109\t:invoke\t:read\tnil
{stamp} [jepsen worker 4] jepsen.client: Exception:  #error {{
 :cause Command exited on node n2:
cd /; nc -v 10.0.3.3 8000

STDERR:
{stamp} [jepsen worker 4] jepsen.util: 109\t:ok\t:read\t0
{stamp} [jepsen test runner] jepsen.core: {{:valid? true}}


Everything looks good!
"""


def test_a_log_as_jepsen_stores_it_with_what_other_loggers_say_over_many_lines() -> None:
    text = STORED.format(stamp="2022-07-28 07:52:55,480{GMT}\tINFO\t")
    (one,) = read_text(text).operations
    assert (one.line, one.call) == (11, Call("read", None, "ok", 0))
    with pytest.raises(RecordError, match="line 17: cannot read"):
        read_text(text.replace(":ok\t:read\t0", ":ok"))
    assert judge([one], CAS_REGISTER).verdict == "violated"
    assert judge([one], starting_at(CAS_REGISTER, 0)).verdict == "holds"


def test_a_history_with_its_answers_filled_in() -> None:
    text = (
        "({:process 1, :type :invoke, :f :write, :value 4}\n {:process 1, :type :ok, :f :write, :value 4}\n"
        " {:process 2  :type :invoke, :f :read, :value 4}\n ; it is 4 by now\n"
        " {:process 2, :type :ok, :f :read, :value 4}\n {:process 3, :type :invoke, :f :read, :value 4})\n"
    )
    assert calls(text) == [Call("write", 4), Call("read", None, "ok", 4), Call("read", None, "unknown")]
    queue = text.replace(":write", ":enqueue").replace(":read", ":dequeue")
    assert calls(queue)[1:] == [Call("dequeue", None, "ok", 4), Call("dequeue", None, "unknown")]


EDN = """\
; a history
[{:type :invoke, :f :add, :value 1, :process 0, :time 10, :index 0}
 #jepsen.history.Op{:type :invoke :f :read :process 1 :value nil}
 {:type :info, :f :start, :process :nemesis, :value {:n1 #{"a"}}}
 {:type :ok, :f :add, :value 1, :process 0}
 #_{:type :broken}
 {:type :ok, :f :read, :value #{1}, :process 1, :error nil}]
"""


def test_an_edn_history_in_one_vector_or_a_map_a_line() -> None:
    for text in (EDN, EDN.replace("[{", "{").replace("}]", "}"), EDN.replace("[{", "({").replace("}]", "})")):
        history = read_text(text)
        assert history.format == "EDN"
        assert [one.call for one in history.operations] == [Call("add", 1), Call("read", None, "ok", frozenset({1}))]
        assert [one.line for one in history.operations] == [2, 3]
        assert judge(history.operations, SET).verdict == "holds"


def test_a_key_value_log() -> None:
    text = (
        '{:process 9, :type :invoke, :f :append, :key "0", :value "x"}\n'
        '{:process 8, :type :invoke, :f :get, :key "0", :value nil}\n'
        '{:process 9, :type :ok, :f :append, :key "0", :value "x"}\n'
        '{:process 8, :type :ok, :f :get, :key "0", :value ""}\n'
        '{:process 8, :type :invoke, :f :get, :key "1", :value nil}\n'
        '{:process 8, :type :ok, :f :get, :key "1", :value "x"}\n'
    )
    operations = read_text(text).operations
    assert operations[0].call == Call("append", "x")
    judged = judge(operations, KEY_VALUE)
    assert judged.verdict == "violated"
    assert [(part.key, part.found.verdict) for part in judged.parts] == [("1", "violated"), ("0", "holds")]


def test_values_of_pairs_are_keys_only_where_reads_say_so() -> None:
    swap = "{:process 0 :type :invoke :f :cas :value [1 2]}\n{:process 0 :type :ok :f :cas :value [1 2]}\n"
    read = "{:process 1 :type :invoke :f :read :value nil}\n{:process 1 :type :ok :f :read :value [1 2]}\n"
    assert calls(swap + read) == [Call("cas", (1, 2)), Call("read", None, "ok", (1, 2))]
    keyed = read.replace("nil", "[1 nil]") + swap.replace("[1 2]", "[1 [nil 5]]")
    assert [(one.key, one.call) for one in read_text(keyed).operations] == [
        (1, Call("read", None, "ok", 2)),
        (1, Call("cas", (None, 5))),
    ]


def test_json_lines_of_operations_and_of_events() -> None:
    text = (
        '{"process": 0, "f": "write", "value": [1, 2], "outcome": "ok", "start": 5, "end": 9, "key": "a"}\n\n'
        '{"process": 1, "f": "read", "outcome": "ok", "result": [1, 2], "start": 10, "end": 12, "key": "a"}\n'
        '{"process": 2, "f": "write", "value": 3, "outcome": "unknown", "start": 1, "end": 4, "error": "Timeout"}\n'
    )
    history = read_text(text)
    assert history.format == "JSON lines"
    assert history.operations[0] == Operation(0, Call("write", (1, 2)), 5, 9, "a", 1)
    assert history.operations[1].call.result == (1, 2)
    assert history.operations[2].end is None
    events = (
        '{"process": 0, "type": "invoke", "f": "read"}\n{"process": 0, "type": "ok", "f": "read", "value": {"a": 1}}\n'
    )
    (one,) = read_text(events).operations
    assert (one.start, one.end) == (1, 2)
    assert one.call.result == edn.Map(frozenset({("a", 1)}))


def test_what_is_odd_is_said_with_its_lines_and_what_it_means() -> None:
    text = (
        "INFO  jepsen.util - 0\t:invoke\t:write\t1\n"
        "INFO  jepsen.util - 0\t:invoke\t:write\t2\n"
        "INFO  jepsen.util - 0\t:ok\t:write\t2\n"
        "INFO  jepsen.util - 7\t:ok\t:read\t1\n"
        "INFO  jepsen.util - 8\t:ok\t:write\t4\n"
        "INFO  jepsen.util - 8\t:fail\t:write\t4\n"
    )
    history = read_text(text)
    assert history.notes[0].startswith("Line 2: a process calls before its last call was answered")
    assert history.notes[1].startswith("Lines 4, 5: an answer without a call")
    assert [one.call for one in history.operations] == [
        Call("write", 1, "unknown"),
        Call("write", 2),
        Call("read", None, "ok", 1),
        Call("write", 4, "unknown"),
    ]
    assert judge(history.operations, CAS_REGISTER).verdict == "holds"
    two = '{"process": 0, "f": "read", "outcome": "ok", "start": %d, "end": %d}\n'
    assert read_text(two % (0, 5) + two % (5, 9)).notes == ()
    (note,) = read_text(two % (0, 5) + two % (9, 12) + two % (4, 8)).notes
    assert note == "Line 3: a process has two operations at once. All are judged by their times."


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("INFO  jepsen.util - 0\t:invoke\t:write\t3\nINFO  jepsen.util - 0\t:ok\n", "line 2: cannot read"),
        ("INFO  jepsen.util - 0\t:invoke\t:write\t\n", "line 1: something is missing here"),
        ("INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2\n", r"line 1: \[ is never closed"),
        ("INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2}\n", "line 1: unexpected }"),
        ("0 :invoke :read nil\nwhat is this\n", "line 2: cannot read 'what is this'"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:write\t1\n",
         "line 2: process 0 is answered write, but called read on line 1"),
        ("INFO nothing here\n", "no operation in it"),
        ("", "no operation in it"),
        ("{:process 0, :type :invoke, :f :read}\n{:process 0 :type :okay :f :read}", "line 2: :okay is no :type"),
        ("{:process 0, :type :invoke,\n :f :read}\n\n{:type :ok :f :read}", "line 4: no :process in this operation"),
        ("{:process 0, :type :invoke}", "line 1: no :f in this"),
        ("[{:process 0, :type :invoke, :f :read}\n 5]", "line 2: 5 is no map"),
        ("[{:process 0, :type :invoke, :f :read}\n", "line 2: the file ends before the ]"),
        ("[{:process 0, :type :invoke, :f :read}]\n{}", "line 2: something follows"),
        ("{:process 0, :type :invoke :f}\n", "line 1: a map with a key and no value"),
        ('{:process 0, :value "ab\n', "line 1: cannot read"),
        ('{:process 0, :value "a\\qb"}\n', r"line 1: cannot read \\q in a string"),
        ("{:process 0, :value 12abc}\n", "line 1: cannot read '12abc'"),
        ("[{:a " + "[" * 300, "line 1: nested too deeply"),
        ('{"process": 0, "type": "invoke", "f": "read"}\n{"process": 0,\n', "line 2: this is no JSON"),
        ('{"process": 0, "type": "begin", "f": "read"}\n', "line 1: type is 'begin'; it must be one of invoke"),
        ('{"process": true, "type": "invoke", "f": "read"}\n', "line 1: process is True; it must be a whole number or"),
        ('{"process": 0, "f": "read", "outcome": "ok", "start": 3}\n', "line 1: outcome is ok, but there is no end"),
        ('{"process": 0, "f": "read", "outcome": "ok", "start": 3, "end": 2}\n', "line 1: it ends at 2, before"),
        ('{"process": 0, "f": "read", "outcome": "ok", "start": 1.5, "end": 2}\n', "line 1: start is 1.5; it must"),
        ('{"process": 0, "outcome": "ok", "start": 1, "end": 2}\n', "line 1: no f; it must be a text"),
        ('{"process": 0, "type": "invoke", "f": "read"}\n[1]\n', "line 2: an operation is an object"),
        ('{"process": 0, "type": "invoke", "f": "read"}\n'
         '{"process": 0, "f": "read", "outcome": "ok", "start": 1, "end": 2}\n', "line 2: .*mixed"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named_by_its_number(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(text)
    with pytest.raises(RecordError, match=complaint) as caught:
        read_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"INFO\n\xff\xfe\x00")
    with pytest.raises(RecordError, match="line 2: this is no text"):
        read_file(tmp_path / "binary")
    with pytest.raises(RecordError, match="No such file"):
        read_file(tmp_path / "missing")


def test_what_begins_like_a_logger_is_a_log() -> None:
    assert format_of("[main] INFO  jepsen.util - 0\t:invoke\t:read\tnil") == "log"
    assert format_of("\n; comment\n [\n") == "edn"
    assert format_of("[]") == format_of("#{}") == format_of("{:a 1}") == "edn"
    assert format_of('{ "a": 1}') == "jsonl"


SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([edn.Name(":a/b-c?"), edn.Name("x")])
FORMS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.frozensets(inner, max_size=4)
        | st.dictionaries(inner, inner, max_size=3).map(lambda made: edn.Map(frozenset(made.items())))
    ),
    max_leaves=12,
)


@given(FORMS)
def test_edn_that_was_written_reads_the_same(form: object) -> None:
    assert edn.one(edn.write(form))[0] == form


@given(st.text(alphabet='[](){}#_;:"\\ \nab1-+.,N/'))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in ("edn", "log", "jsonl"):
        with contextlib.suppress(RecordError):
            read_text(text, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("keys", [(None,), ("a", "b")])
def test_an_export_is_judged_as_the_history_was(name: str, keys: tuple[str | None, ...]) -> None:
    rng = random.Random(f"{name} {keys}")
    for _ in range(60):
        history = [one for key in keys for one in correct(rng, name, 8, key=key)]
        # Some answer wrongly, some processes go on after an unknown outcome, or have two operations at once.
        history = [
            Operation(at % 5, one.call, one.start, one.end, one.key, error=one.error) for at, one in enumerate(history)
        ]
        before = judge(history, MODELS[name])
        again = read_text("\n".join(json_lines(history)), "jsonl").operations
        assert judge(again, MODELS[name]).verdict == before.verdict
        text = "\n".join(edn_lines(history))
        read = read_text(text, "edn")
        assert read.notes == ()
        after = judge(read.operations, MODELS[name])
        assert after.verdict == before.verdict, text
        assert sorted(map(repr, (one.call for one in read.operations))) == sorted(
            map(repr, (_as_edn_has_it(one.call) for one in history))
        )


def _as_edn_has_it(call: Call) -> Call:
    """An answer that is what was passed is a repetition, to whoever reads EDN."""
    return call._replace(result=None) if call.result == call.value and type(call.result) is type(call.value) else call


def test_values_that_are_written_again_are_said() -> None:
    text = "".join(
        f'{{"process": {at}, "f": "{f}", "value": {value}, "outcome": "ok", "start": {at * 2}, "end": {at * 2 + 1}}}\n'
        for at, (f, value) in enumerate([("write", 3), ("write", 4), ("cas", "[4, 3]"), ("read", "null"), ("write", 3)])
    )
    (said,) = repeated(read_text(text).operations)
    assert said.startswith(
        "Lines 3, 5: a value that was written before. A read of it does not say which write it shows"
    )
    assert repeated(read_text(LOG).operations) == ()

"""A run written down for other checkers, and judged by the general search as by the run's own checks."""

from __future__ import annotations

from pathlib import Path

from tests.verifier.builders import Item, Op, add, read, write, write_run
from verifier.foreign.export import edn_lines, json_lines
from verifier.foreign.read import read_text
from verifier.foreign.run import operations_of_run
from verifier.history.schema import ABSENT
from verifier.rundir import RunDirectory
from verifier.search.judge import judge
from verifier.search.model import Call
from verifier.search.models import CAS_REGISTER, COUNTER

REFUSED = "ConditionalCheckFailedException"


def registers(path: Path) -> RunDirectory:
    ops = [
        Op("create", 10, 20, op=1, process=1),
        read(12, 13, saw=ABSENT, process=2),
        Op("cas", 21, 30, op=3, expect=1, process=1),
        Op("cas", 31, 40, op=4, expect=1, outcome="fail", error=REFUSED, process=1),
        Op("cas", 31, 40, op=5, expect=1, outcome="fail", error=REFUSED, saw=3, process=3),
        write(41, 42, op=6, outcome="unknown", error="Timeout", process=3),
        read(50, 51, saw=None, process=1),
        Op("read_eventual", 50, 51, saw=1, process=4),
        Op("delete", 60, 70, op=9, process=1),
        read(80, 81, saw=ABSENT, process=2),
        write(5, 6, key="other", op=11, process=9, outcome="fail", error="ThrottlingException"),
    ]
    initial = {"us-east-1": {"other": Item(w=77, value=3)}}
    final = {"us-east-1": {"other": Item(w=77, value=3, start=100, end=101)}}
    return write_run(path / "run", ops, initial=initial, final=final, regions=["us-east-1"])


def test_registers_go_by_their_writers_marks(tmp_path: Path) -> None:
    operations, notes = operations_of_run(registers(tmp_path))
    assert [(one.key, one.call) for one in operations] == [
        ("other", Call("write", 77)),
        ("other", Call("write", 11, "fail")),
        ("k", Call("cas", (None, 1))),
        ("k", Call("read")),
        ("k", Call("cas", (1, 3))),
        ("k", Call("cas", (1, 4), "fail")),
        ("k", Call("read", None, "ok", 3)),
        ("k", Call("write", 6, "unknown")),
        ("k", Call("write", None)),
        ("k", Call("read")),
        ("other", Call("read", None, "ok", 77)),
    ]
    assert notes == ["1 eventually consistent reads are left out."]
    assert operations[1].error == "ThrottlingException"
    assert operations[5].error is None
    for text in ("\n".join(edn_lines(operations)), "\n".join(json_lines(operations))):
        read_back = read_text(text).operations
        assert judge(read_back, CAS_REGISTER).verdict == "holds"
        assert len(read_back) == len(operations)


def test_an_update_that_says_what_it_was_applied_to_is_a_compare_and_set(tmp_path: Path) -> None:
    ops = [write(1, 2, op=1, prev=ABSENT), write(1, 3, op=2, prev=1), write(4, 5, op=3, prev=1)]
    operations, _ = operations_of_run(write_run(tmp_path / "run", ops))
    assert [one.call for one in operations] == [Call("cas", (None, 1)), Call("cas", (1, 2)), Call("cas", (1, 3))]
    assert judge(operations, CAS_REGISTER).verdict == "violated", "two of them were applied to one state"


def test_counters_go_by_their_values(tmp_path: Path) -> None:
    ops = [
        add(1, 2, result=8, op=1),
        add(3, 4, op=2, outcome="unknown"),
        read(5, 6, result=9, saw=2, op=3),
        read(7, 8, saw=ABSENT, key="new", op=4),
        add(9, 10, key="new", op=5),
    ]
    initial = {"us-east-1": {"k": Item(value=7, w=1)}}
    final = {"us-east-1": {"k": Item(value=9, start=20, end=21), "new": Item(value=1, start=20, end=21)}}
    directory = write_run(tmp_path / "run", ops, initial=initial, final=final, regions=["us-east-1"])
    operations, notes = operations_of_run(directory)
    assert notes == []
    assert [one.call for one in operations] == [
        Call("add", 7),
        Call("add", 1, "ok", 8),
        Call("add", 1, "unknown"),
        Call("read", None, "ok", 9),
        Call("read", None, "ok", 0),
        Call("add", 1),
        Call("read", None, "ok", 9),
        Call("read", None, "ok", 1),
    ]
    assert judge(operations, COUNTER).verdict == "holds"
    assert judge([*operations, operations[0]], COUNTER).verdict == "violated"


def test_a_run_of_eventual_reads_has_nothing_for_others(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [Op("read_eventual", 1, 2, saw=ABSENT, op=1)])
    assert operations_of_run(directory) == ([], ["1 eventually consistent reads are left out."])

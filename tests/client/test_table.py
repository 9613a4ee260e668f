"""The table as a user sees it: what is asked of DynamoDB, what is recorded of the answer, what is tried again."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from lastwriter.client.key_codes import KeyCodes
from lastwriter.client.plan import Load
from lastwriter.client.protocol import Reply
from lastwriter.client.recorder import Recorder
from lastwriter.client.retry import FIRST_PAUSE_S, Attempts
from lastwriter.client.table import Also, Table
from verifier.history.schema import ABSENT, Outcome
from verifier.history.stream import WorkerStream

OK, FAIL, UNKNOWN = Outcome
CONFLICT = "ReplicatedWriteConflictException"
CONDITION = "ConditionalCheckFailedException"


class Scripted:
    """Replies in order; keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply | BaseException] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def says(self, outcome: Outcome, body: dict[str, Any] | None = None, error: str | None = None) -> None:
        self.replies.append(Reply(outcome, 200 if outcome is OK else 400, body or {}, error, 0, 0))

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        self.asked.append((operation, body))
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        reply.start_ns = time.monotonic_ns()
        reply.end_ns = reply.start_ns + 1000
        return reply

    def close(self) -> None: ...


class Rig:
    """A table over a scripted client; ``rows()`` ends the record and reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "worker-1.arrow"
        self.recorder = Recorder(self.path, 1)
        self.client = Scripted()
        self.processes: Iterator[int] = itertools.count(100)
        self.table = self.make()

    def make(self, item_bytes: int = 0) -> Table:
        codes = KeyCodes(self.recorder, [])
        return Table(self.recorder, self.client, "t", "us-east-1", "work", self.processes, codes, item_bytes)

    def rows(self) -> list[dict[str, Any]]:
        self.recorder.close()
        stream = WorkerStream(self.path)
        rows = [row for batch in stream for row in batch.to_pylist()]
        assert stream.ended
        return rows


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def item(v: int, w: int, p: int) -> dict[str, Any]:
    return {"pk": {"S": "k"}, "v": {"N": str(v)}, "_w": {"N": str(w)}, "_p": {"N": str(p)}}


def test_add_marks_the_item_and_records_what_it_replaced(rig: Rig) -> None:
    rig.client.says(OK, {"Attributes": item(7, 281474976710656, 41)})
    answer = rig.table.add("k", 2)
    ((operation, body),) = rig.client.asked
    assert operation == "UpdateItem"
    assert body["UpdateExpression"] == "SET #p = if_not_exists(#w, :none), #w = :op ADD v :v"
    assert body["ExpressionAttributeNames"] == {"#p": "_p", "#w": "_w"}
    values = {":none": {"N": "-1"}, ":op": {"N": str(answer.op)}, ":v": {"N": "2"}}
    assert body["ExpressionAttributeValues"] == values
    assert (answer.ok, answer.value, answer.writer, answer.previous) == (True, 7, 281474976710656, 41)
    (row,) = rig.rows()
    assert (row["kind"], row["key"], row["value"], row["result"]) == ("add", "k", 2, 7)
    assert (row["saw"], row["prev"], row["expect"]) == (281474976710656, 41, None)
    assert (row["region"], row["workload"], row["process"], row["worker"]) == ("us-east-1", "work", 100, 1)
    assert row["op"] == row["intent"] == answer.op
    assert row["scheduled_ns"] <= row["start_ns"] < row["end_ns"]


def test_reads_tell_an_absent_item_from_one_that_is_not_ours(rig: Rig) -> None:
    rig.client.says(OK, {"Item": item(5, 9, 8)})
    rig.client.says(OK, {})
    rig.client.says(OK, {"Item": {"pk": {"S": "k"}, "v": {"S": "text"}}})
    strong, absent, foreign = rig.table.get("k"), rig.table.get("k", strong=False), rig.table.get("k")
    assert [body["ConsistentRead"] for _, body in rig.client.asked] == [True, False, True]
    assert (strong.value, strong.writer, strong.previous) == (5, 9, 8)
    assert (absent.ok, absent.value, absent.writer) == (True, None, ABSENT)
    assert (foreign.ok, foreign.value, foreign.writer) == (True, None, None)
    assert [(row["kind"], row["result"], row["saw"]) for row in rig.rows()] == [
        ("read", 5, 9),
        ("read_eventual", None, ABSENT),
        ("read", None, None),
    ]


def test_cas_asks_for_the_writer_and_a_failed_one_says_whom_it_saw(rig: Rig) -> None:
    rig.client.says(FAIL, {"Item": item(5, 9, 8)}, CONDITION)
    rig.client.says(FAIL, {}, CONDITION)
    seen = rig.table.cas("k", 6, expect=7)
    gone = rig.table.cas("k", 6, expect=7)
    (_, body), _ = rig.client.asked
    assert body["ConditionExpression"] == "#w = :expect"
    assert body["ExpressionAttributeValues"][":expect"] == {"N": "7"}
    assert body["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    assert (seen.ok, seen.writer) == (False, 9)
    assert gone.writer == ABSENT
    assert [(row["outcome"], row["expect"], row["saw"], row["value"], row["error"]) for row in rig.rows()] == [
        (FAIL, 7, 9, 6, CONDITION),
        (FAIL, 7, ABSENT, 6, CONDITION),
    ]


def test_cas_on_nothing_and_create_ask_that_there_is_no_item(rig: Rig) -> None:
    for _ in range(2):
        rig.client.says(OK, {"Attributes": item(1, 2, ABSENT)})
    rig.table.cas("k", 1, expect=ABSENT)
    rig.table.create("k", 1)
    for _, body in rig.client.asked:
        assert body["ConditionExpression"] == "attribute_not_exists(pk)"
        assert ":expect" not in body["ExpressionAttributeValues"]
    assert [(row["kind"], row["expect"]) for row in rig.rows()] == [("cas", ABSENT), ("create", ABSENT)]


def test_cas_without_a_writer_is_a_mistake_that_is_said(rig: Rig) -> None:
    with pytest.raises(ValueError, match="cas needs the writer that was read"):
        rig.table.cas("k", 1, expect=None)
    assert rig.rows() == []


def test_put_without_a_value_writes_one_that_nobody_else_does(rig: Rig) -> None:
    for _ in range(2):
        rig.client.says(OK, {"Attributes": item(1, 2, 3)})
    rig.table.put("k")
    rig.table.put("k")
    first, second = rig.rows()
    assert first["value"] != second["value"]
    assert rig.client.asked[0][1]["ExpressionAttributeValues"][":v"] == {"N": str(first["value"])}


def test_what_a_pattern_says_besides_goes_into_the_same_request(rig: Rig) -> None:
    for _ in range(3):
        rig.client.says(OK)
    fence = Also(put="epoch = :epoch", condition="epoch <= :epoch", values={":epoch": {"N": "3"}})
    rig.table.put("k", 7, also=fence)
    rig.table.put("k", 7, also=Also(put="#at = :one", add="n :one", names={"#at": "at"}, values={":one": {"N": "1"}}))
    rig.table.add("k", 7, also=Also(add="n :one", values={":one": {"N": "1"}}))
    fenced, both, added = (body for _, body in rig.client.asked)
    assert fenced["UpdateExpression"].endswith(", v = :v, epoch = :epoch")
    assert fenced["ConditionExpression"] == "epoch <= :epoch"
    assert fenced["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    assert fenced["ExpressionAttributeValues"][":epoch"] == {"N": "3"}
    assert both["UpdateExpression"].endswith(", v = :v, #at = :one ADD n :one")
    assert both["ExpressionAttributeNames"]["#at"] == "at"
    assert added["UpdateExpression"].endswith(" ADD v :v, n :one")


def test_delete_shows_the_state_that_it_ended(rig: Rig) -> None:
    rig.client.says(OK, {"Attributes": item(5, 9, 8)})
    rig.client.says(OK, {})
    rig.table.delete("k")
    rig.table.delete("k")
    assert [(row["kind"], row["saw"], row["prev"]) for row in rig.rows()] == [
        ("delete", None, 9),
        ("delete", None, ABSENT),
    ]


def test_any_other_call_on_one_item_is_recorded_as_it_stands(rig: Rig) -> None:
    rig.client.says(OK, {"Item": item(5, 9, 8)})
    rig.client.says(FAIL, {}, CONDITION)
    rig.table.call("GetItem", {"Key": {"pk": {"S": "other"}}})
    rig.table.call("PutItem", {"Item": {"pk": {"S": "mine"}}, "ConditionExpression": "attribute_not_exists(pk)"})
    assert all(body["TableName"] == "t" for _, body in rig.client.asked)
    assert [(row["kind"], row["key"], row["saw"]) for row in rig.rows()] == [
        ("read_eventual", "other", 9),
        ("write", "mine", None),  # it did not ask for the item, so it does not know that there is none
    ]
    with pytest.raises(ValueError, match="Query is not a call on one item"):
        rig.table.call("Query", {})


def test_items_are_padded_to_their_size(rig: Rig) -> None:
    for _ in range(2):
        rig.client.says(OK, {"Attributes": item(1, 2, 3)})
    big = rig.make(item_bytes=1000)
    big.add("k")
    big.put("k", 1)
    for _, body in rig.client.asked:
        assert "padding = :padding" in body["UpdateExpression"]
        assert len(body["ExpressionAttributeValues"][":padding"]["S"]) == pytest.approx(1000, abs=100)
    assert "padding = :padding ADD" in rig.client.asked[0][1]["UpdateExpression"]


def test_after_an_unknown_write_the_user_is_another_process(rig: Rig) -> None:
    rig.client.says(UNKNOWN, {}, "Timeout")
    rig.client.says(FAIL, {}, "Timeout")
    rig.client.says(OK, {"Attributes": item(1, 2, 3)})
    rig.table.add("k")
    rig.table.get("k")
    rig.table.add("k")
    assert [(row["outcome"], row["process"]) for row in rig.rows()] == [(UNKNOWN, 100), (FAIL, 101), (OK, 101)]


def test_an_attempt_whose_user_is_killed_is_unknown_and_a_read_has_failed(rig: Rig) -> None:
    rig.client.replies += [gevent.GreenletExit(), gevent.GreenletExit(), RuntimeError("odd")]
    with pytest.raises(gevent.GreenletExit):
        rig.table.add("k")
    with pytest.raises(gevent.GreenletExit):
        rig.table.get("k")
    with pytest.raises(RuntimeError):
        rig.table.add("k")
    assert [(row["outcome"], row["error"]) for row in rig.rows()] == [
        (UNKNOWN, "InFlight"),
        (FAIL, "InFlight"),
        (UNKNOWN, "RuntimeError"),
    ]


def test_what_is_in_flight_when_the_worker_stops_is_recorded(rig: Rig) -> None:
    class Never(Scripted):
        def request(self, operation: str, body: dict[str, Any]) -> Reply:
            gevent.sleep(60)
            raise AssertionError

    rig.client = Never()
    table = rig.make()
    user = gevent.spawn(table.add, "k")
    gevent.sleep(0)
    (row,) = rig.rows()
    user.kill()
    assert (row["outcome"], row["error"]) == (UNKNOWN, "InFlight")


def test_a_schedule_shows_in_the_first_attempt_only(rig: Rig) -> None:
    for _ in range(2):
        rig.client.says(OK, {"Attributes": item(1, 2, 3)})
    rig.table.scheduled_ns = 5
    rig.table.add("k")
    rig.table.add("k")
    first, second = rig.rows()
    assert first["scheduled_ns"] == 5
    assert second["start_ns"] - second["scheduled_ns"] < 10**9


def test_foreign_calls_are_recorded_with_what_they_say(rig: Rig) -> None:
    with rig.table.record("add", "cart", 1) as recording:
        recording.ok(4)
    with rig.table.record("add", "cart", 1) as recording:
        recording.fail("SoldOut")
    with rig.table.record("add", "cart", 1):
        pass
    with pytest.raises(OSError, match="gone"), rig.table.record("write", "cart", 3):
        raise OSError("gone")
    with rig.table.record("read", "cart"):
        pass
    assert [(row["outcome"], row["result"], row["error"], row["process"]) for row in rig.rows()] == [
        (OK, 4, None, 100),
        (FAIL, None, "SoldOut", 100),
        (UNKNOWN, None, "NotSaid", 100),
        (UNKNOWN, None, "OSError", 101),
        (FAIL, None, "NotSaid", 102),
    ]


def attempts(pauses: list[float] | None = None, also: tuple[str, ...] = (), **load: Any) -> Attempts:
    sleep: Callable[[float], object] = (pauses if pauses is not None else []).append
    return Attempts(Load(workload="w", **load), random.Random(1), also, sleep)


def add(rig: Rig, policy: Attempts) -> list[dict[str, Any]]:
    for attempt in policy:
        rig.table.add("k", 1, attempt)
    return rig.rows()


def test_attempts_of_one_intent_share_it_and_are_counted(rig: Rig) -> None:
    for _ in range(2):
        rig.client.says(FAIL, {}, CONFLICT)
    rig.client.says(OK, {"Attributes": item(1, 2, 3)})
    pauses: list[float] = []
    rows = add(rig, attempts(pauses, retry="jittered"))
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    assert {row["intent"] for row in rows} == {rows[0]["op"]}
    assert len({row["op"] for row in rows}) == 3, "each attempt leaves a mark of its own"
    assert 0 <= pauses[0] <= FIRST_PAUSE_S
    assert 0 <= pauses[1] <= 2 * FIRST_PAUSE_S


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (UNKNOWN, "Timeout"),  # it may stand: a second ADD would count twice
        (UNKNOWN, "InternalServerError"),
        (FAIL, CONDITION),
        (FAIL, "ValidationException"),
        (FAIL, "ExpiredTokenException"),
    ],
)
def test_what_another_attempt_cannot_help_or_could_repeat_is_not_tried_again(
    rig: Rig, outcome: Outcome, error: str
) -> None:
    rig.client.says(outcome, {}, error)
    assert len(add(rig, attempts(retry="jittered"))) == 1


def test_reads_without_an_answer_are_tried_again(rig: Rig) -> None:
    rig.client.says(FAIL, {}, "Timeout")
    rig.client.says(OK, {})
    for attempt in attempts(retry="jittered"):
        rig.table.get("k", attempt=attempt)
    assert [row["attempt"] for row in rig.rows()] == [1, 2]


def test_without_retries_there_is_one_attempt(rig: Rig) -> None:
    rig.client.says(FAIL, {}, CONFLICT)
    assert len(add(rig, attempts())) == 1


def test_jittered_retries_are_bounded(rig: Rig) -> None:
    for _ in range(4):
        rig.client.says(FAIL, {}, CONFLICT)
    assert len(add(rig, attempts(retry="jittered", attempts=4))) == 4


def test_eager_retries_go_on_at_once_until_the_deadline(rig: Rig) -> None:
    for _ in range(100_000):
        rig.client.says(FAIL, {}, CONFLICT)
    pauses: list[float] = []
    began = time.monotonic()
    rows = add(rig, attempts(pauses, retry="eager", deadline="20ms", attempts=2))
    assert len(rows) > 5
    assert set(pauses) == {0}
    assert time.monotonic() - began < 5


def test_a_failed_condition_is_tried_again_where_the_loop_reads_anew(rig: Rig) -> None:
    rig.client.says(OK, {"Item": item(5, 9, 8)})
    rig.client.says(FAIL, {"Item": item(6, 10, 9)}, CONDITION)
    rig.client.says(FAIL, {}, "ThrottlingException")  # the read this time: nothing was attempted
    rig.client.says(OK, {"Item": item(6, 10, 9)})
    rig.client.says(OK, {"Attributes": item(7, 11, 10)})
    for attempt in attempts(also=(CONDITION,), retry="jittered"):
        seen = rig.table.get("k")
        if seen.ok:
            rig.table.cas("k", (seen.value or 0) + 1, seen.writer, attempt)
    rows = rig.rows()
    writes = [row for row in rows if row["kind"] == "cas"]
    assert [(row["attempt"], row["expect"], row["value"]) for row in writes] == [(1, 9, 6), (2, 10, 7)]
    assert len({row["intent"] for row in writes}) == 1
    assert all(row["intent"] == row["op"] for row in rows if row["kind"] == "read")

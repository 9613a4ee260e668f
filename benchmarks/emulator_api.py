"""Microseconds of CPU an operation in the emulator's request semantics alone: no HTTP, no JSON text, no replication.

    .venv/bin/python benchmarks/emulator_api.py [--operations 20000] [--rounds 7]

An operation is compile + evaluate + reply on one item of four small attributes, with the plan remembered (as for every
request but the first of its shape) and, in the last row, forgotten each time. Where moto can be imported, its backend
does the same requests in turn (``DynamoDBBackend``, again without HTTP). Rounds are interleaved; the best of each is
shown, because other work on the machine can only add.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from lastwriter.emulator.requests.operations import compile_get, compile_write
from lastwriter.emulator.requests.schema import KeyAttribute, TableSchema

TABLE = TableSchema("bench", KeyAttribute("pk", "S"))
KEY = {"pk": {"S": "user-0001"}}
ITEM: dict[str, Any] = {**KEY, "v": {"N": "41"}, "_w": {"N": "281474976710999"}, "_p": {"N": "281474976710998"}}

GET = {"TableName": "bench", "Key": KEY, "ConsistentRead": True}
PUT = {
    "TableName": "bench",
    "Item": ITEM,
    "ConditionExpression": "attribute_exists(pk)",
}
MARK = {
    "TableName": "bench",
    "Key": KEY,
    "UpdateExpression": "SET #p = if_not_exists(#w, :none), #w = :op ADD #v :d",
    "ExpressionAttributeNames": {"#p": "_p", "#w": "_w", "#v": "v"},
    "ExpressionAttributeValues": {":none": {"N": "-1"}, ":op": {"N": "281474976711000"}, ":d": {"N": "1"}},
    "ReturnValues": "ALL_NEW",
}
CAS = {
    "TableName": "bench",
    "Key": KEY,
    "UpdateExpression": "SET #v = if_not_exists(#v, :zero) + :one",
    "ConditionExpression": "#w <> :other",
    "ExpressionAttributeNames": {"#v": "v", "#w": "_w"},
    "ExpressionAttributeValues": {":zero": {"N": "0"}, ":one": {"N": "1"}, ":other": {"N": "5"}},
    "ReturnConsumedCapacity": "TOTAL",
}
NAMES = {
    "get": "GetItem, strong",
    "put": "PutItem with a condition",
    "mark": "UpdateItem ADD with the writer's mark, ALL_NEW",
    "cas": "UpdateItem SET if_not_exists + 1 with a condition, capacity",
    "cold": "UpdateItem ADD with the mark, expressions parsed anew",
}


def ours() -> dict[str, Callable[[], Any]]:
    """One operation each of the emulator."""

    def write(operation: str, request: dict[str, Any]) -> Callable[[], Any]:
        def run() -> Any:
            compiled = compile_write(operation, request, TABLE)
            return compiled.reply(ITEM, compiled.evaluate(ITEM))

        return run

    numbered = iter(range(10**9))

    def cold() -> Any:
        # A placeholder that no expression had before: nothing remembered fits.
        fresh = f":d{next(numbered)}"
        request = {
            **MARK,
            "UpdateExpression": f"SET #p = if_not_exists(#w, :none), #w = :op ADD #v {fresh}",
            "ExpressionAttributeValues": {":none": {"N": "-1"}, ":op": {"N": "1"}, fresh: {"N": "1"}},
        }
        compiled = compile_write("UpdateItem", request, TABLE)
        return compiled.reply(ITEM, compiled.evaluate(ITEM))

    return {
        "get": lambda: compile_get(GET, TABLE).reply(ITEM),
        "put": write("PutItem", PUT),
        "mark": write("UpdateItem", MARK),
        "cas": write("UpdateItem", CAS),
        "cold": cold,
    }


def motos() -> dict[str, Callable[[], Any]]:
    """The same operations of moto's backend; empty where moto cannot be imported."""
    try:
        from moto.dynamodb.models import DynamoDBBackend
    except ImportError:
        return {}
    backend = DynamoDBBackend("us-east-1", "123456789012")
    backend.create_table(
        "bench",
        schema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        throughput=None,
        attr=[{"AttributeName": "pk", "AttributeType": "S"}],
        global_indexes=None,
        indexes=None,
        streams=None,
        billing_mode="PAY_PER_REQUEST",
        sse_specification=None,
        tags=[],
        deletion_protection_enabled=False,
        warm_throughput=None,
    )
    backend.put_item("bench", ITEM)

    def update(request: dict[str, Any]) -> Callable[[], Any]:
        return lambda: backend.update_item(
            "bench",
            KEY,
            request["UpdateExpression"],
            expression_attribute_names=request["ExpressionAttributeNames"],
            expression_attribute_values=request["ExpressionAttributeValues"],
            condition_expression=request.get("ConditionExpression"),
        )

    return {
        "get": lambda: backend.get_item("bench", KEY),
        "put": lambda: backend.put_item("bench", ITEM, condition_expression="attribute_exists(pk)"),
        "mark": update(MARK),
        "cas": update(CAS),
    }


def microseconds(run: Callable[[], Any], operations: int) -> float:
    """Process CPU an operation."""
    started = time.process_time()
    for _ in range(operations):
        run()
    return (time.process_time() - started) / operations * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=20_000, help="operations a round (moto: a fiftieth)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    contenders = {"lastwriter": ours(), "moto": motos()}
    best: dict[tuple[str, str], float] = {}
    for _ in range(arguments.rounds):
        for name, operations in contenders.items():
            count = arguments.operations if name == "lastwriter" else max(1, arguments.operations // 50)
            for kind, run in operations.items():
                taken = microseconds(run, count)
                best[name, kind] = min(taken, best.get((name, kind), taken))
    print(f"{'µs CPU an operation':60s} lastwriter      moto   ratio")
    for kind, label in NAMES.items():
        mine, other = best["lastwriter", kind], best.get(("moto", kind))
        peer = f"{other:9.0f} {other / mine:7.0f}" if other is not None else "        –       –"
        print(f"{label:60s} {mine:10.2f} {peer}")
    if not contenders["moto"]:
        print("moto is not installed: pip install -c constraints.txt --group benchmarks")


if __name__ == "__main__":
    main()

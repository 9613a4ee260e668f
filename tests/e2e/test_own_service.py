"""One's own HTTP service in front of the table, driven by an HttpUser and judged: a careful one, a careless one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lastwriter.emulator.process import EmulatorProcess, start_emulator
from tests.e2e.drills import lastwriter
from tests.e2e.test_locustfile import started
from verifier.history.reader import read_history
from verifier.rundir import RunDirectory
from verifier.verdict import Verdict

pytestmark = pytest.mark.e2e

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
TABLE = "shop"
SHOP = Path(__file__).with_name("shop.py")
DOC = Path(__file__).resolve().parents[2] / "docs" / "locustfiles.md"

Order = Callable[[Any, str], int]


def careful(table: Any, article: str) -> int:
    """One request that reads and writes."""
    update = {"UpdateExpression": "ADD v :one", "ExpressionAttributeValues": {":one": 1}}
    return int(table.update_item(Key={"pk": article}, ReturnValues="UPDATED_NEW", **update)["Attributes"]["v"])


def careless(table: Any, article: str) -> int:
    """Two requests, and whatever comes between them is overwritten."""
    count = look(table, article) + 1
    table.put_item(Item={"pk": article, "v": count})
    return count


def look(table: Any, article: str) -> int:
    return int(table.get_item(Key={"pk": article}, ConsistentRead=True).get("Item", {"v": 0})["v"])


@contextmanager
def service(emulator: EmulatorProcess, order: Order) -> Iterator[str]:
    """``POST /REGION/ARTICLE`` orders, ``GET`` looks; both answer ``{"count": n}``."""
    here = threading.local()
    config = Config(retries={"total_max_attempts": 5, "mode": "standard"})

    def table(region: str) -> Any:
        if not hasattr(here, region):
            session = boto3.Session("test", "test", region_name=region)
            resource = session.resource("dynamodb", endpoint_url=emulator.endpoints[region], config=config)
            setattr(here, region, resource.Table(TABLE))
        return getattr(here, region)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(order)

        def do_GET(self) -> None:
            self.answer(look)

        def answer(self, work: Order) -> None:
            _, region, article = self.path.split("/")
            try:
                status, body = 200, json.dumps({"count": work(table(region), article)}).encode()
            except Exception:  # noqa: BLE001 - as a web framework does
                status, body = 500, b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("order", "code"), [(careful, 0), (careless, 1)])
def test_the_service_is_judged_and_not_only_its_table(order: Order, code: int, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.read_text())
    with (
        start_emulator(REGIONS, table=TABLE, mode="MRSC", settings={"latency_scale": "10%"}) as emulator,
        service(emulator, order) as url,
    ):
        endpoints = ",".join(f"{region}={address}" for region, address in emulator.endpoints.items())
        command = [
            sys.executable, "-m", "locust", "-f", "shop.py", "--headless", "--host", url, "--mode", "MRSC",
            "--endpoints", endpoints, "--control", emulator.control, "--table", TABLE, "--keys", "3",
            "-u", "6", "-r", "6", "-t", "4s", "--csv", "stats",
        ]  # fmt: skip
        with started(tmp_path, command) as process:
            process.wait(90)
    (path,) = (tmp_path / "results").iterdir()
    history = read_history(RunDirectory(path))
    assert {history.kinds[kind] for kind in history.kind} == {"add", "read"}
    assert set(history.workloads) == {"shop"}
    assert set(history.regions) == set(REGIONS)
    assert "POST,order," in (tmp_path / "stats_stats.csv").read_text(), "Locust's own statistics of HttpUser go on"
    verified = lastwriter("verify", path.name, cwd=tmp_path)
    assert verified.returncode == code, verified.stdout + verified.stderr
    verdict = Verdict.model_validate_json(RunDirectory(path).verdict.read_bytes())
    checks = {check.name: check for check in verdict.checks}
    store = verdict.ledger.store
    assert store is not None
    assert checks["counter"].exercised > 50
    if order is careful:
        assert checks["counter"].verdict == checks["store"].verdict == "holds"
        assert store.missing == store.surplus == 0
    else:
        assert checks["counter"].verdict == checks["store"].verdict == "violated"
        assert store.missing > 0


def test_the_example_in_the_docs_is_the_one_that_is_tested() -> None:
    assert SHOP.read_text() in DOC.read_text()

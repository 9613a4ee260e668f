"""One's own HTTP service in front of the table, driven by an HttpUser and judged: a careful one, a careless one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastwriter.emulator.process import EmulatorProcess, start_emulator
from tests.e2e import service
from tests.e2e.drills import lastwriter
from tests.e2e.test_locustfile import started
from verifier.history.reader import read_history
from verifier.rundir import RunDirectory
from verifier.verdict import Verdict

pytestmark = pytest.mark.e2e

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]
TABLE = "shop"
SHOP = Path(__file__).with_name("shop.py")
SERVICE = Path(__file__).with_name("service.py")
DOC = Path(__file__).resolve().parents[2] / "docs" / "locustfiles.md"


@contextmanager
def served(emulator: EmulatorProcess, order: Callable[[Any, Any], int]) -> Iterator[str]:
    """Its URL."""
    server = service.make_server(0, emulator.endpoints, order)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("order", "code"), [(service.order, 0), (service.order_carelessly, 1)])
def test_the_service_is_judged_and_not_only_its_table(
    order: Callable[[Any, Any], int], code: int, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(SHOP.read_text())
    with (
        start_emulator(REGIONS, table=TABLE, mode="MRSC", settings={"latency_scale": "10%"}) as emulator,
        served(emulator, order) as url,
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
    if order is service.order:
        assert checks["counter"].verdict == checks["store"].verdict == "holds"
        assert store.missing == store.surplus == 0
    else:
        assert checks["counter"].verdict == checks["store"].verdict == "violated"
        assert store.missing > 0


def test_the_examples_in_the_docs_are_those_that_are_tested() -> None:
    doc = DOC.read_text()
    assert SHOP.read_text() in doc
    assert SERVICE.read_text() in doc

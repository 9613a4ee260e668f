"""Runs at a URL and parts judged by a cluster: the same bytes, whoever dies on the way; what is missing is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.stores import simulate
from tests.verifier.test_parts import EXPECT, WHOLE, parts_of, said
from tests.verifier.test_verify import record
from verifier.engine import Limits
from verifier.errors import RecordError
from verifier.history.compact import compact
from verifier.remote import Place
from verifier.rundir import RunDirectory
from verifier.verify import verify


def a_run(path: Path, **more: Any) -> RunDirectory:
    run = simulate(3, "MREC", keys=30, cut=True, unknown=0.05, retries=True, **{"intents": 60, **more})
    directory = record(path, run, profile={"name": "test", "expect": EXPECT})
    compact(directory)
    return directory


def outputs(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in ("verdict.json", "lost.jsonl", "junit.xml", "summary.md")}


def test_a_run_at_a_url_and_an_output_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    directory = a_run(tmp_path / "run")
    said(directory, WHOLE)
    expected = outputs(directory.path)
    directory.verdict.unlink()
    url = f"local://{directory.path}"
    assert (
        verify(url, output=tmp_path / "other").model_dump_json(by_alias=True, indent=2).encode()
        in expected["verdict.json"]
    )
    assert outputs(tmp_path / "other") == expected
    assert not directory.verdict.exists()
    verify(url, limits=parts_of(100))
    assert outputs(directory.path) == expected
    with pytest.raises(RecordError, match="there is nothing there"):
        verify(f"local://{tmp_path}/none")
    with pytest.raises(RecordError, match=r"needs a driver of its own|cannot be listed"):
        verify("nosuchprotocol://host/run")


def test_a_damaged_run_at_a_url_is_named_by_the_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    directory = a_run(tmp_path / "run")
    directory.run_json.unlink()
    with pytest.raises(RecordError, match=f"^local://{directory.path}: there is no run.json"):
        verify(f"local://{directory.path}")


@pytest.mark.parametrize(
    ("module", "words"), [("distributed", r"lastwriter\[cluster\]"), ("fsspec", r"lastwriter\[remote\]")]
)
def test_an_extra_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    directory = a_run(tmp_path / "run")
    url, scheduler = (
        (f"local://{directory.path}", None) if module == "fsspec" else (str(directory.path), "tcp://127.0.0.1:1")
    )
    with pytest.raises(RecordError, match=words):
        verify(url, scheduler=scheduler)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of moto's S3 server on loopback, as the environment names it."""
    server_module = pytest.importorskip("moto.server")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="runs")
    yield "s3://runs"
    server.stop()


def upload(directory: RunDirectory, url: str) -> None:
    import boto3

    _, _, path = url.partition("://")
    name, _, prefix = path.partition("/")
    for file in directory.path.rglob("*"):
        if file.is_file():
            boto3.client("s3").upload_file(str(file), name, f"{prefix}/{file.relative_to(directory.path)}")


@pytest.mark.long
def test_a_run_in_s3_is_judged_and_its_verdict_stands_beside_it(tmp_path: Path, bucket: str) -> None:
    directory = a_run(tmp_path / "run")
    url = f"{bucket}/some/run"
    upload(directory, url)
    verify(url)
    said(directory, WHOLE)
    with Place(url).at_hand() as back:
        assert outputs(back.path) == outputs(directory.path)
    with pytest.raises(RecordError, match=r"s3://runs/none: .*(nothing there|cannot be listed)"):
        verify(f"{bucket}/none")


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, []  # type: tuple[Path, list[subprocess.Popen[bytes]]]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int) -> str:
        file = self.folder / "scheduler.json"
        self._run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        deadline = time.monotonic() + 60
        while not file.exists() or '"address"' not in file.read_text():
            assert time.monotonic() < deadline, "the scheduler came up"
            time.sleep(0.05)
        for number in range(workers):
            options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
            options += ["--scheduler-file", str(file), "--local-directory", str(self.folder / str(number))]
            self.workers.append(self._run("worker", *options))
        return str(json.loads(file.read_text())["address"])

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]], stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    made.stop()


@pytest.mark.long
def test_two_workers_of_a_cluster_and_one_of_them_killed(tmp_path: Path, cluster: Cluster, bucket: str) -> None:
    directory = a_run(tmp_path / "run", intents=400)
    said(directory, WHOLE)
    expected = outputs(directory.path)
    upload(directory, f"{bucket}/run")
    address = cluster.start(2)
    limits = Limits(parts_of(150).memory_bytes)

    verify(directory.path, scheduler=address, output=tmp_path / "out", limits=limits)
    assert outputs(tmp_path / "out") == expected

    killed = threading.Event()

    def kill_in_the_middle(what: str, _: float) -> None:
        if what.startswith("judged ") and not killed.is_set():
            killed.set()
            cluster.workers[0].send_signal(signal.SIGKILL)

    verify(f"{bucket}/run", scheduler=address, limits=limits, progress=kill_in_the_middle)
    assert killed.is_set()
    cluster.workers[0].wait()
    with Place(f"{bucket}/run").at_hand() as back:
        assert outputs(back.path) == expected


@pytest.mark.long
def test_no_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("verifier.cluster._CONNECT_S", 1)
    with pytest.raises(RecordError, match=r"--scheduler tcp://127.0.0.1:1: no cluster answers there"):
        verify(a_run(tmp_path / "run").path, scheduler="tcp://127.0.0.1:1")

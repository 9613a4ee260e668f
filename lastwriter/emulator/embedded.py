"""An emulator in a Python program or test: started for a block, with boto3 clients and faults at hand.

>>> with Emulator(mode="MRSC", table="orders") as emulator:
...     east, west = emulator.client("us-east-1"), emulator.client("us-west-2")
...     east.put_item(TableName="orders", Item={"pk": {"S": "k"}})
...     with emulator.cut("us-east-1", "us-west-2"):
...         west.get_item(TableName="orders", Key={"pk": {"S": "k"}}, ConsistentRead=True)

It is a process of its own on free ports, and ends with this one. boto3 is imported when a client is asked for.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from lastwriter.emulator.process import EmulatorProcess, start_emulator
from lastwriter.errors import UserError

REGIONS: Final = ("us-east-1", "us-east-2", "us-west-2")
_POLL_S: Final = 0.01
_TIMEOUT_S: Final = 10.0


class Emulator:
    """Global tables for the time of a ``with`` block, or from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        mode: Literal["MREC", "MRSC"] = "MREC",
        regions: Sequence[str] = REGIONS,
        table: str | None = None,
        *,
        witness: str | None = None,
        settings: Mapping[str, Any] | None = None,
        bugs: Sequence[str] = (),
        auth: Path | str | None = None,
        tls_certificate: Path | str | None = None,
        tls_key: Path | str | None = None,
        tls_authority: Path | str | None = None,
        data: Path | str | None = None,
    ) -> None:
        """``table``: a global table of that name and ``mode`` (partition key ``pk``, a string) is there at the start.

        ``settings`` are those of ``lastwriter emulator --set``, with units: ``{"replicator_delay": "2s"}``.

        ``auth``: file of access keys, as for ``--auth``; clients sign with its first key unless told. With
        ``tls_certificate`` and ``tls_key`` the endpoints speak HTTPS, and clients trust ``tls_authority`` (default: the
        certificate itself). With ``data``, a directory, everything survives the process: see :meth:`kill`.
        """
        self.mode: Literal["MREC", "MRSC"] = mode
        self.regions = tuple(regions)
        self.witness = witness
        self._table = table
        self._settings = dict(settings or {})
        self._bugs = tuple(bugs)
        self._auth = Path(auth) if auth is not None else None
        self._tls = tls_certificate, tls_key
        self._authority = tls_authority or tls_certificate
        self._data = data
        self._process: EmulatorProcess | None = None
        self._killed: EmulatorProcess | None = None

    def start(self) -> Emulator:
        """Ready when this returns. UserError in the emulator's own words if it does not start."""
        if self._killed is not None:
            self._killed.restart()
            self._process, self._killed = self._killed, None
        if self._process is None:
            self._process = start_emulator(
                self.regions,
                table=self._table,
                mode=self.mode,
                witness=self.witness,
                settings=self._settings,
                bugs=self._bugs,
                auth=self._auth,
                tls_certificate=self._tls[0],
                tls_key=self._tls[1],
                data=self._data,
            )
        return self

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does. :meth:`start` starts it anew at the same endpoints.

        It then has, with ``data``, all that it had acknowledged, and nothing without.
        """
        self._running.kill()
        self._process, self._killed = None, self._process

    def stop(self) -> None:
        """End it. Harmless when it has ended."""
        self._killed = None
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- tables

    @property
    def endpoints(self) -> dict[str, str]:
        """Region → URL."""
        return dict(self._running.endpoints)

    @property
    def control(self) -> str:
        """URL of the control port."""
        return self._running.control

    def client(self, region: str, **more: Any) -> Any:
        """A boto3 DynamoDB client of the Region, with credentials that are no secret or those of the ``auth`` file.

        ``more``: as for boto3, credentials too.
        """
        import boto3

        return boto3.client("dynamodb", **{**self._place(region), **more})

    def resource(self, region: str, **more: Any) -> Any:
        """The same as a boto3 resource."""
        import boto3

        return boto3.resource("dynamodb", **{**self._place(region), **more})

    def create_table(
        self, name: str, mode: Literal["MREC", "MRSC"] | None = None, *, witness: str | None = None, **more: Any
    ) -> None:
        """Make a global table over all Regions, as on AWS: CreateTable in the first, then UpdateTable.

        ``mode`` and ``witness`` default to the emulator's. ``more`` goes to CreateTable; without it the table has the
        partition key ``pk``, a string.
        """
        witness = witness or self.witness
        replicas = [region for region in self.regions if region != witness]
        client = self.client(replicas[0])
        request: dict[str, Any] = {
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        client.create_table(TableName=name, **{**request, **more})
        self._until_active(name, replicas[:1])
        creations = [{"Create": {"RegionName": region}} for region in replicas[1:]]
        if (mode or self.mode) == "MRSC":
            update: dict[str, Any] = {"ReplicaUpdates": creations, "MultiRegionConsistency": "STRONG"}
            if witness is not None:
                update["GlobalTableWitnessUpdates"] = [{"Create": {"RegionName": witness}}]
            client.update_table(TableName=name, **update)
        else:
            for number, creation in enumerate(creations, 2):
                client.update_table(TableName=name, ReplicaUpdates=[creation])
                self._until_active(name, replicas[:number])
        self._until_active(name, replicas)

    # -- faults

    def fault(
        self,
        kind: str,
        *,
        regions: Sequence[str] = (),
        links: Sequence[tuple[str, str]] = (),
        **parameters: Any,
    ) -> Fault:
        """Break something now; it heals at the end of the ``with`` block, or with :meth:`Fault.heal`.

        Kinds and parameters are those of the control port (docs/emulator.md). UserError for what there is not.
        """
        body = {"kind": kind, "regions": list(regions), "links": [list(link) for link in links], **parameters}
        return Fault(self, str(self._call("POST", "faults", body)["id"]))

    def cut(self, source: str, target: str, *, one_way: bool = False) -> Fault:
        """Nothing passes between the two Regions."""
        return self.fault("link-cut", links=[(source, target)], one_way=one_way)

    def slow(self, source: str, target: str, latency: str, jitter: str = "0ms") -> Fault:
        """Messages between the two Regions take longer."""
        return self.fault("link-latency", links=[(source, target)], latency=latency, jitter=jitter)

    def isolate(self, region: str) -> Fault:
        """The Region reaches no other; its clients reach it."""
        return self.fault("region-isolated", regions=[region])

    def down(self, region: str, *, hang: bool = False) -> Fault:
        """The Region refuses its clients, or lets them wait."""
        return self.fault("region-down", regions=[region], hang=hang)

    def pause(self, region: str, *tables: str) -> Fault:
        """Replication of the Region is paused, as AWS FIS does it: of these tables, or of all."""
        return self.fault("replication-paused", regions=[region], tables=list(tables))

    def heal(self) -> None:
        """End every fault."""
        for state in self._call("GET", "faults"):
            if state["healed_ns"] is None:
                self._call("DELETE", f"faults/{state['id']}")

    # -- state

    def state(self) -> dict[str, Any]:
        """What the control port says: tables, faults, backlogs, whether all is quiet."""
        state: dict[str, Any] = self._call("GET", "state")
        return state

    def settle(self, deadline_s: float = 30.0) -> None:
        """Wait until everything has been replicated; TimeoutError after ``deadline_s``."""
        end = time.monotonic() + deadline_s
        while not self.state()["quiet"]:
            if time.monotonic() > end:
                raise TimeoutError(f"the emulator is still replicating after {deadline_s:g} s; is a link still cut?")
            time.sleep(_POLL_S)

    def set(self, **settings: Any) -> None:
        """Change settings: ``set(replicator_delay="2s")``."""
        self._call("PUT", "settings", settings)

    # -- inside

    @property
    def _running(self) -> EmulatorProcess:
        if self._process is None:
            raise UserError("the emulator is not running: use it in `with Emulator() as emulator:`, or call start()")
        return self._process

    def _place(self, region: str) -> dict[str, Any]:
        endpoints = self._running.endpoints
        if region not in endpoints:
            raise UserError(f"no Region {region!r} in this emulator: there are {', '.join(endpoints)}")
        return {
            "endpoint_url": endpoints[region],
            "region_name": region,
            **({"verify": str(self._authority)} if self._authority is not None else {}),
            **self._credentials(),
        }

    def _credentials(self) -> dict[str, str]:
        if self._auth is None:
            return {"aws_access_key_id": "emulator", "aws_secret_access_key": "emulator"}
        from lastwriter.emulator.shell.access import read_keys

        key = read_keys(self._auth)[0]
        given = {"aws_access_key_id": key.access_key, "aws_secret_access_key": key.secret_key.get_secret_value()}
        if key.session_token is not None:
            given["aws_session_token"] = key.session_token.get_secret_value()
        return given

    def _until_active(self, name: str, regions: Sequence[str]) -> None:
        end = time.monotonic() + _TIMEOUT_S
        for region in regions:
            client = self.client(region)
            while client.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
                if time.monotonic() > end:
                    raise TimeoutError(f"table {name} is not ACTIVE in {region}")
                time.sleep(_POLL_S)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.control}/_lastwriter/{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - our own emulator's
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - same
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            raise UserError(str(json.loads(error.read())["message"])) from None


class Fault:
    """Something broken. As a context manager it heals at the end of the block."""

    def __init__(self, emulator: Emulator, name: str) -> None:
        self.id = name
        self._emulator = emulator
        self._healed = False

    def heal(self) -> None:
        """Take it back. Harmless when called twice."""
        if not self._healed:
            self._healed = True
            self._emulator._call("DELETE", f"faults/{self.id}")

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()

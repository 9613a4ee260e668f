"""The control port: faults, state, settings, as a small JSON API. Data in, data out; the sockets are the server's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import orjson
from pydantic import ValidationError

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.faults import EmulatorState, FaultSpec, PairState
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell import fis
from lastwriter.emulator.shell.faultbook import FaultBook, UnknownFaultError
from lastwriter.emulator.shell.fis import Fis
from lastwriter.errors import UserError

ROOT: Final = "/_lastwriter/"
Answer = tuple[int, Any]


class ControlApi:
    """``respond(method, path, body)`` → HTTP status and JSON."""

    def __init__(
        self, core: Core, book: FaultBook, endpoints: dict[str, str], wall: Callable[[], float] = time.time
    ) -> None:
        self._core = core
        self._book = book
        self._endpoints = endpoints
        self._fis = Fis(core, book, wall)

    def respond(self, method: str, path: str, body: bytes) -> Answer:
        """Never raises: what is wrong with a request is a 4xx with one line."""
        try:
            if path.strip("/").partition("/")[0].partition("?")[0] in fis.ROOTS:
                return self._fis.respond(method, path, body)
            return self._route(method, path.partition("?")[0], body)
        except UnknownFaultError as error:
            return 404, {"message": str(error)}
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            return 400, {"message": f"{place}: {reason}" if place else reason}
        except (ValueError, UserError) as error:
            return 400, {"message": str(error)}

    def state(self) -> EmulatorState:
        """Everything that a drill wants to watch."""
        core = self._core
        tables = core.control.tables
        engines = [table.engine for table in tables]
        regions = core.network.regions
        return EmulatorState(
            now_ns=core.scheduler.now_ns,
            regions=self._endpoints,
            tables={table.schema.name: table.mode for table in tables},
            faults=self._book.states(),
            pairs=[
                PairState(
                    source=source,
                    target=target,
                    connected=core.network.links[source, target].breaks == 0,
                    backlog=sum(engine.backlog(source, target) for engine in engines),
                )
                for source in regions
                for target in regions
                if source != target
            ],
            quiet=all(engine.quiet() for engine in engines),
            throttled={region: counts for region in regions if (counts := core.control.throttled(region))},
            caught_up={
                region: self._book.clients(region) is None and all(engine.caught_up(region) for engine in engines)
                for region in core.regions
            },
        )

    def _route(self, method: str, path: str, body: bytes) -> Answer:
        if not path.startswith(ROOT):
            return 404, {"message": f"the control port answers below {ROOT}: faults, state, settings"}
        kind, _, name = path.removeprefix(ROOT).partition("/")
        match method, kind, name:
            case "GET", "state", "":
                return 200, self.state().model_dump(mode="json")
            case "GET", "settings", "":
                return 200, self._core.environment.settings.model_dump(mode="json")
            case "PUT", "settings", "":
                settings = Settings.parse(_object(body), self._core.environment.settings)
                self._core.use(settings)
                return 200, settings.model_dump(mode="json")
            case "GET", "faults", "":
                return 200, [state.model_dump(mode="json") for state in self._book.states()]
            case "POST", "faults", "":
                return 201, {"id": self._book.set(FaultSpec.model_validate(_object(body)))}
            case "PUT", "faults", _ if name:
                self._book.renew(name)
                return 200, {"id": name}
            case "DELETE", "faults", _ if name:
                return 200, self._book.heal(name).model_dump(mode="json")
            case _, "state" | "settings" | "faults", _:
                return 405, {"message": f"{method} {path} is nothing this port does"}
            case _:
                return 404, {"message": f"nothing at {path}: there are {ROOT}faults, {ROOT}state and {ROOT}settings"}


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")
    return value

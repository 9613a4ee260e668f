"""Where the locustfiles and profiles are: at the top of a checkout, inside the package once installed."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from pathlib import Path

from lastwriter.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def profiles_folder() -> Path:
    """Folder of the packaged profiles."""
    return _folder("profiles")


def locustfiles_folder() -> Path:
    """Folder of the packaged locustfiles."""
    return _folder("locustfiles")


def profiles() -> dict[str, Path]:
    """Packaged profiles by name."""
    return {path.stem: path for path in sorted(profiles_folder().glob("*.yaml"))}


def find_profile(name: str) -> Path:
    """The profile that ``lastwriter run NAME`` means: a path if there is such a file, else a packaged name."""
    path = Path(name)
    if path.is_file():
        return path
    packaged = profiles()
    if name in packaged:
        return packaged[name]
    if path.is_dir():
        raise UserError(f"{name} is a folder; name the profile in it, for example {path / 'drill.yaml'}")
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise UserError(f"no such profile: {name}")
    raise UserError(
        f"no profile {name!r} here and none packaged{nearest(name, packaged)}; `lastwriter profiles` lists them"
    )


def workloads(near: Path | None = None) -> dict[str, Path]:
    """Locustfiles by name. Those that stand beside a profile (``near``) come before the packaged ones.

    Beside means: in ``locustfiles/`` next to the profile's folder, in it, or in the profile's folder itself.
    """
    folders = [locustfiles_folder()]
    if near is not None:
        here = near.resolve().parent
        folders += [here.parent / "locustfiles", here, here / "locustfiles"]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith(("_", "test_", "conftest")):
                found[path.stem] = path
    return found


def tasks_of(locustfile: Path) -> set[str]:
    """Names of the functions that a locustfile marks with ``@task``; empty if it cannot be told without running it."""
    try:
        tree = ast.parse(locustfile.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return set()

    def marks(decorator: ast.expr) -> bool:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        return (isinstance(named, ast.Name) and named.id == "task") or (
            isinstance(named, ast.Attribute) and named.attr == "task"
        )

    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(marks(decorator) for decorator in node.decorator_list)
    }


def modes_of(locustfile: Path) -> tuple[str, ...]:
    """Modes that a locustfile's user classes are for (``modes = ("MREC",)``); empty: any."""
    return _declared(locustfile, "modes")


def needs_of(locustfile: Path) -> tuple[str, ...]:
    """What the table of a locustfile's user classes must have besides items (``needs = ("index",)``)."""
    return _declared(locustfile, "needs")


def _declared(locustfile: Path, name: str) -> tuple[str, ...]:
    """What the user classes of a locustfile say under this name, if that can be told without running it."""
    try:
        tree = ast.parse(locustfile.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign):
                continue
            if [one.id for one in node.targets if isinstance(one, ast.Name)] == [name]:
                return tuple(ast.literal_eval(node.value))
    except (OSError, ValueError, SyntaxError, TypeError):
        pass
    return ()


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'counters'?"`` or nothing, for the end of an error message."""
    words = list(known)
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if not matches:
        lowered = {item.lower(): item for item in words}
        matches = [lowered[match] for match in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)]
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _folder(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name

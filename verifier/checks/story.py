"""A finding whose witness operations have roles (``facts["rows"]``), in the words that sentences are made of.

``by`` is the operation that cannot be, unless a replica's final item is (``facts["final"]``).
"""

from __future__ import annotations

from verifier.checks.explain import item, milliseconds, name, region, who
from verifier.checks.types import Context, Violation
from verifier.history.columns import History


class Story:
    """A finding with its roles."""

    def __init__(self, history: History, context: Context, found: Violation) -> None:
        self.history, self.context, self.found = history, context, found
        rows = found.facts.get("rows")
        self.roles: dict[str, int] = rows if isinstance(rows, dict) else {}
        self.rows = {role: row for role, row in self.roles.items() if row >= 0}
        final = found.facts.get("final")
        self.final = str(final) if final is not None else None
        self.key = item(history, found)

    def who(self, role: str) -> str:
        """An operation in full; the start of the run where it has no row."""
        return who(self.history, self.context, self.rows[role]) if role in self.rows else "what the run began with"

    def brief(self, *roles: str) -> str:
        """``us-east-1's increment 0:17``, of the first role that has a row."""
        for role in roles:
            if role in self.rows:
                return f"{region(self.history, self.rows[role])}'s {name(self.history, self.rows[role])}"
        return "what the run began with"

    def blamed(self) -> str:
        """The operation or final item that cannot be."""
        if self.final is not None and "by" not in self.rows:
            return f"The final {self.key} of {self.final}"
        return self.who("by")

    def is_read(self, role: str) -> bool:
        """Whether the operation only looked."""
        row = self.rows.get(role)
        return row is None or self.history.kinds[self.history.kind[row]].startswith("read")

    def gap(self, otherwise: str = "only") -> str:
        """Γ in words: how long the one had been over before the other began."""
        return milliseconds(self.found.gamma_ns) if self.found.gamma_ns is not None else otherwise

    def key_of(self, role: str) -> str:
        """The item that an operation is about."""
        return self.history.keys[int(self.history.key[self.rows[role]])]

    def column(self, column: str, role: str) -> int:
        """A number that an operation has."""
        return int(getattr(self.history, column)[self.rows[role]])

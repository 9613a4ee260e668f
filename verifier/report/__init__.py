"""``report.html``: one file that opens offline, from a verified run directory."""

from __future__ import annotations

from verifier.report.write import write_report

__all__ = ["write_report"]

"""The files that a verdict is written to, besides the report."""

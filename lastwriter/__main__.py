"""``python -m lastwriter``: the same as the ``lastwriter`` command."""

from __future__ import annotations

from lastwriter.cli import main

if __name__ == "__main__":
    main()

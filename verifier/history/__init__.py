"""The one definition of what a recorded operation is; the client writes it, the checks read it."""

"""History in, verdicts and report out.

The verifier reads the record of a run (see :mod:`verifier.history`), judges it (:mod:`verifier.checks`) and explains
what it found (:mod:`verifier.report`). It imports nothing from the rooms above it: no gevent, no boto3, no sockets.
"""

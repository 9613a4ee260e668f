"""Counters: many users add to few counters, from every Region.

Invariant: every acknowledged increment counts, once. MRSC keeps it. MREC keeps it where an item is written in one
Region only; with two writers the Region whose item is older loses its increments, without an error anywhere.

Judged by the checks `counter` (the new values that came back), `register` (the marks) and the two loss ledgers.
How it is counted is the load's pattern: `lastwriter/client/patterns.py` has them side by side.

    locust -f locustfiles/counters.py --emulator
    locust -f locustfiles/counters.py --emulator --pattern region-items --rate 200/s
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class Counters(GlobalTableUser):
    """Adds one to a counter, or reads it."""

    @task
    def increment(self) -> None:
        """With `naive` an ADD; with `conditional` a read and a write if nobody came between; …"""
        self.counter.add(self.keys.mine())

    @task
    def read(self) -> None:
        """A strong read: in MREC of this Region's replica, in MRSC of everything that was acknowledged anywhere."""
        self.counter.read(self.keys.anything())
